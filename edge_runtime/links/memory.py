"""A link to a broker in this very process: for tests and rehearsals, with the faults of a real one at hand.

broker = MemoryBroker()
link = MemoryLink(broker=broker)
broker.go_offline()
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from edge_runtime.errors import LinkError
from edge_runtime.links import _codes
from edge_runtime.links._line import Line
from edge_runtime.links._link import Connection, OneAtATime
from edge_runtime.model import NO_HEADERS
from edge_runtime.pure.topics import matches


class Arrived(NamedTuple):
    """One publish as it reached the broker."""

    client_id: str
    topic: str
    payload: bytes
    properties: Mapping[str, str]


class _Session:
    """What the broker keeps of a client, connected or not."""

    def __init__(self) -> None:
        self.filters: set[str] = set()
        self.unacked: deque[Arrived] = deque()
        self.line: Line | None = None


class MemoryBroker:
    """A broker that loses nothing and forgets nothing unless it is told to. For one event loop."""

    def __init__(
        self, *, keep: Callable[[Arrived], object] | None = None, acked: Callable[[Arrived], object] | None = None
    ) -> None:
        """`keep` gets what arrives, in the place of `record`; `acked` each message of `send` that was acknowledged."""
        self.record: list[Arrived] = []
        """Every publish that arrived and was not refused, in order, repeats included."""
        self._keep = keep or self.record.append
        self._acked = acked
        self._sessions: dict[str, _Session] = {}
        self._refused_topics: dict[str, int] = {}
        self._refused_filters: dict[str, int] = {}
        self._offline: LinkError | None = None
        self._holding = False
        self._held: deque[tuple[Line, asyncio.Future[None]]] = deque()
        self._changed = asyncio.Event()

    @property
    def held(self) -> int:
        """How many publishes wait for their acknowledgement."""
        return len(self._held)

    def unacknowledged(self, client_id: str) -> int:
        """Return how many messages a client has been sent, or is to be, and has not acknowledged."""
        session = self._sessions.get(client_id)
        return len(session.unacked) if session else 0

    async def arrived(self, count: int) -> list[Arrived]:
        """Return the record as soon as it has at least so many entries."""
        while len(self.record) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.record

    def go_offline(self, why: str = "the memory broker is offline") -> None:
        """End every connection and refuse new ones. What is held is never acknowledged."""
        self._offline = LinkError(why, hint="call go_online")
        self._held.clear()
        for session in self._sessions.values():
            if session.line is not None:
                session.line.end(LinkError(why))

    def go_online(self) -> None:
        """Accept connections again."""
        self._offline = None

    def expect(self, client_id: str, filters: Sequence[str]) -> None:
        """Have a session of a client that was connected once and had subscribed to these filters."""
        self._sessions.setdefault(client_id, _Session()).filters.update(filters)

    def forget(self) -> None:
        """Drop the sessions of all clients that are not connected, as a broker does after their expiry."""
        self._sessions = {name: s for name, s in self._sessions.items() if s.line is not None}

    def refuse(self, topic_filter: str, code: int = _codes.NOT_AUTHORIZED) -> None:
        """Answer publishes on matching topics with this PUBACK reason code; 0 accepts them again."""
        self._refused_topics[topic_filter] = code

    def refuse_subscription(self, topic_filter: str, code: int = _codes.NOT_AUTHORIZED) -> None:
        """Answer a subscription to exactly this filter with this SUBACK reason code; 0 accepts it again."""
        self._refused_filters[topic_filter] = code

    def hold(self) -> None:
        """Take publishes and do not acknowledge them until `release`."""
        self._holding = True

    def release(self, count: int | None = None) -> None:
        """Acknowledge the oldest so many of what is held, or all and from now on at once."""
        self._holding = count is not None
        for _ in range(len(self._held) if count is None else min(count, len(self._held))):
            line, future = self._held.popleft()
            line.settle(future, None)

    def send(self, topic: str, payload: bytes, properties: Mapping[str, str] = NO_HEADERS) -> None:
        """Send a message down to every session with a filter that matches, now or when its client comes back."""
        message = Arrived("", topic, payload, properties)
        for session in self._sessions.values():
            if any(matches(f, topic) for f in session.filters):
                session.unacked.append(message)
                self._deliver(session, message)

    def _deliver(self, session: _Session, message: Arrived) -> None:
        if session.line is not None:
            acked = partial(self._on_acked, session, message)
            session.line.deliver(message.topic, message.payload, message.properties, acked)

    def _on_acked(self, session: _Session, message: Arrived) -> None:
        session.unacked.remove(message)
        if self._acked is not None:
            self._acked(message)

    def _attach(self, client_id: str, line: Line) -> bool:
        if self._offline is not None:
            raise LinkError(str(self._offline), hint=self._offline.hint, answered=self._offline.answered)
        resumed = client_id in self._sessions
        session = self._sessions.setdefault(client_id, _Session())
        if session.line is not None:
            session.line.end(_codes.end_error("memory", _codes.TAKEN_OVER))
        session.line = line
        for message in session.unacked:
            self._deliver(session, message)
        return resumed

    def _detach(self, client_id: str, line: Line) -> None:
        session = self._sessions.get(client_id)
        if session is not None and session.line is line:
            session.line = None

    def _subscribe(self, client_id: str, filters: Sequence[str]) -> LinkError | None:
        codes = [self._refused_filters.get(f, 0) for f in filters]
        granted = [f for f, code in zip(filters, codes, strict=True) if code < _codes.FAILURE]
        self._sessions[client_id].filters.update(granted)
        return _codes.suback_error(filters, codes)

    def _publish(self, line: Line, future: asyncio.Future[None], arrived: Arrived) -> None:
        code = next((c for f, c in self._refused_topics.items() if c and matches(f, arrived.topic)), 0)
        error = _codes.topic_error(arrived.topic) or _codes.puback_error(arrived.topic, code)
        if error is not None:
            _answer(line, future, error)
            return
        self._keep(arrived)
        self._changed.set()
        self.send(arrived.topic, arrived.payload, arrived.properties)
        if self._holding:
            self._held.append((line, future))
        else:
            _answer(line, future, None)


def _answer(line: Line, future: asyncio.Future[None], error: LinkError | None) -> None:
    # As over a network, the answer comes after `publish` has returned.
    asyncio.get_running_loop().call_soon(lambda: line.settle(future, error))


class _Connection:
    """One connection to a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, client_id: str, line: Line) -> None:
        self._broker, self._client_id, self._line = broker, client_id, line

    async def open(self) -> bool:
        """Attach to the session, which may be a new one."""
        return self._broker._attach(self._client_id, self._line)  # noqa: SLF001 - two halves of one thing

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Add the filters to the session."""
        error = self._broker._subscribe(self._client_id, filters)  # noqa: SLF001 - two halves of one thing
        if error is not None:
            raise error

    def send(self, future: asyncio.Future[None], topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Hand the message to the broker."""
        arrived = Arrived(self._client_id, topic, payload, dict(properties))
        self._broker._publish(self._line, future, arrived)  # noqa: SLF001 - two halves of one thing

    def hang_up(self) -> None:
        """Leave the session to the broker."""
        self._broker._detach(self._client_id, self._line)  # noqa: SLF001 - two halves of one thing

    async def free(self) -> None:
        """Return: there is nothing to free."""


@dataclass(kw_only=True, eq=False)
class MemoryLink(OneAtATime):
    """A connection to a `MemoryBroker`. Links with the same broker and client id share a session."""

    client_id: str = "memory"
    broker: MemoryBroker = field(default_factory=MemoryBroker)

    def __post_init__(self) -> None:
        """Begin without a connection."""
        self._prepare(self.client_id, "memory", 30.0)

    async def _make(self, line: Line) -> Connection:
        return _Connection(self.broker, self.client_id, line)


LINK = MemoryLink
