"""The token bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.bucket import Bucket

AMOUNT = st.floats(0, 20)
STEP = st.floats(0, 5)


def test_a_burst_then_the_rate() -> None:
    bucket = Bucket(rate=10, burst=2)
    assert bucket.take(1, 100.0) == 0
    assert bucket.take(1, 100.0) == 0
    assert bucket.take(1, 100.0) == pytest.approx(0.1)
    assert bucket.take(1, 100.05) == pytest.approx(0.05)
    assert bucket.take(1, 100.1) == 0
    assert bucket.take(1, 100.1) == pytest.approx(0.1)


def test_what_is_refused_costs_nothing() -> None:
    bucket = Bucket(rate=1, burst=10)
    assert bucket.take(8, 0.0) == 0
    assert bucket.take(8, 0.0) == 6
    assert bucket.take(2, 0.0) == 0


def test_no_rate_is_no_bound() -> None:
    bucket = Bucket(rate=0, burst=0)
    assert [bucket.take(1e9, 0.0) for _ in range(3)] == [0, 0, 0]


def test_an_amount_above_the_burst_passes_and_is_paid_for() -> None:
    bucket = Bucket(rate=100, burst=50)
    assert bucket.take(200, 0.0) == 0
    assert bucket.take(50, 0.0) == 2.0
    assert bucket.take(50, 2.0) == 0


def test_time_that_goes_back_grants_nothing() -> None:
    bucket = Bucket(rate=1, burst=1)
    assert bucket.take(1, 10.0) == 0
    assert bucket.take(1, 5.0) == 1
    assert bucket.take(1, 10.5) == 0.5


@pytest.mark.parametrize(("rate", "burst"), [(-1, 1), (1, 0), (1, -1)])
def test_a_senseless_bucket_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="a bucket needs a rate of 0 or more and a positive burst"):
        Bucket(rate, burst)


@given(st.floats(0.1, 100), st.floats(1, 20), st.lists(st.tuples(STEP, AMOUNT), max_size=40))
def test_no_window_ever_gets_more_than_burst_and_rate(
    rate: float, burst: float, asks: list[tuple[float, float]]
) -> None:
    bucket, now, granted = Bucket(rate, burst), 0.0, []
    for step, amount in asks:
        now += step
        if bucket.take(amount, now) == 0:
            granted.append((now, amount))
    largest = max((amount for _, amount in granted), default=0.0)
    for first in range(len(granted)):
        total = 0.0
        for when, amount in granted[first:]:
            total += amount
            assert total <= max(burst, largest) + rate * (when - granted[first][0] + 1e-6) + 1e-6


@given(st.floats(0.1, 100), st.floats(1, 20), st.lists(AMOUNT, max_size=20))
def test_who_waits_as_told_is_granted_then(rate: float, burst: float, amounts: list[float]) -> None:
    bucket, now = Bucket(rate, burst), 0.0
    for amount in amounts:
        wait = bucket.take(amount, now)
        if wait:
            now += wait
            assert bucket.take(amount, now) == 0
