"""Readings are put together: count, min and max stay exact in any order; what is no reading is left alone."""

from __future__ import annotations

import json
import math
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.clock import FakeClock
from edge_runtime.pure import thinning
from edge_runtime.pure.events.device import DeviceEvents, Moment
from edge_runtime.pure.thinning import Reading, Summary

NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20), st.floats(-1e299, 1e299), st.floats(-100, 100), st.integers(-50, 50)
)
S = 1_000_000_000
T = 1_700_000_000 * S


def parsed(payload: object, at_s: int = 0) -> Reading:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    reading = thinning.parse(raw, T + at_s * S, at_s * S)
    assert reading is not None
    return reading


def thin(*payloads: object) -> bytes:
    """Put readings together that are a second apart."""
    readings = [parsed(payload, at_s) for at_s, payload in enumerate(payloads)]
    assert len({reading.kind for reading in readings}) == 1
    return thinning.build(readings[-1].shape, reduce(thinning.merge, (r.summary for r in readings)), "new")


def envelope(value: object, number: int = 1, **changes: str) -> bytes:
    arguments = {"thing": "station", "device": "soil", "class_name": "Soil", "source": "sample", **changes}
    stamp = FakeClock().now()
    return DeviceEvents(**arguments).build("reading", value, Moment(f"id-{number}", stamp, number, synced=True))  # type: ignore[arg-type]  # all of them are texts


def summaries(numbers: list[float]) -> list[Summary]:
    return [parsed(number, at_s).summary for at_s, number in enumerate(numbers)]


@given(st.lists(NUMBERS, min_size=1, max_size=40))
def test_count_min_max_and_times_are_exact_and_the_mean_is_near(numbers: list[float]) -> None:
    found = reduce(thinning.merge, summaries(numbers))
    assert (found.readings, found.least, found.most) == (len(numbers), min(numbers), max(numbers))
    assert (found.first_ns, found.last_ns) == (T, T + (len(numbers) - 1) * S)
    assert (found.first_age_ns, found.last_age_ns) == (0, (len(numbers) - 1) * S)
    size = max(abs(number) for number in numbers)
    assert math.isclose(found.mean, math.fsum(n / len(numbers) for n in numbers), rel_tol=1e-9, abs_tol=1e-12 * size)
    assert found.least <= found.mean <= found.most


@given(st.lists(NUMBERS, min_size=3, max_size=30), st.data())
def test_it_does_not_matter_what_is_put_together_first(numbers: list[float], data: st.DataObject) -> None:
    parts = summaries(numbers)
    whole = reduce(thinning.merge, parts)
    while len(parts) > 1:
        at = data.draw(st.integers(0, len(parts) - 2))
        parts[at : at + 2] = [thinning.merge(parts[at], parts[at + 1])]
    size = max(abs(number) for number in numbers)
    assert parts[0]._replace(mean=0) == whole._replace(mean=0)
    assert math.isclose(parts[0].mean, whole.mean, rel_tol=1e-9, abs_tol=1e-12 * size)


@given(st.lists(NUMBERS, min_size=2, max_size=20), st.lists(NUMBERS, min_size=1, max_size=20))
def test_what_was_written_is_read_back_and_can_be_put_together_again(one: list[float], two: list[float]) -> None:
    first = reduce(thinning.merge, summaries(one))
    payload = thinning.build(parsed({"value": 0}).shape, first, "new")
    again = thinning.parse(payload, T + 99 * S, first.last_age_ns)
    assert again is not None
    assert again.summary == first
    assert again.kind == parsed({"value": 5}).kind
    assert thinning.merge(again.summary, reduce(thinning.merge, summaries(two))).readings == len(one) + len(two)


def test_the_envelope_of_a_device_keeps_its_shape() -> None:
    reading = json.loads(envelope(20, 3))
    found = json.loads(thin(envelope(20, 1), envelope(23.5, 2), envelope(21, 3)))
    assert found["id"] == "new"
    detail = found["detail"]
    mean = detail.pop("value")
    assert mean == pytest.approx(21.5)
    assert detail.pop("thinned") == {
        "count": 3, "min": 20, "max": 23.5, "mean": mean, "first": "2023-11-14T22:13:20.000000Z",
        "last": "2023-11-14T22:13:22.000000Z", "span_s": 2.0,
    }  # fmt: skip
    del reading["detail"]["value"]
    assert {**found, "id": "id-3"} == reading


def test_a_bare_number_becomes_an_object() -> None:
    assert json.loads(thin(b"1", b" 2 "))["value"] == 1.5
    assert json.loads(thin(thin(1, 2), 6)) == {
        "value": 3.0,
        "thinned": {
            "count": 3, "min": 1, "max": 6, "mean": 3.0, "first": "2023-11-14T22:13:20.000000Z",
            "last": "2023-11-14T22:13:21.000000Z", "span_s": 2.0,
        },
    }  # fmt: skip


def test_unit_and_name_are_kept_and_what_says_when_is_that_of_the_last() -> None:
    found = json.loads(thin({"value": 1, "unit": "°C", "ts": 5}, {"value": 3, "unit": "°C", "ts": 6}))
    assert (found["value"], found["unit"], found["ts"]) == (2.0, "°C", 6)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"value": 1, "unit": "C"}, {"value": 1, "unit": "F"}),
        ({"value": 1, "humidity": 40}, {"value": 1, "humidity": 41}),
        ({"value": 1}, {"value": 1, "unit": "C"}),
        (envelope(1), envelope(1, device="air")),
        (envelope(1), {"value": 1}),
    ],
)
def test_what_differs_in_more_than_its_value_is_of_another_kind(one: object, two: object) -> None:
    assert parsed(one).kind != parsed(two).kind


def test_what_says_when_is_no_other_kind() -> None:
    one, two = envelope(1.5, 1), envelope(2, 2).replace(b'"previous":null', b'"previous":1.5')
    assert parsed(one).kind == parsed(two).kind
    assert json.loads(thin(one, two))["detail"]["previous"] is None


MARK = {"count": 2, "min": 1, "max": 3, "mean": 2, "first": "1970-01-01T00:00:00Z", "last": "1970-01-01T00:00:01Z"}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"x", b"\xff", b"null", b"true", b"[1]", b'"1"', b"NaN", b"-Infinity", b"1e400", b"1e301", b"{}",
        b"9" * 400, b"[" * 4000, b'{"value":' * 600, b" " * 4097 + b"1", b'{"value":"1"}', b'{"value":true}',
        b'{"value":1,"ts":1e400}', b'{"value":1,"ts":[1e400]}', b'{"value":1,"more":NaN}', b'{"value":null}',
        b'{"detail":{"value":1}}', b'{"detail":{"event":"pressed","value":1}}', b'{"detail":5}', b"\xef\xbb\xbf1",
        *(
            json.dumps({"value": 1, "thinned": mark}).encode()
            for mark in (
                5, {}, MARK, {**MARK, "span_s": -1}, {**MARK, "span_s": "1"}, {**MARK, "span_s": 1e300},
                {**MARK, "span_s": 1, "count": 0}, {**MARK, "span_s": 1, "count": 1.5},
                {**MARK, "span_s": 1, "count": 1 << 60}, {**MARK, "span_s": 1, "mean": 4},
                {**MARK, "span_s": 1, "min": "0"}, {**MARK, "span_s": 1, "first": "1970-01-01T00:00:00"},
                {**MARK, "span_s": 1, "first": 0}, {**MARK, "span_s": 1, "first": "2001-01-01T00:00:00Z"},
            )
        ),
    ],
)  # fmt: skip
def test_what_is_no_reading_is_left_alone(payload: bytes) -> None:
    assert thinning.parse(payload, T, 0) is None


@pytest.mark.parametrize("wall_ns", [-1, 10**25])
def test_a_time_that_cannot_be_written_is_no_reading(wall_ns: int) -> None:
    assert thinning.parse(b"1", wall_ns, 0) is None


@given(st.binary(max_size=60))
def test_no_payload_does_harm(payload: bytes) -> None:
    reading = thinning.parse(payload, T, 0)
    if reading is not None:
        json.loads(thinning.build(reading.shape, reading.summary, "new"))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
)


@given(st.dictionaries(st.sampled_from(["value", "detail", "event", "ts", "thinned", "unit", "id"]), JSON), NUMBERS)
def test_no_object_does_harm(members: dict[str, object], number: float) -> None:
    for value in ({**members, "value": number}, {"detail": {**members, "event": "reading", "value": number}}):
        reading = thinning.parse(json.dumps(value).encode(), T, 0)
        if reading is not None:
            again = thinning.merge(reading.summary, reading.summary)
            assert parsed(thinning.build(reading.shape, again, "new")).summary.readings == 2 * reading.summary.readings
