"""Several messages in one publish: the only way past the 100 publishes a second that AWS IoT Core grants."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_runtime.model import Message
from edge_runtime.pure.quotas import PAYLOAD_BYTES

ID = "edge-id"
TARGET = "edge-target"
SEQ = "edge-seq"
PACKED = "edge-pack"
_JSON_SOURCES = ("device/", "schedule/", "function/")
_FRAME_BYTES = 96
"""What a packed message takes beside its payload, at most: `{"id":...,"seq":...,"payload":...},`."""


class Parcel(NamedTuple):
    """One publish, and the messages that its acknowledgement settles."""

    topic: str
    payload: bytes
    properties: Mapping[str, str]
    messages: tuple[Message, ...]


def parcels(messages: Sequence[Message], most: int) -> Iterator[Parcel]:
    """Yield the publishes for these messages, in their order, with up to `most` neighbours of one topic in each.

    A single message travels as it is, with its id, target and sequence number as MQTT 5 user properties. A packed
    publish has the property `edge-pack` (the count), those of its first message, and as its payload a JSON array of
    `{"id", "seq", "payload"}`, or `"payload_base64"` where a payload is not JSON.
    """
    group: list[Message] = []
    size = 0
    for message in messages:
        cost = len(message.event.payload) * 4 // 3 + _FRAME_BYTES
        if group and (len(group) >= most or message.event.topic != group[0].event.topic or size + cost > PAYLOAD_BYTES):
            yield _parcel(group)
            group, size = [], 0
        group.append(message)
        size += cost
    if group:
        yield _parcel(group)


def _parcel(group: Sequence[Message]) -> Parcel:
    event, target, _, seq, _, _ = first = group[0]
    properties = {**event.headers, ID: event.id, TARGET: target, SEQ: str(seq)}
    if len(group) == 1:
        return Parcel(event.topic, event.payload, properties, (first,))
    properties[PACKED] = str(len(group))
    return Parcel(event.topic, b"[" + b",".join(map(_item, group)) + b"]", properties, tuple(group))


def _item(message: Message) -> bytes:
    event = message.event
    head = f'{{"id":"{event.id}","seq":{message.seq},'.encode()
    if event.source.startswith(_JSON_SOURCES) or _is_json(event.payload):
        return b'%b"payload":%b}' % (head, event.payload)
    return b'%b"payload_base64":"%b"}' % (head, base64.b64encode(event.payload))


def _is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return True
