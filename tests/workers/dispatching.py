"""A store, a handler that does what a test says, and the dispatcher between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from edge_runtime.app import Destination, Function, QueueLimits
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.model import NO_HEADERS, Event, Feed, Result
from edge_runtime.pure.timeline import SYNCED, Dated
from edge_runtime.store.jobs import Entry
from edge_runtime.store.store import Store
from edge_runtime.workers.dispatch import Dispatcher

F = Function(
    "f", Path(), "app.handler", on_success=Destination("out/f"), on_failure=Destination("failed/f", record=True)
)
FAILED = Result(b'{"errorMessage":"the soil is dry","errorType":"ValueError"}', "ValueError")


class Handler:
    """An invoker that does what the test says: `answer` is the result, or what makes it of a payload."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.contexts: list[Mapping[str, object]] = []
        self.request_ids: list[str] = []
        self.depths: list[int] = []
        self.answer: Callable[[bytes], Result] | Result | Exception = Result(b'{"ok":true}')
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self.most = 0

    async def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        depth: int = 0,
    ) -> Result:
        """Take note of the call, wait for the gate, and answer."""
        assert name == "f"
        self.depths.append(depth)
        self.calls.append(payload)
        self.request_ids.append(request_id)
        self.contexts.append(context or {})
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, Result) else self.answer(payload)


@dataclass
class Change:
    """One call of `Store.change`."""

    topics: list[str]
    done: list[int] = field(default_factory=list)
    dead: list[tuple[int, str]] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)


class Spy:
    """A store that keeps what it was asked for, and fails when told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.queue = store.queue
        self.age_ns = store.age_ns
        self.changes: list[Change] = []
        self.fail: list[Exception] = []

    def change(self, entries: Sequence[Entry] = (), **more: Any) -> asyncio.Future[object]:  # noqa: ANN401 - passed on
        """Do what `Store.change` does."""
        if self.fail:
            future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            future.set_exception(self.fail.pop(0))
            return future
        self.changes.append(
            Change(
                [event.topic for event, _ in entries],
                [m.seq for m in more.get("done", ())],
                [(m.seq, reason) for m, reason in more.get("dead", ())],
                [m.tries for m in more.get("retried", ())],
            )
        )
        return self._store.change(entries, **more)


class Site:
    """A store, a handler, and the dispatcher between them."""

    def __init__(self, store: Store, clock: FakeClock, handler: Handler, function: Function) -> None:
        self.store = store
        self.clock = clock
        self.handler = handler
        self.spy = Spy(store)
        self.shown: list[str] = []
        self.topics: dict[str, tuple[Feed, ...] | Exception] = {
            "out/f": (Feed("uplink", 5),),
            "failed/f": (Feed("uplink", 0),),
        }
        self.dates: dict[int, Dated] = {}
        """What is known of the time of a stamp, by its steady time."""
        self.dispatcher = Dispatcher(
            function,
            cast("Store", self.spy),
            handler,
            clock,
            route=self._route,
            emitted=lambda entries: self.shown.extend(event.topic for event, _ in entries),
            date=lambda stamp: self.dates.get(stamp.mono_ns, Dated(stamp.wall_ns, SYNCED)),
        )
        self.task = asyncio.create_task(self.dispatcher.run())

    def _route(self, event: Event) -> Entry:
        feeds = self.topics[event.topic]
        if isinstance(feeds, Exception):
            if len(event.payload) > 1000:
                raise feeds
            feeds = (Feed("uplink", 0),)
        return event, feeds

    async def emit(self, *payloads: bytes, headers: Mapping[str, str] = NO_HEADERS, topic: str = "in/a") -> list[str]:
        """Queue an event for each payload; return their ids."""
        events = [make_event(self.clock, topic, payload, "cli", headers) for payload in payloads]
        for event in events:
            await self.store.change([(event, (Feed("function/f", 5),))])
        return [event.id for event in events]

    async def until(self, happened: Callable[[], object]) -> None:
        """Return when it has happened; time stands still."""
        async with asyncio.timeout(20):
            while not happened():
                await self.rest()

    async def rest(self) -> None:
        """Let everything come to rest that needs no time."""
        for _ in range(5):
            await self.store.work(lambda _: None)

    async def settled(self, count: int) -> None:
        """Return when so many events are done by the books."""
        await self.until(lambda: self.store.counters("function/f").delivered == count)

    async def letters(self, count: int) -> None:
        """Return when there are so many dead letters."""
        await self.until(lambda: self.store.counters("function/f").dead == count)

    async def uplink(self, count: int) -> list[Event]:
        """Return what was emitted, which is to be so many events."""
        queue = self.store.queue("uplink")
        await self.until(lambda: len(queue) == count)
        events: list[Event] = []
        while len(events) < count:  # the books are right a moment before the last is handed out
            events += [message.event for message in await queue.get(count - len(events))]
        return events

    async def cancel(self) -> None:
        """End the dispatcher."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def site(
    folder: Path,
    function: Function = F,
    *,
    handler: Handler | None = None,
    clock: FakeClock | None = None,
    uplink: QueueLimits | None = None,
) -> AsyncIterator[Site]:
    clock = clock or FakeClock()
    queues = {"": QueueLimits(), "function/f": QueueLimits(), "uplink": uplink or QueueLimits()}
    store = await Store.open(folder, queues, clock=clock)
    it = Site(store, clock, handler or Handler(), function)
    try:
        yield it
    finally:
        await it.cancel()
        await store.close()
