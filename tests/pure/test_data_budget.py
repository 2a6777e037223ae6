"""The data budget: periods, nights, clocks that are wrong, and sizes on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Budget
from edge_runtime.pure.data_budget import ALL, DataBudget, Moment, publish_bytes

DAY_S = 86_400.0
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (22 * 60, 6 * 60)


def wall(text: str, zone: ZoneInfo | None = None) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC).timestamp()


def at(text: str, run_s: float = 0.0) -> Moment:
    return Moment(run_s, wall(text, BERLIN))


def daily(limit: int = 1000, **more: object) -> DataBudget:
    keys: dict[str, object] = {"per": "day", "urgent": 2, "timezone": "Europe/Berlin", **more}
    return DataBudget(Budget(limit, **keys))  # type: ignore[arg-type]  # the keys are those of Budget


def test_urgent_messages_always_go_and_count_and_the_rest_stops_when_it_is_used_up() -> None:
    budget, noon = daily(), at("2026-11-22T12:00")
    budget.charge(999, noon)
    assert budget.least(noon) == ALL
    budget.charge(1, noon)
    assert budget.least(noon) == 2
    budget.charge(500, noon)
    standing = budget.standing(noon)
    assert (standing.limit, standing.used, standing.least, standing.night) == (1000, 1500, 2, False)
    assert standing.until_s == wall("2026-11-23T00:00", BERLIN)


def test_the_last_publish_may_go_over_the_budget_and_no_further_one() -> None:
    budget, noon = daily(), at("2026-11-22T12:00")
    budget.charge(800, noon)
    budget.charge(800, noon)
    assert (budget.least(noon), budget.standing(noon).used) == (2, 1600)


def test_a_new_day_begins_where_the_device_is() -> None:
    budget = daily()
    budget.charge(1000, at("2026-11-22T23:59:59"))
    assert budget.least(at("2026-11-22T23:59:59.9")) == 2
    assert budget.least(at("2026-11-23T00:00")) == ALL  # 23:00 UTC


@pytest.mark.parametrize(
    ("begins", "now", "ends"),
    [
        (1, "2026-11-22T12:00", "2026-12-01T00:00"),
        (15, "2026-11-22T12:00", "2026-12-15T00:00"),
        (15, "2026-11-15T00:00", "2026-12-15T00:00"),
        (15, "2026-11-14T23:59", "2026-11-15T00:00"),
        (28, "2027-01-30T00:00", "2027-02-28T00:00"),
        (28, "2027-02-27T23:00", "2027-02-28T00:00"),
        (1, "2027-12-31T23:00", "2028-01-01T00:00"),
    ],
)
def test_a_month_of_the_contract_begins_on_its_day(begins: int, now: str, ends: str) -> None:
    budget = daily(per="month", month_begins=begins)
    budget.charge(1000, at(now))
    standing = budget.standing(at(now))
    assert (standing.least, standing.until_s) == (2, wall(ends, BERLIN))
    assert budget.least(at(ends)) == ALL
    assert budget.standing(at(ends)).used == 0


def test_at_night_everything_goes_and_nothing_counts() -> None:
    budget = daily(night=NIGHT)
    budget.charge(1000, at("2026-11-22T12:00"))
    assert budget.standing(at("2026-11-22T21:59")).until_s == wall("2026-11-22T22:00", BERLIN)
    for night in ("2026-11-22T22:00", "2026-11-22T23:59"):
        budget.charge(10_000, at(night))
        assert budget.standing(at(night)) == (1000, 1000, ALL, None, True)
    assert budget.standing(at("2026-11-23T05:59:59")) == (1000, 0, ALL, None, True)
    assert budget.standing(at("2026-11-23T06:00")) == (1000, 0, ALL, None, False)


def test_what_is_for_later_waits_for_the_night_even_when_there_is_budget_left() -> None:
    budget = daily(night=NIGHT, later=7)
    standing = budget.standing(at("2026-11-22T12:00"))
    assert (standing.least, standing.until_s) == (6, wall("2026-11-22T22:00", BERLIN))
    assert budget.least(at("2026-11-22T22:00")) == ALL
    assert budget.least(at("2026-11-23T03:00")) == ALL
    assert budget.least(at("2026-11-23T06:00")) == 6


def test_a_night_within_one_day() -> None:
    budget = daily(night=(2 * 60, 5 * 60), later=7)
    assert [budget.least(at(f"2026-11-22T{hour:02}:00")) for hour in (1, 2, 4, 5, 23)] == [6, ALL, ALL, 6, 6]
    assert budget.standing(at("2026-11-22T06:00")).until_s == wall("2026-11-23T02:00", BERLIN)


@pytest.mark.parametrize(
    ("night", "hours"),
    [
        # On 29 March 2026 02:00 becomes 03:00, on 25 October 03:00 becomes 02:00.
        ((22 * 60, 6 * 60), 7),
        ((150, 300), 2),  # 02:30 to 05:00, where 02:30 does not exist: 03:30 to 05:00 is less than two
    ],
)
def test_a_night_in_which_the_clocks_go_forward(night: tuple[int, int], hours: int) -> None:
    budget = daily(night=night, later=7)
    start = wall("2026-03-28T21:00", BERLIN)
    free = [n for n in range(0, 24 * 60, 5) if budget.least(Moment(0, start + n * 60)) == ALL]
    assert len(free) * 5 <= hours * 60
    assert free == list(range(free[0], free[-1] + 5, 5))  # in one piece


def test_a_night_in_which_the_clocks_go_back_does_not_flicker() -> None:
    budget = daily(night=(150, 300), later=7)
    start = wall("2026-10-24T23:00", BERLIN)
    free = [n for n in range(0, 12 * 60, 5) if budget.least(Moment(0, start + n * 60)) == ALL]
    begins = datetime.fromtimestamp(start + free[0] * 60, BERLIN)
    assert (begins.hour, begins.minute, begins.fold) == (
        2,
        30,
        1,
    )  # the second 02:30: no more night than there surely is
    assert free == list(range(free[0], free[0] + 150, 5))


def test_without_a_known_time_the_last_period_goes_on_for_its_length() -> None:
    budget = daily(night=NIGHT, later=7)
    budget.charge(600, at("2026-11-22T12:00", 0))
    assert budget.least(Moment(100, None)) == ALL  # there is no night to wait for
    budget.charge(500, Moment(100, None))
    assert budget.standing(Moment(200, None)) == (1000, 1100, 2, None, False)
    assert budget.least(Moment(DAY_S - 1, None)) == 2
    assert budget.standing(Moment(DAY_S, None)) == (1000, 0, ALL, None, False)
    budget.charge(1000, Moment(DAY_S, None))
    assert budget.least(Moment(DAY_S + 10, None)) == 2


def test_what_was_counted_without_a_known_time_counts_to_the_period_that_follows() -> None:
    budget = daily()
    budget.charge(700, Moment(5, None))
    assert budget.standing(at("2026-11-22T12:00", 60)).used == 700
    budget.charge(300, at("2026-11-22T12:00", 60))
    assert budget.least(at("2026-11-22T12:00", 61)) == 2
    budget.charge(100, Moment(70, None))
    assert budget.standing(at("2026-11-22T13:00", 80)).used == 1100


def test_a_clock_that_jumps_forward_and_back_gives_no_day_twice() -> None:
    budget = daily()
    budget.charge(1000, at("2026-11-22T12:00"))
    budget.charge(400, at("2036-01-01T12:00"))
    assert budget.least(at("2026-11-22T13:00")) == 2
    assert budget.standing(at("2036-01-01T13:00")).used == 400


def test_a_clock_that_goes_back_to_a_day_never_seen_goes_on_counting() -> None:
    budget = daily()
    budget.charge(1000, at("2026-11-22T12:00"))
    assert budget.standing(at("2016-11-22T12:00")).used == 1000


def test_a_restart_changes_nothing() -> None:
    budget = daily()
    budget.charge(1000, at("2026-11-22T12:00", 50.0))
    budget.charge(7, Moment(60, None))
    again = DataBudget(budget._spec, budget.memo())
    assert again.standing(at("2026-11-22T12:01", 61)) == budget.standing(at("2026-11-22T12:01", 61))
    assert again.memo() == budget.memo()


def test_running_time_that_begins_anew_is_that_of_a_new_store() -> None:
    budget = daily()
    budget.charge(1000, Moment(5_000_000, None))
    assert budget.least(Moment(10, None)) == 2
    assert budget.least(Moment(10 + DAY_S, None)) == ALL


@pytest.mark.parametrize(
    "memo", ["", "[]", "{}", '{"periods": {"x": 1}, "current": "", "began_s": 0}', '{"periods": 3}']
)
def test_a_damaged_memo_is_told(memo: str) -> None:
    with pytest.raises(ValueError, match=r"memo|Expecting|isoformat"):
        DataBudget(Budget(1000), memo)


STEP = st.tuples(
    st.one_of(st.none(), st.integers(0, 6 * 86_400)),  # where the clock is set to, or that nobody knows
    st.integers(0, 20_000),
    st.integers(1, 400),
)


@given(st.lists(STEP, max_size=60), st.sampled_from([None, NIGHT]))
def test_no_day_gets_more_than_its_budget_and_one_publish(
    steps: list[tuple[int | None, int, int]], night: tuple[int, int] | None
) -> None:
    budget = daily(night=night)
    start, run_s = wall("2026-03-27T00:00", BERLIN), 0.0
    sent: dict[str, int] = {}
    for set_to, later_s, size in steps:
        run_s += later_s
        now = Moment(run_s, None if set_to is None else start + set_to)
        budget = DataBudget(budget._spec, budget.memo())  # a restart at any time
        if budget.least(now) < ALL:
            assert budget.standing(now).used >= 1000
            continue
        before = budget.standing(now)
        budget.charge(size, now)
        after = budget.standing(now)
        assert after.used == before.used + (0 if before.night else size)
        if now.wall_s is not None and not before.night:
            day = datetime.fromtimestamp(now.wall_s, BERLIN).date().isoformat()
            sent[day] = sent.get(day, 0) + size
    assert all(total < 1000 + 400 for total in sent.values())


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-11-22T12:00", "2026-11-22T22:00"),
        ("2026-11-22T22:00", "2026-11-23T00:00"),
        ("2026-11-23T00:00", "2026-11-23T06:00"),
        ("2026-11-23T05:59:59", "2026-11-23T06:00"),
    ],
)
def test_a_boundary_is_where_a_night_or_a_day_begins_or_ends(now: str, then: str) -> None:
    assert daily(night=NIGHT).boundary(at(now)) == wall(then, BERLIN)


def test_nobody_knows_a_boundary_without_a_clock() -> None:
    assert daily(night=NIGHT).boundary(Moment(0, None)) is None
    assert daily(per="month").boundary(at("2026-11-22T12:00")) == wall("2026-12-01T00:00", BERLIN)


@pytest.mark.parametrize(
    ("topic", "payload", "properties", "size"),
    [
        # PUBLISH in a record and a segment; PUBACK likewise; and the segments that acknowledge them.
        ("dt/a", 200, {}, 5 + 2 + 4 + 2 + 3 + 200 + 29 + 52 + 6 + 29 + 52 + 52),
        ("dt/ä", 0, {"a": "b"}, 5 + 2 + 5 + 2 + 3 + 7 + 29 + 52 + 6 + 29 + 52 + 52),
    ],
)
def test_a_publish_has_its_size_on_the_wire(topic: str, payload: int, properties: dict[str, str], size: int) -> None:
    assert publish_bytes(topic, payload, properties) == size


def test_a_large_publish_takes_a_few_per_cent_more_than_its_payload() -> None:
    assert 1.04 < publish_bytes("dt/a", 131_072, {}) / 131_072 < 1.08
