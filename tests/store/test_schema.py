"""A message becomes a row and comes back; whatever was changed on the way is noticed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import StoreError
from edge_runtime.model import Event, Message, Stamp
from edge_runtime.store import schema

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
HEADERS = st.dictionaries(WORDS, WORDS, max_size=3).filter(lambda h: schema.PRIORITY not in h)
MESSAGES = st.builds(
    Message,
    st.builds(
        Event,
        WORDS,
        st.binary(max_size=200),
        st.from_regex(r"[A-Za-z0-9_:./-]+", fullmatch=True),
        st.builds(Stamp, st.integers(-(2**62), 2**62), st.integers(0, 2**62), st.sampled_from(["a1", "boot-2"])),
        st.uuids().map(str),
        HEADERS,
    ),
    st.just("target"),
    st.integers(0, 9),
    st.integers(1, 2**47 - 1),
    st.integers(0, 10**6),
    st.integers(0, 2**62),
)


@given(st.integers(1, 4095), st.integers(0, 15), st.integers(0, 2**47 - 1))
def test_a_row_id_says_where_the_message_is(target: int, lane: int, seq: int) -> None:
    row_id = schema.pack_id(target, lane, seq)
    assert schema.unpack_id(row_id) == (target, lane, seq)
    assert 0 < row_id < 2**63


def test_row_ids_are_in_the_order_of_delivery() -> None:
    ids = [schema.pack_id(*key) for key in ((1, 0, 9), (1, 5, 1), (1, 5, 2), (1, 15, 1), (2, 0, 1))]
    assert ids == sorted(ids)


def test_a_lane_begins_after_the_number_given() -> None:
    first, last = schema.lane_range(3, 5, after=7)
    assert schema.unpack_id(first) == (3, 5, 8)
    assert schema.unpack_id(last) == (3, 5, 2**47 - 1)


@given(MESSAGES)
def test_a_message_survives_its_row(message: Message) -> None:
    row = schema.to_row(schema.pack_id(4, message.priority, message.seq), message)
    assert schema.is_intact(row)
    assert schema.from_row("target", row) == message


@given(MESSAGES, st.data())
def test_a_flipped_bit_in_any_column_is_noticed(message: Message, data: st.DataObject) -> None:
    row = schema.to_row(schema.pack_id(4, message.priority, message.seq), message)
    column = data.draw(st.sampled_from([i for i, value in enumerate(row) if value not in {"", b""}]))
    value = row[column]
    changed: object
    if isinstance(value, int):
        changed = value ^ 1 << data.draw(st.integers(0, 31))
    else:
        raw = bytearray(value.encode() if isinstance(value, str) else value)
        at = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[at // 8] ^= 1 << at % 8
        changed = raw.decode("utf-8", "replace") if isinstance(value, str) else bytes(raw)
    damaged = (*row[:column], changed, *row[column + 1 :])
    assert not schema.is_intact(damaged)
    with pytest.raises(StoreError, match="of queue 'q' is damaged: its checksum does not match"):
        schema.from_row("q", damaged)


@pytest.mark.parametrize(
    "row", [(1,), (1, 2), (1, "t", "text", "[]", 0), (1, None, b"", "{", 5), (1, "t", b"", None, 5)]
)
def test_what_is_no_row_is_damaged(row: tuple[object, ...]) -> None:
    assert not schema.is_intact(row)
    with pytest.raises(StoreError):
        schema.from_row("q", row)


def test_a_dead_letter_remembers_its_priority() -> None:
    stamp = Stamp(1, 2, "b")
    letter = Message(Event("t", b"x", "s", stamp, "id", {schema.PRIORITY: "3"}), "q", 5, 7)
    row = schema.to_row(schema.pack_id(1, schema.DEAD, 7), letter)
    assert schema.from_row("q", row).priority == 3


def test_a_topic_of_digits_stays_text() -> None:
    stamp = Stamp(1, 2, "b")
    row = schema.to_row(schema.pack_id(1, 5, 1), Message(Event("007", b"", "s", stamp, "id"), "q", 5, 1))
    assert row[1] == "007"
    assert json.loads(row[3]) == ["s", "id", 1, 2, "b", 0, 0, {}]


def test_a_memo_has_a_checksum() -> None:
    key, value, checksum = schema.memo_row("k", "v")
    assert (key, value) == ("k", "v")
    assert schema.memo_row("k", "w")[2] != checksum
    assert schema.memo_row("kv", "")[2] != checksum
