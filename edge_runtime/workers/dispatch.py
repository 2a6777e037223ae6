"""From the queue of a function to its workers, and what comes of it.

An event stays queued until its handler has returned; its deletion and what the handler published are one transaction.
So a crash at any moment runs the handler again, and never loses the event.

Three things can go wrong, and each is told apart:

- the handler fails: the event is tried again after a wait that doubles, the others go on meanwhile; after the last try
  it is a dead letter
- what the handler returned is not accepted (a full queue that rejects, a full disk), or the host cannot run it at all:
  nobody can mend that by trying other events, so the function waits, and then goes on in order with the same event;
  this counts as no try
- the event itself is hopeless: it is a dead letter at once
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from edge_runtime import failpoint
from edge_runtime.app import Function
from edge_runtime.clock import Clock, make_event
from edge_runtime.errors import EdgeError, QueueFullError, StoreError
from edge_runtime.model import Event, Message, Result
from edge_runtime.pure.events.destination import failure_record
from edge_runtime.store.jobs import Entry
from edge_runtime.store.store import Store

_log = logging.getLogger(__name__)
_MOST_PARKED = 1000
_MOST_PARKED_BYTES = 8 << 20
"""What waits for its next try is in memory. With more, no new event is begun: the rest waits on disk."""
_MOST_SETTLING = 256
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LONGEST_WAIT_S = 86_400.0
_MOST_REASON = 300
_HOPELESS = frozenset({"Runtime.UnmarshalError", "RequestEntityTooLarge"})
"""Errors that lie in the event: another try would end as this one did."""


class Invoker(Protocol):
    """What runs a handler: the pool of workers, or an inline one in tests."""

    def invoke(
        self, name: str, payload: bytes, *, request_id: str, context: Mapping[str, object] | None = None
    ) -> Awaitable[Result]:
        """Return what the handler of function `name` makes of the payload.

        Raises: EdgeError when the handler could not be run, through no fault of its own or of the event.
        """


class Dispatcher:
    """Takes the events of one function from its queue to its workers."""

    def __init__(
        self,
        function: Function,
        store: Store,
        pool: Invoker,
        clock: Clock,
        *,
        route: Callable[[Event], Entry],
        emitted: Callable[[Sequence[Entry]], None] | None = None,
    ) -> None:
        """`route` says which targets an event feeds, or raises LimitError; `emitted` is told what was accepted."""
        self.target = f"function/{function.name}"
        self._function = function
        self._store = store
        self._queue = store.queue(self.target)
        self._pool = pool
        self._clock = clock
        self._route = route
        self._emitted = emitted
        self._turn = asyncio.Lock()
        self._room = asyncio.Semaphore(_MOST_SETTLING)
        self._running = 0
        self._settling: set[asyncio.Future[object]] = set()
        self._parked: dict[asyncio.Task[None], Message] = {}
        self._parked_bytes = 0
        self._refused: list[Message] = []
        self._pause: asyncio.Task[None] | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._finishing = False
        self._changed = asyncio.Event()
        """Set whenever something ended that somebody may wait for."""

    async def run(self) -> None:
        """Work for ever. When cancelled, what was begun is finished or goes back to the queue."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._function.concurrency):
                    group.create_task(self._work(), name=f"dispatch.{self._function.name}.{number}")
                if not self._function.concurrency:
                    await self._for_ever()
        finally:
            timers = [*self._parked, *([self._pause] if self._pause else [])]
            for timer in timers:
                timer.cancel()
            if timers:
                await asyncio.wait(timers)
            if self._settling:
                await asyncio.wait(self._settling)

    async def finish(self) -> None:
        """Begin no other event, and return when the handlers that run have ended and what they made is stored."""
        self._finishing = True
        await self._until(lambda: not self._running and not self._settling)

    async def _work(self) -> None:
        while True:
            async with self._turn:
                if self._waits():
                    await self._until(lambda: not self._waits())
                (message,) = await self._queue.get(1)
            self._running += 1
            try:
                if self._finishing or self._pause is not None:
                    self._hold(message)
                else:
                    await self._handle(message)
            except BaseException:
                self._queue.give_back([message])
                raise
            finally:
                self._running -= 1
                self._changed.set()

    async def _handle(self, message: Message) -> None:
        event = message.event
        failpoint.reach("invoke.sent")
        try:
            result = await self._pool.invoke(
                self._function.name,
                event.payload,
                request_id=event.id,
                context={"custom": {**event.headers, "subject": event.topic}},
            )
        except EdgeError as error:
            self._hold(message, f"function {self._function.name!r} cannot be run now: {error}")
            return
        failpoint.reach("invoke.replied")
        if result.error:
            await self._failed(message, result)
        else:
            await self._succeeded(message, result)

    async def _succeeded(self, message: Message, result: Result) -> None:
        emitted: list[Entry] = []
        destination = self._function.on_success
        if destination and result.payload and result.payload != b"null":
            try:
                emitted.append(self._entry(destination.topic, result.payload, message))
            except EdgeError as error:
                await self._bury(message, result, f"its reply cannot be emitted: {error}")
                return
        # Not awaited: the next event need not wait for the disk. The commits keep their order.
        await self._room.acquire()
        settled = self._store.change(emitted, done=[message])
        self._settling.add(settled)
        settled.add_done_callback(lambda future: self._on_settled(future, message, emitted))

    def _on_settled(self, settled: asyncio.Future[object], message: Message, emitted: Sequence[Entry]) -> None:
        self._room.release()
        self._settling.discard(settled)
        self._changed.set()
        error = settled.exception()
        if error is not None:
            # The handler ran, but what it made could not be kept. Not kept here either: replies may be large.
            self._hold(message, f"the reply of function {self._function.name!r} was not accepted: {error}")
            return
        self._pause_s = _FIRST_PAUSE_S
        if emitted and self._emitted is not None:
            self._emitted(emitted)

    async def _failed(self, message: Message, result: Result) -> None:
        tries = message.tries + 1
        if tries > self._function.retries or result.error in _HOPELESS:
            await self._bury(message, result, _reason(result))
            return
        again = message._replace(tries=tries)
        try:
            await self._store.change(retried=[again])
        except StoreError as error:
            _log.warning("the count of tries was not saved: %s", error)
        self._park(again, min(self._function.retry_wait_s * 2.0 ** min(tries - 1, 64), _LONGEST_WAIT_S))

    async def _bury(self, message: Message, result: Result, reason: str) -> None:
        """Give the event up: make it a dead letter, and emit the record of that."""
        name, letter = self._function.name, message._replace(tries=message.tries + 1)
        _log.error(
            "function %r gave up on event %s (%s) after %d tries: %s; see: edge queue ls function/%s --dead",
            name, message.event.id, message.event.topic, letter.tries, reason, name,
        )  # fmt: skip
        emitted = self._record(letter, result)
        while True:
            try:
                await self._store.change(emitted, dead=[(letter, reason)])
            except StoreError as error:
                _log.warning("a dead letter of function %r cannot be written yet: %s", name, error)
                await self._clock.sleep(_FIRST_PAUSE_S)
            except QueueFullError as error:
                _log.warning("the failure record of function %r was not accepted: %s", name, error)
                emitted = []
            else:
                break
        if emitted and self._emitted is not None:
            self._emitted(emitted)

    def _record(self, letter: Message, result: Result) -> list[Entry]:
        """Return what goes to the failure destination: without the payloads when they are too large for it."""
        destination, event = self._function.on_failure, letter.event
        if destination is None:
            return []
        now_ns = self._clock.now().wall_ns
        for request, response in ((event.payload, result.payload), (None, None)):
            record = failure_record(
                self._function.name, event.id, request, response, invocations=letter.tries, wall_ns=now_ns
            )
            try:
                return [self._entry(destination.topic, record, letter)]
            except EdgeError as error:
                _log.warning("a failure record of function %r cannot be emitted: %s", self._function.name, error)
        return []

    def _entry(self, topic: str, payload: bytes, cause: Message) -> Entry:
        headers = {"edge-cause": cause.event.id}
        return self._route(make_event(self._clock, topic, payload, f"function/{self._function.name}", headers))

    # -- waiting -------------------------------------------------------------------------------------------------

    def _park(self, message: Message, wait_s: float) -> None:
        """Let the message run again after its wait; others go first meanwhile."""
        timer = self._timer(wait_s, "retry")
        self._parked[timer] = message
        self._parked_bytes += len(message.event.payload)
        timer.add_done_callback(self._unpark)

    def _unpark(self, timer: asyncio.Task[None]) -> None:
        message = self._parked.pop(timer)
        self._parked_bytes -= len(message.event.payload)
        self._queue.give_back([message])
        self._changed.set()

    def _timer(self, wait_s: float, what: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._sleep(wait_s), name=f"dispatch.{self._function.name}.{what}")

    async def _sleep(self, wait_s: float) -> None:
        await self._clock.sleep(wait_s)

    def _waits(self) -> bool:
        """Tell whether no new event may be begun now."""
        crowded = len(self._parked) >= _MOST_PARKED or self._parked_bytes >= _MOST_PARKED_BYTES
        return self._pause is not None or self._finishing or crowded

    def _hold(self, message: Message, why: str = "") -> None:
        """Let the message run again, and no other before it: what stopped it would stop them too."""
        self._refused.append(message)
        if self._pause is not None:
            return
        if why:
            _log.warning("%s; it will run again in %g s", why, self._pause_s)
        self._pause = self._timer(self._pause_s, "pause")
        self._pause.add_done_callback(self._go_on)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _go_on(self, _: asyncio.Task[None]) -> None:
        self._pause = None
        refused, self._refused = self._refused, []
        self._queue.give_back(refused)
        self._changed.set()

    async def _until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            self._changed.clear()
            await self._changed.wait()

    async def _for_ever(self) -> None:
        await asyncio.get_running_loop().create_future()


def _reason(result: Result) -> str:
    """Return `type: message` of a handler's error. The error object may be the handler's own and hold anything."""
    try:
        return f"{result.error}: {json.loads(result.payload)['errorMessage']}"[:_MOST_REASON]
    except (ValueError, LookupError, TypeError, RecursionError):
        return result.error
