"""Bundles become releases: in the running process, on trial, and back again when they are not well."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App
from edge_runtime.clock import make_event
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.host import Host
from edge_runtime.host.jobs import Health, Verdict
from edge_runtime.host.verbs import Verbs
from edge_runtime.pure.bundle import BundleError
from tests.host.bundles import Signer
from tests.host.releasesite import ILL, running


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("signer"))


async def test_a_release_takes_over_and_is_found_well(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        assert await site.call() == {"release": "1"}
        health = await site.install(site.bundle("2"))
        assert health.verdict is Verdict.RUNS
        assert await site.call() == {"release": "2"}
        assert len(site.hosts) == 2
        assert site.releases.record().highest == "2"
        again = await site.install(site.bundle("2"))
        assert again == Health(Verdict.RUNS, "release 2 runs")
        assert len(site.hosts) == 2


async def test_nothing_accepted_is_lost_on_the_way(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        installing = asyncio.create_task(site.install(site.bundle("2")))
        accepted = 0
        while not installing.done():
            if (host := site.installer._host) is not None:
                with contextlib.suppress(EdgeError):  # it may be stopping: then nothing is accepted
                    await host.bus.emit(make_event(host.clock, "function/f/invoke", b"{}", "cli"))
                    accepted += 1
            await asyncio.sleep(0.001)
        await site.until(lambda: site.host.store.counters("function/f").queued == 0)
        counters = site.host.store.counters("function/f")
        assert (counters.produced, counters.delivered, counters.dead) == (accepted, accepted, 0)
        assert accepted > 0


async def test_code_that_does_not_start_is_taken_back(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        health = await site.install(site.bundle("2", ILL), health_s=60)
        assert health.verdict is Verdict.ROLLED_BACK
        assert "function 'f' does not start: Runtime.ImportModuleError" in health.text
        assert await site.call() == {"release": "1"}
        assert len(site.hosts) == 3
        assert site.releases.record().highest == "1"
        better = await site.install(site.bundle("3"))
        assert better.verdict is Verdict.RUNS


async def test_one_that_was_taken_back_may_be_tried_again(tmp_path: Path) -> None:
    """Whatever it lacked may be there now: the second wish is a new trial."""
    async with running(tmp_path) as site:
        path = site.bundle("2", "import os\nopen(os.environ['HOME_OF_SECRETS'])\n")
        assert (await site.install(path)).verdict is Verdict.ROLLED_BACK
        hosts = len(site.hosts)
        assert (await site.install(path)).verdict is Verdict.ROLLED_BACK
        assert len(site.hosts) == hosts + 2


async def test_an_app_that_is_wrong_does_not_take_over(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        with pytest.raises(ConfigError, match=r"release 2-\w+ is not taken: .*foo: unknown key"):
            await site.install(site.bundle("2", more="foo: 1\n"))
        assert len(site.hosts) == 1
        assert len(list((site.releases.root / "releases").iterdir())) == 1
        assert await site.call() == {"release": "1"}


async def test_an_older_release_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.install(site.bundle("2"))
        with pytest.raises(BundleError, match=r"release 1.9 is older than 2"):
            await site.install(site.bundle("1.9"))


async def test_a_job_must_say_what_the_bundle_says(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        with pytest.raises(BundleError, match=r"is release 2, and was announced as 3"):
            await site.installer.install(site.bundle("2"), "3", health_check_s=0)


async def test_where_keys_are_known_one_must_have_signed(tmp_path: Path, signer: Signer) -> None:
    other = Signer(tmp_path / "other")
    raw = [base64.b64encode(one.key).decode() for one in (signer, other)]
    async with running(tmp_path, key=raw[0]) as site:
        with pytest.raises(BundleError, match="is signed by none of the keys"):
            await site.install(site.bundle("2", key=raw[0]))
        with pytest.raises(BundleError, match="is signed by none of the keys"):
            await site.install(site.bundle("2", key=raw[0], signer=other))
        rotated = await site.install(site.bundle("2", key=raw[1], signer=signer))
        assert rotated.verdict is Verdict.RUNS
        with pytest.raises(BundleError, match="is signed by none of the keys"):
            await site.install(site.bundle("3", key=raw[0], signer=signer))
        assert (await site.install(site.bundle("3", key=raw[1], signer=other))).verdict is Verdict.RUNS


async def test_somebody_goes_back(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.install(site.bundle("2"))
        before = site.host
        verbs = Verbs(before).table()
        answer: Any = await verbs["releases"]({"back": True})  # type: ignore[misc]  # no stream
        assert answer["current"].startswith("1-")
        await site.after(before)
        assert await site.call() == {"release": "1"}


async def test_a_host_with_an_app_file_of_its_own_takes_none(tmp_path: Path) -> None:
    host = Host(App("pi-7", tmp_path), tmp_path / "state", simulate=True)
    await host.start()
    try:
        verbs = Verbs(host).table()
        with pytest.raises(ConfigError, match="takes no releases"):
            await verbs["install"]({"path": "x"})  # type: ignore[misc]  # no stream
    finally:
        await host.stop()
