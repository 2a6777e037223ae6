"""The packets of MQTT 3.1.1 and 5, named as in the specification.

Named tuples: a stand-in that is to outrun what it tests makes one of these for each message.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from edge_runtime.standin.properties import NO_PROPERTIES, Properties

MQTT_3_1_1 = 4
MQTT_5 = 5


class Kind(IntEnum):
    """The packet types, MQTT 5.0 section 2.1.2."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Will(NamedTuple):
    """The last will in a CONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


class Connect(NamedTuple):
    """CONNECT. `clean_start` is the clean session flag of MQTT 3.1.1."""

    client_id: str
    version: int = MQTT_5
    clean_start: bool = True
    keep_alive: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = NO_PROPERTIES


class Connack(NamedTuple):
    """CONNACK. `code` is as on the wire: a return code in MQTT 3.1.1, a reason code in MQTT 5."""

    session_present: bool = False
    code: int = 0
    properties: Properties = NO_PROPERTIES


class Publish(NamedTuple):
    """PUBLISH. `packet_id` is 0 with QoS 0. An empty topic stands for a topic alias."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = NO_PROPERTIES


class Ack(NamedTuple):
    """PUBACK, PUBREC, PUBREL or PUBCOMP, as `kind` says. MQTT 3.1.1 has no `code`: it reads as 0."""

    kind: Kind
    packet_id: int
    code: int = 0
    properties: Properties = NO_PROPERTIES


class Subscription(NamedTuple):
    """One filter of a SUBSCRIBE with its options. MQTT 3.1.1 has the QoS only."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    """0: send retained messages; 1: only if the subscription is new; 2: do not."""


class Subscribe(NamedTuple):
    """SUBSCRIBE."""

    packet_id: int
    filters: tuple[Subscription, ...]
    properties: Properties = NO_PROPERTIES


class Suback(NamedTuple):
    """SUBACK: one code for each filter, in order."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


class Unsubscribe(NamedTuple):
    """UNSUBSCRIBE."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


class Unsuback(NamedTuple):
    """UNSUBACK: one code for each filter, in order; none in MQTT 3.1.1."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


class Pingreq(NamedTuple):
    """PINGREQ."""


class Pingresp(NamedTuple):
    """PINGRESP."""


class Disconnect(NamedTuple):
    """DISCONNECT. MQTT 3.1.1 has no `code`: it reads as 0."""

    code: int = 0
    properties: Properties = NO_PROPERTIES


class Auth(NamedTuple):
    """AUTH. Decoded so that it can be refused: AWS IoT Core has no enhanced authentication."""

    code: int = 0
    properties: Properties = NO_PROPERTIES


Packet = (
    Connect
    | Connack
    | Publish
    | Ack
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
