"""An `emit` for tests: it keeps what it is given, and can be told to refuse."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from edge_runtime.model import NO_HEADERS, Event, Trigger


class Recorder:
    """`await recorder.until(3)` returns once three events were emitted."""

    def __init__(self) -> None:
        self.calls: list[tuple[Event, ...]] = []
        self.memo: dict[str, str] = {}
        self.tries = 0
        self.refuse: Exception | None = None
        """Raised instead of taking anything."""
        self.gate = asyncio.Event()
        """Cleared: emit waits until it is set."""
        self.gate.set()
        self._changed = asyncio.Condition()

    async def __call__(self, *events: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
        """Take the events, or refuse them."""
        async with self._changed:
            self.tries += 1
            self._changed.notify_all()
        await self.gate.wait()
        if self.refuse is not None:
            raise self.refuse
        self.memo |= memo
        async with self._changed:
            if events:
                self.calls.append(events)
            self._changed.notify_all()

    @property
    def events(self) -> list[Event]:
        """All events, in the order of emission."""
        return [event for call in self.calls for event in call]

    @property
    def topics(self) -> list[str]:
        """Their topics."""
        return [event.topic for event in self.events]

    @property
    def details(self) -> list[dict[str, Any]]:
        """The `detail` of their payloads."""
        return [json.loads(event.payload)["detail"] for event in self.events]

    async def until(self, count: int) -> None:
        """Return when at least so many events were taken."""
        async with self._changed, asyncio.timeout(30):
            await self._changed.wait_for(lambda: len(self.events) >= count)

    async def tried(self, count: int) -> None:
        """Return when emit was called at least so often."""
        async with self._changed, asyncio.timeout(30):
            await self._changed.wait_for(lambda: self.tries >= count)


@contextlib.asynccontextmanager
async def running(trigger: Trigger, recorder: Recorder) -> AsyncIterator[asyncio.Task[None]]:
    """Run a trigger for the length of a test, and see that it ends cleanly."""
    task: asyncio.Task[None] = asyncio.ensure_future(trigger.run(recorder))
    await asyncio.sleep(0)
    try:
        yield task
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Listener(logging.Handler):
    """Hears what is logged: `await listener.until("refused", 2)` returns when that text was logged twice."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(f"{record.levelname} {record.getMessage()}")
        self._changed.set()

    def count(self, text: str) -> int:
        """Tell how many lines hold the text."""
        return sum(text in line for line in self.lines)

    async def until(self, text: str, times: int = 1) -> None:
        """Return when at least so many lines hold the text."""
        async with asyncio.timeout(30):
            while self.count(text) < times:
                self._changed.clear()
                await self._changed.wait()


@contextlib.contextmanager
def listening(name: str) -> Iterator[Listener]:
    """Hear everything that a logger of our own says."""
    logger, listener = logging.getLogger(name), Listener()
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    try:
        yield listener
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before)
