"""From foreign threads to the loop."""

from __future__ import annotations

import asyncio
import math
import threading
from time import monotonic

from edge_runtime.clock import FakeClock, SystemClock
from edge_runtime.triggers._inbox import Inbox


async def test_nothing_is_lost_between_threads() -> None:
    inbox: Inbox[tuple[int, int]] = Inbox(SystemClock(), "test")

    def produce(who: int) -> None:
        for n in range(5000):
            assert inbox.put((who, n))

    threads = [threading.Thread(target=produce, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    found: list[tuple[int, int]] = []
    async with asyncio.timeout(30):
        while len(found) < 20_000:
            found += await inbox.wait()
    for thread in threads:
        thread.join()
    for who in range(4):
        assert [n for w, n in found if w == who] == list(range(5000))
    await inbox.close()


async def test_it_takes_no_more_than_it_may() -> None:
    inbox: Inbox[int] = Inbox(SystemClock(), "test", most=2)
    assert [inbox.put(n) for n in range(3)] == [True, True, False]
    assert inbox.put(9, always=True)
    assert await inbox.wait() == [0, 1, 9]
    assert inbox.put(3)
    assert await inbox.wait() == [3]


async def test_the_timer_wakes_without_an_item() -> None:
    clock = FakeClock()
    inbox: Inbox[int] = Inbox(clock, "test")
    waiting = asyncio.create_task(inbox.wait())
    due = clock.now().mono_ns + 20_000_000
    inbox.arm(due)
    inbox.arm(due + 1)  # a later time changes nothing
    inbox.arm(None)
    await clock.advance(0.019)
    assert not waiting.done()
    await clock.advance(0.001)
    assert waiting.result() == []
    await inbox.close()


async def test_an_earlier_time_replaces_the_timer() -> None:
    clock = FakeClock()
    inbox: Inbox[int] = Inbox(clock, "test")
    now = clock.now().mono_ns
    inbox.arm(now + 60_000_000_000)
    inbox.arm(now + 1_000_000)
    waiting = asyncio.create_task(inbox.wait())
    await clock.advance(0.001)
    assert waiting.result() == []
    await inbox.close()


async def test_the_machines_time_wakes_whatever_the_clock_says() -> None:
    inbox: Inbox[int] = Inbox(FakeClock(), "test")
    begin = monotonic()
    inbox.arm_machine(begin + 60)
    inbox.arm_machine(begin + 0.02)
    inbox.arm_machine(begin + 30)  # a later time changes nothing
    inbox.arm_machine(math.inf)
    async with asyncio.timeout(10):
        assert await inbox.wait() == []
    assert monotonic() - begin >= 0.02
    await inbox.close()


async def test_it_can_be_woken_without_an_item() -> None:
    inbox: Inbox[int] = Inbox(FakeClock(), "test")
    inbox.wake()
    async with asyncio.timeout(10):
        assert await inbox.wait() == []


async def test_close_leaves_no_task_behind() -> None:
    inbox: Inbox[int] = Inbox(FakeClock(), "test")
    inbox.arm(10**18)
    assert [task.get_name() for task in asyncio.all_tasks() if "timer" in task.get_name()] == ["test.timer"]
    await inbox.close()
    await inbox.close()
    assert len(asyncio.all_tasks()) == 1


def test_a_thread_survives_the_end_of_the_loop() -> None:
    async def make() -> Inbox[int]:
        return Inbox(SystemClock(), "test")

    inbox = asyncio.run(make())
    assert inbox.put(1)
