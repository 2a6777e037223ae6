"""What was measured: by the minute, by the hour, over restarts, and with ledgers and clocks that begin anew."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.rates import HOURS, MINUTES, MOST_TARGETS, History, Rate, Sizes, sizes_of, sizes_text

HOUR = 3600.0


def run(history: History, seconds: float, per_minute: int, *, begin_s: float = 0.0, produced: int = 0) -> int:
    """Note so many a minute, from that running time on. Return what was produced then."""
    for minute in range(int(seconds / 60) + 1):
        history.note(begin_s + minute * 60, {"uplink": produced + minute * per_minute})
    return produced + int(seconds / 60) * per_minute


def test_a_rate_is_what_was_accepted_over_what_was_looked_at() -> None:
    history = History()
    run(history, 1800, 30)
    assert history.rate("uplink") == Rate(0.5, 1800.0, 0.5, 0.5)
    assert history.rate("function/f") is None


def test_one_look_tells_nothing() -> None:
    history = History()
    assert (history.rate("uplink"), history.memo()) == (None, {})
    history.note(10, {"uplink": 5})
    assert history.rate("uplink") is None
    history.note(12, {"uplink": 9})
    assert history.rate("uplink") is None


def test_the_last_hour_and_the_busiest_one_are_told_apart() -> None:
    history = History()
    produced = run(history, 5 * HOUR, 60)
    produced = run(history, HOUR, 600, begin_s=5 * HOUR, produced=produced)
    run(history, 2 * HOUR, 6, begin_s=6 * HOUR, produced=produced)
    found = history.rate("uplink")
    assert found is not None
    assert found.over_s == 8 * HOUR
    assert found.per_s == pytest.approx((5 * 60 + 600 + 2 * 6) / (8 * 60))
    assert found.last_hour == pytest.approx(0.1)
    assert found.busiest == pytest.approx(10.0, rel=0.05)


def test_two_weeks_are_kept_and_no_more() -> None:
    history = History()
    run(history, 20 * 24 * HOUR, 6)
    found = history.rate("uplink")
    assert found is not None
    assert 13.9 * 24 * HOUR < found.over_s <= 14 * 24 * HOUR
    memo = history.memo()
    assert (len(memo[MINUTES]) < 2_000, len(memo[HOURS]) < 10_000) == (True, True)


def test_it_goes_on_after_a_restart_without_what_came_between() -> None:
    history = History()
    produced = run(history, 10 * HOUR, 60)
    memo = history.memo()
    again = History.restore(memo[MINUTES], memo[HOURS])
    assert again.rate("uplink") == history.rate("uplink")
    # An hour later; a thousand were accepted and nobody looked.
    run(again, 600, 60, begin_s=11 * HOUR, produced=produced + 1000)
    found = again.rate("uplink")
    assert found is not None
    assert found.per_s == pytest.approx(1.0)
    assert found.over_s == pytest.approx(10 * HOUR + 600)


def test_hours_are_written_when_one_is_over() -> None:
    history = History()
    run(history, 30 * 60, 60)
    assert list(history.memo()) == [MINUTES]
    run(history, HOUR, 60, begin_s=31 * 60, produced=31 * 60)
    assert list(history.memo()) == [MINUTES, HOURS]
    assert list(history.memo()) == [MINUTES]
    history.lost()
    assert list(history.memo()) == [MINUTES, HOURS]


def test_a_ledger_that_begins_anew_is_no_count() -> None:
    history = History()
    run(history, 600, 60)
    history.note(660, {"uplink": 3})
    history.note(720, {"uplink": 63})
    assert history.rate("uplink") == Rate(1.0, 660.0, 1.0, 1.0)


def test_running_time_that_begins_anew_begins_anew() -> None:
    history = History()
    run(history, 50 * HOUR, 60)
    run(history, 600, 6)
    assert history.rate("uplink") == Rate(0.1, 600.0, 0.1, 0.1)


def test_a_target_that_comes_later_has_its_place() -> None:
    history = History()
    history.note(0, {"uplink": 0})
    history.note(60, {"uplink": 60})
    history.note(120, {"uplink": 120, "function/f": 500})  # 500 from before: nobody saw when
    history.note(180, {"uplink": 180, "function/f": 560})
    memo = history.memo()
    for one in (history, History.restore(memo[MINUTES], None)):
        assert one.targets == ("uplink", "function/f")
        found = one.rate("function/f")
        assert found is not None
        assert found.per_s == pytest.approx(60 / 180)


def test_targets_are_bounded() -> None:
    history = History()
    for second in (0, 60):
        history.note(second, {f"function/{n}": second for n in range(200)})
    assert len(history.targets) == MOST_TARGETS


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{}", '{"names":[],"slots":[]}', '{"names":["a"],"slots":[[1]]}',
        '{"names":["a"],"slots":[[1,2,3,4]]}', '{"names":["a"],"slots":[[1,-2,3]]}', '{"names":1,"slots":[[1,2,"x"]]}',
    ],
)  # fmt: skip
def test_what_is_no_memo_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rates|hour"):
        History.restore(text, None)


def test_hours_of_other_targets_are_refused() -> None:
    one = '{"names":["a"],"slots":[[1,60,3]]}'
    with pytest.raises(ValueError, match="names of other targets"):
        History.restore(one, '{"names":["b"],"slots":[[0,60,3]]}')
    with pytest.raises(ValueError, match="these are no rates"):
        History.restore(one, "null")


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**9)), max_size=60))
def test_whatever_is_noted_can_be_kept_and_is_never_below_zero(looks: list[tuple[float, int]]) -> None:
    history = History()
    for age_s, produced in looks:
        history.note(age_s, {"uplink": produced})
    found, memo = history.rate("uplink"), history.memo()
    assert found is None or min(found) >= 0
    if memo:
        again = History.restore(memo[MINUTES], memo.get(HOURS)).rate("uplink")
        assert (again is None) == (found is None)
        assert found is None or again is None or again.per_s == pytest.approx(found.per_s, rel=0.01)


def test_sizes_are_means_of_which_the_old_weigh_less() -> None:
    sizes = Sizes()
    for _ in range(2048):
        sizes.add(400, 200, 20, 5)
    for _ in range(20_000):
        sizes.add(800, 600, 30, 2)
    assert sizes.count <= 2049
    assert sizes.disk / sizes.count == pytest.approx(800, rel=0.01)
    assert sizes.payload / sizes.count == pytest.approx(600, rel=0.01)
    assert sum(sizes.priorities) == pytest.approx(sizes.count)
    assert sizes.priorities[2] > sizes.priorities[5] * 100


def test_how_well_messages_are_compressed_follows_slowly() -> None:
    sizes = Sizes()
    sizes.packed(0.2)
    assert sizes.gzip == 0.2
    sizes.packed(0.6)
    assert sizes.gzip == pytest.approx(0.3)


def test_sizes_are_kept() -> None:
    sizes = Sizes()
    sizes.add(400, 200, 20, 5)
    sizes.topics, sizes.gzip = 3, 0.25
    assert sizes_of(sizes_text({"uplink": sizes})) == {"uplink": sizes}


@pytest.mark.parametrize(
    "row", [{"count": -1}, {"count": "1"}, {"colour": 1}, {"priorities": [1]}, {"gzip": float("nan")}, 5, None]
)
def test_what_are_no_sizes_is_refused(row: object) -> None:
    with pytest.raises(ValueError, match="these are no sizes"):
        sizes_of(json.dumps({"uplink": row}))
    with pytest.raises(ValueError, match="these are no sizes"):
        sizes_of("nonsense")
