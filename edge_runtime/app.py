"""What is declared: an app, as a loader reads it from a file. Frozen data, standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Overflow(StrEnum):
    """What a full queue does.

    DROP_OLDEST makes room, the least urgent priority first, in it the oldest; each drop is counted. REJECT_NEW makes
    `emit` raise QueueFullError, and nothing is accepted. With KEEP_LATEST a new event always replaces the waiting one
    of the same topic, and a full queue drops the oldest. DOWNSAMPLE thins before it drops: old readings, the least
    urgent first, become one message per interval with their least, greatest and mean value and their count; the
    interval doubles as the need goes on. What cannot be thinned is dropped as with DROP_OLDEST.
    """

    DROP_OLDEST = "drop_oldest"
    REJECT_NEW = "reject_new"
    KEEP_LATEST = "keep_latest"
    DOWNSAMPLE = "downsample"


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
class ShadowKey:
    """A place below `desired` and `reported` of a shadow; the classic one's name is empty."""

    name: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a reading becomes, and what counts as one: `raw * scale + offset`, rounded to `digits`, in `unit`.

    A result below `least` or above `most` is a fault of the sensor, no reading. It is emitted if it moved by at least
    `deadband`, or by `deadband_share` of the last one emitted.
    """

    scale: float = 1.0
    offset: float = 0.0
    digits: int | None = None
    unit: str = ""
    least: float = -math.inf
    most: float = math.inf
    deadband: float = 0.0
    deadband_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """A level that a reading crosses: `device/<name>/<threshold>` then, and `no_<threshold>` when it is back.

    Exactly one of `above` and `below` is set. It is back when it is `hysteresis` on the other side of the level.
    `part` names the part of a reading that has several.
    """

    name: str
    above: float | None = None
    below: float | None = None
    hysteresis: float = 0.0
    part: str = ""


@dataclass(frozen=True, slots=True)
class Interlock:
    """What another device must be, for this output to be on: `active` or not."""

    device: str
    active: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """What an output may do, held by the host whoever commands it. A time of 0, or a count of 0, is no bound.

    `safe` is the value it has when the host starts and ends, when a bound ends it, and when the host hangs; None is
    off. It is on when it has any other value. Each command that it be on lasts `lease_s`, and no repeating makes it
    longer than `max_on_s`. It stays on for `min_on_s` and off for `min_off_s`, unless safety ends it.
    """

    safe: object = None
    lease_s: float = 0.0
    max_on_s: float = 0.0
    min_on_s: float = 0.0
    min_off_s: float = 0.0
    max_per_minute: int = 0
    """How often it may be switched on within any 60 seconds."""
    interlocks: tuple[Interlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """A declared device: the name of its driver, and the driver's own arguments.

    It is read every `every_s`; 0: it tells by itself. A reading is emitted if it differs from the last one
    (`on_change`) or moved by the deadband of a measure, and at least every `heartbeat_s`. An edge counts when the level
    has been steady for `debounce_s`.
    """

    name: str
    driver: str
    options: Mapping[str, object] = field(default_factory=dict)
    every_s: float = 0.0
    on_change: bool = False
    heartbeat_s: float = 0.0
    debounce_s: float = 0.02
    measures: Mapping[str, Measure] = field(default_factory=dict)
    """By part of a reading that has several (`temperature`); the key `""` is for a single value and other parts."""
    thresholds: tuple[Threshold, ...] = ()
    volts: float = 0.0
    """The voltage of its signal, as far as it is declared; 0: that of the board."""
    guard: Guard | None = None
    shadow: ShadowKey | None = None
    """Where its value is reported, and where an output finds what is desired of it."""


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
class Batch:
    """How events of a queue are put together for one invocation, as an SQS event source does.

    Up to `size` are gathered for at most `window_s` and handed over as SQS `Records`. With `report_failures` a reply
    names those that failed in `batchItemFailures`, and only they come again. Source: AWS Lambda developer guide,
    "Using Lambda with Amazon SQS".
    """

    size: int = 10
    window_s: float = 0.0
    report_failures: bool = False


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a function may do: topic filters, names of functions, names of devices. None: whatever it likes.

    `credentials`: it gets those of the role that the device has in AWS, when the app names one.
    """

    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None
    invoke: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    credentials: bool = True


NOTHING = Permissions((), (), (), (), credentials=False)
"""The permissions of a function that was given none in a strict app."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where what became of an event goes: the topic, and whether as AWS's invocation record or as the bare reply."""

    topic: str
    record: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A declared Lambda handler.

    An event whose invocation failed is tried `retries` more times, after `retry_wait_s`, which doubles each time, until
    it is `max_age_s` old; then it is a dead letter, and a record of it goes to `on_failure`. A reply that is not null
    goes to `on_success`. A worker with nothing to do for `idle_s` is ended. A concurrency of 0 throttles every call.

    A `pinned` function has one worker that starts with the host, whose module may run for ever and whose handler may
    never be called. Its worker is replaced when it is silent for `status_timeout_s` with an event in hand.
    """

    name: str
    code: Path
    handler: str
    runtime: str = "python3"
    layers: tuple[Path, ...] = ()
    """Folders or zips that make up `/opt`, in the order in which they are laid over one another."""
    read: tuple[Path, ...] = ()
    """Folders of the device that it may read, at their own places."""
    timeout_s: float = 3.0
    memory_mb: int = 128
    environment: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = 1
    retries: int = 2
    retry_wait_s: float = 60.0
    max_age_s: float = 21_600.0
    """An event that is older than this in running time is given up before it is tried again (AWS: 6 h). 0: never."""
    idle_s: float = 60.0
    on_success: Destination | None = None
    on_failure: Destination | None = None
    batch: Batch | None = None
    """None: each event is an invocation of its own, and its payload is what the handler gets."""
    payload_bytes: int = 1 << 20
    """The greatest payload of an asynchronous invocation (AWS: 1 MB, and 256 KB before)."""
    binary: bool = False
    """The handler gets the payload as bytes, unparsed."""
    pinned: bool = False
    status_timeout_s: float = 60.0
    log_format: str = "Text"
    """`Text` or `JSON`."""
    log_level: str = ""
    allow: Permissions = field(default_factory=Permissions)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many bytes may go through a metered link `per` `day` or `month`, by the calendar of `timezone`.

    Messages of priority `urgent` and more urgent ones always go, and count. The others wait when the budget is used up.
    In the `night`, from minute to minute of the day, traffic is free; priorities from `later` on go only then.
    """

    limit_bytes: int
    per: str = "month"
    urgent: int = 0
    night: tuple[int, ...] | None = None
    """Two minutes of the local day, where it begins and where it ends; None: there is none."""
    later: int = 10
    timezone: str = "UTC"
    month_begins: int = 1
    """The day on which a month of the contract begins, 1 to 28."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """What goes through the link and how.

    `up` are the rules that feed the uplink, `down` the filters subscribed to: what comes is emitted like anything else.
    At most `window` publishes are unacknowledged. A rate of 0 is no bound, for a local broker. Up to `pack` messages of
    one topic share a publish, compressed with `gzip`. While a backlog drains, `live_share` of what is sent are new
    messages; 0 is strict order. `aws_quotas` checks topics and payloads against the quotas of AWS IoT Core.
    """

    up: tuple[Rule, ...] = ()
    down: tuple[str, ...] = ()
    window: int = 100
    publishes_per_s: float = 100.0
    bytes_per_s: float = 512 * 1024.0
    pack: int = 1
    gzip: bool = False
    live_share: float = 0.0
    budget: Budget | None = None
    aws_quotas: bool = True
    target: str = "uplink"
    """The target whose queue goes this way."""


@dataclass(frozen=True, slots=True)
class RoleAlias:
    """The role in AWS whose credentials functions get: asked for with the certificate of the link.

    Without an endpoint it is the role of the Greengrass core, from the nucleus that runs this host.
    """

    endpoint: str = ""
    """`aws iot describe-endpoint --endpoint-type iot:CredentialProvider`."""
    name: str = ""
    port: int = 443


@dataclass(frozen=True, slots=True)
class ShadowSync:
    """Which shadows have a twin in the cloud: those named, or all that there are here (and the classic one).

    The classic shadow's name is empty. `conflict` is a `pure.shadow_sync.Conflict`.
    """

    names: tuple[str, ...] = ()
    everything: bool = False
    conflict: str = "section"


@dataclass(frozen=True, slots=True)
class JobsSpec:
    """What AWS IoT jobs may do here: run these functions, restart the host, deploy what one of these keys has signed.

    A key is the 32 bytes of an Ed25519 public key in hex.
    """

    run: tuple[str, ...] = ()
    restart: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """Which link plug-in connects to the cloud, and its own settings."""

    driver: str
    options: Mapping[str, object] = field(default_factory=dict)
    uplink: Uplink = field(default_factory=Uplink)
    credentials: RoleAlias | None = None
    shadows: ShadowSync | None = None
    jobs: JobsSpec | None = None


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
class LocalBroker:
    """The MQTT broker that the host runs for the devices around it: mosquitto, as its child.

    Each device is a user with a password and topics of its own (`edge broker add-device`); nobody is anonymous.
    `topics` are emitted here, with `prefix` before each. What is emitted here on `prefix` and a topic that one of
    `publish` matches goes out to the devices.
    """

    port: int = 8883
    """With TLS."""
    address: str = "127.0.0.1"
    """The address of this machine on which it listens; `0.0.0.0` is all of them."""
    plain_port: int = 0
    """Without TLS, for what cannot do it: who is on the network can read the passwords. 0: there is none."""
    topics: tuple[str, ...] = ("#",)
    prefix: str = ""
    publish: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Host names by which devices reach it, beside those that this machine knows of itself."""
    payload_bytes: int = 1 << 20
    """The largest message that a device may send; who sends a larger one is cut off."""


@dataclass(frozen=True, slots=True)
class Connector:
    """A connector of Greengrass V1 (`gpio`, `serial`, `modbus`) with the parameters that it had there, checked."""

    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class App:
    """Everything an app file declares, checked and with all defaults filled in."""

    thing: str
    base: Path
    """The folder of the app file; relative paths were resolved against it."""
    board: str = ""
    """The name of a file in `hardware/boards`; empty: the board is looked at when the host starts."""
    devices: tuple[Device, ...] = ()
    functions: tuple[Function, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    brokers: tuple[Broker, ...] = ()
    broker: LocalBroker | None = None
    connectors: tuple[Connector, ...] = ()
    rules: tuple[Rule, ...] = ()
    """Which topics feed which functions and devices. The uplink's are in `link.uplink.up`."""
    link: LinkSpec | None = None
    limits: StoreLimits = field(default_factory=StoreLimits)
    queues: Mapping[str, QueueLimits] = field(default_factory=dict)
    """Bounds by target name; the key `""` holds for every other target."""
    files: tuple[Path, ...] = ()
    """Other files than its own that it was read from: when one changes, it is to be read again."""
    notes: tuple[str, ...] = ()
    """What was declared and is not done as declared; the host says so when it starts."""
