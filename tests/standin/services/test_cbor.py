"""CBOR: the examples of RFC 8949, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.standin.services.cbor import decode, encode

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"), (23, "17"), (24, "1818"), (1000, "1903e8"), (1_000_000, "1a000f4240"), (-1, "20"), (-1000, "3903e7"),
        (2**64 - 1, "1bffffffffffffffff"), (-(2**64), "3bffffffffffffffff"), (1.1, "fb3ff199999999999a"),
        (False, "f4"), (True, "f5"), (None, "f6"), (b"\x01\x02\x03\x04", "4401020304"), ("", "60"), ("ü", "62c3bc"),
        ([1, [2, 3]], "8201820203"), ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    ],
)  # fmt: skip
def test_the_examples_of_the_standard(value: object, data: str) -> None:
    assert encode(value) == bytes.fromhex(data)
    assert decode(bytes.fromhex(data)) == value


def test_a_float_of_single_precision_is_read() -> None:
    assert decode(bytes.fromhex("fa47c35000")) == 100_000.0


@given(VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "it ends too early"),
        ("18", "it ends too early"),
        ("6261", "it ends too early"),
        ("9bffffffffffffffff", "it ends too early"),
        ("0000", "there are 1 bytes too many"),
        ("a10101", "a key is no text"),
        ("c074", "it holds a tag"),
        ("5f", "a length is not known"),
        ("f97e00", "simple value 25 is not known"),
        ("f7", "simple value 23 is not known"),
        ("81" * 17 + "00", "it is nested too deep"),
        ("61ff", "invalid start byte"),
    ],
)
def test_what_is_refused(data: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(bytes.fromhex(data))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except ValueError:
        return
    assert encode(value)


@pytest.mark.parametrize("value", [object(), {1}, 2**64])
def test_what_cannot_be_sent(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)
