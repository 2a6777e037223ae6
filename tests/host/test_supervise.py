"""A part that ends is started again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.errors import ConfigError
from edge_runtime.host.supervise import Part, supervise


class Runs:
    """A part that ends as the test says, and counts its starts."""

    def __init__(self, *ends: Exception | float | None) -> None:
        self.clock = FakeClock()
        self.part = Part("gpio")
        self.starts = 0
        self._ends = list(ends)
        self.task = asyncio.create_task(supervise(self.part, self._run, self.clock))

    async def _run(self) -> None:
        self.starts += 1
        end = self._ends.pop(0) if self._ends else 1e9
        if isinstance(end, float):
            await self.clock.sleep(end)
        elif isinstance(end, Exception):
            raise end

    async def after(self, seconds: float) -> int:
        """Let time pass; return how often the part has been started."""
        await self.clock.advance(seconds)
        return self.starts

    async def stop(self) -> None:
        """End it all."""
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def test_a_part_that_fails_is_started_again_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs(ZeroDivisionError("a mistake"))
    assert await runs.after(0) == 1
    assert (runs.part.state, runs.part.restarts, runs.part.last_error) == ("waiting", 1, "a mistake")
    assert await runs.after(1) == 2
    assert (runs.part.state, runs.part.restarts, runs.part.last_error) == ("running", 1, "a mistake")
    (record,) = caplog.records
    assert record.getMessage() == "gpio failed and will be started again: a mistake"
    assert record.exc_info is not None
    await runs.stop()


async def test_an_error_of_ours_is_one_line_with_its_hint_and_only_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    error = ConfigError("no such pin", hint="mend it")
    runs = Runs(error, error, error)
    assert await runs.after(10) == 4
    assert runs.part.last_error == "no such pin (mend it)"
    assert [(r.getMessage(), r.exc_info) for r in caplog.records] == [
        ("gpio failed and will be started again: no such pin (mend it)", None)
    ]
    await runs.stop()


async def test_the_waits_grow_to_a_minute_and_begin_small_after_a_good_run() -> None:
    runs = Runs(*[ValueError("again")] * 40, 61.0)
    while runs.starts < 41:
        before = runs.starts
        assert await runs.after(60) > before  # never longer than a minute
    await runs.after(61)
    assert runs.part.restarts == 41
    assert await runs.after(1) == 42
    await runs.stop()


async def test_a_part_that_just_ends_is_started_again() -> None:
    runs = Runs(None)
    assert await runs.after(1) == 2
    assert runs.part.last_error == "it ended by itself"
    await runs.stop()


async def test_a_part_that_is_cancelled_from_within_is_started_again() -> None:
    async def run() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    clock, part = FakeClock(), Part("uplink")
    task = asyncio.create_task(supervise(part, run, clock))
    await clock.advance(5)
    assert part.restarts > 1
    assert part.last_error == "something that it waited for was cancelled"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_one_error_of_a_group_is_what_is_told() -> None:
    runs = Runs(ExceptionGroup("unhandled errors in a TaskGroup", [ExceptionGroup("inner", [OSError("no pin")])]))
    await runs.after(0)
    assert runs.part.last_error == "no pin"
    await runs.stop()
