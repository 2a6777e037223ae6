"""A lane with a live share: fresh messages come before their turn, and yet each comes once."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from edge_runtime.model import Message
from edge_runtime.store.lane import Backlog, Bounds, Lane
from edge_runtime.store.writer import Page
from tests.store.kit import event, seqs

SMALL = Bounds(held=2, held_bytes=1000, page=3, fresh=4, fresh_bytes=1000)


def message(seq: int, payload: bytes = b"x") -> Message:
    return Message(event(payload), "a", 5, seq)


def fed(numbers: Sequence[int], bounds: Bounds = SMALL) -> Lane:
    lane = Lane(bounds)
    for number in numbers:
        lane.put(message(number), live=True)
    return lane


def page(numbers: Sequence[int], *, more: bool = False, upto: int = 0) -> Page:
    return Page([message(n) for n in numbers], [], upto or max(numbers), more)


def take(lane: Lane, share: float, most: int = 99) -> list[int]:
    taken: list[int] = []
    while len(taken) < most and ((live := lane.leads(share)) or lane.held):
        taken.append(lane.pop(live=live).seq)
        if lane.behind:
            lane.count(share, live=live)
    return taken


def test_a_lane_that_is_not_behind_is_strictly_in_order() -> None:
    lane = Lane(SMALL)
    assert lane.put(message(1), live=True)
    assert lane.put(message(2), live=True)
    assert (lane.behind, take(lane, 0.9)) == (False, [1, 2])


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.5, [1, 103, 2, 104, 3, 105, 4, 106, 5]),
        (0.25, [1, 2, 3, 103, 4, 5, 6, 104, 7]),
        (0.75, [1, 103, 104, 105, 2, 106]),
        (1.0, [103, 104, 105, 106, 1]),
        (0.0, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_fresh_ones_have_their_share(share: float, expected: list[int]) -> None:
    lane = Lane(SMALL._replace(held=99))
    lane.point(1)
    lane.absorb(page(range(1, 100), more=True))
    for number in range(103, 107):
        lane.put(message(number), live=True)
    assert take(lane, share, len(expected)) == expected


def test_what_was_handed_out_ahead_is_not_read_again() -> None:
    lane = fed([1, 2, 3, 4, 5, 6])
    assert lane.backlog(6) == Backlog(2, 3, [])
    assert take(lane, 1.0, 2) == [3, 4]
    assert lane.backlog(6) == Backlog(2, 5, [(3, 4)])
    lane.absorb(page([3, 4, 5], more=True))
    assert take(lane, 1.0, 1) == [6]
    assert take(lane, 0.0) == [1, 2, 5]
    assert lane.behind
    lane.absorb(page([6]))
    assert (take(lane, 0.5), lane.behind, len(lane.ahead), lane.fresh_bytes) == ([], False, 0, 0)


def test_what_is_given_back_waits_where_it_was() -> None:
    lane = fed([1, 2, 3, 4, 5, 6])
    assert take(lane, 1.0, 3) == [3, 4, 5]
    for number in (5, 4):
        lane.give_back(message(number), live=True)
    assert take(lane, 1.0, 2) == [4, 5]
    lane.give_back(message(4), live=False)
    lane.absorb(page([3, 4, 5, 6]))
    assert take(lane, 0.5) == [1, 2, 4, 6]


def test_what_comes_back_in_parts_is_in_order_again() -> None:
    lane = fed(range(1, 7))
    assert take(lane, 1.0, 4) == [3, 4, 5, 6]
    lane.give_back(message(3), live=True)
    lane.give_back(message(6), live=True)
    lane.give_back(message(4), live=True)
    assert take(lane, 1.0, 3) == [3, 4, 6]
    assert lane.ahead.runs() == [(3, 6)]


def test_the_newest_are_fresh_and_the_others_wait_for_their_turn() -> None:
    lane = fed([1, 2, *range(11, 20)])
    assert [m.seq for m, _ in lane.fresh] == [17, 18, 19]
    assert take(lane, 1.0, 2) == [17, 18]
    lane.absorb(page([11, 12, 13, 14, 15, 16, 17, 18, 19]))
    assert take(lane, 1.0) == [1, 2, 11, 12, 13, 14, 15, 16, 19]


def test_a_message_too_big_to_be_held_waits_for_its_turn() -> None:
    lane = fed([1, 2])
    lane.put(message(3, bytes(2000)), live=True)
    assert (len(lane.fresh), lane.fresh_bytes) == (0, 0)
    lane.put(message(4), live=True)
    assert take(lane, 1.0) == [4, 1, 2]


def test_long_runs_cost_little_although_other_lanes_have_numbers_between() -> None:
    lane = fed([1, 2, 5])
    for number in range(8, 3000, 3):
        lane.put(message(number), live=True)
        assert len(take(lane, 1.0, 1)) == 1
    assert len(lane.ahead) <= 2


def test_memory_is_bounded_when_more_comes_than_the_share_takes() -> None:
    lane = Lane(SMALL)
    rng = random.Random(1)  # noqa: S311 - the same each time
    lane.point(1)
    for number in range(1, 60_000):
        lane.put(message(number), live=True)
        if rng.random() < 0.2:
            take(lane, 1.0, 1)
        assert len(lane.fresh) <= 4
    assert len(lane.ahead) <= 4096


def test_without_a_share_nothing_is_fresh() -> None:
    lane = Lane(SMALL)
    for number in range(1, 9):
        lane.put(message(number), live=False)
    assert (len(lane.fresh), lane.backlog(8)) == (0, Backlog(2, 9, []))
    lane.put(message(9), live=True)
    assert take(lane, 1.0, 1) == [9]
    assert lane.ahead.runs() == [(9, 9)]


def test_everything_is_forgotten() -> None:
    lane = fed(range(1, 9))
    take(lane, 1.0, 2)
    lane.clear()
    lane.point(4)
    lane.absorb(page(range(4, 9)))
    assert seqs(list(lane.held)) == [4, 5, 6, 7, 8]
    lane.put(message(9), live=True)
    assert (take(lane, 1.0), lane.bytes) == ([9, 4, 5, 6, 7, 8], 0), "what is held is over the bound again"
