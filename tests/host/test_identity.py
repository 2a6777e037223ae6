"""The link's certificate is looked after: changes on disk reach the link, and an end that comes soon is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime.app import LinkSpec
from edge_runtime.cli import cli
from edge_runtime.clock import FakeClock, SystemClock, make_event
from edge_runtime.cloud.identity import DAY_S
from edge_runtime.errors import LinkError
from edge_runtime.host import Host
from edge_runtime.host.identity import CertificateState, IdentityKeeper
from edge_runtime.pure.certificates import parse
from edge_runtime.standin.registry import Status
from tests.fleet import start_fleet
from tests.host.hosting import FREE, app
from tests.identities import Authority, Pair, put
from tests.identities import replace as put_file

PATIENCE_S = 60.0
NOW_S = 1_790_000_000.0
"""2026-09-21."""


@pytest.fixture(scope="module")
def old(authority: Authority) -> Pair:
    return authority.issue("old")


@pytest.fixture(scope="module")
def new(authority: Authority) -> Pair:
    return authority.issue("new")


class Renewals:
    """A link's `renew`: counts, and does what it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.error: LinkError | None = None
        self._news = asyncio.Event()

    async def __call__(self) -> bool:
        """Be asked."""
        self.count += 1
        self._news.set()
        if self.error is not None:
            raise self.error
        return self.count > 1

    async def until(self, count: int) -> None:
        """Return once it has been asked so often."""
        async with asyncio.timeout(PATIENCE_S):
            while self.count < count:
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def keeping(folder: Path, renew: Renewals, clock: FakeClock | None = None) -> AsyncIterator[CertificateState]:
    options = {"certificate": str(folder / "device.pem.crt"), "key": str(folder / "private.pem.key")}
    keeper = IdentityKeeper(options, renew, clock or FakeClock(NOW_S))
    task = asyncio.create_task(keeper.run())
    try:
        await renew.until(1)
        await asyncio.sleep(0)
        yield keeper.state
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_files_that_are_replaced_reach_the_link(tmp_path: Path, old: Pair, new: Pair) -> None:
    put(tmp_path, old)
    renew = Renewals()
    async with keeping(tmp_path, renew) as state:
        assert (state.id, state.until, state.note) == (parse(old.certificate).id, "2099-12-31", "")
        put(tmp_path, new)
        await renew.until(2)
        while state.id != parse(new.certificate).id:  # between the two files it may have been asked once more
            await renew.until(renew.count + 1)
        put_file(tmp_path / "private.pem.key", new.key)
        await renew.until(renew.count + 1)


async def test_a_link_that_is_switched_reaches_it_again_and_again(tmp_path: Path, old: Pair, new: Pair) -> None:
    for name, pair in (("1", old), ("2", new), ("3", old)):
        put(tmp_path / name, pair)
    current = tmp_path / "current"
    current.symlink_to("1")
    renew = Renewals()
    async with keeping(current, renew) as state:
        for name, pair in (("2", new), ("3", old)):
            count = renew.count
            (tmp_path / "fresh").symlink_to(name)
            (tmp_path / "fresh").replace(current)
            await renew.until(count + 1)
            await asyncio.sleep(0)
            assert state.id == parse(pair.certificate).id
        count = renew.count
        put(tmp_path / "3", new)  # and what it leads to now is watched
        await renew.until(count + 1)


async def test_a_torn_pair_is_told_and_no_secret(
    tmp_path: Path, old: Pair, new: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, old)
    put_file(tmp_path / "private.pem.key", new.key)
    renew = Renewals()
    async with keeping(tmp_path, renew) as state:
        assert state.id == ""
        assert state.note.startswith(f"the key {tmp_path / 'private.pem.key'} is not that of the certificate")
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [state.note]


async def test_one_that_does_not_serve_is_tried_again_after_a_while(tmp_path: Path, old: Pair) -> None:
    put(tmp_path, old)
    renew, clock = Renewals(), FakeClock(NOW_S)
    renew.error = LinkError("not authorized")
    async with keeping(tmp_path, renew, clock) as state:
        assert state.note == "the new certificate does not serve, the one before it goes on: not authorized"
        await clock.advance(60)
        await renew.until(2)
        renew.error = None
        await clock.advance(120)
        await renew.until(3)
        await asyncio.sleep(0)
        assert (state.note, state.renewals) == ("", 1)


@pytest.mark.parametrize(
    ("days", "note"),
    [
        (31, ""),
        (29, "expires in 29 days, on "),
        (0, "expires in 0 days, on "),
        (-1, "has expired on "),
    ],
)
async def test_an_end_that_comes_soon_is_told(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture, days: int, note: str
) -> None:
    pair = authority.issue("short", end="20270101000000Z")
    put(tmp_path, pair)
    now_s = parse(pair.certificate).end_s - days * DAY_S - (10 if days >= 0 else 0)
    renew = Renewals()
    async with keeping(tmp_path, renew, FakeClock(now_s)) as state:
        assert state.until == "2027-01-01"
        assert (note in state.note) if note else state.note == ""
    assert sum("device.pem.crt" in record.getMessage() for record in caplog.records) == bool(note)


async def test_a_running_host_takes_up_what_edge_provision_has_rotated(tmp_path: Path) -> None:
    """The host, the command and a broker with policies: the session goes on, and no event is lost."""
    out, state = tmp_path / "certs", tmp_path / "state"
    async with start_fleet(tmp_path / "fleet") as fleet:
        where = ["--port", str(fleet.port), "--ca", str(fleet.ca)]
        claim = await asyncio.to_thread(fleet.claim)

        async def edge(*words: str) -> None:
            done = await asyncio.to_thread(CliRunner().invoke, cli, ["provision", "--out", str(out), *words], claim)
            assert done.exit_code == 0, done.output

        await edge(*fleet.arguments, "--claim", "-")
        options = {
            "endpoint": "localhost",
            "port": fleet.port,
            "ca": str(fleet.ca),
            "client_id": "edge-1234",
            "certificate": str(out / "current" / "device.pem.crt"),
            "key": str(out / "current" / "private.pem.key"),
        }
        uplink = replace(FREE, up=(replace(FREE.up[0], filter="edge/edge-1234/up/#"),))
        declared = replace(app(tmp_path, thing="edge-1234"), link=LinkSpec("paho", options, uplink))
        host = Host(declared, state)
        await host.start()
        try:
            assert host.uplink is not None
            sent = [f"edge/edge-1234/up/{number}" for number in range(60)]
            clock = SystemClock()
            for topic in sent[:20]:
                await host.bus.emit(make_event(clock, topic, b"{}", "test"))
            await fleet.standin.recorded(20)
            rotating = asyncio.create_task(edge("--rotate", "--state", str(state), *where))
            for topic in sent[20:40]:
                await host.bus.emit(make_event(clock, topic, b"{}", "test"))
                await asyncio.sleep(0.02)  # at the pace of a sensor
            await rotating
            certificate = host.certificate
            assert certificate is not None
            async with asyncio.timeout(PATIENCE_S):
                while not certificate.renewals:
                    await host.store.work(lambda _: None)
            (old, new) = [one.id for one in fleet.standin.registry.certificates.values() if one.things]
            assert certificate.id == new
            fleet.standin.registry.set_status(old, Status.INACTIVE)
            for topic in sent[40:]:
                await host.bus.emit(make_event(clock, topic, b"{}", "test"))
            async with asyncio.timeout(PATIENCE_S):
                await fleet.standin.until(lambda: {one.topic for one in fleet.standin.record} >= set(sent))
            assert host.uplink.state.connects == 1, "for the uplink it is one connection"
        finally:
            await host.stop()
        arrived = [one.topic for one in fleet.standin.record if one.topic.startswith("edge/")]
        assert list(dict.fromkeys(arrived)) == sent, "all of them, in order, some perhaps twice"


async def test_without_inotify_the_files_are_looked_at_now_and_then(
    tmp_path: Path, old: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Missing:
        """The C library of a system without inotify."""

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Missing())
    put(tmp_path, old)
    async with keeping(tmp_path, Renewals()) as state:
        assert state.id == parse(old.certificate).id
    assert "files are compared every 30 s" in caplog.text
