"""The broker without its connections: sessions, subscriptions, retained messages, wills, and what is recorded.

It is driven in turns: `begin`, then any number of calls, then `flush`, which first records and then lets every
connection write what it has collected. That order is what makes the record an oracle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from edge_runtime.clock import Clock
from edge_runtime.errors import StoreError
from edge_runtime.pure.bucket import Bucket
from edge_runtime.pure.topics import matches
from edge_runtime.standin.access import Access, Caller, Directory, OnDenied, admit
from edge_runtime.standin.faults import Faults
from edge_runtime.standin.packets import Publish, Subscription, Will
from edge_runtime.standin.presence import Presence
from edge_runtime.standin.properties import Properties, user_properties
from edge_runtime.standin.quotas import Gate, Limits, message_expiry
from edge_runtime.standin.record import Published, Record
from edge_runtime.standin.routes import Routes, split_share
from edge_runtime.standin.sessions import NEVER, Outlet, Parcel, Session, keep_fresh

_log = logging.getLogger(__name__)
_INGEST: Final = "$aws/rules/"
_MOST_BUCKETS: Final = 10_000
_SECOND_NS: Final = 1_000_000_000
# What concerns only the hop from the publisher to here.
_HOP: Final = ("topic_alias", "message_expiry")


class Sender(Protocol):
    """Where a message came from, for the record."""

    @property
    def client_id(self) -> str:
        """The client id."""

    @property
    def number(self) -> int:
        """The number of the connection."""


class Speaker(Outlet, Sender, Protocol):
    """A connection with a client behind it."""

    def flush(self) -> None:
        """Write what was collected."""

    def abort(self) -> None:
        """Cut the connection; nothing collected is written."""

    def taken_over(self) -> None:
        """Say goodbye: another connection has the client id."""

    def recheck(self) -> None:
        """Look at its rights anew."""


class Service(Protocol):
    """A service of AWS inside the broker: it takes what clients publish to it and speaks by `say` and `answer`."""

    def serves(self, topic: str) -> bool:
        """Tell whether a publish on a topic that begins with `$aws/` is for this service."""

    def take(self, request: Publish, client_id: str) -> None:
        """Carry out a request of an accepted publish, near the end of its turn: its PUBACK goes first."""


class Broker:
    """Everything the connections share."""

    def __init__(self, *, limits: Limits, clock: Clock, record: Record, faults: Faults) -> None:
        self.limits = limits
        self.clock = clock
        self.record = record
        self.faults = faults
        self.gate = Gate(limits)
        self.now = clock.now()
        """The moment of this turn."""
        self.sessions: dict[str, Session] = {}
        self.retained: dict[str, Parcel] = {}
        self.counts: Counter[str] = Counter()
        """Connections, publishes by fate, and so on."""
        self.refusals: deque[str] = deque(maxlen=1000)
        """Why clients were refused or disconnected, the latest last."""
        self.changed: Callable[[], None] | None = None
        """Called at the end of every turn."""
        self.services: list[Service] = []
        """Those that clients can talk to."""
        self.directory: Directory | None = None
        """Whose policies are enforced; None: everything is allowed."""
        self.on_denied: OnDenied = "disconnect"
        self.seen: Callable[[Publish, str], None] | None = None
        """Called with every message that is routed, and the client id of who published it."""
        self.presence = Presence(clock, self.say if limits.events else None)
        self._asked: list[tuple[Service, Publish, str]] = []
        self._routes: Routes[Session] = Routes()
        self._speakers: dict[str, Speaker] = {}
        self._dirty: list[Speaker] = []
        self._pending: list[tuple[Publish, Sender, bool]] = []
        self._wills: dict[str, Will] = {}
        self._timers: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._connects: dict[str, Bucket] = {}
        self._all_connects = Bucket(limits.account_connects_per_s, limits.account_connects_per_s or 1)
        self._all_publishes = Bucket(limits.account_publishes_per_s, limits.account_publishes_per_s or 1)

    # --- turns ---

    def begin(self) -> None:
        """Begin a turn: read the clock."""
        self.now = self.clock.now()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Make a turn of what is done inside."""
        self.begin()
        try:
            yield
        finally:
            self.flush()

    def dirty(self, speaker: Speaker) -> None:
        """Have `speaker` flushed at the end of this turn. It says so once a turn."""
        self._dirty.append(speaker)

    def note(self, packet: Publish, speaker: Sender, *, acked: bool) -> None:
        """Record an accepted PUBLISH at the end of this turn; `acked`: its PUBACK is about to be sent."""
        self._pending.append((packet, speaker, acked))

    def flush(self) -> None:
        """End a turn: record, then write. What cannot be recorded is not acknowledged: all who wait are cut off."""
        failed = False
        if self._pending:
            try:
                self._record()
            except StoreError as error:
                _log.error("%s; all connections that wait for an answer are cut", error)
                failed = True
        if self._asked:
            asked, self._asked = self._asked, []
            for service, packet, client_id in asked if not failed else ():
                service.take(packet, client_id)
        speakers, self._dirty = self._dirty, []
        for speaker in speakers:
            if failed:
                speaker.abort()
            else:
                speaker.flush()
        if self.changed is not None:
            self.changed()

    def _record(self) -> None:
        pending, self._pending = self._pending, []
        arrived, acked_ns, wall_ns = self.now.mono_ns, self.clock.now().mono_ns, self.now.wall_ns
        self.record.extend(
            Published(
                packet.topic,
                packet.payload,
                user_properties(packet.properties),
                packet.qos,
                packet.retain,
                packet.dup,
                packet.packet_id,
                speaker.number,
                speaker.client_id,
                arrived,
                acked_ns if acked else 0,
                wall_ns,
            )
            for packet, speaker, acked in pending
        )

    def refused(self, who: str, why: str) -> None:
        """Note why a client was told no, for people who wonder."""
        self.counts["refused"] += 1
        self.refusals.append(f"{who or 'a client'}: {why}")
        _log.info("%s", self.refusals[-1])

    # --- messages ---

    def publish(self, packet: Publish, sender: str, *, asks: bool = True) -> bool:
        """Retain and route a message; False when nobody is subscribed to its topic.

        With `asks` it is a request to the service that its topic belongs to.
        """
        topic = packet.topic
        if self.seen is not None:
            self.seen(packet, sender)
        if packet.retain:
            self._retain(packet)
        taken = asks and topic.startswith("$aws/") and self._ask(packet, sender)
        found = self._routes.find(topic)
        if not found.plain and not found.shared:
            return taken
        parcel = self._parcel(packet)
        for session, one in found.plain:
            if not (one.no_local and session.client_id == sender):
                self._hand(session, one, parcel, retain=packet.retain)
        for group in found.shared:
            session, one = group.pick()
            self._hand(session, one, parcel, retain=packet.retain)
        return True

    def _ask(self, packet: Publish, sender: str) -> bool:
        """Keep a publish for the service it is for; False when there is none. A rule takes all it is given."""
        if packet.topic.startswith(_INGEST):
            return True
        service = next((one for one in self.services if one.serves(packet.topic)), None)
        if service is not None:
            self._asked.append((service, packet, sender))
        return service is not None

    def say(self, topic: str, payload: bytes) -> None:
        """Publish a message of a service, with QoS 1, to all who subscribed to its topic. Call it in a turn."""
        self.publish(Publish(topic, payload, 1), "", asks=False)

    def answer(self, client_id: str, topic: str, payload: bytes) -> None:
        """Send a service's answer to one client alone, subscribed to its topic or not. Call it in a turn.

        AWS IoT Core developer guide, "Reserved topics", so has it for jobs and for fleet provisioning.
        """
        session = self.sessions.get(client_id)
        if session is None:
            return
        plain = dict(self._routes.find(topic).plain)
        one = plain.get(session, Subscription(topic, 0))
        self._hand(session, one, Parcel(topic, payload, 1), retain=False)

    def _parcel(self, packet: Publish) -> Parcel:
        properties, expires_ns = packet.properties, 0
        if (asked := properties.get("message_expiry")) is not None:
            expires_ns = self.now.mono_ns + message_expiry(self.limits, asked) * _SECOND_NS
        if any(key in properties for key in _HOP):
            properties = properties.copy()
            properties.pop("topic_alias", None)
            properties.pop("message_expiry", None)
        return Parcel(packet.topic, packet.payload, packet.qos, False, properties, expires_ns)

    def _hand(self, session: Session, one: Subscription, parcel: Parcel, *, retain: bool) -> None:
        if one.qos < parcel.qos or (retain and one.retain_as_published):
            parcel = parcel._replace(qos=min(one.qos, parcel.qos), retain=retain and one.retain_as_published)
        session.deliver(parcel, self.now.mono_ns)
        if self.faults.duplicates.live and self.faults.duplicates.hit():
            self.counts["duplicated"] += 1
            session.deliver(parcel, self.now.mono_ns)

    def _retain(self, packet: Publish) -> None:
        if packet.payload:
            self.retained[packet.topic] = self._parcel(packet)._replace(retain=True)
        else:
            self.retained.pop(packet.topic, None)

    # --- subscriptions ---

    def subscribe(self, session: Session, one: Subscription) -> list[Parcel]:
        """Add a subscription and return the retained messages it is to get, in the QoS granted."""
        known = one.filter in session.subscriptions
        session.subscriptions[one.filter] = one
        self._routes.add(session, one)
        if one.retain_handling == 2 or (one.retain_handling == 1 and known) or split_share(one.filter)[0]:  # noqa: PLR2004 - its code
            return []
        wanted = [
            parcel._replace(qos=min(one.qos, parcel.qos))
            for topic, parcel in self.retained.items()
            if (topic == one.filter if self.limits.retained_exact else matches(one.filter, topic))
        ]
        return keep_fresh(wanted, self.now.mono_ns)

    def unsubscribe(self, session: Session, topic_filter: str) -> bool:
        """Take a subscription away; False when there was none."""
        self._routes.remove(session, topic_filter)
        return session.subscriptions.pop(topic_filter, None) is not None

    # --- sessions ---

    def admit(self, caller: Caller, client_id: str) -> Access | None:
        """Return what a caller may do now; None: everything."""
        return admit(self.directory, caller, client_id)

    def recheck(self) -> None:
        """Look at the rights of all connections anew, for the registry changed. Call it in a turn."""
        for speaker in list(self._speakers.values()):
            speaker.recheck()

    def publish_allowed(self) -> bool:
        """Tell whether one more publish is within what all connections may do together."""
        return not self._all_publishes.take(1.0, self.now.mono_ns / _SECOND_NS)

    def connect_allowed(self, client_id: str) -> bool:
        """Tell whether this client id may connect so soon again, and anybody at all."""
        if self._all_connects.take(1.0, self.now.mono_ns / _SECOND_NS):
            return False
        rate = self.limits.connects_per_s
        if not rate:
            return True
        if len(self._connects) >= _MOST_BUCKETS:
            self._connects.clear()
        bucket = self._connects.setdefault(client_id, Bucket(rate, rate))
        return not bucket.take(1.0, self.now.mono_ns / _SECOND_NS)

    def join(self, speaker: Speaker, *, clean_start: bool, expiry_s: int) -> tuple[Session, bool]:
        """Give a connection its session, new or resumed; an older connection of the client id is dropped.

        Returns the session and whether it was resumed. The caller answers the CONNECT and then calls
        `Session.resume`.
        """
        client_id = speaker.client_id
        if (older := self._speakers.get(client_id)) is not None:
            older.taken_over()
        for kind in ("expiry", "will"):
            self._cancel(kind, client_id)
        if clean_start:
            self._end(client_id)
        self._wills.pop(client_id, None)
        session = self.sessions.get(client_id)
        present = session is not None
        if session is None:
            session = self.sessions[client_id] = Session(client_id)
        session.expiry_s = expiry_s
        self._speakers[client_id] = speaker
        self.counts["connected"] += 1
        return session, present

    def leave(self, speaker: Speaker, session: Session, will: Will | None) -> None:
        """Take a connection from its session. `will` is published, now or after its delay."""
        if self._speakers.get(session.client_id) is speaker:
            del self._speakers[session.client_id]
        session.leave()
        self._cancel("backlog", session.client_id)
        if will is not None:
            self._leave_will(session, will)
        if not session.expiry_s:
            self._end(session.client_id)
        elif session.expiry_s != NEVER:
            self._later("expiry", session.client_id, session.expiry_s, self._end)

    def _leave_will(self, session: Session, will: Will) -> None:
        self._wills[session.client_id] = will
        delay = will.properties.get("will_delay", 0)
        if delay and session.expiry_s:
            self._later("will", session.client_id, delay, self._publish_will)
        else:
            self._publish_will(session.client_id)

    def _publish_will(self, client_id: str) -> None:
        will = self._wills.pop(client_id, None)
        if will is None:
            return
        properties: Properties = will.properties.copy()
        properties.pop("will_delay", None)
        packet = Publish(will.topic, will.payload, will.qos, will.retain, properties=properties)
        self.counts["wills"] += 1
        self.publish(packet, client_id, asks=False)  # AWS's services take no wills

    def _end(self, client_id: str) -> None:
        self._cancel("will", client_id)
        self._publish_will(client_id)  # MQTT 5.0 section 3.1.2.5: the delay ends with the session
        session = self.sessions.pop(client_id, None)
        if session is not None:
            for one in session.subscriptions:
                self._routes.remove(session, one)

    def hand_out(self, session: Session) -> None:
        """Hand out the backlog of a resumed session at the pace of AWS."""
        if session.backlog:
            self._later("backlog", session.client_id, 1 / self.limits.stored_per_s, self._drip)

    def _drip(self, client_id: str) -> None:
        session = self.sessions.get(client_id)
        if session is not None and session.drip(self.now.mono_ns):
            self.hand_out(session)

    def forget(self) -> None:
        """Lose all sessions, and the wills that wait."""
        self._wills.clear()
        for client_id in list(self.sessions):
            self._cancel("expiry", client_id)
            self._end(client_id)

    # --- time ---

    def later(self, key: str, seconds: float, action: Callable[[str], None]) -> None:
        """Call `action(key)` in a turn of its own; one action a key, a newer one replaces it."""
        self._later("later", key, seconds, action)

    def _later(self, kind: str, client_id: str, seconds: float, action: Callable[[str], None]) -> None:
        async def wait() -> None:
            await self.clock.sleep(seconds)
            self._timers.pop((kind, client_id), None)
            self.begin()
            action(client_id)
            self.flush()

        self._cancel(kind, client_id)
        task = asyncio.get_running_loop().create_task(wait(), name=f"standin[{client_id}].{kind}")
        self._timers[kind, client_id] = task

    def _cancel(self, kind: str, client_id: str) -> None:
        task = self._timers.pop((kind, client_id), None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """End all timers and the record."""
        tasks, self._timers = list(self._timers.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.record.close()
