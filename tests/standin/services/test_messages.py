"""What is read, and what is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.standin.services.messages import THING, is_count, read, write

TEXTS = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)


@given(st.dictionaries(TEXTS, JSON))
def test_what_is_written_is_read_back(tree: dict[str, object]) -> None:
    assert read(write(tree)) == json.loads(json.dumps(tree))


def test_nothing_is_an_empty_object() -> None:
    assert read(b"") == {}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "it is no JSON object"),
        (b"1", "it is no JSON object"),
        (b"\xff", "it is no UTF-8"),
        (b'{"a":"\\ud800"}', "a text holds a lone surrogate"),
        (b'{"a":NaN}', "NaN is no JSON"),
        (b'{"a":1e999}', "the number 1e999 is too large"),
        (b'{"a":' + b"[" * 100_000, "it is nested too deep"),
    ],
)
def test_what_cannot_be_read_is_told(payload: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(payload)


@given(st.binary())
def test_any_bytes_are_an_object_or_refused(payload: bytes) -> None:
    try:
        tree = read(payload)
    except ValueError:
        return
    assert write(tree)


def test_names_of_things() -> None:
    good = ("a", "A:b_c-9", "x" * 128)
    bad = ("", "a/b", "a b", "ä", "x" * 129)
    assert [bool(THING.fullmatch(name)) for name in (*good, *bad)] == [True] * 3 + [False] * 5


def test_counts() -> None:
    assert [is_count(one) for one in (0, -1, 7, True, False, 1.0, "1", None)] == [True] * 3 + [False] * 5
