"""The queue of one target, as its one consumer sees it: messages in order, each handed out once.

Rows stay on disk until they are settled; here are only the objects of the next ones. While the consumer keeps up, what
was accepted is handed on as it is and never read back. When it falls behind, the rest stays on disk and is read by the
page; with a live share, the newest are handed out before it is their turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from edge_runtime.app import Overflow
from edge_runtime.model import Message
from edge_runtime.store import schema
from edge_runtime.store.lane import Backlog, Bounds, Lane

if TYPE_CHECKING:
    from edge_runtime.store.store import Store
    from edge_runtime.store.writer import Page

_log = logging.getLogger(__name__)
_LITTLE = Bounds(held=128, page=128, fresh=64)
"""What is in memory cannot be thinned: a queue that thins its backlog holds little."""


class Queue:
    """One consumer calls `get`; whoever settles says so through `Store.change`."""

    def __init__(self, store: Store, name: str, heads: dict[int, int]) -> None:
        self.name = name
        self._store = store
        when_full = store.counters(name).limits.when_full
        bounds = _LITTLE if when_full is Overflow.DOWNSAMPLE else Bounds()
        self._lanes = [Lane(bounds) for _ in range(schema.LANES)]
        self._waiter: asyncio.Future[None] | None = None
        self._share = 0.0
        self._latest: dict[str, int] | None = {} if when_full is Overflow.KEEP_LATEST else None
        self._point(heads)

    def __len__(self) -> int:
        """How many messages are not settled yet."""
        return self._store.counters(self.name).queued

    @property
    def live_share(self) -> float:
        """Which share of the messages handed out are new ones while older ones wait on the disk; 0 at first.

        Set it at any time, from 0 to 1. With 0, each priority is handed out strictly in order. With more, while a
        priority has a backlog, its newest messages come before their turn, so many of all that are handed out: in
        order among themselves, as the backlog is among itself. None comes twice for it, and none is left out; those
        for which there is no room in memory wait for their turn in the backlog. After a restart, what waits from
        before is backlog.

        Raises (when set): ValueError for a share below 0 or above 1.
        """
        return self._share

    @live_share.setter
    def live_share(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"the live share of queue {self.name!r} must be from 0 to 1, not {share}")
        self._share = share
        if not share:
            for lane in self._lanes:
                lane.let_fresh_go()

    async def get(self, limit: int = 1, *, least: int = schema.LANES - 1) -> list[Message]:
        """Wait until there is a message; return up to `limit`, the most urgent priority first, in order.

        They are the caller's until it settles them (`Store.change`) or gives them back (`give_back`).

        Args:
            limit: how many at most.
            least: only messages of this priority or more urgent ones (0 is the most urgent); others are left alone.
        """
        while True:
            taken = await self._take(limit, self._lanes[: least + 1])
            if taken:
                return taken
            if any(lane.held or lane.behind for lane in self._lanes[: least + 1]):
                continue  # something came while a page was being read
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def give_back(self, messages: Iterable[Message]) -> None:
        """Take back messages that were not delivered, or take replayed letters: they come first, in their order."""
        for message in sorted(messages, key=lambda m: m.seq, reverse=True):
            self._lanes[message.priority].give_back(message, live=self._share > 0)
        self._wake()

    def put(self, message: Message) -> None:
        """Take notice of a message that was committed."""
        if self._latest is not None:
            self._latest[message.event.topic] = message.seq
        if self._lanes[message.priority].put(message, live=self._share > 0):
            self._wake()

    def backlog(self) -> list[tuple[int, Backlog]]:
        """Return, by priority, the rows that are on the disk only. It holds until the next message is handed out."""
        produced = self._store.counters(self.name).produced
        return [(number, lane.backlog(produced)) for number, lane in enumerate(self._lanes) if lane.behind]

    def is_behind(self, least: int = schema.LANES - 1) -> bool:
        """Tell whether messages of this priority, or more urgent ones, wait on the disk only."""
        return any(lane.behind for lane in self._lanes[: least + 1])

    def reset(self, heads: dict[int, int]) -> None:
        """Forget what is held and begin anew with what is on disk: it is not what it was thought to be."""
        for lane in self._lanes:
            lane.clear()
        if self._latest is not None:
            self._latest.clear()
        self._point(heads)
        self._wake()

    def _point(self, heads: dict[int, int]) -> None:
        for number, first in heads.items():
            self._lanes[number].point(first)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _take(self, limit: int, lanes: Sequence[Lane]) -> list[Message]:
        taken: list[Message] = []
        for number, lane in enumerate(lanes):
            if lane.behind and not lane.held and not lane.leads(self._share):
                if not taken:
                    await self._read(number, lane)
                break  # something more urgent may have come meanwhile
            self._fill(taken, limit, lane)
            if lane.behind and lane.reading is None and len(lane.held) < lane.bounds.page:
                self._start_read(number, lane)  # ahead of need: the consumer need not wait for the disk
            if len(taken) >= limit or lane.behind:
                break  # the next lane is less urgent than what this one has on disk
        return taken

    def _fill(self, taken: list[Message], limit: int, lane: Lane) -> None:
        """Add what a lane has in memory, in turn of the fresh ones and of those before."""
        if not self._share:
            self._fill_in_order(taken, limit, lane)
            return
        while len(taken) < limit:
            live = lane.leads(self._share)
            if not live and not lane.held:
                return
            message = lane.pop(live=live)
            if self._is_stale(message):
                continue
            taken.append(message)
            if lane.behind:
                lane.count(self._share, live=live)

    def _fill_in_order(self, taken: list[Message], limit: int, lane: Lane) -> None:
        held = lane.held
        while held and (room := limit - len(taken)) > 0:
            out = [held.popleft() for _ in range(min(room, len(held)))]
            lane.bytes -= sum([len(message.event.payload) for message in out])
            taken += [message for message in out if not self._is_stale(message)]

    def _is_stale(self, message: Message) -> bool:
        """Tell whether a message was dropped or expired while it was held here."""
        counters = self._store.counters(self.name)
        if counters.spared and (message.priority, message.seq) in counters.spared:
            return False
        if message.seq <= counters.floors[message.priority]:
            return True
        return self._latest is not None and self._latest.get(message.event.topic, 0) > message.seq

    async def _read(self, number: int, lane: Lane) -> None:
        reading = lane.reading or self._start_read(number, lane)
        if reading.done():
            self._has_read(lane, reading)  # its turn is still to come, and never would: nothing here waits for it
        await asyncio.shield(reading)

    def _start_read(self, number: int, lane: Lane) -> asyncio.Future[object]:
        reading = self._store.work(lambda writer: writer.page(self.name, number, lane.cursor, lane.bounds.page))
        lane.reading = reading
        reading.add_done_callback(lambda done: self._has_read(lane, done))
        return reading

    def _has_read(self, lane: Lane, reading: asyncio.Future[object]) -> None:
        current = lane.reading is reading
        if current:
            lane.reading = None
        if reading.cancelled() or reading.exception() is not None or not current:
            return  # whoever waits has the error; the next `get` reads again
        page = cast("Page", reading.result())
        if page.damaged:
            aside = self._store.work(lambda writer: writer.set_aside(self.name, page.damaged), writes=True)
            aside.add_done_callback(_report)
        lane.absorb(page)
        self._wake()


def _report(aside: asyncio.Future[object]) -> None:
    if not aside.cancelled() and (error := aside.exception()) is not None:
        _log.warning("damaged messages could not be set aside: %s", error)
