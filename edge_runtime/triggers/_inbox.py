"""The way from foreign threads to the loop: many items, one wake-up; and a timer of each kind of time."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from typing import Generic, TypeVar

from edge_runtime.clock import Clock

T = TypeVar("T")


class Inbox(Generic[T]):
    """Takes items from any thread; one task of the loop that made it waits for them, or for a time.

    A `call_soon_threadsafe` for each item would cost twenty times as much, so there is one for all items that come
    before the loop gets to them. At most `most` items wait: what does not fit is refused, for the caller to note.
    """

    def __init__(self, clock: Clock, name: str, most: int = 100_000) -> None:
        self._clock = clock
        self._name = name
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._items: deque[T] = deque()
        self._something = asyncio.Event()
        self._woken = False
        self._timer: asyncio.Task[None] | None = None
        self._due = 0
        self._machine_timer: asyncio.TimerHandle | None = None

    def put(self, item: T, *, always: bool = False) -> bool:
        """Leave an item, from any thread; False when there is no room.

        With `always` there is: for an answer that is waited for, of which no more can come than were asked for.
        """
        if len(self._items) >= self._most and not always:
            return False
        self._items.append(item)
        if not self._woken:  # set before the loop is woken and cleared before it looks: no item is left lying
            self._woken = True
            # A thread that is not ours must not die because our loop has ended.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._something.set)
        return True

    def wake(self, _: object = None) -> None:
        """Let `wait` return, from the loop; the argument is for a callback's sake."""
        self._something.set()

    async def wait(self) -> list[T]:
        """Return what has come, oldest first, once there is something; [] when only the armed time has come."""
        await self._something.wait()
        self._something.clear()
        self._woken = False
        return [self._items.popleft() for _ in range(len(self._items))]

    def arm(self, due_ns: int | None) -> None:
        """Let `wait` return at this steady time at the latest; None asks for nothing.

        A timer that is set for earlier stays: it costs one needless look, where setting it anew for each of a
        thousand edges would cost a thousand tasks.
        """
        if due_ns is None or (self._timer is not None and self._due <= due_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due_ns
        self._timer = self._loop.create_task(self._ring(due_ns), name=f"{self._name}.timer")

    def arm_machine(self, at: float) -> None:
        """Let `wait` return at this time of `time.monotonic` at the latest; infinity asks for nothing.

        For what the machine does in its own time, however fast the clock runs. A timer for earlier stays, as above.
        """
        timer = self._machine_timer
        if at == math.inf or (timer is not None and timer.when() <= at):
            return
        if timer is not None:
            timer.cancel()
        self._machine_timer = self._loop.call_at(at, self._ring_machine)

    async def close(self) -> None:
        """Stop the timers."""
        if self._machine_timer is not None:
            self._machine_timer.cancel()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            await asyncio.wait([timer])

    async def _ring(self, due_ns: int) -> None:
        while (left_ns := due_ns - self._clock.now().mono_ns) > 0:
            await self._clock.sleep(left_ns / 1e9)
        self._timer = None
        self._something.set()

    def _ring_machine(self) -> None:
        self._machine_timer = None
        self._something.set()
