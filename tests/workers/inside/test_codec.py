"""Events and replies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.workers.inside.codec import Encoder, decode_event, encode_error
from edge_runtime.workers.inside.faults import Fault
from edge_runtime.workers.inside.frames import LIMIT

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
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


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_as_json_does(raw: bytes) -> None:
    assert outcome(decode_event, raw) == outcome(json.loads, raw)


def test_other_encodings_of_json_are_read() -> None:
    assert decode_event('\ufeff{"a": "é"}'.encode()) == {"a": "é"}
    assert decode_event('{"a": "é"}'.encode("utf-16")) == {"a": "é"}


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
