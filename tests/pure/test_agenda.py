"""What a schedule fires over restarts and clock steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.agenda import MOST_MISSED, Agenda
from edge_runtime.pure.cron import parse

DAILY = parse("cron(0 10 * * ? *)")
HOURLY = parse("cron(0 * * * ? *)")
EVERY_5 = parse("rate(5 minutes)")


def at(text: str) -> datetime:
    """Read `2026-11-22 10:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fire(agenda: Agenda, now: str) -> list[str]:
    """Do what a trigger does when it wakes up, and return what was fired."""
    due = agenda.due(at(now))
    if due is None:
        return []
    agenda.done(due.upto)
    return [f"{time:%d %H:%M}" for time in due.times]


def test_on_time() -> None:
    agenda = Agenda(DAILY, "skip", now=at("2026-11-22 09:00"))
    assert agenda.next(at("2026-11-22 09:00")) == at("2026-11-22 10:00")
    assert fire(agenda, "2026-11-22 09:59:59") == []
    assert fire(agenda, "2026-11-22 10:00") == ["22 10:00"]
    assert fire(agenda, "2026-11-22 10:00") == []
    assert agenda.next(at("2026-11-22 10:00")) == at("2026-11-23 10:00")
    assert agenda.memo == at("2026-11-22 10:00")


def test_what_is_not_done_is_due_again() -> None:
    agenda = Agenda(DAILY, "once", now=at("2026-11-22 09:00"))
    assert agenda.due(at("2026-11-22 10:00")) == agenda.due(at("2026-11-22 10:00"))


@pytest.mark.parametrize(
    ("policy", "expected", "missed"),
    [("skip", [], 3), ("once", ["22 10:00"], 2), ("all", ["20 10:00", "21 10:00", "22 10:00"], 0)],
)
def test_times_missed_while_the_host_was_down(policy: str, expected: list[str], missed: int) -> None:
    agenda = Agenda(DAILY, policy, now=at("2026-11-22 15:00"), memo=at("2026-11-19 10:00"))
    due = agenda.due(at("2026-11-22 15:00"))
    assert due is not None
    assert due.missed == missed
    assert fire(agenda, "2026-11-22 15:00") == expected
    assert fire(agenda, "2026-11-22 15:00") == []
    assert agenda.next(at("2026-11-22 15:00")) == at("2026-11-23 10:00")


@pytest.mark.parametrize(
    ("policy", "expected"), [("skip", []), ("once", ["23 10:00"]), ("all", ["22 10:00", "23 10:00"])]
)
def test_times_missed_by_a_jump_forward(policy: str, expected: list[str]) -> None:
    agenda = Agenda(DAILY, policy, now=at("2026-11-22 09:00"))
    assert fire(agenda, "2026-11-23 12:00") == expected
    assert fire(agenda, "2026-11-23 12:01") == []


def test_skip_still_fires_a_time_in_its_first_minute() -> None:
    agenda = Agenda(HOURLY, "skip", now=at("2026-11-22 05:30"))
    assert fire(agenda, "2026-11-22 10:00:59") == ["22 10:00"]
    assert fire(agenda, "2026-11-22 12:01") == []


def test_all_is_bounded_and_keeps_the_latest() -> None:
    agenda = Agenda(HOURLY, "all", now=at("1970-01-01 00:00"))
    fired = fire(agenda, "2026-11-22 10:30")
    assert len(fired) == MOST_MISSED
    assert (fired[0], fired[-1]) == ("18 07:00", "22 10:00")
    assert fire(agenda, "2026-11-22 10:31") == []


def test_a_clock_set_back_a_little_repeats_nothing() -> None:
    agenda = Agenda(HOURLY, "once", now=at("2026-11-22 09:30"))
    assert fire(agenda, "2026-11-22 10:00") == ["22 10:00"]
    assert fire(agenda, "2026-11-22 11:00") == ["22 11:00"]
    assert fire(agenda, "2026-11-22 10:00") == []  # set back by an hour
    assert agenda.next(at("2026-11-22 10:00")) == at("2026-11-22 12:00")
    assert fire(agenda, "2026-11-22 11:00:30") == []
    assert fire(agenda, "2026-11-22 12:00") == ["22 12:00"]


def test_a_clock_set_back_before_anything_fired_runs_by_the_new_time() -> None:
    agenda = Agenda(HOURLY, "once", now=at("2026-11-22 12:30"))
    assert agenda.next(at("2026-11-22 10:30")) == at("2026-11-22 11:00")
    assert fire(agenda, "2026-11-22 11:00") == ["22 11:00"]


def test_a_clock_that_was_years_ahead_does_not_silence_the_schedule() -> None:
    agenda = Agenda(DAILY, "once", now=at("2036-01-01 09:00"))
    assert fire(agenda, "2036-01-01 10:00") == ["01 10:00"]
    assert fire(agenda, "2026-11-22 09:00") == []
    assert fire(agenda, "2026-11-22 10:00") == ["22 10:00"]
    again = Agenda(DAILY, "once", now=at("2026-11-23 09:00"), memo=agenda.memo)
    assert fire(again, "2026-11-23 10:00") == ["23 10:00"]


def test_a_boot_in_1970_and_the_jump_to_today_fire_nothing_twice() -> None:
    agenda = Agenda(DAILY, "once", now=at("1970-01-01 00:00"), memo=at("2026-11-22 10:00"))
    assert fire(agenda, "1970-01-01 00:01") == []
    assert fire(agenda, "2026-11-22 10:05") == []  # fired before the power went
    assert fire(agenda, "2026-11-23 10:00") == ["23 10:00"]


def test_what_ran_by_the_wrong_clock_does_not_spoil_the_memory() -> None:
    agenda = Agenda(HOURLY, "once", now=at("1970-01-01 00:30"), memo=at("2026-11-22 10:00"))
    assert fire(agenda, "1970-01-01 01:00") == ["01 01:00"]
    assert agenda.memo == at("2026-11-22 10:00")
    assert fire(agenda, "2026-11-22 10:30") == []
    assert fire(agenda, "2026-11-22 11:00") == ["22 11:00"]


def test_a_restart_within_the_time_of_a_small_step_back() -> None:
    agenda = Agenda(HOURLY, "once", now=at("2026-11-22 09:10"), memo=at("2026-11-22 10:00"))
    assert fire(agenda, "2026-11-22 10:00") == []
    assert fire(agenda, "2026-11-22 11:00") == ["22 11:00"]


def test_a_single_time_missed_while_the_host_was_down() -> None:
    table = parse("at(2026-11-22T10:00:00)")
    agenda = Agenda(table, "once", now=at("2026-11-23 00:00"), memo=at("2026-11-20 00:00"))
    assert fire(agenda, "2026-11-23 00:00") == ["22 10:00"]
    assert agenda.next(at("2026-11-23 00:00")) is None


def test_a_rate_moves_along_with_a_step_of_the_clock() -> None:
    agenda = Agenda(EVERY_5, "all", now=at("2026-11-22 10:00"))
    assert fire(agenda, "2026-11-22 10:05") == ["22 10:05"]
    agenda.shift(timedelta(days=365))  # noticed two minutes later
    assert fire(agenda, "2027-11-22 10:07") == []
    assert fire(agenda, "2027-11-22 10:10") == ["22 10:10"]
    agenda.shift(timedelta(days=-365))
    assert fire(agenda, "2026-11-22 10:12") == []
    assert fire(agenda, "2026-11-22 10:15") == ["22 10:15"]
    assert agenda.memo == at("2026-11-22 10:15")


def test_a_rate_makes_up_for_the_time_the_host_was_down() -> None:
    for policy, expected in {"skip": [], "once": ["22 10:10"], "all": ["22 10:05", "22 10:10"]}.items():
        agenda = Agenda(EVERY_5, policy, now=at("2026-11-22 10:12"), memo=at("2026-11-22 10:00"))
        assert fire(agenda, "2026-11-22 10:12") == expected
        assert fire(agenda, "2026-11-22 10:15") == ["22 10:15"]


def test_a_rate_that_was_last_fired_in_the_future_starts_anew() -> None:
    agenda = Agenda(EVERY_5, "once", now=at("2026-11-22 10:00"), memo=at("2036-01-01 00:00"))
    assert agenda.next(at("2026-11-22 10:00")) == at("2026-11-22 10:05")
    assert fire(agenda, "2026-11-22 10:05") == ["22 10:05"]
    assert agenda.memo == at("2026-11-22 10:05")


@given(st.sampled_from(["skip", "once", "all"]), st.lists(st.integers(-170, 3000), max_size=40))
def test_no_time_is_ever_fired_twice_by_small_steps_back(policy: str, steps: list[int]) -> None:
    now = at("2026-11-22 09:30")
    agenda, seen = Agenda(HOURLY, policy, now=now), []
    latest = now
    for minutes in steps:
        # Set back as far as one likes, but not more than three hours behind the latest.
        now = max(now + timedelta(minutes=minutes), latest - timedelta(minutes=170))
        latest = max(latest, now)
        due = agenda.due(now)
        if due is not None:
            seen += due.times
            agenda.done(due.upto)
    assert seen == sorted(set(seen))
