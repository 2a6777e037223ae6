"""How AWS IoT Core reacts when a quota is broken. The numbers are in `edge_runtime.pure.quotas`.

Sources: [Q] AWS General Reference, "AWS IoT Core endpoints and quotas"; [M] AWS IoT Core developer guide, "MQTT";
[L] the same, "Lifecycle events"; [I] a CONNACK and the disconnects seen by a user, aws-iot-device-sdk-js-v2 issue 535.
Where AWS leaves the reaction to a bad topic open, MQTT 5 clients are told by a reason code and MQTT 3.1.1 clients are
disconnected: MQTT 3.1.1 has no other way to say no.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from edge_runtime.errors import LimitError
from edge_runtime.pure import quotas
from edge_runtime.pure.topics import check_filter, check_topic
from edge_runtime.standin.codes import Code
from edge_runtime.standin.primitives import MOST_VARINT

Mode = Literal["aws", "none"]

_MOST_TOPICS: Final = 4096


class Reaction(StrEnum):
    """What happens to the client, or to what it sent."""

    REFUSE = "refuse"
    """A failure code in the PUBACK; a disconnect where none can be sent (QoS 0, MQTT 3.1.1)."""
    DISCONNECT = "disconnect"
    DISCARD = "discard"
    """Dropped without a word: no PUBACK either."""


class Verdict(NamedTuple):
    """Why a publish is not accepted, and what follows."""

    reaction: Reaction
    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What is enforced; 0 means no bound."""

    payload_bytes: int = 0
    """More: disconnected with 0x95 [Q, I]."""
    packet_bytes: int = 0
    """The Maximum Packet Size of the CONNACK [I]. More: disconnected with 0x95."""
    publishes_per_s: float = 0.0
    """Per connection, both directions together. More: discarded [Q]; but see `Inbound.may_send`."""
    bytes_per_s: float = 0.0
    """Per connection, both directions together. More: read or sent later [Q]."""
    account_publishes_per_s: float = 0.0
    """Of all connections together, inbound. More: discarded [Q]."""
    account_connects_per_s: float = 0.0
    """Of all client ids together. More: as with `connects_per_s` [Q]."""
    unacknowledged: int = 0
    """QoS 1, each way. Inbound: MQTT 5 is disconnected with 0x93, MQTT 3.1.1 waits. Outbound: the rest waits [Q]."""
    subscriptions: int = 0
    """Per connection. More: a failure in the SUBACK, then disconnected [Q]."""
    filters_per_subscribe: int = 0
    """More: as above [Q]."""
    connects_per_s: float = 0.0
    """Per client id. More: CONNACK 0x97, in MQTT 3.1.1 "server unavailable" [Q]."""
    keep_alive_s: tuple[int, int] | None = None
    """Values outside become the nearest, 0 the greatest [Q]; MQTT 5 is told in the CONNACK [I]."""
    session_expiry_s: int = 0
    """The most that MQTT 5 may ask for; more is lowered and told in the CONNACK [Q]."""
    old_session_expiry_s: int = 0
    """What a persistent session of MQTT 3.1.1 has [M]."""
    message_expiry_s: tuple[int, int] | None = None
    """Values outside become the nearest [Q]."""
    shadow_requests_per_s: float = 0.0
    """Per thing. More: rejected with 429 [Q]."""
    shadow_in_flight: int = 0
    """Requests of one thing that are not yet answered. More: rejected with 429 [Q]."""
    stored_per_s: float = 0.0
    """How fast a resumed session gets what was stored for it [M]."""
    names: bool = False
    """Topics, filters and client ids are held to AWS's lengths and depths, and `$` topics to AWS's own [Q, M]."""
    events: bool = False
    """Lifecycle events are published [L]."""
    retained_exact: bool = False
    """Only a subscription without wildcards gets a retained message [M]."""


AWS: Final = Limits(
    payload_bytes=quotas.PAYLOAD_BYTES,
    packet_bytes=149_504,
    publishes_per_s=quotas.PUBLISHES_PER_S,
    bytes_per_s=quotas.BYTES_PER_S,
    account_publishes_per_s=20_000,
    account_connects_per_s=500,
    unacknowledged=quotas.UNACKNOWLEDGED,
    subscriptions=quotas.SUBSCRIPTIONS,
    filters_per_subscribe=quotas.FILTERS_PER_SUBSCRIBE,
    connects_per_s=quotas.CONNECTS_PER_S,
    keep_alive_s=quotas.KEEP_ALIVE_S,
    session_expiry_s=quotas.SESSION_EXPIRY_S,
    old_session_expiry_s=3600,
    message_expiry_s=quotas.MESSAGE_EXPIRY_S,
    shadow_requests_per_s=20.0,
    shadow_in_flight=10,
    stored_per_s=10.0,
    names=True,
    events=True,
    retained_exact=True,
)
NONE: Final = Limits()
"""MQTT as it is specified, for benchmarks and for holding the stand-in against other brokers."""

TOPIC_ALIASES: Final = 8
"""The Topic Alias Maximum of the CONNACK [Q, I]."""


def limits(mode: Mode) -> Limits:
    """Return what a mode enforces."""
    return AWS if mode == "aws" else NONE


def most_packet(held: Limits) -> int:
    """Return the greatest remaining length that is read."""
    return held.packet_bytes or MOST_VARINT


def keep_alive(held: Limits, asked: int) -> int:
    """Return the keep-alive in force, in seconds; 0: none."""
    if held.keep_alive_s is None:
        return asked
    low, high = held.keep_alive_s
    return max(low, min(asked, high)) if asked else high


def message_expiry(held: Limits, asked: int) -> int:
    """Return the message expiry in force, in seconds."""
    if held.message_expiry_s is None:
        return asked
    low, high = held.message_expiry_s
    return max(low, min(asked, high))


def client_id_fault(held: Limits, client_id: str) -> str:
    """Return what is wrong with a client id that is not empty, or an empty text."""
    if not held.names:
        return ""
    return _fault_of(quotas.check_client_id, client_id)


def filter_fault(held: Limits, topic_filter: str) -> str:
    """Return what is wrong with a filter that was asked for, or an empty text."""
    if held.names and topic_filter.startswith("$") and not topic_filter.startswith(("$aws/", "$share/")):
        return f"topic filter {topic_filter!r}: AWS IoT Core has no such reserved topic"
    if topic_filter.startswith("$share/"):
        _, _, rest = topic_filter.partition("/")
        name, slash, shared = rest.partition("/")
        if not (name and slash and shared) or "+" in name or "#" in name:
            return f"topic filter {topic_filter!r} is no shared subscription: write $share/<name>/<filter>"
    return _fault_of(_check_one_filter if held.names else check_filter, topic_filter)


def _check_one_filter(topic_filter: str) -> None:
    quotas.check_filters([topic_filter])


def _fault_of(check: Callable[[str], None], value: str) -> str:
    try:
        check(value)
    except LimitError as error:
        return str(error)
    return ""


class Gate:
    """Judges publishes. A topic that passed once is not looked at again."""

    def __init__(self, held: Limits) -> None:
        self._held = held
        self._passed: set[str] = set()

    def judge(self, topic: str, size: int, *, retain: bool) -> Verdict | None:
        """Return None when a publish of `size` bytes on `topic` is accepted."""
        most = self._held.payload_bytes
        if most and size > most:
            words = f"a payload of {size} bytes; AWS IoT Core allows {most}"
            return Verdict(Reaction.DISCONNECT, Code.PACKET_TOO_LARGE, words)
        if retain and topic.startswith("$"):
            words = f"topic {topic!r} is reserved: nothing can be retained on it"
            return Verdict(Reaction.DISCONNECT, Code.RETAIN_NOT_SUPPORTED, words)
        if topic in self._passed:
            return None
        return self._judge_topic(topic)

    def _judge_topic(self, topic: str) -> Verdict | None:
        try:
            if self._held.names:
                quotas.check_publish(topic, 0)
            else:
                check_topic(topic)
        except LimitError as error:
            return Verdict(Reaction.REFUSE, Code.TOPIC_INVALID, str(error))
        foreign = topic.startswith("$") and not (topic.startswith("$aws/") and not topic.startswith("$aws/events/"))
        if self._held.names and foreign:
            words = f"topic {topic!r} is reserved: no client may publish on it"
            return Verdict(Reaction.DISCONNECT, Code.NOT_AUTHORIZED, words)
        if len(self._passed) >= _MOST_TOPICS:
            self._passed.clear()
        self._passed.add(topic)
        return None
