"""Which readings are emitted."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.sampling import Sampler, unusable


def emitted(sampler: Sampler, values: list[object], every_s: float = 1.0) -> list[object]:
    """Return the readings that the sampler lets through."""
    return [value for n, value in enumerate(values) if sampler.reading(value, n * every_s)]


def test_every_reading_by_default() -> None:
    assert emitted(Sampler(every_s=1), [1, 1, 1]) == [1, 1, 1]


def test_on_change() -> None:
    assert emitted(Sampler(every_s=1, on_change=True), [0, 0, 1, 1.0, True, 0]) == [0, 1, 0]


def test_deadband_counts_from_the_last_one_emitted() -> None:
    assert emitted(Sampler(every_s=1, deadband=0.1), [0.2, 0.25, 0.29, 0.3, 0.39, 0.21]) == [0.2, 0.3]
    assert emitted(Sampler(every_s=1, deadband=1), [0, 0.5, 1.0, 1.5, 2.0]) == [0, 1.0, 2.0]


def test_deadband_of_readings_with_parts_and_of_texts() -> None:
    assert emitted(Sampler(every_s=1, deadband=0.5), [(0, 0), (0.4, 0.4), (0, 0.5)]) == [(0, 0), (0, 0.5)]
    assert emitted(Sampler(every_s=1, deadband=0.5), ["a", "a", "b", 1]) == ["a", "b", 1]
    assert emitted(Sampler(every_s=1, deadband=0.5), [(0, None), (0, None), (0, 0.1), (0,)]) == [
        (0, None),
        (0, 0.1),
        (0,),
    ]


def test_heartbeat_comes_before_the_pause_would_be_too_long() -> None:
    sampler = Sampler(every_s=1, on_change=True, heartbeat_s=3)
    assert [n for n in range(10) if sampler.reading(7, float(n))] == [0, 3, 6, 9]
    sampler = Sampler(every_s=1, on_change=True, heartbeat_s=2.5)
    assert [n for n in range(7) if sampler.reading(7, float(n))] == [0, 2, 4, 6]
    sampler = Sampler(every_s=0.1, on_change=True, heartbeat_s=0.3)
    assert [n for n in range(10) if sampler.reading(7, n * 0.1)] == [0, 3, 6, 9]


def test_a_fault_is_news_once_and_the_reading_after_it_is_emitted() -> None:
    sampler = Sampler(every_s=1, on_change=True)
    assert sampler.reading(5, 0.0)
    assert [sampler.fault(), sampler.fault()] == [True, False]
    assert [sampler.reading(5, 3.0), sampler.reading(5, 4.0)] == [True, False]
    assert sampler.fault()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "the device gave no reading"),
        (math.nan, "the reading is nan"),
        (math.inf, "the reading is inf"),
        ((1, math.nan), "the reading is nan"),
        ([1, (2, -math.inf)], "the reading is -inf"),
        (0, ""),
        (0.5, ""),
        (False, ""),
        ("", ""),
        ((1, None), ""),
    ],
)
def test_unusable(value: object, why: str) -> None:
    assert unusable(value) == why


VALUES = st.lists(st.floats(-10, 10), min_size=1, max_size=50)


@given(VALUES, st.floats(0.001, 5))
def test_what_was_emitted_is_never_off_by_the_deadband(values: list[float], deadband: float) -> None:
    sampler, last = Sampler(every_s=1, deadband=deadband), 0.0
    for n, value in enumerate(values):
        if sampler.reading(value, float(n)):
            last = value
        assert abs(value - last) < deadband + 1e-9


@given(VALUES, st.integers(1, 9))
def test_the_pause_is_never_longer_than_the_heartbeat(values: list[float], heartbeat: int) -> None:
    sampler = Sampler(every_s=1, deadband=5, heartbeat_s=heartbeat)
    times = [n for n, value in enumerate(values) if sampler.reading(value, float(n))]
    assert all(b - a <= heartbeat for a, b in pairwise(times))
