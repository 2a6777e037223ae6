"""Measures how much comes to each target, for `edge plan`: `pure/rates.py` says what is kept.

Once a minute the ledgers are looked at, and a few events are looked over as `edge tail` would see them. Whoever emits
does nothing for it. What was measured is written down every few minutes, with a commit that somebody else causes; a
crash takes minutes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable

from edge_runtime.clock import Clock
from edge_runtime.cloud.pack import ENCODING, Packing, parcels
from edge_runtime.errors import StoreError
from edge_runtime.host.bus import UPLINK, Bus
from edge_runtime.model import Message, Stamp
from edge_runtime.pure.rates import HOURS, LEVELS, MINUTES, MOST_TARGETS, SIZES, History, Sizes, sizes_of, sizes_text
from edge_runtime.store import schema
from edge_runtime.store.jobs import Entry
from edge_runtime.store.store import Store

_log = logging.getLogger(__name__)
_LOOK_S = 60.0
_KEEP_LOOKS = 5
"""So many looks are between two that are written down."""
_SAMPLE = 64
"""Events of each look that are looked over."""
_SEEN = 512
"""And so many at most that are for nobody."""
_LEAST_PACKED = 16
"""Fewer messages of one topic tell nothing of how well they are compressed."""

Date = Callable[[Stamp], tuple[int, str]]


class RateKeeper:
    """The measuring of one host. `run` ends only when it is cancelled."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, date: Date) -> None:
        """`date` is the timekeeper's: packed messages carry their time."""
        self.history = History()
        self.sizes: dict[str, Sizes] = {}
        self._store = store
        self._bus = bus
        self._clock = clock
        self._date = date
        self._topics: dict[str, Counter[str]] = {}
        self._sampled: list[Message] = []

    async def run(self) -> None:
        """Measure, for ever; what was measured is kept in the end. Raises: StoreError when the store cannot be read."""
        await self._recall()
        self._note()
        looks = 0
        try:
            while True:
                await self._look()
                if looks % _KEEP_LOOKS == 0:
                    self._store.carry(self._memo())
                looks += 1
        finally:
            self._note()
            await self._keep()

    async def _recall(self) -> None:
        minutes, hours, sizes = [await self._store.recall(key) for key in (MINUTES, HOURS, SIZES)]
        try:
            self.history = History.restore(minutes, hours)
            self.sizes = sizes_of(sizes) if sizes is not None else {}
        except ValueError as error:
            _log.warning("what was measured before this start is lost: %s", error)
            self.history, self.sizes = History(), {}

    async def _look(self) -> None:
        """Let a minute pass and see what came."""
        sampling = asyncio.create_task(self._sample(), name="rates.sample")
        try:
            await self._clock.sleep(_LOOK_S)
        finally:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
        self._note()
        self._weigh()

    def _note(self) -> None:
        self.history.note(self._store.age_ns() / 1e9, {c.name: c.produced for c in self._store.ledger})

    async def _sample(self) -> None:
        """Look over some events as they come."""
        watcher, seen, taken = self._bus.watch("#"), 0, 0
        try:
            async with contextlib.aclosing(watcher.entries()) as entries:
                async for entry in entries:
                    seen += 1
                    taken += bool(entry[1])
                    self._take(entry)
                    if taken >= _SAMPLE or seen >= _SEEN:
                        return
        finally:
            self._bus.unwatch(watcher)

    def _take(self, entry: Entry) -> None:
        event, feeds = entry
        for feed in feeds:
            if feed.target not in self.sizes and len(self.sizes) >= MOST_TARGETS:
                continue
            produced = self._store.counters(feed.target).produced
            message = Message(event, feed.target, feed.priority, produced, 0, self._store.age_ns())
            size = schema.size_of(schema.to_row(0, message))
            sizes = self.sizes.setdefault(feed.target, Sizes())
            sizes.add(size, len(event.payload), len(event.topic.encode()), min(feed.priority, LEVELS - 1))
            self._topics.setdefault(feed.target, Counter())[event.topic] += 1
            if feed.target == UPLINK:
                self._sampled.append(message)

    def _weigh(self) -> None:
        """Draw the conclusions of a look: how many topics there are, and how well messages are compressed."""
        for target, topics in self._topics.items():
            self.sizes[target].topics = max(self.sizes[target].topics, len(topics))
        topic, count = max(self._topics.get(UPLINK, Counter[str]()).items(), key=lambda pair: pair[1], default=("", 0))
        if count >= _LEAST_PACKED:
            alike = [message for message in self._sampled if message.event.topic == topic]
            plain, small = (
                next(parcels(alike, Packing(len(alike), gzip=gzip, when=self._date))) for gzip in (False, True)
            )
            if len(plain.messages) == len(small.messages):
                self.sizes[UPLINK].packed(
                    len(small.payload) / len(plain.payload) if ENCODING in small.properties else 1
                )
        self._topics.clear()
        self._sampled.clear()

    def _memo(self) -> dict[str, str]:
        found = self.history.memo()
        return {**found, SIZES: sizes_text(self.sizes)} if found else {}

    async def _keep(self) -> None:
        """Write down what was measured, at the end, when no other commit may come."""
        self.history.lost()  # what was carried before may have gone with a commit that failed
        if not (memo := self._memo()):
            return
        try:
            await self._store.change(memo=memo)
        except StoreError as error:
            _log.warning("what was measured could not be kept: %s", error)
