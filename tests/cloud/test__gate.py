"""A failed try is followed by a wait, which ends early when what it failed for may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.cloud._gate import Gate, pause


class Door:
    """A gate."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.waiting = 0

    async def passed(self, say: Callable[[str], None]) -> None:
        """Let everybody through."""

    async def moved(self) -> None:
        """Return when it has."""
        self.waiting += 1
        try:
            await self.event.wait()
        finally:
            self.waiting -= 1


@pytest.mark.parametrize("gate", [None, Door()])
async def test_without_a_move_the_wait_is_as_long_as_it_was_to_be(gate: Gate | None) -> None:
    clock = FakeClock()
    for seconds in (0.5, 100):
        waiting = asyncio.create_task(pause(clock, gate, seconds))
        await clock.advance(seconds - 0.1)
        assert not waiting.done()
        await clock.advance(0.2)
        assert waiting.done()


async def test_a_move_ends_it_but_not_before_a_second_has_passed() -> None:
    clock, door = FakeClock(), Door()
    waiting = asyncio.create_task(pause(clock, door, 100))
    await clock.advance(0)
    door.event.set()
    await clock.advance(0.9)
    assert not waiting.done()
    await clock.advance(0.2)
    assert waiting.done()
    assert not door.waiting


async def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    clock, door = FakeClock(), Door()
    waiting = asyncio.create_task(pause(clock, door, 100))
    await clock.advance(1)
    assert door.waiting == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not door.waiting
