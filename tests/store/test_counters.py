"""The books of a queue: they balance, and a damaged page of them is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.model import Reason
from edge_runtime.store.counters import FIELDS, Counters, is_intact


def books(**values: int) -> Counters:
    counters = Counters(1, "a")
    counters.restore(tuple(values.get(name, 0) for name in FIELDS))
    return counters


def test_what_is_neither_delivered_nor_dropped_nor_dead_is_queued() -> None:
    counters = books(produced=20, delivered=3, expired=2, overflow=4, superseded=1, purged=1, corrupted=1, dead=2)
    assert counters.dropped == 7
    assert counters.queued == 6
    assert counters.reasons == {"overflow": 4, "superseded": 1, "purged": 1, "corrupted": 1}


def test_a_drop_is_counted_with_its_reason_and_gives_its_bytes_back() -> None:
    counters = books(produced=5, bytes=500)
    counters.gone(Reason.OVERFLOW, 2, 200)
    counters.gone(Reason.EXPIRED, 1, 100)
    assert (counters.overflow, counters.expired, counters.queued, counters.bytes) == (2, 1, 2, 200)
    assert counters.reasons == {"overflow": 2}


def test_values_come_back() -> None:
    counters = books(produced=9, delivered=4, bytes=7)
    other = Counters(1, "a", saved=20)
    other.restore(counters.values())
    assert other.values() == counters.values()
    assert other.saved == 9


def test_what_is_missing_counts_as_corrupted() -> None:
    counters = books(produced=10, delivered=4)
    assert counters.balance(waiting=4, dead=1, size=50) == 1
    assert (counters.corrupted, counters.dead, counters.queued, counters.bytes) == (1, 1, 4, 50)


def test_what_came_back_was_not_settled() -> None:
    counters = books(produced=10, delivered=6, expired=3, overflow=1)
    assert counters.balance(waiting=8, dead=0, size=0) == 0
    assert (counters.delivered, counters.expired, counters.overflow, counters.queued) == (0, 1, 1, 8)


@given(st.lists(st.integers(0, 9), min_size=6, max_size=6), st.integers(0, 30), st.integers(0, 10))
def test_balanced_books_always_balance(settled: list[int], waiting: int, dead: int) -> None:
    counters = books(**dict(zip(FIELDS[1:7], settled, strict=True)), produced=max(sum(settled), waiting + dead))
    counters.balance(waiting, dead, 0)
    assert (counters.queued, counters.dead) == (waiting, dead)
    assert min(counters.values()) >= 0


def test_a_changed_row_is_noticed() -> None:
    row = (1, "a", *books(produced=3).sealed()[:-1])
    assert is_intact(row)
    for column in range(len(row)):
        value = row[column]
        changed = value + 1 if isinstance(value, int) else f"{value}x"
        assert not is_intact((*row[:column], changed, *row[column + 1 :]))
