"""Debouncing by time stamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.debounce import Debounce, Edge

MS = 1_000_000


def run(debounce: Debounce, edges: list[tuple[int, int]], end: int) -> list[Edge]:
    """Feed edges given in milliseconds as a host does: with a timer at `due`, up to `end`."""
    found: list[Edge | None] = []
    for at_ms, level in edges:
        due = debounce.due()
        if due is not None and due <= at_ms * MS:
            found.append(debounce.expire(due))
        found.append(debounce.feed(at_ms * MS, level))
    due = debounce.due()
    if due is not None and due <= end * MS:
        found.append(debounce.expire(due))
    return [edge for edge in found if edge is not None]


def test_a_bouncing_press_and_release_are_one_each() -> None:
    edges = [(100, 1), (101, 0), (102, 1), (103, 0), (105, 1), (300, 0), (301, 1), (304, 0)]
    assert run(Debounce(0.02, 0), edges, 1000) == [Edge(105 * MS, 1), Edge(304 * MS, 0)]


def test_a_glitch_is_nothing() -> None:
    assert run(Debounce(0.02, 0), [(100, 1), (119, 0), (500, 1), (501, 0)], 1000) == []


def test_a_level_counts_at_exactly_its_time() -> None:
    debounce = Debounce(0.02, 0)
    assert debounce.feed(100 * MS, 1) is None
    assert debounce.due() == 120 * MS
    assert debounce.expire(120 * MS - 1) is None
    assert debounce.expire(120 * MS) == Edge(100 * MS, 1)
    assert debounce.due() is None
    assert debounce.expire(999 * MS) is None


def test_a_late_timer_loses_nothing() -> None:
    # The loop was busy: no expire between the edges, each of which proves the one before.
    debounce = Debounce(0.02, 0)
    assert debounce.feed(100 * MS, 1) is None
    assert debounce.feed(150 * MS, 0) == Edge(100 * MS, 1)
    assert debounce.feed(200 * MS, 1) == Edge(150 * MS, 0)
    assert debounce.expire(10_000 * MS) == Edge(200 * MS, 1)


def test_a_repeated_level_keeps_the_time_of_its_first_edge() -> None:
    assert run(Debounce(0.02, 0), [(100, 1), (110, 1), (125, 1)], 1000) == [Edge(100 * MS, 1)]


def test_without_debouncing_every_edge_counts() -> None:
    edges = [(1, 1), (1, 0), (2, 1), (3, 1), (3, 0)]
    assert run(Debounce(0, 0), edges, 1000) == [Edge(at * MS, level) for at, level in edges]


def test_the_first_steady_level_is_news_when_nothing_was_known() -> None:
    assert run(Debounce(0.02), [(100, 0)], 1000) == [Edge(100 * MS, 0)]


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match="a debounce time may not be negative: -1"):
        Debounce(-1)


STEPS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1)), max_size=60)


def reference(edges: list[tuple[int, int]], end: int, steady: int) -> list[tuple[int, int]]:
    """Cut time into stretches of one level; those long enough count when the level is another than before."""
    stretches: list[list[int]] = []  # start, level
    for at, level in edges:
        if not stretches or stretches[-1][1] != level:
            stretches.append([at, level])
    level, found = 0, []
    for n, (start, wanted) in enumerate(stretches):
        stop = stretches[n + 1][0] if n + 1 < len(stretches) else end
        if stop - start >= steady and wanted != level:
            level = wanted
            found.append((start, wanted))
    return found


@given(STEPS, st.integers(1, 40))
def test_equals_the_definition_whatever_the_edges(steps: list[tuple[int, int]], steady: int) -> None:
    now, edges = 0, []
    for wait, level in steps:
        now += wait
        edges.append((now, level))
    end = now + 100
    # Edges before the first level that differs from 0 are repeats of the level known at the start.
    expected = reference([(-1000, 0), *edges], end, steady)
    assert [(e.mono_ns // MS, e.level) for e in run(Debounce(steady / 1000, 0), edges, end)] == expected


@given(STEPS, st.integers(1, 40))
def test_a_timer_that_never_comes_changes_no_answer(steps: list[tuple[int, int]], steady: int) -> None:
    now, edges = 0, []
    for wait, level in steps:
        now += wait
        edges.append((now, level))
    lazy = Debounce(steady / 1000, 0)
    found = [lazy.feed(at * MS, level) for at, level in edges] + [lazy.expire((now + 100) * MS)]
    assert [edge for edge in found if edge] == run(Debounce(steady / 1000, 0), edges, now + 100)


@given(STEPS)
def test_the_last_steady_level_is_always_known_in_the_end(steps: list[tuple[int, int]]) -> None:
    now, debounce = 0, Debounce(0.02, 0)
    for wait, level in steps:
        now += wait
        debounce.feed(now * MS, level)
    debounce.expire((now + 20) * MS)
    assert debounce.level == (steps[-1][1] if steps else 0)
