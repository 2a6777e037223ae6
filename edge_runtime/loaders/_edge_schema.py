"""The shape of `edge.yaml`: which keys there are, what they hold, and their defaults."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from edge_runtime.pure import units

_RUNTIME = r"python[23](\.[0-9]+)?|nodejs([0-9]+\.(x|[0-9]+)(-edge)?)?|provided(\.[a-z0-9]+)?|go1\.x"
"""AWS's of all times (developer guide, "Lambda runtimes"), as far as something here can stand in for them."""


def name(text: str) -> str:
    """Return the name of a device, a function or a broker: it can be no path and no wildcard.

    Raises: ValueError that says what is allowed.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError(f"{text!r} is no name; allowed: 1 to 64 letters, digits, - and _")
    return text


def _thing(text: str) -> str:
    """AWS IoT API reference, CreateThing, `thingName`."""
    if not re.fullmatch(r"[a-zA-Z0-9:_-]{1,128}", text):
        raise ValueError(f"{text!r} is no name of a thing; allowed: 1 to 128 letters, digits, : - and _")
    return text


def _runtime(text: str) -> str:
    if not re.fullmatch(_RUNTIME, text):
        raise ValueError(
            f"{text!r} is no runtime; allowed: python3, pythonX.Y, nodejsN.x, provided, provided.NAME, go1.x"
        )
    return text


def _format(text: str) -> str:
    """AWS Lambda's `LogFormat`, however it is written."""
    for known in ("Text", "JSON"):
        if text.lower() == known.lower():
            return known
    raise ValueError(f"{text!r} is not allowed; allowed: text, json")


def _level(text: str) -> str:
    """AWS Lambda's `ApplicationLogLevel`, however it is written."""
    levels = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    if text.upper() not in levels:
        raise ValueError(f"{text!r} is not allowed; allowed: {', '.join(levels).lower()}")
    return text.upper()


def _share(value: object) -> object:
    """Read `5%` as 0.05."""
    if isinstance(value, str) and value.endswith("%"):
        try:
            return float(value[:-1]) / 100
        except ValueError:
            pass
    return value


Duration = Annotated[float, BeforeValidator(units.seconds), Field(le=3_155_760_000)]
"""Seconds; a hundred years at most."""
Size = Annotated[int, BeforeValidator(units.size), Field(le=16_000_000_000_000)]
"""Bytes; SQLite cannot hold more in pages of 4 KiB."""
Priority = Annotated[int, Field(ge=0, le=9)]
"""0 is the most urgent."""
Switch = Annotated[bool, Field(strict=False)]
"""Here `yes`, `no`, `on` and `off` can mean only one thing."""
Word = Annotated[str, Field(min_length=1)]


class Part(pydantic.BaseModel):
    """A mapping in the file. A key of ours with nothing after it counts as not written."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}


class Queue(Part):
    """The bounds of one queue."""

    limit: Size = 0
    when_full: Literal["drop_oldest", "reject_new", "keep_latest", "downsample"] | None = None
    ttl: Duration | None = None


class Store(Queue):
    """The section `queue`: the bounds of the whole store, and the defaults of every queue."""

    keep_free: Annotated[float, BeforeValidator(_share), Field(ge=0, lt=1)] = 0.05


class Place(Part):
    """Where a device stands in a shadow. A text is a key of the classic one."""

    name: Word = "classic"
    key: Word

    @pydantic.model_validator(mode="before")
    @classmethod
    def _text(cls, data: object) -> object:
        return {"key": data} if isinstance(data, str) else data


Finite = Annotated[float, Field(allow_inf_nan=False)]


def _band(value: object) -> object:
    """Read a deadband: `0.5`, or `2%` of the last reading, which is kept as (0, 0.02)."""
    if isinstance(value, str) and value.endswith("%"):
        return 0.0, _share(value)
    return (value, 0.0) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Measure(Part):
    """What a reading becomes, and which of them count: of a whole device, or of one part of its readings."""

    scale: Finite = 1.0
    offset: Finite = 0.0
    round: Annotated[int, Field(ge=0, le=12)] | None = None
    unit: Word | None = None
    range: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = None
    deadband: Annotated[
        tuple[Annotated[Finite, Field(ge=0)], Annotated[Finite, Field(ge=0, le=1)]], BeforeValidator(_band)
    ] = (0.0, 0.0)

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"the range {self.range} is empty; write the least and the greatest value, as in [0, 100]")
        if self.scale == 0:
            raise ValueError("a scale of 0 makes every reading the same")
        return self


class Threshold(Part):
    """A level, from above or from below."""

    above: Finite | None = None
    below: Finite | None = None
    hysteresis: Annotated[Finite, Field(ge=0)] = 0.0
    part: Word | None = None

    @pydantic.model_validator(mode="after")
    def _one_level(self) -> Threshold:
        if (self.above is None) == (self.below is None):
            found = "both" if self.above is not None else "neither"
            raise ValueError(f"exactly one of above and below says where the threshold is; found {found}")
        return self


class Interlock(Part):
    """What another device must be. A text is a device that must be inactive."""

    device: Word
    is_: Annotated[Literal["active", "inactive"], Field(alias="is")] = "inactive"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _text(cls, data: object) -> object:
        return {"device": data} if isinstance(data, str) else data


class Guard(Part):
    """What an output may do, whoever commands it."""

    safe: Any = None
    lease: Annotated[Duration, Field(ge=0.05)] | None = None
    max_on: Annotated[Duration, Field(ge=0.05)] | None = None
    min_on: Duration = 0.0
    min_off: Duration = 0.0
    max_per_minute: Annotated[int, Field(ge=1, le=60_000)] | None = None
    interlock: list[Any] = Field(default_factory=list)


class Device(Measure):
    """A device. Every other key is an argument of its driver. `parts` and `thresholds` hold what their names say."""

    model_config = ConfigDict(extra="allow")

    driver: Word
    every: Annotated[Duration, Field(ge=0.001)] | None = None
    on_change: Switch = False
    heartbeat: Duration = 0.0
    debounce: Annotated[Duration, Field(le=60)] | None = None
    parts: dict[str, Any] = Field(default_factory=dict)
    thresholds: dict[str, Any] = Field(default_factory=dict)
    volts: Annotated[Finite, Field(gt=0, le=60)] | None = None
    guard: Any = None
    shadow: Place | None = None


class Event(Part):
    """What sets a function off: exactly one of `device`, `topic` and `schedule`."""

    device: Word | None = None
    on: Word | None = None
    topic: Word | None = None
    schedule: Word | None = None
    timezone: Word = "UTC"
    misfire: Literal["skip", "once", "all"] = "once"
    priority: Priority = 5

    @pydantic.model_validator(mode="after")
    def _one_kind(self) -> Event:
        kinds = [name for name in ("device", "topic", "schedule") if getattr(self, name) is not None]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none"
            raise ValueError(
                f"exactly one of device, topic and schedule says what sets the function off; found {found}"
            )
        for key, kind in (("on", "device"), ("timezone", "schedule"), ("misfire", "schedule")):
            if key in self.model_fields_set and kind not in kinds:
                raise ValueError(f"{key!r} belongs to an event of a {kind}, not of a {kinds[0]}")
        return self


class Destination(Part):
    """Where a reply or a failure goes: exactly one of `topic` and `function`. A text is a topic."""

    topic: Word | None = None
    function: Word | None = None
    record: Switch | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _text(cls, data: object) -> object:
        return {"topic": data} if isinstance(data, str) else data

    @pydantic.model_validator(mode="after")
    def _one_kind(self) -> Destination:
        if (self.topic is None) == (self.function is None):
            found = "both" if self.topic else "neither"
            raise ValueError(f"exactly one of topic and function says where it goes; found {found}")
        return self


class Batch(Part):
    """How events are put together. The greatest values are those of an SQS event source."""

    size: Annotated[int, Field(ge=1, le=10_000)] = 10
    window: Annotated[Duration, Field(le=300)] = 0.0
    report_failures: Switch = False


class Log(Part):
    """What a worker logs, and how."""

    format: Annotated[str, AfterValidator(_format)] = "Text"
    level: Annotated[str, AfterValidator(_level)] = ""


class Allow(Part):
    """What a function may do; a list that is missing allows everything, or nothing in a strict app."""

    publish: list[Word] | None = None
    subscribe: list[Word] | None = None
    invoke: list[Word] | None = None
    devices: list[Word] | None = None
    credentials: Switch | None = None


class Function(Part):
    """A handler; `events` holds an `Event` each. The greatest timeout and memory are those of AWS Lambda."""

    code: Word
    handler: Annotated[str, Field(max_length=128)] = ""
    runtime: Annotated[str, AfterValidator(_runtime)] = "python3"
    timeout: Annotated[Duration, Field(ge=0.001, le=900)] = 3.0
    memory: Annotated[int, Field(ge=16, le=10_240)] = 128
    environment: dict[str, Any] = Field(default_factory=dict)
    layers: list[Word] = Field(default_factory=list)
    read: list[Word] = Field(default_factory=list)
    concurrency: Annotated[int, Field(ge=0, le=64)] = 1
    retries: Annotated[int, Field(ge=0, le=1000)] = 2
    retry_wait: Duration = 60.0
    max_age: Duration = 21_600.0
    idle: Duration = 60.0
    events: list[Any] = Field(default_factory=list)
    on_success: Any = None
    on_failure: Any = None
    batch: Batch | None = None
    payload: Annotated[Size, Field(ge=1, le=6 << 20)] = 1 << 20
    binary: Switch = False
    pinned: Switch = False
    status_timeout: Annotated[Duration, Field(ge=0.001)] = 60.0
    log: Log = Field(default_factory=Log)
    allow: Allow | None = None
    greengrass: Word | None = None
    queue: Queue = Field(default_factory=Queue)


class Up(Part):
    """An entry of `link.up`: a filter, and how urgent what matches it is. A text is a filter."""

    topic: Word
    priority: Priority = 5

    @pydantic.model_validator(mode="before")
    @classmethod
    def _text(cls, data: object) -> object:
        return {"topic": data} if isinstance(data, str) else data


def _host(text: str) -> str:
    if text and not re.fullmatch(r"([A-Za-z0-9-]+\.)*[A-Za-z0-9-]+", text):
        raise ValueError(f"{text!r} is no host name; write it alone, without https:// and without a port")
    return text


def _alias(text: str) -> str:
    """AWS IoT API reference, CreateRoleAlias, `roleAlias`."""
    if text and not re.fullmatch(r"[A-Za-z0-9=,@_-]{1,128}", text):
        raise ValueError(f"{text!r} is no name of a role alias; allowed: 1 to 128 letters, digits, = , @ - and _")
    return text


class Credentials(Part):
    """The role whose credentials functions get. The text `greengrass` is that of the core, from its nucleus."""

    endpoint: Annotated[str, AfterValidator(_host)] = ""
    role_alias: Annotated[str, AfterValidator(_alias)] = ""
    port: Annotated[int, Field(ge=1, le=65_535)] = 443
    greengrass: Switch = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _text(cls, data: object) -> object:
        return {"greengrass": True} if data == "greengrass" else data

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Credentials:
        if not self.greengrass and not (self.endpoint and self.role_alias):
            raise ValueError("endpoint and role_alias are both needed, or the word greengrass in their place")
        return self


class Shadows(Part):
    """Which shadows have a twin in the cloud, and who wins a conflict."""

    sync: Literal["all"] | Annotated[list[Word], Field(min_length=1)]
    conflict: Literal["section", "latest_timestamp"] = "section"


class Jobs(Part):
    """What AWS IoT jobs may do. A key is a file with an Ed25519 public key, or its 32 bytes in base64."""

    run: list[Word] = Field(default_factory=list)
    restart: Switch = False
    keys: list[Word] = Field(default_factory=list)


class Pack(Part):
    """How messages are packed. A number is how many."""

    messages: Annotated[int, Field(ge=1, le=10_000)] = 1
    gzip: Switch = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _number(cls, data: object) -> object:
        return data if isinstance(data, dict) else {"messages": data}

    @pydantic.model_validator(mode="after")
    def _worth_it(self) -> Pack:
        if self.gzip and self.messages == 1:
            raise ValueError("gzip compresses what is packed; write messages: 50, too")
        return self


def _night(text: str) -> tuple[int, int]:
    """Read `22:00-06:00` as minutes of the day."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9]) *- *([01][0-9]|2[0-3]):([0-5][0-9])", text, re.ASCII)
    if not found:
        raise ValueError(f"{text!r} is no part of a day; write from and to, as in 22:00-06:00")
    a, b, c, d = (int(part) for part in found.groups())
    if (a, b) == (c, d):
        raise ValueError(f"{text!r} is all day or never; write from and to, as in 22:00-06:00")
    return a * 60 + b, c * 60 + d


class Budget(Part):
    """How much may go through a metered link."""

    bytes: Annotated[Size, Field(ge=1)]
    per: Literal["day", "month"] = "month"
    urgent: Priority = 0
    night: Annotated[str, AfterValidator(_night)] | None = None
    later: Annotated[int, Field(ge=1, le=9)] | None = None
    timezone: Word = "UTC"
    month_begins: Annotated[int, Field(ge=1, le=28)] = 1

    @pydantic.model_validator(mode="after")
    def _agrees(self) -> Budget:
        if self.later is not None and self.night is None:
            raise ValueError("'later' waits for the night, and there is none; write night: 22:00-06:00, too")
        if self.later is not None and self.later <= self.urgent:
            raise ValueError(f"priority {self.later} cannot both go always (urgent: {self.urgent}) and wait (later)")
        if "month_begins" in self.model_fields_set and self.per != "month":
            raise ValueError("'month_begins' belongs to per: month")
        return self


class Link(Part):
    """The link; `up` holds an `Up` each. Every other key is a setting of its driver."""

    model_config = ConfigDict(extra="allow")

    driver: Word
    up: list[Any] = Field(default_factory=list)
    down: list[Word] = Field(default_factory=list)
    window: Annotated[int, Field(ge=1, le=65_535)] | None = None
    publishes_per_s: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] | None = None
    bytes_per_s: Annotated[float, BeforeValidator(units.size)] | None = None
    pack: Pack = Field(default_factory=Pack)
    live_share: Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)] = 0.0
    budget: Budget | None = None
    aws_quotas: Switch | None = None
    credentials: Credentials | None = None
    jobs: Jobs | None = None
    shadows: Shadows | None = None
    queue: Queue = Field(default_factory=Queue)


class Broker(Part):
    """A local MQTT broker. From `username` on, the keys are the options of the `mqtt` trigger."""

    host: Word
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883
    topics: Annotated[list[Word], Field(min_length=1)] = Field(default_factory=lambda: ["#"])
    prefix: str = ""
    username: str | int | None = None
    password: str | int | None = None
    client_id: str | int | None = None
    tls: Switch | None = None
    ca: Word | None = None
    certificate: Word | None = None
    key: Word | None = None
    version: Literal["5", "3.1.1", 5] | None = None
    keep_alive_s: Annotated[int, Field(ge=1, le=65_535)] | None = None
    session_expiry_s: Annotated[int, Field(ge=1, le=0xFFFF_FFFF)] | None = None


class LocalBroker(Part):
    """The broker that the host runs. The least payload is that of a word."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 8883
    address: Word = "127.0.0.1"
    plain_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    topics: Annotated[list[Word], Field(min_length=1)] = Field(default_factory=lambda: ["#"])
    prefix: str = ""
    publish: list[Word] = Field(default_factory=list)
    names: list[Annotated[Word, AfterValidator(_host)]] = Field(default_factory=list)
    payload: Annotated[Size, Field(ge=128, le=16 << 20)] = 1 << 20
    queue: Queue = Field(default_factory=Queue)


class Top(Part):
    """The file. What the sections hold is checked one by one, so that one mistake does not hide another."""

    thing: Annotated[str, AfterValidator(_thing)]
    strict: Switch = False
    board: Word | None = None
    devices: dict[str, Any] = Field(default_factory=dict)
    functions: dict[str, Any] = Field(default_factory=dict)
    link: Any = None
    queue: Any = None
    brokers: dict[str, Any] = Field(default_factory=dict)
    connectors: dict[str, Any] = Field(default_factory=dict)
    broker: Any = None
