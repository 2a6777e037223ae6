"""Writes the bodies of all packets but PUBLISH: one function for each kind."""

from __future__ import annotations

from functools import singledispatch
from typing import Final

from edge_runtime.standin.packets import (
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
)
from edge_runtime.standin.primitives import binary, integer, text
from edge_runtime.standin.properties import WILL, Properties, write_properties

# The bits of the connect flags, MQTT 5.0 section 3.1.2.3.
_CLEAN, _WILL, _WILL_RETAIN, _PASSWORD, _USERNAME = 0x02, 0x04, 0x20, 0x40, 0x80

_KINDS: Final[dict[type, Kind]] = {
    Connect: Kind.CONNECT,
    Connack: Kind.CONNACK,
    Subscribe: Kind.SUBSCRIBE,
    Suback: Kind.SUBACK,
    Unsubscribe: Kind.UNSUBSCRIBE,
    Unsuback: Kind.UNSUBACK,
    Pingreq: Kind.PINGREQ,
    Pingresp: Kind.PINGRESP,
    Disconnect: Kind.DISCONNECT,
    Auth: Kind.AUTH,
}


def encode_body(packet: Packet, version: int) -> tuple[Kind, bytes]:
    """Return the type and the body of any packet but a PUBLISH.

    Raises: CodecError when a value cannot be sent.
    """
    return packet.kind if isinstance(packet, Ack) else _KINDS[type(packet)], _body(packet, version)


@singledispatch
def _body(packet: Packet, version: int) -> bytes:  # noqa: ARG001 - the signature of all that are registered
    raise TypeError(f"{type(packet).__name__} is no packet with a body of this kind")


@_body.register
def _(packet: Connect, _version: int) -> bytes:
    will = packet.will
    flags = packet.clean_start * _CLEAN
    if packet.username is not None:
        flags |= _USERNAME
    if packet.password is not None:
        flags |= _PASSWORD
    if will is not None:
        flags |= _WILL | will.qos << 3 | will.retain * _WILL_RETAIN
    out = [text("MQTT"), bytes((packet.version, flags)), integer(packet.keep_alive, 2)]
    out += [_properties(packet.properties, packet.version, Kind.CONNECT), text(packet.client_id)]
    if will is not None:
        out += [_properties(will.properties, packet.version, WILL), text(will.topic), binary(will.payload)]
    if packet.username is not None:
        out.append(text(packet.username))
    if packet.password is not None:
        out.append(binary(packet.password))
    return b"".join(out)


@_body.register
def _(packet: Connack, version: int) -> bytes:
    head = bytes((packet.session_present, packet.code))
    return head + _properties(packet.properties, version, Kind.CONNACK)


@_body.register
def _(packet: Ack, version: int) -> bytes:
    return integer(packet.packet_id, 2) + _code(packet.code, packet.properties, version, packet.kind)


@_body.register
def _(packet: Subscribe, version: int) -> bytes:
    head = integer(packet.packet_id, 2) + _properties(packet.properties, version, Kind.SUBSCRIBE)
    return head + b"".join(text(one.filter) + bytes((_options(one, version),)) for one in packet.filters)


@_body.register
def _(packet: Suback, version: int) -> bytes:
    return integer(packet.packet_id, 2) + _properties(packet.properties, version, Kind.SUBACK) + bytes(packet.codes)


@_body.register
def _(packet: Unsubscribe, version: int) -> bytes:
    head = integer(packet.packet_id, 2) + _properties(packet.properties, version, Kind.UNSUBSCRIBE)
    return head + b"".join(text(name) for name in packet.filters)


@_body.register
def _(packet: Unsuback, version: int) -> bytes:
    codes = bytes(packet.codes) if version == MQTT_5 else b""
    return integer(packet.packet_id, 2) + _properties(packet.properties, version, Kind.UNSUBACK) + codes


@_body.register
def _(packet: Disconnect, version: int) -> bytes:
    return _code(packet.code, packet.properties, version, Kind.DISCONNECT)


@_body.register
def _(packet: Auth, version: int) -> bytes:
    return _code(packet.code, packet.properties, version, Kind.AUTH)


@_body.register(Pingreq)
@_body.register(Pingresp)
def _(_packet: Pingreq | Pingresp, _version: int) -> bytes:
    return b""


def _properties(properties: Properties, version: int, place: int) -> bytes:
    return write_properties(properties, place) if version == MQTT_5 else b""


def _code(code: int, properties: Properties, version: int, kind: Kind) -> bytes:
    """Write a reason code and properties, leaving out what the receiver knows by itself."""
    if version != MQTT_5 or not (code or properties):
        return b""
    return bytes((code,)) + (write_properties(properties, kind) if properties else b"")


def _options(one: Subscription, version: int) -> int:
    if version != MQTT_5:
        return one.qos
    return one.qos | one.no_local << 2 | one.retain_as_published << 3 | one.retain_handling << 4
