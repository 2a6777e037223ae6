"""Events and replies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.workers.inside.codec import Encoder, decode_event, encode_error
from edge_runtime.workers.inside.faults import Fault
from edge_runtime.workers.inside.frames import LIMIT

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_events_are_read_as_json_reads_them(value: object) -> None:
    for text in (json.dumps(value), f" {json.dumps(value, indent=1)}\n"):
        assert decode_event(text.encode()) == json.loads(text)


def outcome(read: Callable[[bytes], object], raw: bytes) -> str:
    try:
        return repr(read(raw))
    except Fault as fault:
        return f"{fault.kind}: {fault}"
    except ValueError as error:
        return f"Runtime.UnmarshalError: Unable to unmarshal input: {error}"


def plainly(raw: bytes) -> object:
    def refuse(_: str) -> object:
        raise ValueError("Expecting value: line 1 column 1 (char 0)")

    return json.loads(raw.decode().removeprefix("\ufeff"), parse_constant=refuse)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_as_json_does(raw: bytes) -> None:
    assert outcome(decode_event, raw) == outcome(plainly, raw)


def test_a_mark_of_the_byte_order_is_passed_over() -> None:
    assert decode_event('\ufeff{"a": "é"}'.encode()) == {"a": "é"}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"[1, NaN]", "Expecting value: line 1 column 5 (char 4)"),
        (b'{"NaN": "Infinity",\n "a": -Infinity}', "Expecting value: line 2 column 7 (char 26)"),
        ('{"a": 1}'.encode("utf-16"), "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_what_aws_refuses_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(Fault) as caught:
        decode_event(raw)
    assert (caught.value.kind, str(caught.value)) == ("Runtime.UnmarshalError", f"Unable to unmarshal input: {text}")


@given(VALUES)
def test_replies_are_written_as_json_writes_them(value: object) -> None:
    try:
        expected = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert Encoder(escape=False).encode(value) == expected
    assert Encoder(escape=True).encode(value) == json.dumps(value).encode()


@given(st.decimals(allow_nan=False))
def test_a_decimal_is_a_bare_number(value: Decimal) -> None:
    encoder = Encoder(escape=True)
    assert encoder.encode({"n": value, "t": "x"}) == f'{{"n": {value}, "t": "x"}}'.encode()
    assert encoder.encode("plain") == b'"plain"'


def test_decimals_beside_numbers_that_are_none() -> None:
    encoder = Encoder(escape=True)
    assert encoder.encode([Decimal("1.0"), math.nan, Decimal("sNaN")]) == b"[1.0, NaN, NaN]"
    assert encoder.encode([Decimal(2)]) == b"[2]"


def test_what_failed_leaves_nothing_for_the_next_reply() -> None:
    encoder = Encoder(escape=True)
    with pytest.raises(Fault, match="Object of type object is not JSON serializable"):
        encoder.encode([Decimal(1), object()])
    assert encoder.encode(["a", Decimal(1)]) == b'["a", 1]'


class Point(NamedTuple):
    """An object, in JSON."""

    x: object
    y: object


class Record:
    """No tuple, but with the method of one that has names."""

    def __init__(self, given: object) -> None:
        self._asdict = lambda: given


class Shown(Decimal):
    """A number with a text of its own."""

    def __str__(self) -> str:
        return "12"


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (Point(1, [Point("a", None)]), b'{"x": 1, "y": [{"x": "a", "y": null}]}'),
        ({"k": (1, {"p": [Point(Decimal("1.50"), math.nan)]})}, b'{"k": [1, {"p": [{"x": 1.50, "y": NaN}]}]}'),
        (Record({"p": Point(1, 2)}), b'{"p": {"x": 1, "y": 2}}'),
        ({b"k": b"v", 1: [Shown(1)]}, b'{"k": "v", "1": [12]}'),
        ("[" + "x", b'"[x"'),
        ([1, [2, "[", (3,)]], b'[1, [2, "[", [3]]]'),
    ],
)
def test_named_tuples_and_keys_of_bytes_pass_as_in_aws(value: object, raw: bytes) -> None:
    encoder = Encoder(escape=True)
    assert encoder.encode(value) == raw
    assert encoder.encode(value) == raw


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Record([1]), "_asdict() must return a dict, not list"),
        ({Decimal(1): 1}, "keys must be str, int, float, bool or None, not Decimal"),
        ({b"\xff": 1}, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_what_cannot_be_written_is_said_as_aws_says_it(value: object, text: str) -> None:
    with pytest.raises(Fault) as caught:
        Encoder(escape=True).encode(value)
    assert (caught.value.kind, str(caught.value)) == ("Runtime.MarshalError", f"Unable to marshal response: {text}")


def test_a_circle_of_named_tuples_ends() -> None:
    circle: list[object] = []
    circle.append(Point(1, circle))
    with pytest.raises(Fault, match="Circular reference detected"):
        Encoder(escape=True).encode(circle)


def test_a_reply_may_have_six_megabytes() -> None:
    encoder = Encoder(escape=True)
    assert len(encoder.encode("x" * (LIMIT - 2))) == LIMIT
    for value in ("x" * (LIMIT - 1), b"x" * (LIMIT + 1)):
        with pytest.raises(Fault) as caught:
            encoder.encode(value)
        assert caught.value.kind == "Function.ResponseSizeTooLarge"


def test_an_error_that_is_too_large_is_cut() -> None:
    fault: dict[str, object] = {"errorMessage": "m" * LIMIT, "errorType": "T", "requestId": "r", "stackTrace": ["x"]}
    assert json.loads(encode_error(fault)) == {**fault, "errorMessage": "m" * 65536, "stackTrace": []}
    assert encode_error({"errorMessage": "\ud800"}) == b'{"errorMessage": "\\ud800"}'


def test_the_errors_of_older_runtimes_are_escaped() -> None:
    assert encode_error({"errorMessage": "é"}, escape=True) == rb'{"errorMessage": "\u00e9"}'
    assert encode_error({"errorMessage": "é"}) == '{"errorMessage": "é"}'.encode()
