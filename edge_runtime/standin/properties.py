"""The properties of MQTT 5 (section 2.2.2): a table says what each is called, how it is written, where it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypedDict, cast

from edge_runtime.standin.codes import Code, CodecError
from edge_runtime.standin.primitives import MOST_VARINT, Reader, binary, integer, text, varint


class Properties(TypedDict, total=False):
    """What a packet carries beside its fixed fields; a missing key was not sent. Never change one that was decoded."""

    payload_format: int
    message_expiry: int
    content_type: str
    response_topic: str
    correlation_data: bytes
    subscription_ids: list[int]
    session_expiry: int
    assigned_client_id: str
    server_keep_alive: int
    authentication_method: str
    authentication_data: bytes
    request_problem: int
    will_delay: int
    request_response: int
    response_information: str
    server_reference: str
    reason: str
    receive_maximum: int
    topic_alias_maximum: int
    topic_alias: int
    maximum_qos: int
    retain_available: int
    user: list[tuple[str, str]]
    maximum_packet_size: int
    wildcards_available: int
    subscription_ids_available: int
    shared_available: int


NO_PROPERTIES: Final[Properties] = {}
"""Shared by all packets that carry none; never change it."""

WILL: Final = 0
"""In the place of a packet type: the properties of a will."""


class _Rule(NamedTuple):
    name: str
    kind: str
    places: frozenset[int]
    low: int = 0
    high: int = 0xFFFF_FFFF


def _rule(name: str, kind: str, places: str, low: int = 0, high: int = 0xFFFF_FFFF) -> _Rule:
    return _Rule(name, kind, frozenset(int(p) for p in places.split()), low, high)


# Where: 0 will, 1 CONNECT, 2 CONNACK, 3 PUBLISH, 4-7 PUBACK..PUBCOMP, 8 SUBSCRIBE, 9 SUBACK, 10 UNSUBSCRIBE,
# 11 UNSUBACK, 14 DISCONNECT, 15 AUTH. MQTT 5.0 table 2-4.
_RULES: Final = {
    0x01: _rule("payload_format", "byte", "0 3", 0, 1),
    0x02: _rule("message_expiry", "four", "0 3"),
    0x03: _rule("content_type", "text", "0 3"),
    0x08: _rule("response_topic", "text", "0 3"),
    0x09: _rule("correlation_data", "binary", "0 3"),
    0x0B: _rule("subscription_ids", "ids", "3 8", 1, MOST_VARINT),
    0x11: _rule("session_expiry", "four", "1 2 14"),
    0x12: _rule("assigned_client_id", "text", "2"),
    0x13: _rule("server_keep_alive", "two", "2"),
    0x15: _rule("authentication_method", "text", "1 2 15"),
    0x16: _rule("authentication_data", "binary", "1 2 15"),
    0x17: _rule("request_problem", "byte", "1", 0, 1),
    0x18: _rule("will_delay", "four", "0"),
    0x19: _rule("request_response", "byte", "1", 0, 1),
    0x1A: _rule("response_information", "text", "2"),
    0x1C: _rule("server_reference", "text", "2 14"),
    0x1F: _rule("reason", "text", "2 4 5 6 7 9 11 14 15"),
    0x21: _rule("receive_maximum", "two", "1 2", 1),
    0x22: _rule("topic_alias_maximum", "two", "1 2"),
    0x23: _rule("topic_alias", "two", "3"),
    0x24: _rule("maximum_qos", "byte", "2", 0, 1),
    0x25: _rule("retain_available", "byte", "2", 0, 1),
    0x26: _rule("user", "pairs", "0 1 2 3 4 5 6 7 8 9 10 11 14 15"),
    0x27: _rule("maximum_packet_size", "four", "1 2", 1),
    0x28: _rule("wildcards_available", "byte", "2", 0, 1),
    0x29: _rule("subscription_ids_available", "byte", "2", 0, 1),
    0x2A: _rule("shared_available", "byte", "2", 0, 1),
}
_USER: Final = 0x26
_IDS: Final = {rule.name: number for number, rule in _RULES.items()}

_READ: Final[Mapping[str, Callable[[Reader], object]]] = {
    "byte": Reader.byte,
    "two": Reader.two,
    "four": Reader.four,
    "text": Reader.text,
    "binary": Reader.binary,
    "ids": Reader.varint,
}


def read_properties(reader: Reader, place: int) -> Properties:
    """Read the properties of a packet of type `place`, with their length in front.

    Raises: CodecError with 0x81 when they are malformed, 0x82 when one may not be there, not twice or not so large.
    """
    size = reader.varint()
    if not size:
        return NO_PROPERTIES
    end = reader.pos + size
    if end > reader.end:
        raise CodecError("properties run over the end of their packet")
    inner = Reader(reader.data, reader.pos, end)
    reader.pos = end
    found: dict[str, object] = {}
    users: list[tuple[str, str]] = []
    while inner.pos < end:
        if inner.data[inner.pos] == _USER:  # the one that comes with every message: without the table
            inner.pos += 1
            users.append((inner.text(), inner.text()))
        else:
            _read_one(inner, place, found)
    if users:
        found["user"] = users
    return cast("Properties", found)  # the table above gives each key the type that Properties states


def _read_one(reader: Reader, place: int, found: dict[str, object]) -> None:
    number = reader.varint()
    rule = _RULES.get(number)
    if rule is None:
        raise CodecError(f"there is no property 0x{number:02x}")
    if place not in rule.places:
        raise CodecError(f"property {rule.name} may not be in a packet of type {place}", code=Code.PROTOCOL_ERROR)
    value = _READ[rule.kind](reader)
    if isinstance(value, int) and not rule.low <= value <= rule.high:
        raise CodecError(f"property {rule.name} may not be {value}", code=Code.PROTOCOL_ERROR)
    if rule.kind == "ids":
        cast("list[object]", found.setdefault(rule.name, [])).append(value)
    elif rule.name in found:
        raise CodecError(f"property {rule.name} is there twice", code=Code.PROTOCOL_ERROR)
    else:
        found[rule.name] = value


def write_properties(properties: Properties, place: int) -> bytes:
    """Write the properties of a packet of type `place`, with their length in front.

    Raises: CodecError when one may not be there or has a value that cannot be sent.
    """
    if not properties:
        return b"\0"
    out = bytearray()
    for name, value in properties.items():
        number = _IDS[name]
        rule = _RULES[number]
        if place not in rule.places:
            raise CodecError(f"property {name} may not be in a packet of type {place}", code=Code.PROTOCOL_ERROR)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int) and not rule.low <= one <= rule.high:
                raise CodecError(f"property {name} may not be {one}", code=Code.PROTOCOL_ERROR)
            out.append(number)
            out += _write_one(rule.kind, one)
    return varint(len(out)) + out


def _write_one(kind: str, value: object) -> bytes:
    match value:
        case str():
            return text(value)
        case bytes():
            return binary(value)
        case (str(key), str(worth)):
            return text(key) + text(worth)
        case int():
            return varint(value) if kind == "ids" else integer(value, {"byte": 1, "two": 2, "four": 4}[kind])
        case _:
            raise CodecError(f"{value!r} is no value of a property")


def user_properties(properties: Properties) -> tuple[tuple[str, str], ...]:
    """Return the user properties, in order; a key may be there more than once."""
    pairs = properties.get("user")
    return tuple(pairs) if pairs else ()
