"""What is meant for the cloud goes through the link until the broker has acknowledged it.

The queue is on disk; here is only the window: the messages that are on their way. While the link is up, they are the
objects that were just accepted. A row is deleted when its PUBACK has come, and never before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from edge_runtime import failpoint
from edge_runtime.app import Uplink
from edge_runtime.clock import Clock, wall_is_synced
from edge_runtime.cloud._agents import Agents
from edge_runtime.cloud._care import HINT, MOST_ASIDE, RETRY_S, Care
from edge_runtime.cloud._gate import Gate, pause
from edge_runtime.cloud._patience import LEAST_S, Patience
from edge_runtime.cloud._redial import Redial
from edge_runtime.cloud._stock import Stock
from edge_runtime.cloud.agent import Agent
from edge_runtime.cloud.pack import Packing, Parcel
from edge_runtime.errors import LinkError, RefusedError, StoreError
from edge_runtime.model import NO_HEADERS, Link, Message, Stamp
from edge_runtime.pure.bucket import Bucket, Pace
from edge_runtime.pure.quotas import PAYLOAD_BYTES
from edge_runtime.store.store import Store

if TYPE_CHECKING:
    from edge_runtime.cloud._budget import Meter

_log = logging.getLogger(__name__)
TARGET = "uplink"
_PAUSE_S = 1.0

Deliver = Callable[[str, bytes, Mapping[str, str]], Awaitable[None]]


class Dates(Protocol):
    """What knows of the time more than a clock does."""

    @property
    def is_right(self) -> bool:
        """Whether the wall clock is known to be right."""

    def date(self, stamp: Stamp) -> tuple[int, str]:
        """Return when something happened: nanoseconds since the epoch, and how that is known (`pure.timeline`)."""


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
    hint: str = ""
    """What is to be done about the last error, or empty."""
    agents: dict[str, str] = field(default_factory=dict)
    """By name, as `Agents.states`."""
    budget: dict[str, object] | None = None
    """As `Meter.standing`; None without a data budget."""


class UplinkRunner:
    """Drains the queue of `spec.target` through a link, for ever, and lets agents talk over it."""

    def __init__(  # noqa: PLR0913 - the keywords are parts of the host, and may be left out
        self,
        store: Store,
        link: Link,
        spec: Uplink,
        clock: Clock,
        *,
        deliver: Deliver,
        driver: str = "",
        agents: Sequence[Agent] = (),
        gate: Gate | None = None,
        dates: Dates | None = None,
    ) -> None:
        """Prepare; `run` does the rest.

        Args:
            store: where the queue is.
            link: what it goes through.
            spec: how.
            clock: what time it is.
            deliver: stores what comes down and no agent has taken; it returns when that is safe.
            driver: the name of the link's plug-in, for the status.
            agents: what else talks over the link.
            gate: what is passed before each attempt to connect.
            dates: knows the time: for `edge-time` on each publish, which else is not told, and for the data budget.
        """
        self._state = LinkState(driver)
        self._store = store
        self._queue = store.queue(spec.target)
        self._queue.live_share = spec.live_share
        self._link = link
        self._spec = spec
        self._clock = clock
        self._deliver = deliver
        self._gate = gate
        self._redial = Redial(clock)
        self._patience = Patience()
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(spec.publishes_per_s)
        self._bytes = Bucket(spec.bytes_per_s, float(PAYLOAD_BYTES))
        self._meter = self._make_meter(dates)
        packing = Packing(max(1, spec.pack), spec.gzip, link.most_bytes, dates.date if dates is not None else None)
        self._stock = Stock(self._queue, packing, clock, self._meter, in_bulk=not spec.publishes_per_s)
        self._sent: dict[asyncio.Future[None], float] = {}
        """When each publish that is on its way was sent, the oldest first."""
        self._acked: list[Message] = []
        self._dead: list[tuple[Message, str]] = []
        self._returned: list[Message] = []
        self._aside: list[Message] = []
        """What waits for something else to be tried, see `Care`."""
        self._settling = False
        self._settlements: set[asyncio.Future[object]] = set()
        self._changed = asyncio.Event()
        """Set whenever the window has moved."""
        self._begun = asyncio.Event()
        """Set when something was sent."""
        self._pause_s = 0.0
        self._buried = ""  # why the last message was given up
        self._holding = False
        self._stands = False
        """Whether there is a connection, be it subscribed already or not."""
        self._turn = asyncio.Lock()
        """Held from the moment at which there is room in the window until it is taken."""
        self._care = Care(clock, max(spec.window, spec.pack))
        self._agents = Agents(agents, self._subscribe, spec, clock, self._say)
        self._state.agents = self._agents.states

    def _make_meter(self, dates: Dates | None) -> Meter | None:
        if self._spec.budget is None:
            return None
        from edge_runtime.cloud._budget import Meter  # noqa: PLC0415 - few links are metered, and it needs time zones

        synced = wall_is_synced if dates is None else lambda: dates.is_right
        return Meter(self._store, self._spec.budget, self._clock, synced)

    @property
    def state(self) -> LinkState:
        """How the link does now; always the same object."""
        if self._meter is not None:
            self._state.budget = self._meter.standing()
        return self._state

    async def run(self) -> None:
        """Connect, send, and begin again, until cancelled. What is on its way then stays queued."""
        if self._meter is not None:
            await self._meter.open()
        while True:
            answered = False
            try:
                await self._session()
            except LinkError as error:
                answered = error.answered
                self._tell(str(error), error.hint)
            except BaseException:
                self._become("down")
                raise
            self._become("waiting")
            await pause(self._clock, self._gate, self._redial.failed(answered=answered))

    async def finish(self) -> None:
        """Send nothing more, and return when nothing is on its way any more."""
        self._holding = True
        await self._until(lambda: not self._sent and not self._settlements)

    def forgive(self) -> None:
        """Send again on topics for which the broker hung up: somebody has replayed what was given up."""
        self._care.forgive()

    async def _session(self) -> None:
        if self._gate is not None:
            await self._gate.passed(self._wait_for)
        self._become("connecting")
        self._redial.begins()
        self._patience.begins()
        self._care.begins()
        filling = asyncio.create_task(self._stock.fill(), name="uplink.fill")  # the disk is read meanwhile
        try:
            await self._link.connect(down=(), received=self._received)
            self._redial.stands()
            self._state.connects += 1
            if self._meter is not None:
                self._meter.connected()
            self._pause_s = 0.0
            self._stands = True
            self._care.subscribes()  # until those who begin to subscribe now have done so
            await self._until_lost(filling)
        except LinkError as error:
            self._care.ended(hung_up=error.hung_up)
            raise
        finally:
            self._stands = False
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
            await self._link.close()  # every publish that waits fails now, and its message comes back
            if self._meter is not None:
                self._meter.disconnected()
            await self._all_home()

    async def _until_lost(self, filling: asyncio.Task[None]) -> None:
        tasks: list[asyncio.Task[object]] = [
            filling,
            asyncio.create_task(self._link.lost(), name="uplink.lost"),
            asyncio.create_task(self._listen(), name="uplink.listen"),
            asyncio.create_task(self._send(), name="uplink.send"),
            asyncio.create_task(self._watch(), name="uplink.watch"),
            asyncio.create_task(self._try_aside(), name="uplink.aside"),
            asyncio.create_task(self._agents.run(self._subscribed), name="uplink.agents"),
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

    async def _listen(self) -> None:
        """Subscribe to what is to come down, while the first publishes are on their way, and be up."""
        if self._spec.down:
            await self._subscribe(self._spec.down)
        self._become("up")
        await self._loop.create_future()

    async def _subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to more, as `Link.subscribe`."""
        self._care.subscribes()
        try:
            await self._link.subscribe(filters)
        except RefusedError:
            self._subscribed()
            raise
        self._subscribed()

    def _subscribed(self) -> None:
        self._care.subscribed()
        self._changed.set()

    async def _send(self) -> None:
        """Keep the window full."""
        while True:
            await self._stock.ready()
            async with self._turn:
                await self._room()
                await self._breathe()
                if self._spec.publishes_per_s:
                    await self._granted(self._pace.take)
                parcel = self._stock.take(self._care.together)  # only now: nothing more urgent has come meanwhile
                if parcel is None:
                    continue
                if why := self._care.verdict(parcel):
                    self._bury(parcel.messages, why)
                    continue
                if self._care.is_to_wait(parcel):
                    self._aside.extend(parcel.messages)
                    continue
                try:
                    await self._clear_for(parcel)
                    await self._breathe()
                    if self._spec.bytes_per_s:
                        await self._granted(partial(self._bytes.take, float(len(parcel.payload))))
                except BaseException:
                    self._returned.extend(parcel.messages)
                    raise
                self._publish(parcel)

    async def _room(self) -> None:
        await self._until(self._has_room)

    def _has_room(self) -> bool:
        window = min(self._spec.window, self._care.window)
        return len(self._sent) < window and not self._holding and len(self._aside) < MOST_ASIDE

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Return when something holds that comes to hold only when the window moves."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    async def _try_aside(self) -> None:
        """Now and then try again what was set aside."""
        while True:
            await self._clock.sleep(RETRY_S)
            if self._aside:
                self._care.retry()
                self._take_in()

    def _take_in(self) -> None:
        """Put back what was set aside."""
        aside, self._aside = self._aside, []
        self._returned.extend(aside)
        self._settle_soon()

    async def _clear_for(self, parcel: Parcel) -> None:
        """Wait until nothing else is on its way, if that is how it is to go."""
        await self._until(lambda: not self._care.goes_alone(parcel) or not (self._sent or self._care.asks))

    async def _breathe(self) -> None:
        """Wait a moment after a failure: perhaps the connection is over, and nobody has said so yet."""
        if self._pause_s:
            wait, self._pause_s = self._pause_s, 0.0
            await self._clock.sleep(wait)

    async def _say(self, topic: str, payload: bytes) -> None:
        """Publish for an agent, see `Say`. It counts to the data budget and is not held back by it."""
        parcel = Parcel(topic, payload, NO_HEADERS, ())
        async with self._turn:
            if why := self._care.verdict(parcel):
                raise RefusedError(why, hint=HINT)
            if self._care.is_to_wait(parcel):
                raise LinkError(f"a publish on {topic!r} waits: the broker hung up on the last ones", hint=HINT)
            await self._room()
            await self._clear_for(parcel)
            await self._breathe()
            await self._granted(self._pace.take)
            await self._granted(partial(self._bytes.take, float(len(payload))))
            sent = self._publish(parcel)
        await asyncio.shield(sent)  # on its way all the same when nobody waits for it any more

    async def _received(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Take a message that came down. AWS counts it like one that goes up."""
        self._pace.spend(self._now_s())
        if self._meter is not None:
            self._meter.came(topic, payload, properties)
        if not await self._agents.received(topic, payload):
            await self._deliver(topic, payload, properties)

    async def _granted(self, take: Callable[[float], float]) -> None:
        """Wait until a quota has room, and take it."""
        while wait := take(self._now_s()):
            await self._clock.sleep(wait)

    def _publish(self, parcel: Parcel) -> asyncio.Future[None]:
        sent: asyncio.Future[None]
        try:
            sent = asyncio.ensure_future(self._link.publish(parcel.topic, parcel.payload, parcel.properties))
        except Exception as error:  # noqa: BLE001 - whatever a library cannot send now it never can: a dead letter
            sent = self._loop.create_future()
            sent.set_exception(error)
        if self._meter is not None:
            self._meter.sent(parcel)
        self._sent[sent] = self._now_s()
        self._care.sends(parcel)
        self._redial.spoke()
        self._begun.set()
        self._state.inflight = len(self._sent)
        self._state.most_inflight = max(self._state.most_inflight, self._state.inflight)
        sent.add_done_callback(lambda future: self._on_fate(future, parcel))
        failpoint.reach("uplink.sent")
        return sent

    def _on_fate(self, sent: asyncio.Future[None], parcel: Parcel) -> None:
        """Note what became of a publish; all fates of one turn of the loop are settled together."""
        sent_s = self._sent.pop(sent)
        self._state.inflight = len(self._sent)
        error = None if sent.cancelled() else sent.exception()
        if sent.cancelled() or (isinstance(error, LinkError) and not isinstance(error, RefusedError)):
            self._care.failed(parcel)
            self._returned.extend(parcel.messages)
            if error is not None and self._stands:
                self._pause_s = _PAUSE_S  # the link stands and yet this did not get through: do not hammer
            self._settle_soon()
            return
        self._care.landed(parcel)
        if self._aside:
            self._take_in()
        if error is None or isinstance(error, RefusedError):
            self._redial.works()
            self._patience.took(self._now_s() - sent_s)
        if error is not None:
            self._bury(parcel.messages, str(error))
            return
        self._acked.extend(parcel.messages)
        self._state.published += len(parcel.messages)
        self._settle_soon()

    def _bury(self, messages: Sequence[Message], why: str) -> None:
        """Have messages that can never be delivered become dead letters."""
        self._dead.extend((message, why) for message in messages)
        self._state.refused += len(messages)
        if messages and why != self._buried:  # once, not once a message
            _log.error("a message of the queue is now a dead letter, and those for which the same holds: %s", why)
            self._buried = why
        self._settle_soon()

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            self._loop.call_soon(self._settle)
        self._changed.set()

    def _settle(self) -> None:
        self._settling = False
        if self._returned and self._stands:
            self._give_back()
        if not self._acked and not self._dead:
            return
        failpoint.reach("uplink.acked")
        done, self._acked = self._acked, []
        dead, self._dead = self._dead, []
        memo = NO_HEADERS if self._meter is None else self._meter.memo()
        settlement = self._store.change(done=done, dead=dead, memo=memo)
        self._settlements.add(settlement)
        settlement.add_done_callback(lambda future: self._on_settled(future, done, dead))

    def _on_settled(
        self, settlement: asyncio.Future[object], done: list[Message], dead: list[tuple[Message, str]]
    ) -> None:
        self._settlements.discard(settlement)
        self._changed.set()
        error = settlement.exception()
        if isinstance(error, StoreError):
            if self._meter is not None:
                self._meter.lost()
            # The cloud has them, the disk does not know: try again, else they would be sent twice after a restart.
            _log.warning("acknowledged messages could not be deleted yet: %s", error)
            self._acked.extend(done)
            self._dead.extend(dead)
            self._loop.call_later(_PAUSE_S, self._settle)

    async def _watch(self) -> LinkError:
        """Return when the oldest publish has waited too long: the connection counts as dead then.

        Some dead links look alive to their library. And a broker may discard a single publish without a word, as AWS
        does above its quotas, while it goes on acknowledging others: MQTT sends it again on a new connection only.
        """
        while True:
            if not self._sent:
                self._begun.clear()
                await self._begun.wait()
            now_s = self._now_s()
            waited_s = now_s - next(iter(self._sent.values()), now_s)
            left_s = self._patience.bound_s - waited_s
            if left_s <= 0:
                return LinkError(
                    f"no acknowledgement for {waited_s:.0f} s with {len(self._sent)} publishes on their way",
                    hint="edge doctor",
                )
            await self._clock.sleep(min(left_s, LEAST_S))  # the bound may become less meanwhile

    async def _all_home(self) -> None:
        """Wait until every publish has its fate, then put back what was not delivered."""
        await self._until(lambda: not self._sent)
        self._settle()
        self._returned.extend(self._aside)
        self._aside.clear()
        self._give_back()
        if self._settlements:
            await asyncio.wait(self._settlements)
        await self._keep_count()

    def _give_back(self) -> None:
        returned, self._returned = self._returned, []
        self._stock.give_back(returned)

    async def _keep_count(self) -> None:
        """Store what the connection itself has used of the data budget."""
        if self._meter is None or not (memo := self._meter.memo()):
            return
        try:
            await self._store.change(memo=memo)
        except StoreError as error:
            self._meter.lost()
            _log.warning("what the link has used could not be stored yet: %s", error)

    def _tell(self, error: str, hint: str = "") -> None:
        """Note why there is no connection, and log it once, not once a try."""
        if error != self._state.last_error:
            _log.warning("link %s: %s%s", self._state.driver, error, f" ({hint})" if hint else "")
        self._state.last_error, self._state.hint = error, hint

    def _wait_for(self, why: str) -> None:
        self._become("waiting")
        self._tell(why)

    def _become(self, state: str) -> None:
        self._state.state, self._state.since_ns = state, self._clock.now().mono_ns

    def _now_s(self) -> float:
        return self._clock.now().mono_ns / 1e9
