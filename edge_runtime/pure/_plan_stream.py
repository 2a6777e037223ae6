"""What comes to the queue of the uplink, and what its publishes look like. The tests hold it against `cloud.pack`."""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_runtime.pure.data_budget import publish_bytes
from edge_runtime.pure.quotas import PAYLOAD_BYTES

_ID = "0" * 36
_TIME = "0" * 13
_SEQ = "0" * 7
_ITEM = len(f'{{"id":"{_ID}","seq":{_SEQ},"time":{_TIME},"payload":}},')
_PROPERTIES = {"edge-id": _ID, "edge-target": "uplink", "edge-seq": _SEQ, "edge-time": _TIME}
_RAW_BYTES, _RATIO = 2 * PAYLOAD_BYTES, 8
"""So much is compressed at a time at most, and no more than so many times what may leave: `cloud.pack`."""
READY = 1024
"""Messages of all topics among which the uplink looks for those of one, at least: half of what it takes ahead."""
ROW_BYTES = 145
"""What a message takes in a queue beside topic and payload, about: who emitted it and when, its id, the row."""
TOPIC_BYTES = 32
"""Of a topic of which nothing is known."""


class Stream(NamedTuple):
    """What comes to a queue, on average."""

    per_s: float
    payload: float
    """Bytes of a message's payload."""
    topic: float = TOPIC_BYTES
    disk: float = 1.0
    """Bytes that a message takes in the queue, by the books of the queue."""
    shares: tuple[float, ...] = (0.0,) * 5 + (1.0,) + (0.0,) * 4
    """Which part is of which priority, 0 to 9; together 1."""
    topics: int = 1
    gzip: float = 0.0
    """What packed messages are compressed to, as a part of what they were; 0: not known."""

    @classmethod
    def of(cls, per_s: float, payload: float, topic: float = TOPIC_BYTES) -> Stream:
        """Return a stream of which only this is known."""
        return cls(per_s, payload, topic, payload + topic + ROW_BYTES)


class Publish(NamedTuple):
    """What a publish is like."""

    messages: float
    payload: float
    """Bytes of its payload, compressed if it is."""
    wire: float
    """Bytes that it and its acknowledgement take on the wire."""


def publish(stream: Stream, pack: int, *, gzip: bool = False) -> Publish:
    """Return what a publish of messages that wait is like. Compression that is not known counts as none."""
    if pack > 1:
        together = _together(stream, pack, gzip=gzip)
        if together.messages > 1:
            return together
    return Publish(1.0, stream.payload, _wire(stream, stream.payload, {}))


def _together(stream: Stream, pack: int, *, gzip: bool) -> Publish:
    item = stream.payload + _ITEM
    ratio = stream.gzip if gzip and stream.gzip else 1.0
    bound = float(PAYLOAD_BYTES)
    if ratio < 1.0:
        bound = min(_RAW_BYTES, PAYLOAD_BYTES * _RATIO, PAYLOAD_BYTES / ratio)
    messages = float(max(1, min(pack, math.floor(bound / item), READY // max(1, stream.topics))))
    payload = messages * item * ratio
    more = {"edge-pack": str(pack), **({"edge-encoding": "gzip"} if ratio < 1.0 else {})}
    return Publish(messages, payload, _wire(stream, payload, more))


def _wire(stream: Stream, payload: float, more: dict[str, str]) -> float:
    return float(publish_bytes("t" * round(stream.topic), math.ceil(payload), {**_PROPERTIES, **more}))
