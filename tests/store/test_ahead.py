"""A set of numbers in few runs, against a plain set."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.store.ahead import Ahead

SMALL = st.integers(1, 40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), SMALL, st.integers(0, 6)),
        st.tuples(st.just("discard"), SMALL, st.just(0)),
        st.tuples(st.just("forget"), SMALL, st.just(0)),
    ),
    max_size=30,
)


@given(STEPS)
def test_it_holds_what_a_set_would(steps: list[tuple[str, int, int]]) -> None:
    ahead, plain = Ahead(), set[int]()
    for what, number, more in steps:
        if what == "add":
            ahead.add(number, number + more)
            plain |= set(range(number, number + more + 1))
        elif what == "discard":
            assert ahead.discard(number) == (number in plain)
            plain.discard(number)
        else:
            ahead.forget(number)
            plain = {n for n in plain if n > number}
        assert {n for n in range(60) if n in ahead} == plain
        runs = ahead.runs()
        assert {n for first, last in runs for n in range(first, last + 1)} == plain
        assert all(one[1] + 1 < two[0] for one, two in itertools.pairwise(runs)), "runs never touch"
        assert len(ahead) == len(runs)


def test_a_million_numbers_in_a_row_are_one_run() -> None:
    ahead = Ahead()
    for seq in range(1, 1_000_000, 1000):
        ahead.add(seq, seq + 999)
    assert ahead.runs() == [(1, 1_000_000)]
    assert ahead.discard(500)
    assert ahead.runs() == [(1, 499), (501, 1_000_000)]
    ahead.add(500, 500)
    assert len(ahead) == 1
    ahead.clear()
    assert ahead.runs() == []


def test_it_can_be_made_of_its_runs() -> None:
    ahead = Ahead([(2, 4), (9, 9)])
    assert [n for n in range(12) if n in ahead] == [2, 3, 4, 9]
