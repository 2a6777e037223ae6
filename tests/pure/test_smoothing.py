"""Smoothing inputs, reckoned from their edges."""

from __future__ import annotations

from collections import deque
from statistics import mean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.debounce import Edge
from edge_runtime.pure.smoothing import Smoother

MS = 1_000_000
HALF_OF_5 = [False, False, False, True, True, True]


def run(smoother: Smoother, edges: list[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    """Feed edges given in milliseconds as a host does: with a timer at `due`, up to `end`."""
    found: list[Edge | None] = []
    for at, level in [*edges, (end, -1)]:
        while (due := smoother.due()) is not None and due < at * MS:
            found.append(smoother.expire(due))
        if level >= 0:
            found.append(smoother.feed(at * MS, level))
    return [(edge.mono_ns // MS, edge.level) for edge in found if edge is not None]


def test_a_motion_sensor_sees_what_lasts_until_its_next_look() -> None:
    smoother = Smoother([False, True], 0.1, level=0, start_ns=0)
    assert run(smoother, [(10, 1), (90, 0), (110, 1), (350, 0)], 1000) == [(200, 1), (400, 0)]


def test_a_line_sensor_needs_three_of_five_samples() -> None:
    smoother = Smoother(HALF_OF_5, 0.01, level=0, start_ns=0)
    assert run(smoother, [(5, 1), (25, 0), (100, 1), (200, 0)], 1000) == [(120, 1), (220, 0)]


def test_nothing_is_due_while_the_pin_is_still() -> None:
    smoother = Smoother(HALF_OF_5, 0.01, level=1, start_ns=0)
    assert (smoother.level, smoother.due()) == (1, None)
    assert smoother.expire(10**15) is None
    assert smoother.feed(10**15 + 1, 0) is None
    assert smoother.due() == 10**15 + 30 * MS


def test_a_late_timer_changes_no_time() -> None:
    smoother = Smoother(HALF_OF_5, 0.01, level=0, start_ns=0)
    smoother.feed(5 * MS, 1)
    assert smoother.expire(999 * MS) == Edge(30 * MS, 1)


@pytest.mark.parametrize(("active", "period_s"), [([False, True], 0), ([False], 0.1), ([False, True], -1)])
def test_what_cannot_be_smoothed_is_refused(active: list[bool], period_s: float) -> None:
    with pytest.raises(ValueError, match="smoothing needs a period above 0 and at least one sample"):
        Smoother(active, period_s, level=0, start_ns=0)


STEPS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1)), max_size=40)


@given(STEPS, st.integers(1, 6), st.integers(1, 20), st.sampled_from([mean, median]), st.floats(0.05, 0.95))
def test_equals_a_thread_that_looks_every_time(
    steps: list[tuple[int, int]], count: int, period: int, average: object, threshold: float
) -> None:
    assert callable(average)
    active = [average([1] * n + [0] * (count - n)) > threshold for n in range(count + 1)]
    edges, now = [], 0
    for wait, level in steps:
        now += wait
        edges.append((now, level))
    end = now + 200
    samples, was, expected = deque([0] * count, count), False, []
    for at in range(period, end, period):
        samples.append(next((level for edge, level in reversed(edges) if edge <= at), 0))
        if (is_active := average(samples) > threshold) != was:
            was = is_active
            expected.append((at, int(was)))
    smoother = Smoother(active, period / 1000, level=0, start_ns=0)
    assert run(smoother, edges, end) == expected
