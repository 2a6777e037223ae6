"""Bundles become releases: in the running process, on trial, and back again when they are not well."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App
from edge_runtime.bundles import Bundle, Progress
from edge_runtime.clock import make_event
from edge_runtime.errors import ConfigError, EdgeError, StoreError
from edge_runtime.host import Host
from edge_runtime.host.installer import BundleInstaller
from edge_runtime.host.jobs import Health, Verdict
from edge_runtime.host.verbs import Verbs
from edge_runtime.pure.bundle import BundleError
from edge_runtime.releases import Releases
from tests.host.bundles import Signer
from tests.host.releasesite import ILL, WELL, running


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


async def test_nobody_goes_back_to_one_that_is_wrong_now(tmp_path: Path) -> None:
    """What a start would refuse is not put in place: the release that runs stays, on disk too."""
    async with running(tmp_path) as site:
        old = site.releases.app_file
        await site.install(site.bundle("2"))
        old.write_text("thing: [")
        with pytest.raises(ConfigError):
            await site.installer.back()
        assert site.releases.current.startswith("2-")
        assert await site.call() == {"release": "2"}


async def test_a_trial_does_not_end_while_the_next_release_is_put_in_place(tmp_path: Path) -> None:
    """2 would be found well when 3 is unpacked and not yet in place: 3 would be removed as one that nobody needs."""
    staged = tmp_path / "staged"
    code = f"import os, time\nwhile not os.path.exists({str(staged)!r}):\n    time.sleep(0.01)\n{WELL}"
    async with running(tmp_path) as site:
        before = site.host
        site.installer.releases = _Lingering(site.releases.root, "3", staged)
        asking = asyncio.create_task(site.installer.install(site.bundle("2", code), "", health_check_s=0))
        await site.after(before)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        health = await site.install(site.bundle("3"))
        assert health.verdict is Verdict.RUNS
        assert await site.call() == {"release": "3"}
        assert site.releases.current.startswith("3-")
        assert [name.partition("-")[0] for name in site.releases.record().order] == ["3", "1"]


class _Lingering(Releases):
    """Releases that take a while between unpacking one of them and putting it in place."""

    def __init__(self, root: Path, release: str, staged: Path) -> None:
        super().__init__(root)
        self._release = release
        self._file = staged
        self._confirmed = threading.Event()

    def stage(self, bundle: Bundle, name: str, progress: Progress = lambda _: None) -> Path:
        folder = super().stage(bundle, name, progress)
        if bundle.manifest.release == self._release:
            self._file.touch()
            self._confirmed.wait(1.0)
        return folder

    def confirm(self) -> None:
        super().confirm()
        self._confirmed.set()


async def test_whoever_asks_again_gets_another_trial(tmp_path: Path) -> None:
    """A job is told at first what became of its bundle; a person who asks again wants it tried."""
    async with running(tmp_path) as site:
        path = site.bundle("2", ILL)
        assert (await site.install(path)).verdict is Verdict.ROLLED_BACK
        hosts = len(site.hosts)
        asking = asyncio.create_task(site.installer.install(path, "", health_check_s=0, anew=True))
        await site.until(lambda: len(site.hosts) > hosts)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_between_two_hosts_nothing_is_taken(tmp_path: Path) -> None:
    """Then nobody knows which keys count."""
    installer = BundleInstaller(Releases(tmp_path / "app"), tmp_path)
    with pytest.raises(EdgeError, match="the host is stopping"):
        await installer.install(tmp_path / "x.edge", "", health_check_s=0)


async def test_who_asked_may_go_away(tmp_path: Path) -> None:
    """The connection of `edge install` ends as soon as the release is in place: it takes over all the same."""
    async with running(tmp_path) as site:
        before, path = site.host, site.bundle("2")
        asking = asyncio.create_task(site.installer.install(path, "", health_check_s=0))
        await site.until(lambda: site.releases.current.startswith("2-"))
        asking.cancel()
        await site.after(before)
        assert await site.call() == {"release": "2"}
        await site.until(lambda: site.releases.record().highest == "2")


async def test_a_trial_that_cannot_be_ended_is_told(tmp_path: Path) -> None:
    """The disk takes no more: who waits hears of it, and the trial goes on with the next start."""
    async with running(tmp_path) as site:
        site.installer.releases = _Full(site.releases.root)
        health = await site.install(site.bundle("2"))
        assert health.verdict is Verdict.ROLLED_BACK
        assert health.text.startswith("the trial of release 2-")
        assert health.text.endswith("cannot be ended: the disk is full")
        assert site.releases.record().trial is not None


class _Full(Releases):
    """Releases on a disk that takes no more once a release is on trial."""

    def confirm(self) -> None:
        raise StoreError("the disk is full")


@pytest.mark.parametrize("health_s", ["x", -1, True, 1e9])
async def test_a_wish_that_is_none(tmp_path: Path, health_s: object) -> None:
    async with running(tmp_path) as site:
        verbs = Verbs(site.host).table()
        with pytest.raises(ConfigError, match="health_s is"):
            await verbs["install"]({"path": "x", "health_s": health_s})  # type: ignore[misc]  # no stream


async def test_a_host_with_an_app_file_of_its_own_takes_none(tmp_path: Path) -> None:
    host = Host(App("pi-7", tmp_path), tmp_path / "state", simulate=True)
    await host.start()
    try:
        verbs = Verbs(host).table()
        with pytest.raises(ConfigError, match="takes no releases"):
            await verbs["install"]({"path": "x"})  # type: ignore[misc]  # no stream
    finally:
        await host.stop()
