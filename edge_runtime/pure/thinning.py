"""Many readings in the place of one: what becomes of old ones when there is no room for all.

A reading is the JSON that a device that is asked emits (`triggers.sample`: EventBridge's envelope, `detail.event` is
`reading`, `detail.value` a number), any other JSON object with a number as its `value`, or a bare JSON number. Readings
can be put together when they differ in nothing but their value and in what says when and which one it was (`VOLATILE`).

What they become has the shape of the last one, its `value` is the mean, and beside it is

    "thinned": {"count": 60, "min": 20.5, "max": 23, "mean": 21.7, "first": "…Z", "last": "…Z", "span_s": 59.0}

A bare number becomes `{"value": ..., "thinned": ...}`. What was put together can be put together again: count, min and
max stay exact, the mean is weighted. Times are as the clock of the device said; `span_s` is running time, which a clock
that was set meanwhile does not change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, NoReturn, cast

from edge_runtime.pure.events.iso import micros


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


MOST_BYTES = 4096
"""A longer payload is no reading: parsing costs time while everybody waits."""
VOLATILE = frozenset({"id", "seq", "time", "timestamp", "ts", "mono_ns", "boot", "clock", "previous"})
"""Members in which readings may differ; those of the last one stay."""
_MARK = "thinned"
_VALUE = "value"
_DETAIL = "detail"
_MOST = 1e300
"""Beyond this, the difference of two would be no number any more."""
_MOST_COUNT = 1 << 53
_MOST_S = 1e9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_NS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) * 1_000_000_000
_load = json.JSONDecoder(parse_constant=_refuse).decode
_dump = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_key = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False).encode


class Summary(NamedTuple):
    """What is known of so many readings."""

    readings: int
    least: float
    most: float
    mean: float
    first_ns: int
    """When the earliest was made, nanoseconds since the epoch, by the device's clock."""
    last_ns: int
    first_age_ns: int
    """When the earliest was accepted, in running time."""
    last_age_ns: int


class Reading(NamedTuple):
    """A payload that can be put together with others of its kind."""

    kind: str
    """What has to be the same: everything but the value, and what says when."""
    summary: Summary
    shape: Mapping[str, object]
    """The payload as an object."""


def parse(payload: bytes, wall_ns: int, age_ns: int) -> Reading | None:
    """Return a payload as a reading, with when it was made and accepted; None for what is none."""
    if len(payload) > MOST_BYTES or not 0 <= wall_ns < _MOST_NS:
        return None
    try:
        found = _load(payload.decode())
        shape = found if isinstance(found, dict) else {_VALUE: found}
        inner = _inner(shape)
        value, mark = cast("float", inner.get(_VALUE)), inner.get(_MARK)
        if not _is_number(value):
            return None
        once = Summary(1, value, value, value, wall_ns, wall_ns, age_ns, age_ns)
        return Reading(_kind(shape), once if mark is None else _marked(mark, age_ns), shape)
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return None


def merge(one: Summary, two: Summary) -> Summary:
    """Return what is known of the readings of both."""
    count = one.readings + two.readings
    least, most = min(one.least, two.least), max(one.most, two.most)
    mean = one.mean + (two.mean - one.mean) * (two.readings / count)
    return Summary(
        count,
        least,
        most,
        min(max(mean, least), most),
        min(one.first_ns, two.first_ns),
        max(one.last_ns, two.last_ns),
        min(one.first_age_ns, two.first_age_ns),
        max(one.last_age_ns, two.last_age_ns),
    )


def build(shape: Mapping[str, object], summary: Summary, event_id: str) -> bytes:
    """Return the payload that carries `summary` in the shape of the last reading; `event_id` is that of its event."""
    mark = {
        "count": summary.readings,
        "min": summary.least,
        "max": summary.most,
        "mean": summary.mean,
        "first": micros(summary.first_ns),
        "last": micros(summary.last_ns),
        "span_s": (summary.last_age_ns - summary.first_age_ns) / 1e9,
    }
    inner = {**_inner(shape), _VALUE: summary.mean, _MARK: mark}
    if "previous" in inner:
        inner["previous"] = None
    return _dump({**shape, "id": event_id, _DETAIL: inner} if _is_envelope(shape) else inner).encode()


def _inner(shape: Mapping[str, object]) -> Mapping[str, object]:
    """Return the object that has the value."""
    return cast("Mapping[str, object]", shape[_DETAIL]) if _is_envelope(shape) else shape


def _is_envelope(shape: Mapping[str, object]) -> bool:
    detail = shape.get(_DETAIL)
    return isinstance(detail, dict) and _VALUE not in shape and detail.get("event") == "reading"


def _kind(shape: Mapping[str, object]) -> str:
    rest = _steady(shape)
    inner = rest
    if _is_envelope(shape):
        inner = rest[_DETAIL] = _steady(_inner(shape))
    del inner[_VALUE]
    inner.pop(_MARK, None)
    return _key(rest)


def _steady(members: Mapping[str, object]) -> dict[str, object]:
    """Return the members that have to be the same. Raises: ValueError for what `build` could not write."""
    for name in VOLATILE & members.keys():
        value = members[name]
        if isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(name)
    return {name: value for name, value in members.items() if name not in VOLATILE}


def _marked(mark: object, age_ns: int) -> Summary:
    """Return what an earlier thinning knew. Raises: ValueError, TypeError or LookupError for what it never wrote."""
    if not isinstance(mark, dict):
        raise TypeError(_MARK)
    count, least, most, mean = (mark[name] for name in ("count", "min", "max", "mean"))
    if type(count) is not int or not 0 < count < _MOST_COUNT:
        raise ValueError("count")
    if not all(_is_number(number) for number in (least, most, mean)) or not least <= mean <= most:
        raise ValueError("mean")
    first_ns, last_ns, span_s = _nanoseconds(mark["first"]), _nanoseconds(mark["last"]), mark["span_s"]
    if not _is_number(span_s) or not 0 <= span_s <= _MOST_S or not 0 <= first_ns <= last_ns < _MOST_NS:
        raise ValueError("span")
    return Summary(count, least, most, mean, first_ns, last_ns, age_ns - round(span_s * 1e9), age_ns)


def _nanoseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1000


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and abs(cast("float", value)) <= _MOST
