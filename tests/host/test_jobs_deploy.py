"""Jobs that bring a bundle: over the agent, a real store, a real https server and real signatures."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.app import JobsSpec, LinkSpec
from edge_runtime.cloud.jobs import FAILED, REJECTED, SUCCEEDED
from edge_runtime.errors import EdgeError
from edge_runtime.host import Host
from edge_runtime.host.configuration import RESTART
from edge_runtime.host.jobs import Health, Verdict, release_memo
from edge_runtime.standin import certs
from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.server import Standin
from edge_runtime.standin.services.executions import State
from tests.host.bundles import BUNDLE, Shop, Signer, serving
from tests.host.hosting import FREE, app, function
from tests.host.jobdevice import Device, FakeInstaller, call

# CPython leaves a socket to the collector when a server resets the connection before TLS begins (`SSLSocket._create`).
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

# -- edge.deploy -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("signer"))


@pytest.fixture
def shop(files: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("SSL_CERT_FILE", str(files.client.ca))
    with serving(files) as it:
        yield it


def device_of(folder: Path, signer: Signer, *answers: Health | Exception) -> tuple[Device, FakeInstaller]:
    installer = FakeInstaller(*answers)
    return Device(folder, JobsSpec(keys=("00" * 32, signer.key.hex())), installer), installer


async def test_a_bundle_is_fetched_proved_and_installed(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, installer = device_of(tmp_path, signer)
    document = {**signer.document(shop.url), "rollback": {"healthCheckSeconds": 5}}
    details = await device.do(document, SUCCEEDED)
    assert details == {"release": "1.4.0", "result": "well", "step": "installing"}
    assert installer.installed == [("1.4.0", BUNDLE, 5.0)]
    assert [step for _, step in device.cloud.jobs["j"].history] == ["downloading", "installing", "installing"]
    assert list((tmp_path / "state" / "jobs").iterdir()) == []


async def test_without_an_installer_no_byte_is_fetched(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device = Device(tmp_path, JobsSpec(keys=(signer.key.hex(),)))
    details = await device.do(signer.document(shop.url), REJECTED)
    assert details == {"reason": "this device has no installer for bundles"}
    assert shop.asked == []


async def test_what_nobody_has_signed_is_not_fetched(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, installer = device_of(tmp_path, signer)
    stranger = Signer(tmp_path / "stranger").document(shop.url)
    swapped = signer.document(shop.url, sha256=hashlib.sha256(b"evil").hexdigest())
    right = base64.b64decode(signer.document(shop.url)["bundle"]["signature"])
    flipped = signer.document(shop.url, signature=base64.b64encode(bytes([right[0] ^ 1, *right[1:]])).decode())
    for number, document in enumerate((stranger, swapped, flipped)):
        details = await device.do(document, REJECTED, job=f"j{number}")
        assert details == {"reason": "the signature of the bundle is by none of the keys in link.jobs.keys"}
    device.spec = JobsSpec()
    details = await device.do(signer.document(shop.url), REJECTED)
    assert details == {"reason": "there is no key in link.jobs.keys, so no bundle can be proved"}
    assert shop.asked == []
    assert installer.installed == []


async def test_a_key_that_was_taken_away_no_longer_counts(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer)
    await device.do(signer.document(shop.url), SUCCEEDED)
    successor = Signer(tmp_path / "successor")
    device.spec = JobsSpec(keys=(successor.key.hex(),))
    await device.do(signer.document(shop.url, release="2"), REJECTED, job="old-key")
    await device.do(successor.document(shop.url, release="2"), SUCCEEDED, job="new-key")


async def test_releases_only_go_up(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, installer = device_of(tmp_path, signer)
    await device.do(signer.document(shop.url, release="1.10"), SUCCEEDED, job="a")
    details = await device.do(signer.document(shop.url, release="1.9.5"), REJECTED, job="b")
    assert details == {"reason": "release 1.9.5 is older than 1.10, which was installed before"}
    shop.data = b"another one"
    details = await device.do(signer.document(shop.url, shop.data, release="1.10.0"), REJECTED, job="c")
    assert details == {"reason": "release 1.10.0 was installed before, with another content"}
    await device.do(signer.document(shop.url, shop.data, release="2"), SUCCEEDED, job="d")
    await device.do(signer.document(shop.url, shop.data, release="2"), SUCCEEDED, job="e")  # the same once more
    assert [release for release, _, _ in installer.installed] == ["1.10", "2", "2"]
    async with device.on() as it:
        known = json.loads(await it.store.recall(release_memo("pi-7")) or "")
    assert known == {"release": "2", "sha256": hashlib.sha256(b"another one").hexdigest()}


async def test_a_release_that_was_rolled_back_does_not_count(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer, Health(Verdict.ROLLED_BACK, "it did not answer"))
    details = await device.do(signer.document(shop.url, release="9"), FAILED, job="a")
    assert details == {"release": "9", "reason": "it did not answer", "step": "installing"}
    await device.do(signer.document(shop.url, release="8"), SUCCEEDED, job="b")


async def test_an_installer_that_refuses_fails_the_job(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer, EdgeError("its manifest names release 1.3.0"))
    details = await device.do(signer.document(shop.url), FAILED)
    assert details == {"reason": "its manifest names release 1.3.0", "step": "installing"}


async def test_an_installer_that_wants_a_restart(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, installer = device_of(tmp_path, signer, Health(Verdict.RESTART))
    device.cloud.create("j", signer.document(shop.url))
    async with device.on() as it:
        await it.until(lambda: device.ends == [RESTART])
    async with device.on() as it:
        await it.ended("j", SUCCEEDED)
    assert [data for _, data, _ in installer.installed] == [BUNDLE] * 2
    assert len(shop.asked) == 1


async def test_a_download_goes_on_after_a_broken_connection(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    shop.cut, shop.statuses = [100_000], []
    device, _ = device_of(tmp_path, signer)
    await device.do(signer.document(shop.url), SUCCEEDED)
    assert [wanted for _, wanted in shop.asked] == ["", "bytes=100000-"]


async def test_a_download_goes_on_after_a_power_cut(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    shop.cut = [100_000]
    device, _ = device_of(tmp_path, signer)
    device.cloud.create("j", signer.document(shop.url))
    async with device.on() as it:
        part = tmp_path / "state" / "jobs" / f"{hashlib.sha256(BUNDLE).hexdigest()}.part"
        await it.until(lambda: part.exists() and part.stat().st_size == 100_000)
    assert device.cloud.jobs["j"].history == [("IN_PROGRESS", "downloading")]
    async with device.on(online=False) as it:  # the bundle's server can be reached, AWS IoT cannot
        await it.passes(lambda: it.agent.state() is not None and it.agent.state().status == SUCCEEDED)  # type: ignore[union-attr]  # there is one
        it.connect()
        await it.ended("j", SUCCEEDED)
    assert [wanted for _, wanted in shop.asked] == ["", "bytes=100000-"]


async def test_an_address_that_has_expired_is_renewed(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer)
    shop.statuses = [403]
    device.cloud.create("j", signer.document(shop.url))

    def renew() -> None:
        device.cloud.jobs["j"].document = signer.document(f"{shop.url}-fresh")
        shop.before = lambda: None

    shop.before = renew
    async with device.on() as it:
        await it.ended("j", SUCCEEDED)
    assert [path for path, _ in shop.asked] == [
        "/app.zip?X-Amz-Signature=secret",
        "/app.zip?X-Amz-Signature=secret-fresh",
    ]
    assert "j/get" in device.cloud.asked


async def test_an_address_that_is_never_good_is_given_up(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer)
    shop.statuses = [403] * 10
    details = await device.do(signer.document(shop.url), FAILED)
    assert "127.0.0.1 answers 403" in details["reason"]
    assert "secret" not in str(details)
    assert len(shop.asked) == 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x" + BUNDLE[1:], "the bundle does not have the SHA-256 that the job says"),
        (BUNDLE + b"x", "the bundle has more than the 256000 bytes that the job says"),
    ],
)
async def test_another_content_fails_the_job(
    tmp_path: Path, shop: Shop, signer: Signer, data: bytes, reason: str
) -> None:
    device, installer = device_of(tmp_path, signer)
    shop.data = data
    assert await device.do(signer.document(shop.url), FAILED) == {"reason": reason, "step": "downloading"}
    assert installer.installed == []


async def test_a_redirection_to_http_fails_the_job(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer)
    shop.statuses, shop.location = [302], "http://127.0.0.1/a"
    details = await device.do(signer.document(shop.url), FAILED)
    assert details["reason"] == "127.0.0.1 redirects to an address that is not https"


async def test_a_server_that_is_away_for_hours_is_given_up(tmp_path: Path, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer)
    device.cloud.create("j", signer.document("https://127.0.0.1:1/a"))
    async with device.on() as it:
        await it.passes(lambda: device.cloud.jobs["j"].status == FAILED, 600)
    assert (
        "given up after 6 hours without a byte: 127.0.0.1 cannot be reached" in device.cloud.jobs["j"].details["reason"]
    )


async def test_a_canceled_job_stops_its_download(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, installer = device_of(tmp_path, signer)
    shop.statuses = [503] * 1000
    device.cloud.create("j", signer.document(shop.url))
    async with device.on() as it:
        await it.until(lambda: shop.asked)
        await it.bring(device.cloud.set("j", "CANCELED"))
        await it.until(lambda: it.agent.state() is None)
    assert installer.installed == []


async def test_a_disk_without_room_is_said_before_the_download(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer)
    device.keep_free = 0.999_999
    details = await device.do(signer.document(shop.url), FAILED)
    assert details["reason"].startswith("the disk has no room: the bundle needs 256000 more bytes, and ")
    assert shop.asked == []


async def test_what_earlier_jobs_left_is_removed(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    device, _ = device_of(tmp_path, signer)
    left = tmp_path / "state" / "jobs"
    (left / "signature-x").mkdir(parents=True)
    (left / f"{'0' * 64}.part").write_bytes(b"old")
    (left / "elsewhere").symlink_to(tmp_path)
    await device.do(signer.document(shop.url), SUCCEEDED)
    assert list(left.iterdir()) == []
    assert await asyncio.to_thread(tmp_path.is_dir)


# -- a whole host ------------------------------------------------------------------------------------------------------


async def test_a_host_and_the_stand_in_speak_of_jobs_over_mqtt(tmp_path: Path, shop: Shop, signer: Signer) -> None:
    """Through a real connection: a function, a document of AWS's own, a bundle, and a broken connection."""
    allowed = JobsSpec(run=("f",), keys=(signer.key.hex(),))
    installer = FakeInstaller()
    async with Standin(quotas="none") as cloud:
        options = {"endpoint": "127.0.0.1", "port": cloud.port, "client_id": "pi-7"}
        one = app(tmp_path, function(tmp_path), link=LinkSpec("paho", options, replace(FREE, pack=50), jobs=allowed))
        cloud.jobs.create(["pi-7"], call("f", payload=7), "a")
        host = Host(one, tmp_path / "state", simulate=True, installer=installer)
        await host.start()
        try:
            await cloud.until(lambda: cloud.jobs.executions["pi-7", "a"].state is State.SUCCEEDED)
            cloud.drop_connections()
            cloud.jobs.create(["pi-7"], {"version": "1.0", "steps": [{"action": {"type": "runCommand"}}]}, "b")
            await cloud.until(lambda: cloud.jobs.executions["pi-7", "b"].state is State.REJECTED)
            cloud.jobs.create(["pi-7"], signer.document(shop.url), "c")
            await cloud.until(lambda: cloud.jobs.executions["pi-7", "c"].state is State.SUCCEEDED)
        finally:
            await host.stop(grace_s=0.5)
        details = {job: cloud.jobs.executions["pi-7", job].details for job in "abc"}
    assert json.loads(details["a"]["result"])["got"] == 7
    assert details["b"]["reason"].startswith("steps (runHandler, runCommand) are never carried out here")
    assert details["c"] == {"release": "1.4.0", "result": "well", "step": "installing"}
    assert [release for release, _, _ in installer.installed] == ["1.4.0"]
