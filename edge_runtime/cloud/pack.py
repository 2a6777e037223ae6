"""Several messages in one publish: the only way past the 100 publishes a second that AWS IoT Core grants.

What waits to be sent is gathered by topic: of ten devices that report in turn, no two messages of one topic are
neighbours. So messages of one topic and priority keep their order; between topics it may change by as many messages as
`Bins` holds.
"""

from __future__ import annotations

import base64
import heapq
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from edge_runtime.model import Message, Stamp
from edge_runtime.pure.quotas import PAYLOAD_BYTES
from edge_runtime.pure.timeline import SYNCED

ID = "edge-id"
TARGET = "edge-target"
SEQ = "edge-seq"
PACKED = "edge-pack"
TIME = "edge-time"
CLOCK = "edge-clock"
ENCODING = "edge-encoding"
GZIP = "gzip"
OURS = "edge-"
"""What the names of the runtime's own headers and properties begin with."""

RAW_BYTES = 2 * PAYLOAD_BYTES
"""What is compressed at a time, at most, for the event loop waits: 3 ms on a PC, perhaps 30 ms on a Pi Zero."""
_RATIO = 8
"""More than so many times what may leave is not compressed: it would hardly fit."""
_TRIES = 2
_LEVEL = 3
"""Of zlib: within a few per cent of the best for readings in JSON, at a third of the time."""
_PROPERTY_BYTES = 5 + len(ENCODING) + len(GZIP)
_JSON_SOURCES = ("device/", "schedule/")
"""What they emit is always JSON; a function publishes what it likes."""

_SPACE = " \t\n\r"


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)

When = Callable[[Stamp], tuple[int, str]]
"""Tells when something happened as far as is known by now: nanoseconds since the epoch, and how that is known."""
Most = Callable[[str], int]
"""Tells the most bytes of payload that a publish on a topic may have."""


Together = Callable[[Message], int]
"""Tells the most messages that a publish may hold that begins with this one; the packing may allow fewer."""


class Parcel(NamedTuple):
    """One publish, and the messages that its acknowledgement settles."""

    topic: str
    payload: bytes
    properties: Mapping[str, str]
    messages: tuple[Message, ...]


class Packing(NamedTuple):
    """How messages are put together. `most` tells the bound of a payload, of the compressed one with `gzip`."""

    messages: int = 1
    gzip: bool = False
    most: Most = lambda _: PAYLOAD_BYTES
    when: When | None = None


class Bins:
    """Messages that wait for their publish, by priority and, where they are packed, by topic.

    They leave the most urgent priority first, in it the bin first whose first message came first.
    """

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._bins: dict[tuple[int, str], deque[tuple[int, Message]]] = {}
        self._order: list[tuple[int, int, str]] = []
        """A heap with an entry a bin: priority, when its first message came, topic."""
        self._came = 0
        self.bytes = 0
        self.messages = 0

    def __bool__(self) -> bool:
        return bool(self._bins)

    @property
    def head(self) -> int:
        """The most urgent priority that there is; 10 when there is none."""
        return self._order[0][0] if self._order else 10

    def add(self, messages: Iterable[Message]) -> None:
        """Take messages as the queue hands them out."""
        by_topic, bins, came, size = self._packing.messages > 1, self._bins, self._came, 0
        for message in messages:
            event, _, priority, _, _, _ = message
            key = priority, event.topic if by_topic else ""
            came += 1
            if key not in bins:
                bins[key] = deque()
                heapq.heappush(self._order, (priority, came, key[1]))
            bins[key].append((came, message))
            size += len(event.payload)
        self.messages += came - self._came
        self.bytes += size
        self._came = came

    def take_out(self, least: int = -1) -> list[Message]:
        """Return, and forget, what is less urgent than priority `least`: everything unless it is told."""
        out: list[Message] = []
        for key in [key for key in self._bins if key[0] > least]:
            out += [message for _, message in self._bins.pop(key)]
        self._order = sorted(entry for entry in self._order if entry[0] <= least)
        self._gone(out)
        return out

    def next(self, together: Together | None = None) -> Parcel | None:
        """Return the next publish, which is then the caller's with its messages; None when nothing waits."""
        if not self._bins:
            return None
        priority, _, topic = self._order[0]
        waiting = self._bins[priority, topic]
        count = min(self._packing.messages, len(waiting), together(waiting[0][1]) if together else len(waiting))
        if count == 1 or _is_of_a_service(topic):
            parcel = _alone(waiting[0][1], self._packing.when)
        else:
            parcel = _together(waiting, self._packing, count)
        for _ in parcel.messages:
            waiting.popleft()
        if waiting:
            heapq.heapreplace(self._order, (priority, waiting[0][0], topic))
        else:
            heapq.heappop(self._order)
            del self._bins[priority, topic]
        self._gone(parcel.messages)
        return parcel

    def _gone(self, messages: Sequence[Message]) -> None:
        self.messages -= len(messages)
        self.bytes -= sum([len(message.event.payload) for message in messages])


def parcels(messages: Iterable[Message], packing: Packing) -> Iterator[Parcel]:
    """Yield the publishes for these messages.

    A single message travels as it is, with its id, target and sequence number as MQTT 5 user properties, and with
    `when` also the time (`edge-time`, milliseconds since the epoch) and, unless the clock was right, the word for how
    that is known (`edge-clock`). A packed publish has the property `edge-pack` (the count), those of its first message,
    and as its payload a JSON array of `{"id", "seq", "payload"}`, or `"payload_base64"` where a payload is not JSON;
    with `"time"` and `"clock"`, and with `"headers"` where a message has other ones than the first. It is compressed
    where that makes it smaller, and then has the property `edge-encoding: gzip`.
    """
    bins = Bins(packing)
    bins.add(messages)
    while (parcel := bins.next()) is not None:
        yield parcel


def _is_of_a_service(topic: str) -> bool:
    """Tell whether one of AWS's own services reads a topic, which knows nothing of packing; a rule may."""
    return topic.startswith("$aws/") and not topic.startswith("$aws/rules/")


def _properties(message: Message, when: When | None) -> dict[str, str]:
    event = message.event
    properties = {**event.headers, ID: event.id, TARGET: message.target, SEQ: str(message.seq)}
    if when is not None:
        wall_ns, mark = when(event.time)
        properties[TIME] = str(wall_ns // 1_000_000)
        if mark != SYNCED:
            properties[CLOCK] = mark
    return properties


def _alone(message: Message, when: When | None) -> Parcel:
    return Parcel(message.event.topic, message.event.payload, _properties(message, when), (message,))


def _together(waiting: deque[tuple[int, Message]], packing: Packing, count: int) -> Parcel:
    """Put together as many of these messages of one topic as fit, from the first on, and `count` at most."""
    first = waiting[0][1]
    bound = packing.most(first.event.topic)
    most = min(max(bound, RAW_BYTES), bound * _RATIO) if packing.gzip else bound
    items = _items(waiting, packing.when, count, most)
    payload, count = _fitting(items, bound) if packing.gzip else (_array(items), len(items))
    if count < 2:  # noqa: PLR2004 - a pair
        return _alone(first, packing.when)
    properties = {**_properties(first, packing.when), PACKED: str(count)}
    if payload[:1] != b"[":
        properties[ENCODING] = GZIP
    return Parcel(first.event.topic, payload, properties, tuple([message for _, message in islice(waiting, count)]))


def _items(waiting: Iterable[tuple[int, Message]], when: When | None, count: int, most: int) -> list[bytes]:
    """Return the first `count` messages as items of a packed publish, or as many of them as `most` bytes take."""
    items: list[bytes] = []
    common, size = None, 1
    for _, (event, _, _, seq, _, _) in islice(waiting, count):
        _, payload, source, time, name, headers = event  # all at once: a backlog is drained at 20,000 a second
        more = b"" if when is None else _dated(time, when)
        users = _users(headers)
        if common is None:
            common = users
        elif users != common:
            more += b'"headers":%b,' % json.dumps(users, separators=(",", ":")).encode()
        if source.startswith(_JSON_SOURCES) or _is_json(payload):
            item = b'{"id":"%b","seq":%d,%b"payload":%b}' % (name.encode(), seq, more, payload)
        else:
            raw = base64.b64encode(payload)
            item = b'{"id":"%b","seq":%d,%b"payload_base64":"%b"}' % (name.encode(), seq, more, raw)
        size += len(item) + 1
        if size > most:
            break
        items.append(item)
    return items


def _fitting(items: list[bytes], bound: int) -> tuple[bytes, int]:
    """Return a payload of as many of the items as go into `bound` bytes, compressed where that helps, and how many."""
    for _ in range(_TRIES):
        raw = _array(items)
        small = _compressed(raw)
        if len(small) <= bound and len(small) + _PROPERTY_BYTES < len(raw):
            return small, len(items)
        if len(raw) <= bound:
            return raw, len(items)
        items = items[: int(len(items) * bound / len(small) * 0.9)]  # what would fit if all were alike
    size, count = 1, 0
    while count < len(items) and size + len(items[count]) + 1 <= bound:
        size += len(items[count]) + 1
        count += 1
    return _array(items[:count]), count


def _array(items: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _compressed(raw: bytes) -> bytes:
    compress = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)  # with gzip's header and trailer
    return compress.compress(raw) + compress.flush()


def _users(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers that are not the runtime's own."""
    return {key: value for key, value in headers.items() if not key.startswith(OURS)} if headers else headers


def _dated(time: Stamp, when: When) -> bytes:
    wall_ns, mark = when(time)
    if mark == SYNCED:
        return b'"time":%d,' % (wall_ns // 1_000_000)
    return b'"time":%d,"clock":"%b",' % (wall_ns // 1_000_000, mark.encode())


def _is_json(payload: bytes) -> bool:
    """Tell whether a payload can stand in a JSON array as it is.

    `json.loads` would take more, as UTF-16 and NaN, and takes six times as long.
    """
    try:
        text = payload.decode()
        if text[:1] in _SPACE or text[-1:] in _SPACE:
            text = text.strip(_SPACE)
        return _DECODER.raw_decode(text)[1] == len(text)
    except (ValueError, RecursionError):
        return False
