"""Levels that readings cross."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Threshold
from edge_runtime.pure.threshold import Level


def news(threshold: Threshold, values: list[float]) -> list[tuple[float, str]]:
    """Return what the readings bring about."""
    level = Level(threshold)
    return [(value, name) for value in values if (name := level.take(value))]


def test_above_with_hysteresis() -> None:
    values = [29, 30, 30.1, 35, 29.1, 31, 29, 29.5, 30.2]
    assert news(Threshold("too_hot", above=30, hysteresis=1), values) == [
        (30.1, "too_hot"),
        (29, "no_too_hot"),
        (30.2, "too_hot"),
    ]


def test_below_with_hysteresis() -> None:
    values = [0.3, 0.2, 0.19, 0.25, 0.29, 0.3, 0.1]
    assert news(Threshold("dry", below=0.2, hysteresis=0.1), values) == [(0.19, "dry"), (0.3, "no_dry"), (0.1, "dry")]


def test_without_hysteresis_it_is_back_at_the_level() -> None:
    assert news(Threshold("full", above=0), [0, 1, 0]) == [(1, "full"), (0, "no_full")]
    assert news(Threshold("empty", below=0), [-1, 0]) == [(-1, "empty"), (0, "no_empty")]


def test_a_first_reading_beyond_the_level_is_told() -> None:
    assert news(Threshold("too_hot", above=30), [40, 41]) == [(40, "too_hot")]
    assert news(Threshold("too_hot", above=30), [20]) == []


def test_fractions_are_what_a_person_means() -> None:
    # 0.3 - 0.1 is a hair less than 0.2
    assert news(Threshold("wet", above=0.3, hysteresis=0.1), [0.4, 0.2]) == [(0.4, "wet"), (0.2, "no_wet")]


@pytest.mark.parametrize(
    "threshold", [Threshold("x"), Threshold("x", above=1, below=2), Threshold("x", above=1, hysteresis=-1)]
)
def test_what_is_no_threshold_is_refused(threshold: Threshold) -> None:
    with pytest.raises(ValueError, match=r"^threshold 'x' needs one of above and below, and no negative hysteresis$"):
        Level(threshold)


VALUES = st.lists(st.floats(-10, 10), max_size=60)


@given(VALUES, st.floats(-5, 5), st.floats(0, 5), st.sampled_from(["above", "below"]))
def test_crossings_and_returns_take_turns(values: list[float], level: float, hysteresis: float, side: str) -> None:
    spec = Threshold("x", hysteresis=hysteresis)
    spec = replace(spec, above=level) if side == "above" else replace(spec, below=level)
    names = [name for _, name in news(spec, values)]
    assert names[:1] in ([], ["x"])
    assert all(one != other for one, other in pairwise(names))


@given(VALUES, st.floats(-5, 5), st.floats(0, 5))
def test_its_state_is_what_the_definition_says(values: list[float], above: float, hysteresis: float) -> None:
    level, beyond = Level(Threshold("x", above=above, hysteresis=hysteresis)), False
    for value in values:
        if value > above:
            beyond = True
        elif value <= float(f"{above - hysteresis:.15g}"):
            beyond = False
        level.take(value)
        assert level.active is (beyond or (level.active and value <= above))
        assert level.active is beyond


@given(VALUES, st.floats(-5, 5), st.floats(0, 5))
def test_below_is_the_mirror_of_above(values: list[float], level: float, hysteresis: float) -> None:
    over = news(Threshold("x", above=level, hysteresis=hysteresis), values)
    under = news(Threshold("x", below=-level, hysteresis=hysteresis), [-value for value in values])
    assert over == [(-value, name) for value, name in under]
