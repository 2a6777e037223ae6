"""The nouns. Frozen data and Protocols, standard library only; everything else is written in these words.

`Event` and `Message` are named tuples and not dataclasses: one of each is made for everything that happens, and a
frozen dataclass costs four times as much to make.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
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


class Overflow(StrEnum):
    """What a full queue does.

    DROP_OLDEST makes room, the least urgent priority first, in it the oldest; each drop is counted. REJECT_NEW makes
    `emit` raise QueueFullError, and nothing is accepted. With KEEP_LATEST a new event always replaces the waiting one
    of the same topic, and a full queue drops the oldest.
    """

    DROP_OLDEST = "drop_oldest"
    REJECT_NEW = "reject_new"
    KEEP_LATEST = "keep_latest"


class Reason(StrEnum):
    """Why a message left a queue without having been delivered."""

    EXPIRED = "expired"
    OVERFLOW = "overflow"
    SUPERSEDED = "superseded"
    PURGED = "purged"
    CORRUPTED = "corrupted"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """The bounds of one target's queue; 0 is none of its own.

    `limit_bytes` are bytes on disk, overhead included. `ttl_s` is the running time after which a waiting message
    expires; time with the power off does not count.
    """

    limit_bytes: int = 0
    ttl_s: float = 0.0
    when_full: Overflow = Overflow.DROP_OLDEST


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """The bounds of the database file, and the share of the disk that is never used.

    0 bytes: the smaller of 256 MB and a tenth of the free disk.
    """

    limit_bytes: int = 0
    keep_free: float = 0.05


@dataclass(frozen=True, slots=True)
class Rule:
    """Events whose topic matches `filter` go to `targets`."""

    filter: str
    targets: tuple[str, ...]
    priority: int = 5


@dataclass(frozen=True, slots=True)
class Device:
    """A declared device: the name of its driver, and the driver's own arguments.

    It is read every `every_s`; 0: it has events of its own. A reading is emitted if it differs from the last one
    (`on_change`) or moved by at least `deadband`, and at least every `heartbeat_s`. An edge counts when the level has
    been steady for `debounce_s`.
    """

    name: str
    driver: str
    options: Mapping[str, object] = field(default_factory=dict)
    every_s: float = 0.0
    on_change: bool = False
    deadband: float = 0.0
    heartbeat_s: float = 0.0
    debounce_s: float = 0.02


@dataclass(frozen=True, slots=True)
class Schedule:
    """AWS's `rate(...)`, `cron(...)` or `at(...)`; its events go to topic `schedule/<name>`.

    `misfire` says what becomes of times that passed while the host was down or the clock jumped: `skip`, `once`, `all`.
    """

    name: str
    expression: str
    timezone: str = "UTC"
    misfire: str = "once"


@dataclass(frozen=True, slots=True)
class Function:
    """A declared Lambda handler.

    An event whose invocation failed is tried `retries` more times, after `retry_wait_s`, which doubles each time; then
    it is a dead letter, and a record of it goes to topic `on_failure`. A reply that is not null goes to `on_success`. A
    worker with nothing to do for `idle_s` is ended.
    """

    name: str
    code: Path
    handler: str
    runtime: str = "python3"
    timeout_s: float = 3.0
    memory_mb: int = 128
    environment: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = 1
    retries: int = 2
    retry_wait_s: float = 60.0
    idle_s: float = 60.0
    on_success: str = ""
    on_failure: str = ""


@dataclass(frozen=True, slots=True)
class Uplink:
    """What goes through the link and how.

    `up` are the rules that feed the uplink, `down` the filters subscribed to: what comes is emitted like anything else.
    At most `window` publishes are unacknowledged. A rate of 0 is no bound, for a local broker. Up to `pack` messages of
    one topic share a publish. `aws_quotas` checks topics and payloads against the quotas of AWS IoT Core.
    """

    up: tuple[Rule, ...] = ()
    down: tuple[str, ...] = ()
    window: int = 100
    publishes_per_s: float = 100.0
    bytes_per_s: float = 512 * 1024.0
    pack: int = 1
    aws_quotas: bool = True


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """Which link plug-in connects to the cloud, and its own settings."""

    driver: str
    options: Mapping[str, object] = field(default_factory=dict)
    uplink: Uplink = field(default_factory=Uplink)


@dataclass(frozen=True, slots=True)
class Broker:
    """A local MQTT broker whose topics are emitted here (the `mqtt` trigger)."""

    name: str
    host: str
    port: int = 1883
    topics: tuple[str, ...] = ("#",)
    prefix: str = ""
    """Put before each topic."""
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class App:
    """Everything an app file declares, checked and with all defaults filled in."""

    thing: str
    base: Path
    """The folder of the app file; relative paths were resolved against it."""
    devices: tuple[Device, ...] = ()
    functions: tuple[Function, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    brokers: tuple[Broker, ...] = ()
    rules: tuple[Rule, ...] = ()
    """Which topics feed which functions and devices. The uplink's are in `link.uplink.up`."""
    link: LinkSpec | None = None
    limits: StoreLimits = field(default_factory=StoreLimits)
    queues: Mapping[str, QueueLimits] = field(default_factory=dict)
    """Bounds by target name; the key `""` holds for every other target."""


@dataclass(frozen=True, slots=True)
class Result:
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

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> Awaitable[None]:
        """Publish with QoS 1; what is returned completes when the broker has acknowledged, and needs no task.

        The message is on its way when this returns, in the order of the calls. Safe to call many times at once.
        Awaiting raises: LinkError (not delivered as far as anyone knows), RefusedError (dead letter).
        """

    async def lost(self) -> LinkError:
        """Return when the connection has gone, with the reason."""

    async def close(self) -> None:
        """Disconnect. Safe to call twice; publishes that wait raise LinkError."""
