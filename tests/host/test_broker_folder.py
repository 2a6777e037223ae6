"""The folder of the local broker: devices, passwords, certificates; with another mosquitto, or none, beside it."""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import json
import os
import signal
import ssl
from pathlib import Path

import pytest

from edge_runtime.app import LocalBroker
from edge_runtime.clock import SystemClock
from edge_runtime.errors import ConfigError, HostError, NotFoundError, StoreError
from edge_runtime.host import _addresses
from edge_runtime.host._broker_child import Child
from edge_runtime.host._broker_folder import BrokerFolder
from edge_runtime.pure.certificates import parse
from tests.brokers import free_port
from tests.host.lansite import NEEDS

HOSTS = ["pi-7", "pi-7.local", "localhost", "127.0.0.1", "::1", "192.0.2.7"]
IN_2026, IN_2049, LATE_IN_2049 = 1.78e9, 2.50e9, 2.5240e9


@pytest.fixture
def folder(tmp_path: Path) -> BrokerFolder:
    found = BrokerFolder(tmp_path / "state")
    found.open()
    return found


# -- devices -------------------------------------------------------------------------------------------------------


def test_a_password_is_long_and_each_is_another(folder: BrokerFolder) -> None:
    passwords = {folder.add(f"d{n}", ["a/#"]) for n in range(20)} | {folder.renew("d3")}
    assert len(passwords) == 21
    assert {len(one) for one in passwords} == {23}
    assert not [one for one in passwords if one in (folder.path / "devices.json").read_text()]


def test_devices_are_kept(folder: BrokerFolder) -> None:
    folder.add("lamp", ["lamp/#", "b"])
    folder.add("fan", ["fan/#"])
    again = BrokerFolder(folder.path.parent)
    assert {name: one.topics for name, one in again.devices().items()} == {"lamp": ("lamp/#", "b"), "fan": ("fan/#",)}
    again.remove("lamp")
    assert list(folder.devices()) == ["fan"]
    with pytest.raises(NotFoundError, match="there is no device 'lamp'"):
        folder.remove("lamp")


def test_files_that_have_gone_are_an_error_of_the_store(folder: BrokerFolder) -> None:
    folder.certify(HOSTS, IN_2026)
    with pytest.raises(StoreError, match=r"broker/run/passwd cannot be used: No such file"):
        folder.refresh(LocalBroker(), None)
    folder.ca.unlink()
    with pytest.raises(StoreError, match=r"broker/ca\.pem cannot be used: No such file"):
        folder.fingerprint()


@pytest.mark.parametrize("damage", ["{", "[1]", '{"lamp": 3}', '{"lamp": {"topics": []}}'])
def test_a_damaged_list_is_said_and_not_forgotten(folder: BrokerFolder, damage: str) -> None:
    path = folder.path / "devices.json"
    path.write_text(damage)
    with pytest.raises(ConfigError, match=r"devices\.json is damaged") as caught:
        folder.add("fan", ["fan/#"])
    assert "each device then needs a new password" in caught.value.hint
    assert path.read_text() == damage


def test_a_folder_of_somebody_else_is_left_alone(folder: BrokerFolder) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder.path, 65_534, -1)
    with pytest.raises(ConfigError, match="belongs to user nobody") as caught:
        folder.open()
    assert caught.value.hint == "run it as that user: sudo -u nobody edge ..."


# -- certificates --------------------------------------------------------------------------------------------------


def subject_names(folder: BrokerFolder) -> list[tuple[str, str]]:
    """Return the names in the broker's certificate, as a client reads them."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder.path / "server.pem", folder.path / "server.key")
    client = ssl.create_default_context(cafile=str(folder.ca))
    pairs = [ssl.MemoryBIO() for _ in range(2)]
    one = client.wrap_bio(pairs[0], pairs[1], server_hostname="pi-7.local")
    other = server.wrap_bio(pairs[1], pairs[0], server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    certificate = one.getpeercert()
    assert certificate is not None
    return [(str(pair[0]), str(pair[1])) for pair in certificate["subjectAltName"]]


def test_a_client_that_trusts_the_authority_trusts_the_broker(folder: BrokerFolder) -> None:
    assert folder.certify(HOSTS, IN_2026)
    named = [("IP Address" if _is_address(host) else "DNS", host.upper() if ":" in host else host) for host in HOSTS]
    found = subject_names(folder)
    assert [pair for pair in found if pair[1] != "0:0:0:0:0:0:0:1"] == [
        part
        for pair in named
        if pair[1] != "::1"
        for part in ([pair, ("DNS", pair[1])] if pair[0] == "IP Address" else [pair])
    ]


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def test_a_wrong_clock_does_not_matter_to_a_certificate(folder: BrokerFolder) -> None:
    folder.certify(HOSTS, 0.0)  # the host believes that it is 1970
    for name in ("ca.pem", "server.pem"):
        found = parse((folder.path / name).read_bytes())
        assert (found.begin_s, found.end_s) == (1_577_836_800.0, 2_524_607_999.0)  # 2020-01-01, and the end of 2049


def test_the_certificate_is_renewed_when_it_must_be_and_the_authority_stays(folder: BrokerFolder) -> None:
    assert folder.certify(HOSTS, IN_2026)
    authority = folder.fingerprint()
    assert not folder.certify(HOSTS, IN_2049)
    assert not folder.certify(HOSTS[:3], IN_2026), "a name less is no reason"
    assert folder.certify([*HOSTS, "198.51.100.3"], IN_2026)
    assert folder.certify([*HOSTS, "198.51.100.3"], LATE_IN_2049)
    (folder.path / "server.key").write_bytes(b"")
    assert folder.certify(HOSTS, IN_2026)
    (folder.path / "server.json").write_text("[]")
    assert folder.certify(HOSTS, IN_2026)
    assert folder.fingerprint() == authority
    subject_names(folder)  # and it is the authority of the last one


def test_a_lost_certificate_of_the_authority_is_made_again_for_its_key(folder: BrokerFolder) -> None:
    folder.certify(HOSTS, IN_2026)
    before, key = folder.ca.read_bytes(), (folder.path / "ca.key").read_bytes()
    folder.ca.unlink()
    assert folder.certify(HOSTS, IN_2026)
    assert (folder.path / "ca.key").read_bytes() == key
    folder.ca.write_bytes(before)  # what devices have
    subject_names(folder)


def test_a_damaged_authority_is_not_replaced(folder: BrokerFolder) -> None:
    folder.certify(HOSTS, IN_2026)
    (folder.path / "ca.key").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="the broker's authority is damaged") as caught:
        folder.certify(HOSTS, IN_2026)
    assert "give each device the new one" in caught.value.hint


# -- names ---------------------------------------------------------------------------------------------------------


def test_by_which_names_a_broker_is_reached() -> None:
    alone = _addresses.hosts(LocalBroker(names=("broker.lan",)))
    assert alone[-4:] == ["broker.lan", "localhost", "127.0.0.1", "::1"]
    everywhere = LocalBroker(address="0.0.0.0")  # noqa: S104 - a text
    assert _addresses.hosts(everywhere)[-len(_addresses.addresses()) or 99 :] == _addresses.addresses()
    assert _addresses.hosts(LocalBroker(address="192.0.2.9"))[-1] == "192.0.2.9"


def test_which_name_is_told_to_a_device() -> None:
    assert _addresses.best(LocalBroker()) == "127.0.0.1"
    assert _addresses.best(LocalBroker(address="192.0.2.9")) == "192.0.2.9"
    assert _addresses.best(LocalBroker(address="192.0.2.9", names=("broker.lan",))) == "broker.lan"
    assert _addresses.near(LocalBroker(address="::")) == "::1"
    assert _addresses.near(LocalBroker(address="0.0.0.0")) == "127.0.0.1"  # noqa: S104 - a text


async def test_a_new_address_is_noticed() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give this machine an address")

    async def ip(verb: str) -> int:
        process = await asyncio.create_subprocess_exec("ip", "address", verb, "127.9.8.7/32", "dev", "lo")
        return await process.wait()

    changes = _addresses.changes()
    told = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)  # until it listens
    try:
        if await ip("add"):
            pytest.skip("this machine does not let its addresses be changed")
        async with asyncio.timeout(10):
            await told
    finally:
        told.cancel()
        await asyncio.gather(told, return_exceptions=True)
        await ip("del")
        await changes.aclose()


# -- its start -------------------------------------------------------------------------------------------------------


async def test_a_missing_mosquitto_is_said_with_what_to_run(
    folder: BrokerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="the app declares a broker, and mosquitto is not installed") as caught:
        await Child(LocalBroker(), folder, SystemClock(), paths=()).start(HOSTS)
    assert caught.value.hint.startswith("sudo apt install mosquitto;")


@NEEDS
async def test_a_mosquitto_that_hangs_is_ended_for_the_next_one(folder: BrokerFolder) -> None:
    spec = LocalBroker(port=free_port())
    old, new = Child(spec, folder, SystemClock()), Child(spec, folder, SystemClock(), let_go_s=0.3)
    await old.start(HOSTS)
    os.kill(old.pid, signal.SIGSTOP)  # it hangs, and its host has gone
    await new.start(HOSTS)
    assert await old.ended() == f"mosquitto was killed by signal 9: mosquitto version {old.version} running"
    await new.stop()
    await old.stop()


@NEEDS
async def test_a_mosquitto_that_does_not_read_who_may_connect_is_said(
    folder: BrokerFolder, caplog: pytest.LogCaptureFixture
) -> None:
    child = Child(LocalBroker(port=free_port()), folder, SystemClock(), reload_s=0.3)
    await child.start(HOSTS)
    os.kill(child.pid, signal.SIGSTOP)
    await child.reload()
    assert caplog.messages == ["mosquitto does not say within 0.3 s that it has read who may connect"]
    os.kill(child.pid, signal.SIGCONT)
    await child.stop()


@NEEDS
async def test_a_folder_that_somebody_else_holds_is_not_used(folder: BrokerFolder) -> None:
    with (folder.path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(HostError, match="another mosquitto holds"):
            await Child(LocalBroker(port=free_port()), folder, SystemClock(), let_go_s=0.1).start(HOSTS)


@NEEDS
async def test_what_mosquitto_reads_is_written_anew_at_each_start(
    folder: BrokerFolder, caplog: pytest.LogCaptureFixture
) -> None:
    spec = LocalBroker(port=free_port())
    folder.add("lamp", ["lamp/#"])
    child = Child(spec, folder, SystemClock())
    await child.start(HOSTS)
    (folder.run / "acl").write_text("user lamp\ntopic readwrite #\n")
    await child.stop()
    child = Child(spec, folder, SystemClock())
    await child.start(HOSTS)
    assert (folder.run / "acl").read_text() == "user host.in\ntopic read #\n"
    folder.refresh(spec, child.user)
    assert (folder.run / "acl").read_text() == "user host.in\ntopic read #\n\nuser lamp\ntopic readwrite lamp/#\n"
    assert list(json.loads((folder.path / "own.json").read_text())) == ["host.in", "host.out"]
    await child.reload()
    assert caplog.messages == []  # it has said that it reads them
    await child.stop()
