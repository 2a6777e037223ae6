"""Time from the machine, time from a test, and ids that are never given twice."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.clock import Clock, FakeClock, SystemClock, boot_id, make_event, new_id, wall_is_synced
from edge_runtime.model import Stamp


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").glob("*")}


def test_the_machines_clock_tells_the_time() -> None:
    clock = SystemClock()
    before, stamp, after = time.time_ns(), clock.now(), time.time_ns()
    assert before <= stamp.wall_ns <= after
    assert stamp.boot == boot_id()
    assert clock.now().mono_ns >= stamp.mono_ns


async def test_the_machines_clock_sleeps() -> None:
    clock = SystemClock()
    start = clock.now().mono_ns
    await clock.sleep(0.01)
    assert clock.now().mono_ns - start >= 9_000_000


def test_the_boot_id_is_that_of_the_kernel() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 12
    code = "from edge_runtime.clock import boot_id; print(boot_id())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == boot_id()


def test_asking_whether_the_clock_is_right_has_an_answer() -> None:
    assert wall_is_synced() in {True, False}


async def test_a_fake_clock_stands_still() -> None:
    clock = FakeClock(wall_s=100.0, boot="b")
    assert clock.now() == clock.now() == Stamp(100_000_000_000, 1_000_000_000, "b")


async def test_sleepers_wake_in_order_at_their_time() -> None:
    clock, woken = FakeClock(wall_s=0), []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now().wall_ns // 1_000_000_000))

    tasks = [asyncio.create_task(sleeper(n, s)) for n, s in (("c", 3), ("a", 1), ("b", 2), ("b2", 2), ("late", 10))]
    await clock.advance(5)
    assert woken == [("a", 1), ("b", 2), ("b2", 2), ("c", 3)]
    assert clock.now().wall_ns == 5_000_000_000
    await clock.advance(5)
    assert woken[-1] == ("late", 10)
    await asyncio.gather(*tasks)


async def test_one_advance_carries_a_loop_that_sleeps_again_and_again() -> None:
    clock, ticks = FakeClock(), 0

    async def ticker() -> None:
        nonlocal ticks
        while True:
            await clock.sleep(1)
            ticks += 1

    task = asyncio.create_task(ticker())
    await clock.advance(60)
    assert ticks == 60
    task.cancel()
    await clock.advance(60)  # a sleeper that was cancelled is no trouble
    assert ticks == 60


async def test_sleeping_no_time_returns_at_once() -> None:
    await FakeClock().sleep(0)
    await FakeClock().sleep(-1)


async def test_a_jump_sets_the_wall_and_not_the_steady_clock() -> None:
    clock = FakeClock(wall_s=1000.0)
    before = clock.now()
    clock.jump(-500)
    assert clock.now().wall_ns - before.wall_ns == -500_000_000_000
    assert clock.now().mono_ns == before.mono_ns


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()], ids=["system", "fake"])
def test_no_time_is_told_that_lies_before_what_is_held(clock: Clock) -> None:
    now = clock.machine()
    ahead_ns = now.wall_ns - now.mono_ns
    clock.hold(ahead_ns + 3600 * 10**9)
    later = clock.now()
    assert later.wall_ns - later.mono_ns == ahead_ns + 3600 * 10**9
    assert abs(clock.machine().wall_ns - now.wall_ns) < 60 * 10**9
    clock.hold(ahead_ns - 3600 * 10**9)
    assert abs(clock.now().wall_ns - clock.machine().wall_ns) < 60 * 10**9


async def test_a_fake_clock_tells_when_it_is_set_and_is_right_when_told() -> None:
    clock = FakeClock()
    async with contextlib.aclosing(clock.steps()) as steps:
        await anext(steps)
        second = asyncio.ensure_future(anext(steps))
        await clock.advance(100)
        assert not second.done()
        clock.jump(5)
        await second
        clock.jump(5)
        clock.jump(5)
        await anext(steps)
    assert await clock.is_right()
    clock.right = False
    assert not await clock.is_right()


async def test_the_machines_clock_tells_of_steps_without_being_asked_again_and_again() -> None:
    before = descriptors()
    async with contextlib.aclosing(SystemClock().steps()) as steps:
        await anext(steps)
        second = asyncio.ensure_future(anext(steps))
        await asyncio.wait([second], timeout=0.05)
        assert not second.done()  # nobody has set this machine's clock meanwhile
        second.cancel()
        await asyncio.wait([second])
    assert descriptors() <= before


async def test_a_reboot_begins_steady_time_anew() -> None:
    clock = FakeClock(wall_s=1000.0)
    await clock.advance(100)
    clock.reboot("second", off_s=30)
    assert clock.now() == Stamp(1_130_000_000_000, 1_000_000_000, "second")


def test_both_are_clocks() -> None:
    clocks: list[Clock] = [SystemClock(), FakeClock()]
    assert all(clock.now().wall_ns for clock in clocks)


@given(st.integers(0, (1 << 48) - 1))
def test_an_id_is_a_uuid_of_version_7_and_tells_its_time(ms: int) -> None:
    found = uuid.UUID(new_id(Stamp(ms * 1_000_000, 0, "")))
    assert found.version == 7
    assert found.variant == uuid.RFC_4122
    assert found.int >> 80 == ms
    assert str(found) == str(found).lower()


def test_ids_differ_within_and_across_processes() -> None:
    stamp = FakeClock().now()
    code = "from edge_runtime.clock import *; s = FakeClock().now(); print(*[new_id(s) for _ in range(1000)])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ids = [new_id(stamp) for _ in range(1000)] + other.stdout.split()
    assert len(set(ids)) == 2000


def test_an_event_is_stamped_when_it_is_made() -> None:
    clock = FakeClock()
    event = make_event(clock, "a/b", b"x", "cli", {"k": "v"})
    assert event[:4] == ("a/b", b"x", "cli", clock.now())
    assert event.headers == {"k": "v"}
    assert uuid.UUID(event.id).version == 7
    assert make_event(clock, "a", b"", "cli").id != event.id


@pytest.mark.parametrize("seconds", [0.001, 1, 86_400])
async def test_time_passes_by_exactly_what_is_asked(seconds: float) -> None:
    clock = FakeClock()
    before = clock.now()
    await clock.advance(seconds)
    assert clock.now().mono_ns - before.mono_ns == int(seconds * 1e9)
    assert clock.now().wall_ns - before.wall_ns == int(seconds * 1e9)
