"""Stamps get the right time once it is known, and say so when it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.model import Stamp
from edge_runtime.pure.timeline import (
    CORRECTED,
    MOST_BOOTS,
    MOST_SPANS,
    SYNCED,
    UNSYNCED,
    Dated,
    Timeline,
)

S = 1_000_000_000
T = 1_800_000_000 * S
"""Some right time."""
YEARS = 10 * 365 * 86_400 * S


def at(mono_s: float, wall_ns: int, boot: str = "one") -> Stamp:
    return Stamp(wall_ns, int(mono_s * S), boot)


def started(*boots: str, least_ns: int = 0) -> Timeline:
    timeline = Timeline()
    for boot in boots:
        assert timeline.begin(boot, least_ns)
    return timeline


def again(timeline: Timeline) -> Timeline:
    """Return it after a restart of the host."""
    return Timeline.from_text(timeline.to_text())


def test_what_was_stamped_before_the_clock_was_set_is_corrected_and_what_comes_after_keeps_its_time() -> None:
    timeline = started("one")
    early = at(10, 10 * S)  # 1970
    assert timeline.of(early) == Dated(10 * S, UNSYNCED)
    assert timeline.right(at(60, T + 60 * S))
    for known in (timeline, again(timeline)):
        assert known.of(early) == Dated(T + 10 * S, CORRECTED)
        assert known.of(at(59.9, 60 * S)) == Dated(T + int(59.9 * S), CORRECTED)
        assert known.of(at(60, T + 60 * S)) == Dated(T + 60 * S, SYNCED)
        assert known.of(at(3600, T + 3600 * S)) == Dated(T + 3600 * S, SYNCED)


def test_a_clock_that_was_right_from_the_start_corrects_nothing() -> None:
    timeline = started("one")
    timeline.right(at(1, T + S))
    assert timeline.of(at(1, T + S)) == Dated(T + S, SYNCED)
    assert timeline.of(at(2, T + 2 * S)) == Dated(T + 2 * S, SYNCED)


@pytest.mark.parametrize("off_ns", [YEARS, -YEARS, 2 * S, -2 * S])
def test_what_is_stamped_after_somebody_set_the_clock_wrong_is_corrected(off_ns: int) -> None:
    timeline = started("one")
    timeline.right(at(10, T + 10 * S))
    assert timeline.of(at(19, T + 19 * S + off_ns)).mark == CORRECTED  # before anybody noticed
    assert timeline.unsure(at(20, T + 20 * S + off_ns))
    wrong = at(25, T + 25 * S + off_ns)
    assert timeline.of(wrong) == Dated(T + 25 * S, CORRECTED)
    assert timeline.of(at(15, T + 15 * S)) == Dated(T + 15 * S, SYNCED)
    timeline.right(at(30, T + 30 * S))
    assert timeline.of(wrong) == Dated(T + 25 * S, CORRECTED)
    assert timeline.of(at(31, T + 31 * S)) == Dated(T + 31 * S, SYNCED)


def test_what_was_stamped_while_the_clock_was_right_keeps_its_time_over_a_later_step() -> None:
    timeline = started("one")
    timeline.right(at(10, T + 10 * S))
    assert timeline.right(at(100, T + 105 * S))  # NTP has learnt better
    assert timeline.of(at(50, T + 50 * S)) == Dated(T + 50 * S, SYNCED)
    assert timeline.of(at(99.9, T + int(104.9 * S))) == Dated(T + int(104.9 * S), SYNCED)  # a moment before it was seen
    assert timeline.of(at(200, T + 205 * S)) == Dated(T + 205 * S, SYNCED)
    assert timeline.of(at(5, 0)) == Dated(T + 5 * S, CORRECTED)
    assert timeline.ahead_ns("one") == T + 5 * S


def test_a_leap_second_is_no_news() -> None:
    timeline = started("one")
    assert timeline.right(at(10, T + 10 * S))
    assert not timeline.right(at(20, T + 19 * S))
    assert timeline.of(at(30, T + 29 * S)) == Dated(T + 29 * S, SYNCED)


def test_nobody_knows_the_time_of_a_boot_that_was_never_noted_or_never_right() -> None:
    timeline = started("one")
    assert timeline.ahead_ns("one") is None
    assert timeline.ahead_ns("other") is None
    assert timeline.of(at(5, T, "other")) == Dated(T, UNSYNCED)
    assert not timeline.unsure(at(5, T))
    assert timeline.of(at(5, T)) == Dated(T, UNSYNCED)


def test_a_boot_that_was_never_right_lies_between_its_neighbours() -> None:
    timeline = started("one", least_ns=T)
    stuck, ahead = at(100, 100 * S), at(100, T + YEARS)
    assert timeline.of(stuck) == Dated(T + 100 * S, UNSYNCED)  # not before what had been seen when it began
    assert timeline.of(ahead) == Dated(T + YEARS, UNSYNCED)
    timeline.begin("two", T + 500 * S, before="one", lasted_ns=300 * S)
    timeline.right(at(10, T + 1010 * S, "two"))  # it began at T + 1000
    for known in (timeline, again(timeline)):
        assert known.of(stuck) == Dated(T + 100 * S, UNSYNCED)
        assert known.of(ahead) == Dated(T + 800 * S, UNSYNCED)  # 200 s before its end, which was at T + 1000 at last
        assert known.of(at(299, T + YEARS)) == Dated(T + 999 * S, UNSYNCED)
        assert known.of(at(350, T + YEARS)) == Dated(T + 1000 * S, UNSYNCED)
        assert known.of(at(100, T + 600 * S)) == Dated(T + 600 * S, UNSYNCED)


def test_each_boot_has_its_own_time() -> None:
    timeline = started("one", "two", "three")
    timeline.right(at(10, T + 10 * S, "one"))
    timeline.right(at(10, T + 5010 * S, "three"))
    assert timeline.of(at(5, 0, "one")) == Dated(T + 5 * S, CORRECTED)
    assert timeline.of(at(5, T, "two")).mark == UNSYNCED
    assert timeline.of(at(5, 0, "three")) == Dated(T + 5005 * S, CORRECTED)
    assert not timeline.begin("one", 7)


def test_what_is_remembered_is_bounded() -> None:
    timeline = Timeline()
    for number in range(3 * MOST_BOOTS):
        timeline.begin(f"{number:012x}", T)
        for step in range(3 * MOST_SPANS):
            now = at(step, T + step * (number + 2) * S, f"{number:012x}")
            timeline.right(now)
            timeline.unsure(now)
    assert timeline.of(at(1, 1, f"{2 * MOST_BOOTS - 1:012x}")).mark == UNSYNCED
    assert timeline.of(at(1, 1, f"{2 * MOST_BOOTS:012x}")).mark == CORRECTED
    assert len(timeline.to_text()) < 40_000
    usual = Timeline()
    for number in range(MOST_BOOTS):
        usual.begin(f"{number:012x}", T)
        usual.right(at(30, T, f"{number:012x}"))
    assert len(usual.to_text()) < 6_000


def test_when_the_clock_was_first_right_is_never_forgotten() -> None:
    timeline = started("one")
    for step in range(1, 4 * MOST_SPANS):
        timeline.right(at(step * 100, T + step * 200 * S))
    assert timeline.of(at(50, 0)) == Dated(T + 150 * S, CORRECTED)


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(-YEARS, YEARS), st.booleans()), max_size=20))
def test_a_restart_forgets_nothing(steps: list[tuple[int, int, bool]]) -> None:
    timeline, mono_s, stamps = started("one"), 0, []
    for wait_s, off_ns, right in steps:
        mono_s += wait_s
        now = at(mono_s, T + off_ns)
        stamps.append(now)
        timeline.right(now) if right else timeline.unsure(now)
    known = again(timeline)
    assert [known.of(stamp) for stamp in stamps] == [timeline.of(stamp) for stamp in stamps]


@pytest.mark.parametrize("text", ["", "7", "[1]", '[["one"]]', '[["one",1,2,[[1]]]]', '[["one","x",2,[]]]', "[" * 9999])
def test_what_is_no_timeline_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no timeline"):
        Timeline.from_text(text)
