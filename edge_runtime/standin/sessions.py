"""What the broker keeps for a client id: subscriptions, what waits, and what was sent and not acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from edge_runtime.standin.packets import Publish, Subscription
from edge_runtime.standin.properties import NO_PROPERTIES, Properties

MOST_QUEUED: Final = 100_000
"""Messages that wait for one session at most; newer ones are dropped, and counted."""
_LAST_ID: Final = 0xFFFF
NEVER: Final = 0xFFFF_FFFF
"""A session expiry of MQTT 5 that never comes."""


class Parcel(NamedTuple):
    """A message on its way to subscribers."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES
    expires_ns: int = 0
    """Steady time; 0: never."""


class Outlet(Protocol):
    """A connection, as its session sees it."""

    @property
    def window(self) -> int:
        """How many QoS 1 messages may be unacknowledged."""

    def send(self, packet: Publish) -> bool:
        """Send a message; False when it cannot be sent to this client at all."""


class Session:
    """The state of one client id. It does no I/O and keeps no time: the broker and the connection do."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.subscriptions: dict[str, Subscription] = {}
        self.expiry_s = 0
        """How long it lives without a connection, in seconds; NEVER: for ever."""
        self.outlet: Outlet | None = None
        self.queue: deque[Parcel] = deque()
        """What waits for a connection or for room in the window."""
        self.backlog: deque[Parcel] = deque()
        """What was stored when the connection came, where it is to be handed out slowly."""
        self.sent: dict[int, Parcel] = {}
        """What was sent with QoS 1 and not acknowledged, by packet identifier, in order."""
        self.dropped = 0
        """How many messages found no room."""
        self._last_id = 0

    @property
    def online(self) -> bool:
        """Whether there is a connection."""
        return self.outlet is not None

    @property
    def waiting(self) -> int:
        """How many messages are neither acknowledged nor given up."""
        return len(self.queue) + len(self.backlog) + len(self.sent)

    def deliver(self, parcel: Parcel, now_ns: int) -> None:
        """Send a message now, or keep it: QoS 0 only for a client that is there, QoS 1 in order behind others."""
        outlet = self.outlet
        if not parcel.qos:
            if outlet is not None:
                outlet.send(_publish(parcel, now_ns))
        elif outlet is not None and not self.queue and len(self.sent) < outlet.window:
            self._send(outlet, parcel, now_ns)
        elif self.waiting < MOST_QUEUED:
            self.queue.append(parcel)
        else:
            self.dropped += 1

    def resume(self, outlet: Outlet, now_ns: int, *, slowly: bool) -> None:
        """Take a new connection: send again what was not acknowledged, then what waits.

        With `slowly` what waits goes to the backlog, for `drip` to hand out.
        """
        self.outlet = outlet
        again, self.sent = self.sent, {}
        for packet_id, parcel in again.items():
            if not _expired(parcel, now_ns):
                self.sent[packet_id] = parcel
                outlet.send(_publish(parcel, now_ns, packet_id)._replace(dup=True))
        if slowly:
            self.backlog += self.queue
            self.queue.clear()
        self.pump(now_ns)

    def leave(self) -> None:
        """Lose the connection; what it had not been given waits in order."""
        self.outlet = None
        self.queue = self.backlog + self.queue
        self.backlog = deque()

    def acknowledged(self, packet_id: int, now_ns: int) -> bool:
        """Take a PUBACK and fill the window; False when nothing was sent under that identifier."""
        if self.sent.pop(packet_id, None) is None:
            return False
        if self.queue:
            self.pump(now_ns)
        return True

    def pump(self, now_ns: int) -> None:
        """Send from the queue as long as the window has room."""
        self._drain(self.queue, now_ns, MOST_QUEUED)

    def drip(self, now_ns: int) -> bool:
        """Send one message of the backlog if the window has room; False when the backlog is empty."""
        self._drain(self.backlog, now_ns, 1)
        return bool(self.backlog)

    def _drain(self, source: deque[Parcel], now_ns: int, most: int) -> None:
        outlet = self.outlet
        while outlet is not None and source and most and len(self.sent) < outlet.window:
            parcel = source.popleft()
            if not _expired(parcel, now_ns):
                self._send(outlet, parcel, now_ns)
                most -= 1

    def _send(self, outlet: Outlet, parcel: Parcel, now_ns: int) -> None:
        packet_id = self._free_id()
        self.sent[packet_id] = parcel
        if not outlet.send(_publish(parcel, now_ns, packet_id)):
            del self.sent[packet_id]  # MQTT 5.0 section 3.1.2.11.4: as if it had been delivered

    def _free_id(self) -> int:
        while True:
            self._last_id = self._last_id % _LAST_ID + 1
            if self._last_id not in self.sent:
                return self._last_id


def keep_fresh(parcels: Iterable[Parcel], now_ns: int) -> list[Parcel]:
    """Return those that have not expired."""
    return [parcel for parcel in parcels if not _expired(parcel, now_ns)]


def _expired(parcel: Parcel, now_ns: int) -> bool:
    return bool(parcel.expires_ns) and now_ns >= parcel.expires_ns


def _publish(parcel: Parcel, now_ns: int, packet_id: int = 0) -> Publish:
    properties = parcel.properties
    if parcel.expires_ns:
        # MQTT 5.0 section 3.3.2.3.3: what is left, and at least the second that has begun.
        left = max(1, -(-(parcel.expires_ns - now_ns) // 1_000_000_000))
        properties = {**properties, "message_expiry": left}
    return Publish(parcel.topic, parcel.payload, parcel.qos, parcel.retain, packet_id=packet_id, properties=properties)
