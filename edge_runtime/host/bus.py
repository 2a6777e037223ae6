"""The one way in: an event is stamped with its targets, stored, and shown to whoever watches."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence

from edge_runtime.app import Function, Rule
from edge_runtime.errors import ConfigError, LimitError
from edge_runtime.model import NO_HEADERS, Event, Feed
from edge_runtime.pure import mosquitto
from edge_runtime.pure.permissions import invoke_topic
from edge_runtime.pure.quotas import check_publish
from edge_runtime.pure.routing import Router
from edge_runtime.pure.topics import check_filter, check_topic, matches
from edge_runtime.store.jobs import Entry
from edge_runtime.store.store import Store

UPLINK = "uplink"
FROM_CLOUD = "link"
_NOT_BACK: Mapping[str, str] = {FROM_CLOUD: UPLINK, f"mqtt/{mosquitto.NAME}": mosquitto.TARGET}
"""By source: the target that leads back there."""
_MOST_WATCHED = 1000
_MOST_WATCHED_BYTES = 4 << 20
_NONE: Mapping[str, int] = {}
_META_BYTES = 160
"""What a message takes in a queue beside topic and payload, about."""
_SOURCE = re.compile(r"[A-Za-z0-9_:./-]+")


class Watcher:
    """One `edge tail`: the newest events that match. When it is too slow, the oldest are left out and counted."""

    def __init__(self, topic_filter: str) -> None:
        check_filter(topic_filter)
        self.missed = 0
        """How many events were left out so far."""
        self._filter = topic_filter
        self._events: deque[Entry] = deque()
        self._bytes = 0
        self._some = asyncio.Event()

    def show(self, entry: Entry) -> None:
        """Take notice of an event."""
        event, _ = entry
        if not matches(self._filter, event.topic):
            return
        self._events.append(entry)
        self._bytes += len(event.payload)
        while len(self._events) > _MOST_WATCHED or (self._bytes > _MOST_WATCHED_BYTES and len(self._events) > 1):
            self._pop()
            self.missed += 1
        self._some.set()

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield what is shown, for ever."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._events:
                yield self._pop()

    def _pop(self) -> Entry:
        entry = self._events.popleft()
        self._bytes -= len(entry[0].payload)
        return entry


class Bus:
    """Routes events into the store. `emit` is `model.Emit`."""

    def __init__(
        self, store: Store, rules: Sequence[Rule], *, aws_quotas: bool, payloads: Mapping[str, int] = _NONE
    ) -> None:
        """`payloads` bounds the bytes of a payload by its topic; see `payload_bounds`."""
        self._store = store
        self._router = Router(rules)
        self._aws_quotas = aws_quotas
        self._payloads = payloads
        self._watchers: set[Watcher] = set()
        self._bounds = {c.name: c.limits.limit_bytes for c in store.ledger if c.limits.limit_bytes > 0}

    def route(self, event: Event) -> Entry:
        """Return the event with the targets it feeds.

        Raises: LimitError for a topic or payload that a target could never take.
        """
        feeds: Sequence[Feed] = self._router.feeds(event.topic)
        if feeds and (back := _NOT_BACK.get(event.source)) is not None:
            feeds = tuple(feed for feed in feeds if feed.target != back)  # what came down does not go up again
        if self._aws_quotas and any(feed.target == UPLINK for feed in feeds):
            check_publish(event.topic, len(event.payload))
        if (most := self._payloads.get(event.topic)) is not None and len(event.payload) > most:
            raise LimitError(
                f"an invocation on topic {event.topic!r} has {len(event.payload)} bytes; its function takes {most}",
                hint="send less at a time, or raise the function's payload",
            )
        if self._bounds:
            for feed in feeds:
                self._check_bound(event, feed.target)
        return event, feeds

    def _check_bound(self, event: Event, target: str) -> None:
        bound = self._bounds.get(target, 0)
        if 0 < bound < (size := len(event.payload) + len(event.topic) + _META_BYTES):
            raise LimitError(
                f"{size} bytes on topic {event.topic!r} do not fit into queue {target!r}, which holds {bound}",
                hint="send less at a time, or raise the queue's limit",
            )

    def emit(self, *events: Event, memo: Mapping[str, str] = NO_HEADERS) -> Awaitable[None]:
        """Store events in the queues of all targets that match; see `model.Emit`.

        Raises: as `model.Emit`; ConfigError for a bad source.
        """
        entries = []
        for event in events:
            check_topic(event.topic)
            if not _SOURCE.fullmatch(event.source):
                raise ConfigError(f"{event.source!r} cannot be the source of an event: {_SOURCE.pattern} is")
            entries.append(self.route(event))
        if not memo and not any(feeds for _, feeds in entries):
            self.show(entries)
            return _nothing()  # nobody wants it: there is nothing to keep
        stored = self._store.change(entries, memo=memo)
        if self._watchers:
            stored.add_done_callback(lambda future: self._on_stored(future, entries))
        return stored  # type: ignore[return-value]  # whoever emits needs no result

    def _on_stored(self, stored: asyncio.Future[object], entries: Sequence[Entry]) -> None:
        if not stored.cancelled() and stored.exception() is None:
            self.show(entries)

    def show(self, entries: Sequence[Entry]) -> None:
        """Show to whoever watches what was accepted."""
        for watcher in self._watchers:
            for entry in entries:
                watcher.show(entry)

    def watch(self, topic_filter: str) -> Watcher:
        """Return a watcher, to be handed to `unwatch`. Raises: LimitError for a bad filter."""
        return self.join(Watcher(topic_filter))

    def join(self, watcher: Watcher) -> Watcher:
        """Show what comes to a watcher of one's own too, to be handed to `unwatch`."""
        self._watchers.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Show it nothing more."""
        self._watchers.discard(watcher)


async def _nothing() -> None:
    """Be the awaitable of an event that feeds nobody."""


def function_rules(functions: Sequence[Function]) -> tuple[Rule, ...]:
    """Return the rules that every app has: an event on `function/<name>/invoke` is an invocation of that function."""
    return tuple(Rule(invoke_topic(one.name), (f"function/{one.name}",)) for one in functions)


def payload_bounds(functions: Sequence[Function]) -> dict[str, int]:
    """Return how many bytes an invocation of each function may have, by its topic."""
    return {invoke_topic(one.name): one.payload_bytes for one in functions}


def feeds_of(rules: Sequence[Rule]) -> set[str]:
    """Return the names of all targets that rules feed."""
    return {target for rule in rules for target in rule.targets}
