"""How long an acknowledgement may take is learned from those before it."""

from __future__ import annotations

import pytest

from edge_runtime.cloud._patience import Patience


@pytest.mark.parametrize(("took", "bound"), [(0.0, 6.0), (0.05, 6.0), (1.5, 6.0), (2.0, 8.0), (10.0, 40.0), (40, 60.0)])
def test_four_times_as_long_as_the_last_within_bounds(took: float, bound: float) -> None:
    patience = Patience()
    patience.took(took)
    assert patience.bound_s == pytest.approx(bound)


def test_a_connection_that_has_acknowledged_nothing_gets_a_minute() -> None:
    patience = Patience()
    assert patience.bound_s == 60.0
    patience.took(0.1)
    patience.begins()
    assert patience.bound_s == 60.0


def test_a_slow_one_among_quick_ones_counts_for_a_while() -> None:
    patience = Patience()
    patience.took(8.0)
    patience.took(0.1)
    assert patience.bound_s == pytest.approx(30.4)
    for _ in range(50):
        patience.took(0.1)
    assert patience.bound_s == 6.0
