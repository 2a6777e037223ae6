"""Back-off with full jitter."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.backoff import Backoff


class Highest(Random):
    """Draws the highest number each time, which shows the ceiling."""

    def uniform(self, a: float, b: float) -> float:
        """Return the end of the range."""
        assert a == 0
        return b


def test_the_ceiling_doubles_up_to_the_most_and_begins_anew() -> None:
    backoff = Backoff(first_s=1, most_s=300, random=Highest())
    assert [backoff.next() for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    backoff.reset()
    assert [backoff.next() for _ in range(2)] == [1, 2]


@given(st.integers(), st.integers(0, 30))
def test_every_wait_is_between_nothing_and_the_ceiling(seed: int, tries: int) -> None:
    backoff = Backoff(0.5, 60, random=Random(seed))  # noqa: S311 - jitter is no secret
    for n in range(tries):
        assert 0 <= backoff.next() <= min(60, 0.5 * 2**n)


def test_two_devices_do_not_come_back_at_one_moment() -> None:
    assert Backoff().next() != Backoff().next()


@pytest.mark.parametrize(("first", "most"), [(0, 1), (-1, 1), (2, 1)])
def test_a_senseless_range_is_refused(first: float, most: float) -> None:
    with pytest.raises(ValueError, match="a back-off needs 0 < first_s <= most_s"):
        Backoff(first, most)
