"""Time that is made: it passes as fast as it can, and stands still while somebody works."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from edge_runtime.threads import hold, in_thread
from edge_runtime.warp import WarpClock, WarpLoop

WALL_S = 1_700_000_000.0
DAY_S = 86_400.0


def within(clock: WarpClock, body: Callable[[], Awaitable[None]]) -> float:
    """Run something in the time of a clock; return how long that took in real time."""

    async def run() -> None:
        await body()

    began = time.monotonic()
    with asyncio.Runner(loop_factory=partial(WarpLoop, clock)) as runner:
        runner.run(run())
    return time.monotonic() - began


def passed_s(clock: WarpClock) -> float:
    return (clock.now().mono_ns - 1_000_000_000) / 1e9


def test_a_day_passes_in_no_time() -> None:
    clock = WarpClock(WALL_S)
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(passed_s(clock))

    async def body() -> None:
        clock.run()
        await asyncio.gather(sleeper(DAY_S), sleeper(1.5), sleeper(60))

    assert within(clock, body) < 5
    assert woken == [1.5, 60.0, DAY_S]
    assert clock.now().wall_ns == round((WALL_S + DAY_S) * 1e9)


def test_time_stands_still_until_it_is_let_pass() -> None:
    clock = WarpClock(WALL_S)

    async def body() -> None:
        sleeping = asyncio.create_task(clock.sleep(10))
        await clock.let(9.5)
        assert (passed_s(clock), sleeping.done()) == (9.5, False)
        await clock.let(0.5)
        assert (passed_s(clock), sleeping.done()) == (10.0, True)

    within(clock, body)


def test_it_stands_still_while_a_thread_works() -> None:
    clock = WarpClock(WALL_S)
    go = threading.Event()

    async def body() -> None:
        clock.run()
        work = in_thread("work", lambda: go.wait(5))
        sleeping = asyncio.create_task(clock.sleep(3600))
        asyncio.get_running_loop().call_later(0.05, go.set)
        await work
        assert passed_s(clock) == 0
        await asyncio.to_thread(time.sleep, 0.01)
        assert passed_s(clock) == 0
        await sleeping

    within(clock, body)


def test_what_was_let_pass_is_done_only_when_all_is_at_rest() -> None:
    clock = WarpClock(WALL_S)
    steps: list[str] = []

    async def work() -> None:
        await clock.sleep(1)
        for step in ("one", "two"):
            await in_thread(step, lambda: time.sleep(0.01))
            steps.append(step)

    async def body() -> None:
        working = asyncio.create_task(work())
        await clock.let(1)
        assert steps == ["one", "two"]
        await working

    within(clock, body)


def test_who_hangs_holds_time_up_only_once() -> None:
    clock = WarpClock(WALL_S)

    async def body() -> None:
        release = hold(lambda: True, 0.05)
        clock.run()
        for _ in range(100):
            await clock.sleep(60)
        release()

    assert 0.05 <= within(clock, body) < 3
    assert passed_s(clock) == 6000


def test_who_lets_go_holds_time_up_no_more() -> None:
    clock = WarpClock(WALL_S)

    async def body() -> None:
        hold(lambda: True, 6)()
        clock.run()
        await clock.sleep(60)

    assert within(clock, body) < 3


@pytest.mark.parametrize("speed", [1000.0, 100_000.0])
def test_it_is_no_faster_than_it_may_be(speed: float) -> None:
    clock = WarpClock(WALL_S, speed=speed)

    async def body() -> None:
        clock.run()
        for _ in range(10):
            await clock.sleep(20)

    assert within(clock, body) >= 200 / speed * 0.99


def test_what_comes_from_outside_comes_at_a_time_between() -> None:
    clock = WarpClock(WALL_S, speed=100.0)
    seen: list[float] = []

    async def body() -> None:
        clock.run()
        loop = asyncio.get_running_loop()
        sleeping = asyncio.create_task(clock.sleep(200))
        threading.Timer(0.05, loop.call_soon_threadsafe, (lambda: seen.append(passed_s(clock)),)).start()
        await sleeping

    within(clock, body)
    assert 0 < seen[0] < 200  # 5 s, and less where the loop had no time to let it pass


def test_a_sleep_of_next_to_nothing_passes_too() -> None:
    clock = WarpClock(WALL_S)

    async def body() -> None:
        clock.run()
        await clock.sleep(1e-12)
        assert clock.now().mono_ns == 1_000_001_000
        await clock.sleep(0)
        await clock.sleep(-1)
        assert clock.now().mono_ns == 1_000_001_000

    within(clock, body)


def test_who_gave_up_waiting_makes_no_time_pass() -> None:
    clock = WarpClock(WALL_S)

    async def body() -> None:
        clock.run()
        for _ in range(20_100):  # more than are kept
            task = asyncio.create_task(clock.sleep(5))
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        assert passed_s(clock) == 0
        await clock.sleep(7)
        assert passed_s(clock) == 7

    within(clock, body)


def test_the_wall_clock_can_be_set_and_held() -> None:
    clock = WarpClock(WALL_S, right=False)
    steps: list[float] = []

    def note() -> None:
        steps.append(clock.machine().wall_ns / 1e9)

    async def follow() -> None:
        async for _ in clock.steps():
            note()

    async def body() -> None:
        following = asyncio.create_task(follow())
        await clock.let(1)
        assert not await clock.is_right()
        clock.jump(-3600)
        await clock.let(1)
        assert steps == [WALL_S, WALL_S + 1 - 3600]
        clock.hold(int(WALL_S * 1e9))
        assert clock.now().wall_ns == clock.now().mono_ns + int(WALL_S * 1e9)
        assert clock.machine().wall_ns == round((WALL_S + 2 - 3600) * 1e9)
        following.cancel()

    within(clock, body)


def test_it_can_be_stopped() -> None:
    clock = WarpClock(WALL_S)

    async def body() -> None:
        clock.run()
        await clock.sleep(5)
        sleeping = asyncio.create_task(clock.sleep(5))
        clock.stand()
        await asyncio.to_thread(time.sleep, 0.01)  # of real time, which means nothing here
        assert (passed_s(clock), sleeping.done()) == (5.0, False)
        sleeping.cancel()

    within(clock, body)


async def test_elsewhere_nobody_is_held_up() -> None:
    hold(lambda: True)()
    assert await in_thread("one", lambda: 1) == 1
