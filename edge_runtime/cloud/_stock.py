"""What is ready to be sent: taken from the queue ahead of its publish, and no more than can be put back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from edge_runtime.clock import Clock
from edge_runtime.cloud.pack import Bins, Packing, Parcel, Together
from edge_runtime.model import Message

if TYPE_CHECKING:
    from edge_runtime.cloud._budget import Meter
    from edge_runtime.store.queue import Queue

ALL = 9
"""The least urgent priority there is."""
_AHEAD = 32
_AHEAD_IN_BULK = 512
_AHEAD_PACKED = 2048
"""So many messages are taken ahead. Where they are packed: of some 80 topics that take turns, 50 each."""
_AHEAD_BYTES = 1 << 20


class Stock:
    """Keeps enough ready to pack well, and always what is more urgent than the rest. For one sender."""

    def __init__(
        self, queue: Queue, packing: Packing, clock: Clock, meter: Meter | None, *, in_bulk: bool = False
    ) -> None:
        """`meter` holds back what the data budget has nothing left for; `in_bulk`: nothing bounds the pace."""
        self._queue = queue
        self._bins = Bins(packing)
        self._packs = packing.messages > 1
        self._ahead = _AHEAD_PACKED if self._packs else _AHEAD_IN_BULK if in_bulk else _AHEAD
        self._least = ALL
        """The least urgent priority that may go now."""
        self._clock = clock
        self._meter = meter
        self._stocked = asyncio.Event()
        self._sold = asyncio.Event()

    async def fill(self) -> None:
        """Take from the queue whenever there is room, until cancelled. Raises: StoreError."""
        while True:
            self._sold.clear()
            self._least = ALL if self._meter is None else self._meter.least()
            least = self._least if self._has_room() else min(self._least, self._bins.head - 1)
            if least < 0:
                await self._sold.wait()
                continue
            messages = await self._more(self._ahead - self._ahead // 2, least)
            self._bins.add(messages)
            if self._meter is not None:
                self._hold_back(self._meter)
            if self._bins:
                self._stocked.set()

    async def ready(self) -> None:
        """Return when there is something to send, and where it is packed, enough of it if the disk has more."""
        while not self._bins or (self._packs and self._has_room() and self._queue.is_behind(self._least)):
            self._stocked.clear()
            await self._stocked.wait()

    def take(self, together: Together) -> Parcel | None:
        """Return the next publish, the most urgent there is now; None when the data budget does not allow it."""
        if self._meter is not None:
            self._hold_back(self._meter)
        parcel = self._bins.next(together)
        if self._has_room():
            self._sold.set()
        return parcel

    def give_back(self, messages: Iterable[Message] = ()) -> None:
        """Put everything back into the queue, and what was taken and not delivered: together, to be in order again."""
        self._queue.give_back([*self._bins.take_out(), *messages])
        self._sold.set()

    def _has_room(self) -> bool:
        return self._bins.messages <= self._ahead // 2 and self._bins.bytes < _AHEAD_BYTES

    def _hold_back(self, meter: Meter) -> None:
        if out := self._bins.take_out(meter.least()):
            self._queue.give_back(out)

    async def _more(self, limit: int, least: int) -> list[Message]:
        """Return messages of the queue, or none when less urgent ones may now be wanted, too."""
        if least == ALL:
            return await self._queue.get(limit)
        getting = asyncio.create_task(self._queue.get(limit, least=least), name="uplink.get")
        waits = [asyncio.create_task(self._wait(), name="uplink.sold")]
        if self._meter is not None:
            sleep = self._clock.sleep(self._meter.patience_s())
            waits.append(asyncio.create_task(sleep, name="uplink.budget"))
        try:
            await asyncio.wait([getting, *waits], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if getting.done() and not getting.cancelled() and getting.exception() is None:
                self._queue.give_back(getting.result())
            raise
        finally:
            for task in (getting, *waits):
                task.cancel()
            await asyncio.wait([getting, *waits])
        return [] if getting.cancelled() else getting.result()

    async def _wait(self) -> None:
        await self._sold.wait()
