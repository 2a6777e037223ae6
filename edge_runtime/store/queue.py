"""The queue of one target, as its one consumer sees it: messages in order, each handed out once.

Rows stay on disk until they are settled; here are only the objects of the next ones. While the consumer keeps up, what
was accepted is handed on as it is and never read back. When it falls behind, the rest stays on disk and is read by the
page.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from edge_runtime.app import Overflow
from edge_runtime.model import Message
from edge_runtime.store import schema

if TYPE_CHECKING:
    from edge_runtime.store.store import Store
    from edge_runtime.store.writer import Page

_log = logging.getLogger(__name__)
_HOLD_MESSAGES = 1024
_HOLD_BYTES = 1 << 20
_PAGE_MESSAGES = 256


class _Lane:
    """The messages of one priority."""

    __slots__ = ("behind", "bytes", "cursor", "held", "noticed", "reading")

    def __init__(self) -> None:
        self.held: deque[Message] = deque()
        self.bytes = 0
        self.cursor = 0
        """Every message up to this sequence number is held or was handed out."""
        self.behind = False
        """There may be messages on disk after the cursor."""
        self.noticed = 0
        """The last message that was committed while behind: a page read before that does not have it."""
        self.reading: asyncio.Future[object] | None = None


class Queue:
    """One consumer calls `get`; whoever settles says so through `Store.change`."""

    def __init__(self, store: Store, name: str, heads: dict[int, int]) -> None:
        self.name = name
        self._store = store
        self._lanes = [_Lane() for _ in range(schema.LANES)]
        self._waiter: asyncio.Future[None] | None = None
        self._latest: dict[str, int] | None = None
        if store.counters(name).limits.when_full is Overflow.KEEP_LATEST:
            self._latest = {}
        self._point(heads)

    def __len__(self) -> int:
        """How many messages are not settled yet."""
        return self._store.counters(self.name).queued

    async def get(self, limit: int = 1) -> list[Message]:
        """Wait until there is a message; return up to `limit`, the most urgent priority first, in order.

        They are the caller's until it settles them (`Store.change`) or gives them back (`give_back`).
        """
        while True:
            taken = await self._take(limit)
            if taken:
                return taken
            if any(lane.held or lane.behind for lane in self._lanes):
                continue  # something came while a page was being read
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def give_back(self, messages: Iterable[Message]) -> None:
        """Take back messages that were not delivered, or take replayed letters: they come first, in their order."""
        for message in sorted(messages, key=lambda m: m.seq, reverse=True):
            lane = self._lanes[message.priority]
            if message.seq > lane.cursor:
                lane.behind = True  # it will be read with the others that are there
                continue
            lane.held.appendleft(message)
            lane.bytes += len(message.event.payload)
        self._wake()

    def put(self, message: Message) -> None:
        """Take notice of a message that was committed."""
        lane = self._lanes[message.priority]
        if self._latest is not None:
            self._latest[message.event.topic] = message.seq
        if lane.behind:
            lane.noticed = message.seq
            return
        if message.seq <= lane.cursor:
            return
        if len(lane.held) >= _HOLD_MESSAGES or lane.bytes >= _HOLD_BYTES:
            lane.behind = True
            lane.noticed = message.seq
            return
        lane.held.append(message)
        lane.bytes += len(message.event.payload)
        lane.cursor = message.seq
        self._wake()

    def reset(self, heads: dict[int, int]) -> None:
        """Forget what is held and begin anew with what is on disk: it is not what it was thought to be."""
        for lane in self._lanes:
            lane.held.clear()
            lane.bytes = 0
            lane.reading = None  # what it brings is of before
            lane.behind = False
        if self._latest is not None:
            self._latest.clear()
        self._point(heads)
        self._wake()

    def _point(self, heads: dict[int, int]) -> None:
        for number, first in heads.items():
            self._lanes[number].behind = True
            self._lanes[number].cursor = first - 1

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _take(self, limit: int) -> list[Message]:
        taken: list[Message] = []
        for number, lane in enumerate(self._lanes):
            if lane.behind and not lane.held:
                if not taken:
                    await self._read(number, lane)
                break  # something more urgent may have come meanwhile
            if lane.behind and lane.reading is None and len(lane.held) < _PAGE_MESSAGES:
                self._start_read(number, lane)  # ahead of need: the consumer need not wait for the disk
            while lane.held and len(taken) < limit:
                message = lane.held.popleft()
                lane.bytes -= len(message.event.payload)
                if not self._is_stale(message):
                    taken.append(message)
            if len(taken) >= limit or lane.behind:
                break  # the next lane is less urgent than what this one has on disk
        return taken

    def _is_stale(self, message: Message) -> bool:
        """Tell whether a message was dropped or expired while it was held here."""
        counters = self._store.counters(self.name)
        if counters.spared and (message.priority, message.seq) in counters.spared:
            return False
        if message.seq <= counters.floors[message.priority]:
            return True
        return self._latest is not None and self._latest.get(message.event.topic, 0) > message.seq

    async def _read(self, number: int, lane: _Lane) -> None:
        reading = lane.reading or self._start_read(number, lane)
        await asyncio.shield(reading)

    def _start_read(self, number: int, lane: _Lane) -> asyncio.Future[object]:
        reading = self._store.work(lambda writer: writer.page(self.name, number, lane.cursor, _PAGE_MESSAGES))
        lane.reading = reading
        reading.add_done_callback(lambda done: self._has_read(lane, done))
        return reading

    def _has_read(self, lane: _Lane, reading: asyncio.Future[object]) -> None:
        current = lane.reading is reading
        if current:
            lane.reading = None
        if reading.cancelled() or reading.exception() is not None or not current:
            return  # whoever waits has the error; the next `get` reads again
        page = cast("Page", reading.result())
        if page.damaged:
            aside = self._store.work(lambda writer: writer.set_aside(self.name, page.damaged), writes=True)
            aside.add_done_callback(_report)
        lane.behind = page.more or lane.noticed > page.upto
        lane.held.extend(page.messages)
        lane.bytes += sum(len(m.event.payload) for m in page.messages)
        lane.cursor = max(lane.cursor, page.upto)
        self._wake()


def _report(aside: asyncio.Future[object]) -> None:
    if not aside.cancelled() and (error := aside.exception()) is not None:
        _log.warning("damaged messages could not be set aside: %s", error)
