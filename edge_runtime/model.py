"""The nouns. Frozen data and Protocols, standard library only; everything else is written in these words.

What is made for everything that happens is a named tuple: a frozen dataclass costs four times as much to make. What an
app declares is in `app`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from edge_runtime.errors import LinkError

NO_HEADERS: Mapping[str, str] = {}


class Stamp(NamedTuple):
    """When something happened.

    The wall clock counts from the epoch and may be wrong: a Pi has none of its own. The monotonic one
    (CLOCK_BOOTTIME) is only comparable within one boot of the machine, and `boot` says which.
    """

    wall_ns: int
    mono_ns: int
    boot: str


class Event(NamedTuple):
    """Something that happened: the payload that was published on a topic."""

    topic: str
    payload: bytes
    source: str
    """Who emitted it: `device/soil`, `function/irrigate`, `schedule/irrigate`, `link`, `cli`."""
    time: Stamp
    id: str
    """Stable and unique (a UUID, version 7): the same after a restart and on every delivery."""
    headers: Mapping[str, str] = NO_HEADERS


class Message(NamedTuple):
    """An event in the queue of one target."""

    event: Event
    target: str
    priority: int
    seq: int
    """Gapless per target, from 1. (target, seq) names the message for ever."""
    tries: int = 0
    """How often it was handed out and failed, over all restarts."""
    age_ns: int = 0
    """The store's running time when it was accepted: what expiry is reckoned by."""


class Feed(NamedTuple):
    """One target that an event goes to, and how urgently: what a rule adds to an event."""

    target: str
    priority: int = 5


class Reason(StrEnum):
    """Why a message left a queue without having been delivered."""

    EXPIRED = "expired"
    OVERFLOW = "overflow"
    SUPERSEDED = "superseded"
    PURGED = "purged"
    CORRUPTED = "corrupted"
    THINNED = "thinned"
    """Another message carries its reading, with those of its neighbours: see `app.Overflow`."""


class Result(NamedTuple):
    """What came back from a worker."""

    payload: bytes
    """The reply as JSON, or the Lambda error object."""
    error: str = ""
    """The `errorType`, or empty when the handler returned."""
    log: str = ""
    """What the handler printed, capped, and the START, END and REPORT lines."""
    duration_ms: float = 0.0
    init_ms: float = 0.0
    """How long the worker took to start; 0 when it was warm."""
    peak_kb: int = 0


class Emit(Protocol):
    """The way in for everything that happens."""

    def __call__(self, *events: Event, memo: Mapping[str, str] = NO_HEADERS) -> Awaitable[None]:
        """Return when the events are safe on disk in the queue of every target that matches, all in one transaction.

        `memo` is written in the same transaction; a trigger keeps in it what it must know after a restart.

        Raises: QueueFullError or StoreError, and then nothing was accepted; LimitError for a bad topic.
        """


Received = Callable[[str, bytes, Mapping[str, str]], Awaitable[None]]
"""Called by a link for each message that came down: topic, payload, user properties. Awaiting means stored."""


@runtime_checkable
class Trigger(Protocol):
    """Turns the world into events. `run` ends only when it is cancelled, and then leaves nothing behind."""

    async def run(self, emit: Emit) -> None:
        """Emit what happens, for ever."""


class Link(Protocol):
    """A connection to a cloud broker. It keeps no queue: a publish that is not acknowledged raises."""

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect once and subscribe to `down`; True when the broker resumed the session.

        Raises: LinkError when it cannot (the caller tries again), RefusedError when a SUBACK refuses.
        """

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to more while connected; what comes goes to the `received` of `connect`.

        Raises: LinkError when the connection ends, RefusedError when a SUBACK refuses; the connection stands then.
        """

    def most_bytes(self, topic: str) -> int:
        """Return the most bytes that the payload of a publish on a topic may have."""

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> Awaitable[None]:
        """Publish with QoS 1; what is returned completes when the broker has acknowledged, and needs no task.

        The message is on its way when this returns, in the order of the calls. Safe to call many times at once.
        Awaiting raises: LinkError (not delivered as far as anyone knows), RefusedError (dead letter).
        """

    async def lost(self) -> LinkError:
        """Return when the connection has gone, with the reason."""

    async def close(self) -> None:
        """Disconnect. Safe to call twice; publishes that wait raise LinkError."""
