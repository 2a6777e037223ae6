"""One connection as the event loop sees it: who waits for an acknowledgement, what came down, and why it ended.

A link makes a new `Line` for each connection, so that nothing of an old connection can reach a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

from edge_runtime.errors import LinkError
from edge_runtime.model import Received

MOST_UNSTORED = 100
"""Messages that the broker may send ahead of our acknowledgements (MQTT 5 Receive Maximum)."""
_MOST_QOS0 = 1000

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class _Down(NamedTuple):
    topic: str
    payload: bytes
    properties: Mapping[str, str]
    ack: Callable[[], None] | None
    """None for QoS 0."""


class Line:
    """One connection. All methods but `post` belong to the loop's thread."""

    def __init__(self, name: str, received: Received) -> None:
        self.name = name
        self.error: LinkError | None = None
        """Why the connection ended; None while it stands."""
        self.hang_up: Callable[[], object] = _nothing
        """What the link does to its socket when the connection is declared over. Called once, and may not wait."""
        self._loop = asyncio.get_running_loop()
        self._received = received
        self._waiting: set[asyncio.Future[None]] = set()
        self._gone: asyncio.Future[LinkError] = self._loop.create_future()
        self._posts: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._awake = False
        self._inbox: deque[_Down] = deque()
        self._arrived = asyncio.Event()
        self._pump = self._loop.create_task(self._store(), name=f"{name}.down")

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Have `call(*args)` run on the loop, from any thread. Calls that come close together share one wake-up."""
        self._posts.append((call, args))
        if not self._awake:
            self._awake = True
            # The loop may have ended before a last callback of the library: then nobody is left to be told.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._awake = False  # before the first popleft: what is appended from here on makes a wake-up of its own
        posts = self._posts
        try:
            while posts:
                call, args = posts.popleft()
                call(*args)
        finally:
            if posts:  # one call raised: the others are not to wait for the next wake-up
                self._loop.call_soon(self._drain)

    def expect(self) -> asyncio.Future[None]:
        """Return the future of a publish that is about to be sent; `settle` or `end` completes it."""
        future = self._loop.create_future()
        if self.error is None:
            self._waiting.add(future)
        else:
            fail(future, self.error)
        return future

    def settle(self, future: asyncio.Future[None], error: LinkError | None) -> None:
        """Complete the future of one publish. Does nothing when the connection's end has done so."""
        self._waiting.discard(future)
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def deliver(
        self, topic: str, payload: bytes, properties: Mapping[str, str], ack: Callable[[], None] | None
    ) -> None:
        """Take a message that came down. `ack` is called once `received` has returned for it, in order of arrival."""
        if self.error is not None:
            return  # unacknowledged: the broker sends it again
        if ack is None and len(self._inbox) >= _MOST_QOS0:
            _log.warning("%s: dropped a QoS 0 message on %r: %d wait to be stored", self.name, topic, _MOST_QOS0)
            return
        self._inbox.append(_Down(topic, payload, properties, ack))
        self._arrived.set()

    async def _store(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._inbox:
                message = self._inbox.popleft()
                try:
                    await self._received(message.topic, message.payload, message.properties)
                except Exception as error:  # noqa: BLE001 - whatever it was, the message is not stored
                    self.end(_not_stored(message.topic, error))
                    return
                if message.ack is not None:
                    message.ack()

    def end(self, error: LinkError) -> None:
        """Declare the connection over: every publish that waits fails, and what came down and is not stored is let go.

        Only the first call counts.
        """
        if self.error is not None:
            return
        self.error = error
        self._inbox.clear()
        if asyncio.current_task() is not self._pump:
            self._pump.cancel()
        for future in self._waiting:
            if not future.done():
                fail(future, error)
        self._waiting.clear()
        self._gone.set_result(error)
        self.hang_up()

    async def gone(self) -> LinkError:
        """Return when the connection is over, with the reason."""
        return await asyncio.shield(self._gone)

    async def unless_over(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what `work` returns; cancel it when the connection is over first. Raises: LinkError then."""
        task = self._loop.create_task(work, name=f"{self.name}.open")
        either: list[asyncio.Future[Any]] = [task, self._gone]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self.error is not None:
                raise _copy(self.error)
            return task.result()
        finally:
            task.cancel()

    async def at_rest(self) -> None:
        """Return when nothing of an ended connection runs any more."""
        await asyncio.wait([self._pump])


def _nothing() -> None:
    return


def fail(future: asyncio.Future[None], error: LinkError) -> None:
    """Fail a publish with a copy of its own: a shared exception would gather the traceback of every waiter."""
    future.set_exception(_copy(error))
    # The publisher may have been cancelled and left. Its message is still in the queue: nothing to complain about.
    future.exception()


def _copy(error: LinkError) -> LinkError:
    return LinkError(str(error), hint=error.hint, answered=error.answered, hung_up=error.hung_up)


def _not_stored(topic: str, error: Exception) -> LinkError:
    lost = LinkError(
        f"a message on {topic!r} could not be stored, so it was not acknowledged: {error}",
        hint=getattr(error, "hint", "") or "the broker sends it again on the next connection",
    )
    lost.__cause__ = error
    return lost
