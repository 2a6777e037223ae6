"""Messages expire by running time; a clock that is set, and a night with the power off, expire nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from edge_runtime.app import QueueLimits
from edge_runtime.clock import FakeClock
from edge_runtime.store.expiry import sweep
from edge_runtime.store.jobs import Change
from edge_runtime.store.writer import Writer
from tests.store.kit import Opened, accept, do, entry, rows, work

BOUNDS = {"a": QueueLimits(ttl_s=100), "b": QueueLimits(ttl_s=1000), "c": QueueLimits()}


def move(clock: FakeClock, seconds: float) -> None:
    asyncio.run(clock.advance(seconds))


def swept(writer: Writer) -> float | None:
    return cast("float | None", work(writer, sweep))


def test_what_waited_too_long_goes_and_is_counted(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, BOUNDS, clock=clock) as writer:
        assert swept(writer) is None
        accept(writer, entry(b"1", "a", "b", "c"), entry(b"1", "a", priority=0))
        move(clock, 60)
        accept(writer, entry(b"2", "a"))
        assert swept(writer) == 40.0
        move(clock, 40)
        assert swept(writer) == 60.0
        assert [sorted(rows(writer.db, n)) for n in (1, 2, 3)] == [[(5, 3)], [(5, 1)], [(5, 1)]]
        counters = writer.targets["a"]
        assert (counters.expired, counters.queued, counters.floors[5], counters.floors[0]) == (2, 1, 1, 2)
        assert writer.db.execute("SELECT expired FROM target WHERE id = 1").fetchone() == (2,)


def test_a_clock_that_is_set_expires_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, BOUNDS, clock=clock) as writer:
        accept(writer, entry())
        for jump in (10 * 365 * 86_400, -20 * 365 * 86_400, 2_000_000_000):
            clock.jump(jump)
            assert swept(writer) == 100.0
        move(clock, 99)
        assert swept(writer) == 1.0


def test_the_time_without_power_does_not_count(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, BOUNDS, clock=clock) as writer:
        accept(writer, entry())
        move(clock, 50)
    clock.reboot("boot-2", off_s=86_400)
    move(clock, 19)
    with Opened(tmp_path, BOUNDS, clock=clock) as writer:
        assert swept(writer) == 30.0, "50 s, and 20 s of the second boot"
        move(clock, 10)
    clock.reboot("boot-3", off_s=-86_400)
    with Opened(tmp_path, BOUNDS, clock=clock) as writer:
        assert swept(writer) == 19.0
        move(clock, 19)
        assert swept(writer) is None
        assert writer.targets["a"].expired == 1


def test_a_sweep_is_bounded(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, BOUNDS, clock=clock) as writer:
        accept(writer, *(entry() for _ in range(2500)))
        move(clock, 100)
        assert [swept(writer), writer.targets["a"].expired] == [0.0, 1000]
        assert [swept(writer), writer.targets["a"].expired] == [0.0, 2000]
        assert [swept(writer), writer.targets["a"].expired] == [None, 2500]


def test_dead_letters_do_not_expire(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, BOUNDS, clock=clock) as writer:
        messages = accept(writer, entry())
        do(writer, Change(dead=[(messages[0], "no")]))
        move(clock, 1000)
        assert swept(writer) is None
        assert writer.targets["a"].dead == 1


def test_a_message_whose_age_cannot_be_read_blocks_nobody(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, BOUNDS, clock=clock) as writer:
        accept(writer, entry(), entry(), entry())
        writer.db.execute("UPDATE message SET meta = 'garbage' WHERE id & 3 = 1")
        writer.db.execute("UPDATE message SET meta = '[0,0,0,0,0,9999999999999999]' WHERE id & 3 = 2")
        move(clock, 100)
        assert swept(writer) is None
        assert writer.targets["a"].expired == 3
