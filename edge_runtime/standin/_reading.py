"""Reads the bodies of all packets but PUBLISH: one function for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from edge_runtime.standin.codes import Code, CodecError
from edge_runtime.standin.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Kind,
    Packet,
    Pingreq,
    Pingresp,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from edge_runtime.standin.primitives import Reader
from edge_runtime.standin.properties import NO_PROPERTIES, WILL, Properties, read_properties

T = TypeVar("T")

_QOS_3: Final = 3
# The bits of the connect flags, MQTT 5.0 section 3.1.2.3.
_CLEAN, _WILL, _WILL_RETAIN, _PASSWORD, _USERNAME = 0x02, 0x04, 0x20, 0x40, 0x80


def _properties(reader: Reader, version: int, kind: Kind) -> Properties:
    return read_properties(reader, kind) if version == MQTT_5 else NO_PROPERTIES


def _connect(reader: Reader, _: int) -> Connect:
    name, version = reader.binary(), reader.byte()
    if name != b"MQTT" or version not in (MQTT_3_1_1, MQTT_5):
        raise CodecError(f"protocol {name!r} of version {version} is not spoken here", code=Code.UNSUPPORTED_VERSION)
    flags, keep_alive = reader.byte(), reader.two()
    has_will = bool(flags & _WILL)
    if flags & 1 or flags >> 3 & 3 == _QOS_3 or (not has_will and flags & 0x38):
        raise CodecError(f"connect flags 0x{flags:02x} are not allowed")
    if version == MQTT_3_1_1 and flags & _PASSWORD and not flags & _USERNAME:
        raise CodecError("a password without a user name")
    properties = _properties(reader, version, Kind.CONNECT)
    client_id = reader.text()
    will = None
    if has_will:
        will_properties = read_properties(reader, WILL) if version == MQTT_5 else NO_PROPERTIES
        topic, payload = reader.text(), reader.binary()
        will = Will(topic, payload, flags >> 3 & 3, bool(flags & _WILL_RETAIN), will_properties)
    username = reader.text() if flags & _USERNAME else None
    password = reader.binary() if flags & _PASSWORD else None
    return Connect(client_id, version, bool(flags & _CLEAN), keep_alive, username, password, will, properties)


def _connack(reader: Reader, version: int) -> Connack:
    flags, code = reader.byte(), reader.byte()
    if flags > 1:
        raise CodecError(f"CONNACK flags 0x{flags:02x} are not allowed")
    return Connack(flags == 1, code, _properties(reader, version, Kind.CONNACK))


def _ack(kind: Kind) -> Callable[[Reader, int], Ack]:
    def read(reader: Reader, version: int) -> Ack:
        packet_id = reader.packet_id()
        if version != MQTT_5 or not reader.left:
            return Ack(kind, packet_id)
        code = reader.byte()
        return Ack(kind, packet_id, code, read_properties(reader, kind) if reader.left else NO_PROPERTIES)

    return read


def _subscribe(reader: Reader, version: int) -> Subscribe:
    packet_id = reader.packet_id()
    properties = _properties(reader, version, Kind.SUBSCRIBE)
    filters: list[Subscription] = []
    while reader.left:
        name, options = reader.text(), reader.byte()
        qos, handling = options & 3, options >> 4 & 3
        if qos == _QOS_3 or handling == 3 or options & (0xC0 if version == MQTT_5 else 0xFC):  # noqa: PLR2004 - two bits set
            raise CodecError(f"subscription options 0x{options:02x} are not allowed")
        filters.append(Subscription(name, qos, bool(options & 4), bool(options & 8), handling))
    return Subscribe(packet_id, _some(filters, "SUBSCRIBE"), properties)


def _suback(reader: Reader, version: int) -> Suback:
    packet_id = reader.packet_id()
    properties = _properties(reader, version, Kind.SUBACK)
    return Suback(packet_id, tuple(reader.rest()), properties)


def _unsubscribe(reader: Reader, version: int) -> Unsubscribe:
    packet_id = reader.packet_id()
    properties = _properties(reader, version, Kind.UNSUBSCRIBE)
    filters: list[str] = []
    while reader.left:
        filters.append(reader.text())
    return Unsubscribe(packet_id, _some(filters, "UNSUBSCRIBE"), properties)


def _unsuback(reader: Reader, version: int) -> Unsuback:
    packet_id = reader.packet_id()
    properties = _properties(reader, version, Kind.UNSUBACK)
    return Unsuback(packet_id, tuple(reader.rest()) if version == MQTT_5 else (), properties)


def _disconnect(reader: Reader, version: int) -> Disconnect:
    if version != MQTT_5 or not reader.left:
        return Disconnect()
    code = reader.byte()
    return Disconnect(code, read_properties(reader, Kind.DISCONNECT) if reader.left else NO_PROPERTIES)


def _auth(reader: Reader, version: int) -> Auth:
    if version != MQTT_5:
        raise CodecError("MQTT 3.1.1 has no AUTH")
    if not reader.left:
        return Auth()
    code = reader.byte()
    return Auth(code, read_properties(reader, Kind.AUTH) if reader.left else NO_PROPERTIES)


def _some(entries: list[T], what: str) -> tuple[T, ...]:
    if not entries:
        raise CodecError(f"{what} without a topic filter", code=Code.PROTOCOL_ERROR)
    return tuple(entries)


BODIES: Final[Mapping[int, Callable[[Reader, int], Packet]]] = {
    Kind.CONNECT: _connect,
    Kind.CONNACK: _connack,
    Kind.PUBACK: _ack(Kind.PUBACK),
    Kind.PUBREC: _ack(Kind.PUBREC),
    Kind.PUBREL: _ack(Kind.PUBREL),
    Kind.PUBCOMP: _ack(Kind.PUBCOMP),
    Kind.SUBSCRIBE: _subscribe,
    Kind.SUBACK: _suback,
    Kind.UNSUBSCRIBE: _unsubscribe,
    Kind.UNSUBACK: _unsuback,
    Kind.PINGREQ: lambda _reader, _version: Pingreq(),
    Kind.PINGRESP: lambda _reader, _version: Pingresp(),
    Kind.DISCONNECT: _disconnect,
    Kind.AUTH: _auth,
}
