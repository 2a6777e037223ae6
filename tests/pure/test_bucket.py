"""The token bucket, and the pace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.bucket import Bucket, Pace

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


def test_what_is_spent_without_asking_is_a_debt() -> None:
    bucket = Bucket(rate=10, burst=10)
    for _ in range(3):
        bucket.spend(8, 100.0)
    assert bucket.take(1, 100.0) == pytest.approx(1.5)
    assert bucket.take(1, 101.5) == 0
    free = Bucket(rate=0, burst=1)
    free.spend(100, 0.0)
    assert free.take(100, 0.0) == 0


def test_a_pace_grants_a_quarter_at_once_and_then_evenly() -> None:
    pace = Pace(100)
    assert [pace.take(5.0) for _ in range(25)] == [0.0] * 25
    assert pace.take(5.0) == pytest.approx(1.03 / 100)
    assert pace.take(5.0103) == 0


def test_a_rate_below_one_is_one_thing_in_a_while() -> None:
    pace = Pace(0.1)
    assert pace.take(0.0) == 0
    assert pace.take(2.0) == pytest.approx(8.3)
    assert pace.take(10.3) == 0


def test_a_pace_of_zero_is_no_bound() -> None:
    pace = Pace(0)
    pace.spend(1.0)
    assert [pace.take(1.0) for _ in range(500)] == [0.0] * 500


def test_a_senseless_pace_is_refused() -> None:
    with pytest.raises(ValueError, match="a rate of 0 or more"):
        Pace(-1)


def test_what_happened_unasked_counts() -> None:
    pace = Pace(4)
    for _ in range(4):
        pace.spend(1.0)
    assert pace.take(1.5) == pytest.approx(0.53)
    assert pace.take(2.03) == 0


@given(st.sampled_from([1, 3, 20, 100]), st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_no_second_gets_more_than_the_pace_and_none_is_wasted(rate: int, pauses: list[float]) -> None:
    pace, now, granted = Pace(rate), 0.0, []
    for pause in pauses:
        now += pause / rate
        while wait := pace.take(now):
            now += wait
        granted.append(now)
    for first in granted:
        assert sum(first <= other < first + 1.0 for other in granted) <= rate
    # Who always asks gets the rate but for the margin of 3 %, from the first burst on.
    assert granted[-1] - granted[0] <= sum(pauses) / rate + len(pauses) * 1.031 / rate
