"""From the queue of a function to its workers, and what comes of it: Lambda's asynchronous invocation.

An event stays queued until its handler has returned; its deletion and what the handler published are one transaction.
So a crash at any moment runs the handler again, and never loses the event.

Three things can go wrong, and each is told apart:

- the handler fails: the event is tried again after a wait that doubles, the others go on meanwhile; after the last try
  it is a dead letter
- what the handler returned is not accepted (a full queue that rejects, a full disk), or the host cannot run it at all,
  or the function is throttled: nobody can mend that by trying other events, so the function waits, and then goes on in
  order with the same event; this counts as no try
- the event itself is hopeless (no JSON, too large, too old, caused by too many functions in a row): it is a dead letter
  at once
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from edge_runtime import failpoint
from edge_runtime.app import Function
from edge_runtime.clock import Clock, new_id
from edge_runtime.errors import EdgeError
from edge_runtime.model import Event, Message, Result, Stamp
from edge_runtime.pure.events.sqs import failed_items
from edge_runtime.pure.permissions import CLIENT_CONTEXT, OURS, depth
from edge_runtime.pure.timeline import CORRECTED, SYNCED, Dated
from edge_runtime.store.jobs import Entry
from edge_runtime.store.store import Store
from edge_runtime.workers import _outcomes as outcomes
from edge_runtime.workers import _retries as retries
from edge_runtime.workers._batches import gather, pack
from edge_runtime.workers._outcomes import Destinations, Failure
from edge_runtime.workers._report import EXITED, THROTTLED
from edge_runtime.workers._settling import Settling

BYTES = "application/octet-stream"
"""The content type of a payload that is handed over unparsed."""


TIME, CLOCK = "edge-time", "edge-clock"
"""In the client context of a handler, when an event was stamped by a clock that was wrong and has been set since: when
it happened, in milliseconds since the epoch, and the mark `corrected`."""


class Invoker(Protocol):
    """What runs a handler: the pool of workers, or an inline one in tests."""

    def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        depth: int = 0,
    ) -> Awaitable[Result]:
        """Return what the handler of function `name` makes of the payload.

        `depth` says how many functions ran in a row to cause this.

        Raises: EdgeError when the handler could not be run, through no fault of its own or of the event.
        """


class _Call(NamedTuple):
    """One invocation."""

    payload: bytes
    request_id: str
    context: Mapping[str, object] | None
    depth: int


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
        date: Callable[[Stamp], Dated] = lambda stamp: Dated(stamp.wall_ns, SYNCED),
    ) -> None:
        """`route` says which targets an event feeds, or raises LimitError; `emitted` is told what was accepted.

        `date` tells the time of a stamp as well as it is known when the event is handed over.
        """
        self.target = f"function/{function.name}"
        self._function = function
        self._store = store
        self._queue = store.queue(self.target)
        self._pool = pool
        self._clock = clock
        self._date = date
        self._turn = asyncio.Lock()
        self._running = 0
        self._finishing = False
        self._changed = asyncio.Event()
        """Set whenever something ended that somebody may wait for."""
        self._room = retries.Room(function, clock, self._give_back)
        self._destinations = Destinations(function, clock, route)
        self._settling = Settling(
            function,
            store,
            clock,
            self._room,
            destinations=self._destinations,
            emitted=emitted,
            changed=self._changed,
        )

    async def run(self) -> None:
        """Work for ever. When cancelled, what was begun is finished or goes back to the queue."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(max(1, self._function.concurrency)):
                    group.create_task(self._work(), name=f"dispatch.{self._function.name}.{number}")
        finally:
            await self._room.close()
            await self._settling.close()

    async def finish(self) -> None:
        """Begin no other event, and return when the handlers that run have ended and what they made is stored."""
        self._finishing = True
        await self._until(lambda: not self._running and self._settling.idle)

    async def _work(self) -> None:
        batch = self._function.batch
        while True:
            async with self._turn:
                if self._waits():
                    await self._until(lambda: not self._waits())
                hand = await (self._queue.get(1) if batch is None else gather(self._queue, self._clock, batch))
            self._running += 1
            try:
                await self._take(hand)
            except BaseException:
                self._queue.give_back(hand)
                raise
            finally:
                self._running -= 1
                self._changed.set()

    # In `hand` are the messages that nobody else has in his care: should something go wrong, they go back.

    async def _take(self, hand: list[Message]) -> None:
        """Do with each message what is to be done."""
        if not (self._finishing or self._room.paused) and (given_up := self._sort_out(hand)):
            await self._settling.failed(given_up)
            _take_out(hand, [message for message, _ in given_up])
        if not hand:
            return
        if self._finishing or self._room.paused:
            self._room.hold(_all(hand))
        elif not self._function.concurrency:
            # Throttled, and nothing will change before the first of them is too old.
            self._room.hold(hand, wait_s=outcomes.life_left_s(self._function, hand[0], self._store.age_ns()))
            hand.clear()
        else:
            await self._invoke(hand)

    def _sort_out(self, hand: list[Message]) -> list[tuple[Message, Failure]]:
        """Let what may not run yet wait for its time; return what shall not run at all."""
        now_ns = self._store.age_ns()
        given_up: list[tuple[Message, Failure]] = []
        early: dict[int, list[Message]] = {}
        for message in hand:
            if (failure := outcomes.hopeless(self._function, message, now_ns)) is not None:
                given_up.append((message, failure))
            elif message.event.headers and (due_ns := retries.due_ns(message)) > now_ns:
                early.setdefault(due_ns, []).append(message)
        for due_ns, messages in early.items():
            # The clock may have lost some seconds in a crash, and a damaged file holds anything.
            longest_s = retries.retry_wait_s(self._function, max(m.tries for m in messages))
            self._room.park(messages, min((due_ns - now_ns) / 1e9, longest_s))
            _take_out(hand, messages)
        return given_up

    async def _invoke(self, hand: list[Message]) -> None:
        call = self._single(hand[0]) if self._function.batch is None else await self._batch(hand)
        if call is None:
            return
        failpoint.reach("invoke.sent")
        try:
            result = await self._pool.invoke(
                self._function.name,
                call.payload,
                request_id=call.request_id,
                context=call.context,
                depth=call.depth,
            )
        except EdgeError as error:
            # That the workers end while the host ends is no trouble.
            why = "" if self._finishing else f"function {self._function.name!r} cannot be run now: {error}"
            self._room.hold(_all(hand), why, longest_s=retries.LONGEST_THROTTLE_S)
            return
        failpoint.reach("invoke.replied")
        if result.error == THROTTLED and not result.log:  # no handler ran: its log would have a START line
            self._room.hold(_all(hand), longest_s=retries.LONGEST_THROTTLE_S)
        elif result.error == EXITED and self._finishing:
            self._room.hold(_all(hand))  # a signal to all processes of the host ends its workers too
        elif result.error:
            await self._fail(hand, outcomes.of_result(result))
        else:
            await self._answered(hand, call, result.payload)

    def _single(self, message: Message) -> _Call:
        event, deep = message.event, 0
        custom = {"subject": event.topic}
        if event.headers:
            custom = {**{k: v for k, v in event.headers.items() if not k.startswith(OURS)}, **custom}
            deep = depth(event.headers)
        wall_ns, mark = self._date(event.time)
        if mark == CORRECTED:  # what the payload says of its time is wrong
            custom |= {TIME: str(wall_ns // 1_000_000), CLOCK: mark}
        context: dict[str, object] = {"custom": custom}
        if CLIENT_CONTEXT in event.headers:
            context["client_context"] = event.headers[CLIENT_CONTEXT]
        if self._function.binary:
            context["content_type"] = BYTES
        return _Call(event.payload, event.id, context, deep)

    async def _batch(self, hand: list[Message]) -> _Call | None:
        """Return the invocation for a batch. What finds no room in it goes back to the queue."""
        now = self._clock.now()
        payload, count = pack(hand, self._function.name, now.wall_ns, self._date)
        if count < len(hand):
            self._queue.give_back(hand[max(count, 1) :])
            del hand[max(count, 1) :]
        if not count:
            await self._fail(hand, outcomes.too_large(len(hand[0].event.payload), self._function.payload_bytes))
            return None
        return _Call(payload, new_id(now), None, max(depth(message.event.headers) for message in hand))

    async def _answered(self, hand: list[Message], call: _Call, reply: bytes) -> None:
        batch = self._function.batch
        emitted: list[Entry] = []
        if batch is not None and batch.report_failures:  # then the reply is a report and no event
            ids = {message.event.id for message in hand}
            failed = failed_items(reply, ids)
            if failed is None or failed:
                again = [m for m in hand if failed is None or m.event.id in failed]
                done = [m for m in hand if failed is not None and m.event.id not in failed]
                await self._settling.failed([(m, outcomes.reported(reply)) for m in again], done=done)
                hand.clear()
                return
        else:
            try:
                emitted = self._destinations.success(hand, call.request_id, call.payload, reply)
            except EdgeError as error:
                await self._fail(hand, outcomes.not_emitted(error, reply))
                return
        await self._settling.succeeded(list(hand), emitted)
        hand.clear()

    async def _fail(self, hand: list[Message], failure: Failure) -> None:
        await self._settling.failed([(message, failure) for message in hand])
        hand.clear()

    def _give_back(self, messages: Sequence[Message]) -> None:
        self._queue.give_back(messages)
        self._changed.set()

    def _waits(self) -> bool:
        """Tell whether no new event may be begun now."""
        return self._room.paused or self._finishing or self._room.crowded

    async def _until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            self._changed.clear()
            await self._changed.wait()


def _all(hand: list[Message]) -> list[Message]:
    """Take everything out of a hand."""
    messages, hand[:] = list(hand), []
    return messages


def _take_out(hand: list[Message], messages: Sequence[Message]) -> None:
    taken = {(message.priority, message.seq) for message in messages}
    hand[:] = [message for message in hand if (message.priority, message.seq) not in taken]
