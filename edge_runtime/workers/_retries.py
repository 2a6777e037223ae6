"""Where the events of a function wait: one for its next try, or all of them for what stopped the function."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from edge_runtime.app import Function
from edge_runtime.clock import Clock
from edge_runtime.model import NO_HEADERS, Message

_log = logging.getLogger(__name__)
DUE = "edge-due"
"""The header of an event that waits for its next try: the store's running time, in nanoseconds, at which it is due. It
is on disk with the count of tries, so the wait goes on after a restart."""
ERROR = "edge-error"
"""What the last try ended with."""
FIRST = "edge-first"
"""When it was first handed over, in milliseconds since the epoch."""
_MARKS = frozenset({DUE, ERROR, FIRST})
_MOST_PARKED = 1000
_MOST_PARKED_BYTES = 8 << 20
"""What waits for its next try is in memory. With more, no new event is begun: the rest waits on disk."""
_FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_THROTTLE_S = 300.0
"""AWS Lambda tries a throttled event again after 1 second, and then after up to 5 minutes."""
_LONGEST_WAIT_S = 86_400.0


def retry_wait_s(function: Function, tries: int) -> float:
    """Return how long to wait after so many failed tries."""
    return min(function.retry_wait_s * 2.0 ** min(tries - 1, 64), _LONGEST_WAIT_S)


def marked(message: Message, error: str, due_ns: int, wall_ns: int) -> Message:
    """Return a message that failed once more, with what must be known of that after a restart."""
    first = message.event.headers.get(FIRST) or str(wall_ns // 1_000_000)
    headers = {**message.event.headers, DUE: str(due_ns), ERROR: error, FIRST: first}
    return message._replace(tries=message.tries + 1, event=message.event._replace(headers=headers))


def without(message: Message, marks: frozenset[str] = _MARKS) -> Message:
    """Return a message as it was before it was marked."""
    headers = {key: value for key, value in message.event.headers.items() if key not in marks}
    return message._replace(event=message.event._replace(headers=headers or NO_HEADERS))


def due_ns(message: Message) -> int:
    """Return the store's running time at which a message may run; 0: at once."""
    text = message.event.headers.get(DUE, "")
    return int(text) if text.isascii() and text.isdigit() else 0


class Room:
    """The waiting room of one function. `give_back` gets what has waited enough."""

    def __init__(self, function: Function, clock: Clock, give_back: Callable[[Sequence[Message]], None]) -> None:
        self._function = function
        self._clock = clock
        self._give_back = give_back
        self._parked: dict[asyncio.Task[None], Sequence[Message]] = {}
        self._count = 0
        self._bytes = 0
        self._refused: list[Message] = []
        self._pause: asyncio.Task[None] | None = None
        self._pause_s = _FIRST_PAUSE_S

    @property
    def paused(self) -> bool:
        """Whether the function waits: nothing may run now."""
        return self._pause is not None

    @property
    def crowded(self) -> bool:
        """Whether no more than what is here may be begun."""
        return self._count >= _MOST_PARKED or self._bytes >= _MOST_PARKED_BYTES

    def park(self, messages: Sequence[Message], wait_s: float) -> None:
        """Let the messages run again after their wait; others go first meanwhile."""
        timer = self._timer(min(wait_s, _LONGEST_WAIT_S), "retry")
        self._parked[timer] = messages
        self._count += len(messages)
        self._bytes += _size(messages)
        timer.add_done_callback(self._unpark)

    def hold(
        self, messages: Sequence[Message], why: str = "", *, longest_s: float = LONGEST_PAUSE_S, wait_s: float = 0.0
    ) -> None:
        """Let the messages run again, and no other before them: what stopped them would stop the others too.

        Waits 1 second and each time twice as long, `longest_s` at most; or `wait_s` when that is given. `why` is
        logged.
        """
        self._refused += messages
        if self._pause is not None:
            return
        pause_s = wait_s or min(self._pause_s, longest_s)
        if why:
            _log.warning("%s; it will run again in %g s", why, pause_s)
        if not wait_s:
            self._pause_s = min(self._pause_s * 2, LONGEST_THROTTLE_S)
        self._pause = self._timer(pause_s, "pause")
        self._pause.add_done_callback(self._go_on)

    def went_well(self) -> None:
        """Begin with the shortest pause when it has to wait again."""
        self._pause_s = _FIRST_PAUSE_S

    async def close(self) -> None:
        """Give everything back now."""
        timers = [*self._parked, *([self._pause] if self._pause else [])]
        for timer in timers:
            timer.cancel()
        if timers:
            await asyncio.wait(timers)

    def _unpark(self, timer: asyncio.Task[None]) -> None:
        messages = self._parked.pop(timer)
        self._count -= len(messages)
        self._bytes -= _size(messages)
        # One that was not waited for in full still knows when it is due.
        self._give_back(messages if timer.cancelled() else [without(m, frozenset({DUE})) for m in messages])

    def _go_on(self, _: asyncio.Task[None]) -> None:
        self._pause = None
        refused, self._refused = self._refused, []
        self._give_back(refused)

    def _timer(self, wait_s: float, what: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._sleep(wait_s), name=f"dispatch.{self._function.name}.{what}")

    async def _sleep(self, wait_s: float) -> None:
        await self._clock.sleep(wait_s)


def _size(messages: Sequence[Message]) -> int:
    return sum(len(message.event.payload) for message in messages)
