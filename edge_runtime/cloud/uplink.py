"""What is meant for the cloud goes through the link until the broker has acknowledged it.

The queue is on disk; here is only the window: the messages that are on their way. While the link is up, they are the
objects that were just accepted. A row is deleted when its PUBACK has come, and never before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_runtime import failpoint
from edge_runtime.app import Uplink
from edge_runtime.clock import Clock
from edge_runtime.cloud.pack import Parcel, parcels
from edge_runtime.errors import LinkError, RefusedError, StoreError
from edge_runtime.model import Link, Message
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.bucket import Bucket
from edge_runtime.store.store import Store

_log = logging.getLogger(__name__)
TARGET = "uplink"
_STEADY_S = 60.0
"""A connection that held this long was a good one: the next wait begins small again."""
_ACK_S = 60.0
"""A publish unacknowledged for so long, and the connection counts as dead whatever the library thinks of it."""
_PAUSE_S = 1.0

Deliver = Callable[[str, bytes, Mapping[str, str]], Awaitable[None]]


@dataclass(slots=True)
class LinkState:
    """How the link does, for `edge status`."""

    driver: str
    state: str = "down"
    """`down`, `connecting`, `up` or `waiting` (for the next try)."""
    since_ns: int = 0
    connects: int = 0
    published: int = 0
    refused: int = 0
    inflight: int = 0
    most_inflight: int = 0
    last_error: str = ""


class UplinkRunner:
    """Drains the queue of target `uplink` through a link, for ever."""

    def __init__(
        self, store: Store, link: Link, spec: Uplink, clock: Clock, *, deliver: Deliver, driver: str = ""
    ) -> None:
        """`deliver` stores what comes down; it returns when that is safe."""
        self.state = LinkState(driver)
        self._store = store
        self._queue = store.queue(TARGET)
        self._link = link
        self._spec = spec
        self._clock = clock
        self._deliver = deliver
        self._backoff = Backoff()
        self._loop = asyncio.get_running_loop()
        self._publishes = Bucket(spec.publishes_per_s, max(1.0, spec.publishes_per_s))
        self._bytes = Bucket(spec.bytes_per_s, max(131072.0, spec.bytes_per_s))
        self._sent: dict[asyncio.Future[None], float] = {}
        """When each publish that is on its way was sent, the oldest first."""
        self._acked: list[Message] = []
        self._dead: list[tuple[Message, str]] = []
        self._returned: list[Message] = []
        self._settling = False
        self._settlements: set[asyncio.Future[object]] = set()
        self._changed = asyncio.Event()
        """Set whenever the window has moved."""
        self._pause_s = 0.0
        self._holding = False

    async def run(self) -> None:
        """Connect, send, and begin again, until cancelled. What is on its way then stays queued."""
        while True:
            try:
                await self._session()
            except LinkError as error:
                if str(error) != self.state.last_error:
                    _log.warning("link %s: %s", self.state.driver, error)  # once, not once a try
                self.state.last_error = str(error)
            except BaseException:
                self._become("down")
                raise
            self._become("waiting")
            await self._clock.sleep(self._backoff.next())

    async def finish(self) -> None:
        """Send nothing more, and return when nothing is on its way any more."""
        self._holding = True
        while self._sent or self._settlements:
            self._changed.clear()
            await self._changed.wait()

    async def _session(self) -> None:
        self._become("connecting")
        started_s = self._now_s()
        try:
            await self._link.connect(down=self._spec.down, received=self._deliver)
            started_s = self._now_s()
            self.state.connects += 1
            self._pause_s = 0.0
            self._become("up")
            await self._until_lost()
        finally:
            await self._link.close()  # every publish that waits fails now, and its message comes back
            await self._all_home()
            if self._now_s() - started_s >= _STEADY_S:
                self._backoff.reset()

    async def _until_lost(self) -> None:
        tasks = [
            asyncio.create_task(self._link.lost(), name="uplink.lost"),
            asyncio.create_task(self._send(), name="uplink.send"),
            asyncio.create_task(self._watch(), name="uplink.watch"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            reason = task.result()
            if isinstance(reason, LinkError):
                raise reason

    async def _send(self) -> None:
        """Keep the window full."""
        window, most = self._spec.window, max(1, self._spec.pack)
        while True:
            await self._room()
            if self._pause_s:
                pause, self._pause_s = self._pause_s, 0.0
                await self._clock.sleep(pause)
            taken = await self._queue.get((window - len(self._sent)) * most)
            rest = taken
            try:
                for parcel in parcels(taken, most):
                    await self._room()
                    await self._grant(parcel)
                    self._publish(parcel)
                    rest = rest[len(parcel.messages) :]
            finally:
                self._queue.give_back(rest)  # when cancelled between two publishes

    async def _room(self) -> None:
        while len(self._sent) >= self._spec.window or self._holding:
            self._changed.clear()
            await self._changed.wait()

    async def _grant(self, parcel: Parcel) -> None:
        """Wait until the quotas have room for one more publish."""
        for bucket, amount in ((self._publishes, 1.0), (self._bytes, float(len(parcel.payload)))):
            while wait := bucket.take(amount, self._now_s()):
                await self._clock.sleep(wait)

    def _publish(self, parcel: Parcel) -> None:
        sent: asyncio.Future[None]
        try:
            sent = asyncio.ensure_future(self._link.publish(parcel.topic, parcel.payload, parcel.properties))
        except Exception as error:  # noqa: BLE001 - whatever a library cannot send now it never can: a dead letter
            sent = self._loop.create_future()
            sent.set_exception(error)
        self._sent[sent] = self._now_s()
        self.state.inflight = len(self._sent)
        self.state.most_inflight = max(self.state.most_inflight, self.state.inflight)
        sent.add_done_callback(lambda future: self._on_fate(future, parcel.messages))
        failpoint.reach("uplink.sent")

    def _on_fate(self, sent: asyncio.Future[None], messages: Sequence[Message]) -> None:
        """Note what became of a publish; all fates of one turn of the loop are settled together."""
        del self._sent[sent]
        self.state.inflight = len(self._sent)
        error = None if sent.cancelled() else sent.exception()
        if sent.cancelled() or (isinstance(error, LinkError) and not isinstance(error, RefusedError)):
            self._returned.extend(messages)
            if error is not None and self.state.state == "up":
                self._pause_s = _PAUSE_S  # the link stands and yet this did not get through: do not hammer
        elif error is None:
            self._acked.extend(messages)
            self.state.published += len(messages)
        else:
            self._dead.extend((message, str(error)) for message in messages)
            self.state.refused += len(messages)
            _log.error("a message is now a dead letter: %s", error)
        if not self._settling:
            self._settling = True
            self._loop.call_soon(self._settle)
        self._changed.set()

    def _settle(self) -> None:
        self._settling = False
        if self._returned and self.state.state == "up":
            self._queue.give_back(self._returned)
            self._returned = []
        if not self._acked and not self._dead:
            return
        failpoint.reach("uplink.acked")
        done, self._acked = self._acked, []
        dead, self._dead = self._dead, []
        settlement = self._store.change(done=done, dead=dead)
        self._settlements.add(settlement)
        settlement.add_done_callback(lambda future: self._on_settled(future, done, dead))

    def _on_settled(
        self, settlement: asyncio.Future[object], done: list[Message], dead: list[tuple[Message, str]]
    ) -> None:
        self._settlements.discard(settlement)
        self._changed.set()
        error = settlement.exception()
        if isinstance(error, StoreError):
            # The cloud has them, the disk does not know: try again, else they would be sent twice after a restart.
            _log.warning("acknowledged messages could not be deleted yet: %s", error)
            self._acked.extend(done)
            self._dead.extend(dead)
            self._loop.call_later(_PAUSE_S, self._settle)

    async def _watch(self) -> LinkError:
        """Return when the oldest publish has waited too long.

        Some dead links look alive to their library. And a broker may discard a single publish without a word, as AWS
        does above its quotas, while it goes on acknowledging others: MQTT sends it again on a new connection only.
        """
        while True:
            now_s = self._now_s()
            waited_s = now_s - next(iter(self._sent.values()), now_s)
            if waited_s >= _ACK_S:
                return LinkError(
                    f"no acknowledgement for {waited_s:.0f} s with {len(self._sent)} publishes on their way",
                    hint="edge doctor",
                )
            await self._clock.sleep(_ACK_S - waited_s)

    async def _all_home(self) -> None:
        """Wait until every publish has its fate, then put back what was not delivered."""
        while self._sent:
            self._changed.clear()
            await self._changed.wait()
        self._settle()
        if self._returned:
            self._queue.give_back(self._returned)
            self._returned = []
        if self._settlements:
            await asyncio.wait(self._settlements)

    def _become(self, state: str) -> None:
        self.state.state = state
        self.state.since_ns = self._clock.now().mono_ns

    def _now_s(self) -> float:
        return self._clock.now().mono_ns / 1e9
