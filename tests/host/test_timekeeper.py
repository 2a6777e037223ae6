"""What a host knows of the time: over power cuts, wrong clocks, and the moment at which the clock is set."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Destination
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.endpoints import Outsider
from edge_runtime.host._last_seen import NAME, LastSeen, Seen
from edge_runtime.host._time_gate import TimeGate
from edge_runtime.host.timekeeper import NO_FLOOR, Floor, Timekeeper, day, floor_of_files
from edge_runtime.links.memory import MemoryBroker
from edge_runtime.model import Stamp
from edge_runtime.pure.timeline import CORRECTED, SYNCED, UNSYNCED, Dated
from edge_runtime.store.store import Store
from tests.host.hosting import app, function, site

S = 1_000_000_000
NOW_S = 1_800_000_000.0
"""2027-01-15T08:00:00Z: what time it is while the fake clocks begin."""
DAY_S = 86_400
YEARS_S = 10 * 365 * DAY_S


class Machine:
    """A small computer without a clock of its own: what is kept of it is its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock(NOW_S, boot="boot-1")
        self.boots = 1
        self.keeper = Timekeeper(self.clock, folder)

    def jump_to(self, wall_s: float) -> None:
        """Set the wall clock."""
        self.clock.jump(wall_s - self.clock.machine().wall_ns / 1e9)

    def power_cut(self, wall_s: float, *, right: bool = False) -> None:
        """Boot anew, with a wall clock that says this."""
        self.boots += 1
        self.clock.reboot(f"boot-{self.boots}")
        self.jump_to(wall_s)
        self.clock.right = right

    @contextlib.asynccontextmanager
    async def host(self, floor: Floor = NO_FLOOR) -> AsyncIterator[Timekeeper]:
        """Run what a host runs."""
        keeper = self.keeper = Timekeeper(self.clock, self.folder)
        keeper.open(floor)
        store = await Store.open(self.folder, {}, clock=self.clock)
        await keeper.recall(store)
        running = asyncio.create_task(keeper.run(store))
        try:
            await self.settled(store)
            yield keeper
            await self.settled(store)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await keeper.close()
            await store.close()

    async def settled(self, store: Store) -> None:
        """Let everything come to rest that needs no time."""
        for _ in range(20):
            await store.work(lambda _: None)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.to_thread(int)  # a turn of the loop, and of the threads that it waits for


async def test_events_from_before_the_clock_was_set_are_corrected_over_every_restart(machine: Machine) -> None:
    machine.power_cut(10)
    async with machine.host() as keeper:
        early = machine.clock.now()
        assert not keeper.is_right
        assert keeper.date(early) == Dated(10 * S, UNSYNCED)
        await machine.clock.advance(90)
    async with machine.host():
        machine.clock.right = True
        machine.jump_to(NOW_S)
    machine.power_cut(20)
    async with machine.host() as keeper:
        assert keeper.date(early) == Dated(int(NOW_S) * S - 90 * S, CORRECTED)
        assert keeper.date(machine.clock.now()).mark == UNSYNCED


async def test_a_host_that_starts_with_a_right_clock_corrects_nothing(machine: Machine) -> None:
    keeper = Timekeeper(machine.clock, machine.folder)
    keeper.open()
    first = machine.clock.now()
    async with machine.host() as keeper:
        assert keeper.is_right
        assert keeper.date(first) == Dated(first.wall_ns, SYNCED)
        assert keeper.fault == ""


async def test_that_the_clock_became_right_without_being_set_is_seen_within_a_minute(machine: Machine) -> None:
    machine.clock.right = False
    async with machine.host() as keeper:
        await machine.clock.advance(1000)
        assert not keeper.is_right
        machine.clock.right = True  # NTP found it right, or made it go a little faster
        early = machine.clock.now()
        for _ in range(1000):  # files are written on a thread, which the fake clock does not wait for
            await machine.clock.advance(1)
            if keeper.date(early).mark == CORRECTED:
                break
        assert keeper.date(early) == Dated(early.wall_ns, CORRECTED)


async def test_a_network_that_stays_away_for_weeks_makes_no_clock_wrong(machine: Machine) -> None:
    async with machine.host() as keeper:
        machine.clock.right = False
        await machine.clock.advance(14 * DAY_S)
        assert keeper.is_right
        now = machine.clock.now()
        assert keeper.date(now) == Dated(now.wall_ns, SYNCED)


@pytest.mark.parametrize("off_s", [YEARS_S, -YEARS_S])
async def test_a_clock_that_somebody_sets_wrong_is_told_of_and_deceives_nobody(
    machine: Machine, off_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine.host() as keeper:
        await machine.clock.advance(100)
        before = machine.clock.now()
        machine.clock.right = False
        machine.clock.jump(off_s)
        await until(lambda: not keeper.is_right)
        wrong = day(machine.clock.machine().wall_ns)
        assert keeper.fault == f"the clock says {wrong}, which is wrong: it was 2027-01-15 before"
        assert keeper.date(machine.clock.now()) == Dated(before.wall_ns, CORRECTED)
        assert caplog.text.count("which is wrong") == 1
        await machine.clock.advance(900)
        assert caplog.text.count("which is wrong") == 1
        machine.clock.right = True
        machine.clock.jump(-off_s)
        await until(lambda: keeper.is_right)
        assert keeper.fault == ""
    assert LastSeen(machine.folder).read().seen_ns == before.wall_ns + 900 * S


async def test_no_time_is_told_twice_over_a_power_cut(machine: Machine) -> None:
    async with machine.host():
        await machine.clock.advance(1000)
    machine.power_cut(5)
    async with machine.host() as keeper:
        now = machine.clock.now()
        assert (now.wall_ns, now.mono_ns) == (int(NOW_S + 1000) * S, S)
        assert keeper.fault == "the clock says 1970-01-01, which is wrong: it was 2027-01-15 before"
        await machine.clock.advance(50)
        assert machine.clock.now().wall_ns == int(NOW_S + 1050) * S
        assert keeper.date(machine.clock.now()) == Dated(int(NOW_S + 1050) * S, UNSYNCED)


async def test_a_killed_host_loses_five_minutes_at_most(machine: Machine) -> None:
    async with machine.host() as keeper:
        for _ in range(40):
            await machine.clock.advance(15)
            await until(lambda: machine.clock.now().mono_ns - keeper._saved_ns < 310 * S)
        for _ in range(100):  # the file is written on a thread
            if LastSeen(machine.folder).read().seen_ns >= int(NOW_S + 295) * S:
                break
            await asyncio.sleep(0.01)
        kept = LastSeen(machine.folder).read()
    assert kept.seen_ns >= int(NOW_S + 295) * S
    assert kept.sure_ns == kept.seen_ns


async def test_the_release_of_the_package_and_the_store_tell_a_time_that_has_been(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.power_cut(0)
    async with machine.host(Floor(int(NOW_S) * S, int(NOW_S + 500) * S)) as keeper:
        assert machine.clock.now().wall_ns == int(NOW_S + 500) * S
        assert keeper.fault == "the clock says 1970-01-01, which is wrong: it was 2027-01-15 before"
    assert "until it is set, the times of events are estimates" in caplog.text


def test_the_floor_is_read_from_files(tmp_path: Path) -> None:
    alone = floor_of_files(tmp_path)
    assert day(alone.sure_ns) >= "2026-11-01"
    database = tmp_path / "queue.db"
    database.touch()
    os.utime(database, ns=(0, 2**63 - 1 >> 1))
    assert floor_of_files(tmp_path) == (alone.sure_ns, (2**63 - 1 >> 1) // S * S + (2**63 - 1 >> 1) % S)


async def test_a_floor_in_the_future_is_given_up_when_the_right_time_comes(machine: Machine) -> None:
    machine.jump_to(NOW_S + YEARS_S)
    machine.clock.right = False
    async with machine.host():  # nobody knew better
        await machine.clock.advance(600)
    machine.power_cut(NOW_S)
    async with machine.host() as keeper:
        assert machine.clock.now().wall_ns == int(NOW_S + YEARS_S + 600) * S
        assert await keeper.why_wait(0) == ("", 0.0)  # it was no certain time, and TLS may well work
        early = machine.clock.now()
        machine.clock.right = True
        machine.jump_to(NOW_S + 1)
        await until(lambda: keeper.is_right)
        assert machine.clock.now().wall_ns == int(NOW_S + 1) * S
        assert keeper.date(early) == Dated(int(NOW_S + 1) * S, CORRECTED)
    assert LastSeen(machine.folder).read()[:2] == (int(NOW_S + 1) * S, int(NOW_S + 1) * S)


async def test_who_sets_a_clock_by_hand_is_believed_where_nothing_is_certain(machine: Machine) -> None:
    machine.clock.right = False
    async with machine.host() as keeper:
        machine.clock.jump(-3600)
        await until(lambda: machine.clock.now() == machine.clock.machine())
        assert keeper.fault == ""


async def test_the_boot_before_is_bounded_by_the_one_after_it(machine: Machine) -> None:
    machine.power_cut(NOW_S + YEARS_S)
    async with machine.host():
        await machine.clock.advance(20)
        wrong = machine.clock.now()
        await machine.clock.advance(80)
    machine.power_cut(NOW_S, right=True)
    async with machine.host() as keeper:
        started_ns = int(NOW_S) * S - S  # steady time was 1 s
        assert keeper.date(wrong) == Dated(started_ns - 80 * S, UNSYNCED)


# -- the file --------------------------------------------------------------------------------------------------------


def test_the_last_time_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert LastSeen(tmp_path).read() == Seen()
    written = LastSeen(tmp_path)
    for number in range(5):
        seen = Seen(-number, number * S, 2**62, "abcdef012345")
        written.writing(seen)()
        assert LastSeen(tmp_path).read() == seen
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / NAME).stat().st_size < 8192


@pytest.mark.parametrize("torn", [b"", b"\0" * 4096, b"garbage" * 100])
def test_a_torn_write_leaves_the_time_before_it(tmp_path: Path, torn: bytes) -> None:
    written = LastSeen(tmp_path)
    written.writing(Seen(1, 1, 1, "a"))()
    written.writing(Seen(2, 2, 2, "b"))()  # in the first slot
    data = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(torn[:4096].ljust(4096, b"\xff") + data[4096:])
    again = LastSeen(tmp_path)
    assert again.read() == Seen(1, 1, 1, "a")
    again.writing(Seen(3, 3, 3, "c"))()
    assert LastSeen(tmp_path).read() == Seen(3, 3, 3, "c")


async def test_a_disk_that_fails_is_told_of_and_stops_nothing(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    (machine.folder / NAME).mkdir()
    async with machine.host() as keeper:
        assert keeper.is_right
    assert "last-seen cannot be read" in caplog.text
    assert "last-seen cannot be written" in caplog.text


async def test_a_memo_that_cannot_be_read_is_begun_anew(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    store = await Store.open(machine.folder, {}, clock=machine.clock)
    await store.change(memo={"clock": "[7]"})
    await store.close()
    async with machine.host() as keeper:
        assert keeper.date(machine.clock.now()).mark == SYNCED
    assert "is lost" in caplog.text


# -- who waits for the time ------------------------------------------------------------------------------------------


class Dial:
    """A link with a certificate."""

    def __init__(self, begin_s: float | None) -> None:
        self.begin_s = begin_s
        self.news = asyncio.Event()

    async def valid_from_s(self) -> float | None:
        """Return what the test says."""
        self.news.clear()
        return self.begin_s

    async def changed(self) -> None:
        """Return when the test says so."""
        await self.news.wait()


async def test_tls_waits_while_the_clock_is_known_to_be_wrong_and_goes_on_at_once(machine: Machine) -> None:
    async with machine.host():
        await machine.clock.advance(1)
    machine.power_cut(60)
    async with machine.host() as keeper:
        said: list[str] = []
        passing = asyncio.create_task(TimeGate(keeper, Dial(0.0)).passed(said.append))
        await until(lambda: said)
        assert said == ["the clock says 1970-01-01; waiting for the time (it was 2027-01-15 before)"]
        assert not passing.done()
        machine.jump_to(NOW_S + 50)  # by hand: nobody knows how well, but it may be
        await asyncio.wait_for(passing, 30)
        assert len(said) == 1


@pytest.mark.parametrize("right", [True, False])
async def test_tls_waits_for_the_day_on_which_its_certificate_begins(machine: Machine, *, right: bool) -> None:
    machine.clock.right = right
    async with machine.host() as keeper:
        said: list[str] = []
        gate = TimeGate(keeper, Dial(NOW_S + 2 * DAY_S))
        passing = asyncio.create_task(gate.passed(said.append))
        await until(lambda: said)
        assert said == ["the clock says 2027-01-15; waiting for the time (the certificate holds from 2027-01-17 on)"]
        await machine.clock.advance(2 * DAY_S - 100)
        assert not passing.done()
        for _ in range(10):
            await machine.clock.advance(20)
            await keeper.look()
        await asyncio.wait_for(passing, 30)


async def test_another_certificate_is_looked_at_at_once(machine: Machine) -> None:
    async with machine.host() as keeper:
        dial, said = Dial(NOW_S + 2 * DAY_S), list[str]()
        gate = TimeGate(keeper, dial)
        moved = asyncio.create_task(gate.moved())
        passing = asyncio.create_task(gate.passed(said.append))
        await until(lambda: said)
        assert not moved.done()
        dial.begin_s = NOW_S - DAY_S
        dial.news.set()
        await asyncio.wait_for(asyncio.gather(moved, passing), 30)


async def test_a_clock_that_is_hours_behind_keeps_nobody_waiting(machine: Machine) -> None:
    async with machine.host():
        await machine.clock.advance(1)
    machine.power_cut(NOW_S - 0.9 * DAY_S)
    async with machine.host() as keeper:
        assert keeper.fault == ""
        assert await keeper.why_wait(0) == ("", 0.0)


async def test_a_link_without_tls_does_not_wait(machine: Machine) -> None:
    async with machine.host():
        await machine.clock.advance(1)
    machine.power_cut(0)
    async with machine.host() as keeper:
        said: list[str] = []
        await asyncio.wait_for(TimeGate(keeper, Dial(None)).passed(said.append), 30)
        assert said == []


async def test_who_waits_for_the_clock_to_move_can_stop_waiting(machine: Machine) -> None:
    async with machine.host() as keeper:
        waiting = asyncio.create_task(keeper.moved())
        timed = asyncio.create_task(keeper.moved(30))
        await machine.clock.advance(31)
        await asyncio.wait_for(timed, 30)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not keeper._waiting


def test_every_time_has_a_day() -> None:
    assert day(0) == "1970-01-01"
    assert day(2**31 * S) == "2038-01-19"
    assert day(2**32 * S) == "2106-02-07"
    assert day(-S) == "1969-12-31"
    assert day(10**30) == "the end of all calendars"


# -- a whole host ----------------------------------------------------------------------------------------------------


async def test_a_host_dates_what_it_shows_and_hands_over(tmp_path: Path) -> None:
    clock = FakeClock(0.0)
    clock.right = False
    broker = MemoryBroker()
    broker.go_offline()
    echo = function(tmp_path, on_success=Destination("out/f"))
    async with site(app(tmp_path, echo), tmp_path / "state", broker=broker, clock=clock) as it:
        status = await it.ask("status")
        assert (status["clock"]["synced"], status["clock"]["fault"]) == (False, "")
        event = make_event(clock, "out/early", b"1", "cli")
        await it.host.bus.emit(event)
        clock.right = True
        clock.jump(NOW_S)
        await it.until(lambda: it.host.timekeeper.is_right)
        shown: Any = it.verbs["tail"]({})
        showing = asyncio.ensure_future(anext(shown))
        await asyncio.sleep(0)
        await it.host.bus.emit(make_event(clock, "a", b"1", "cli"))
        item = await showing
        assert (item["time"], item["clock"]) == (NOW_S, "synced")
        await shown.aclose()
        assert (await it.ask("status"))["clock"]["synced"]
        assert it.host.timekeeper.date(event.time) == Dated(int(NOW_S) * S, CORRECTED)


async def test_keys_end_by_the_clock_that_the_sdk_of_a_handler_sees(tmp_path: Path) -> None:
    """Else an SDK in 1970 would keep them for decades."""
    clock = FakeClock(100.0)
    clock.right = False
    async with site(app(tmp_path), tmp_path / "state", clock=clock) as it:
        clock.hold(int(NOW_S) * S)
        keys = await it.host.services.keys(Outsider, "token")
        assert keys.expires_s == 160.0


async def test_nothing_expires_by_the_wall_clock_and_the_order_stays(tmp_path: Path) -> None:
    clock = FakeClock(0.0)
    broker = MemoryBroker()
    broker.hold()
    async with site(app(tmp_path), tmp_path / "state", broker=broker, clock=clock) as it:
        for number, off_s in enumerate((NOW_S, YEARS_S, -2 * YEARS_S, 2**31, -NOW_S, 2**32)):
            clock.right = not clock.right
            await it.emit("out/x", b"%d" % number)
            clock.jump(off_s)
        broker.release()
        await it.settled("uplink", 6)
        assert it.arrived == [("out/x", b"%d" % number) for number in range(6)]


def test_the_log_is_quiet_about_a_clock_that_is_right(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with Machine(tmp_path).host():
            pass

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert "clock" not in caplog.text


def test_a_stamp_is_dated_before_anything_is_known(tmp_path: Path) -> None:
    assert Timekeeper(FakeClock(), tmp_path).date(Stamp(1, 2, "x")) == Dated(1, UNSYNCED)


def test_a_write_that_a_later_one_has_overtaken_changes_nothing(tmp_path: Path) -> None:
    """The first one lies on a thread with a slow disk when the host ends and writes once more."""
    file = LastSeen(tmp_path)
    slow, last = file.writing(Seen(1, 1, 1, "a")), file.writing(Seen(2, 2, 2, "a"))
    last()
    slow()
    assert LastSeen(tmp_path).read() == Seen(2, 2, 2, "a")
