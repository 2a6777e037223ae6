"""AWS schedule expressions."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.pure.cron import between, parse


def utc(text: str) -> datetime:
    """Read `2026-11-22 10:00` or with seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def show(expression: str, after: str, count: int, zone: str = "UTC") -> list[str]:
    """Return the next times as UTC texts."""
    table, found, moment = parse(expression, zone), [], utc(after)
    for _ in range(count):
        following = table.after(moment)
        if following is None:
            break
        assert following.tzinfo is UTC
        found.append(following.strftime("%Y-%m-%d %H:%M"))
        moment = following
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # The examples of the EventBridge user guide. 2026-11-22 is a Sunday.
        ("cron(0 10 * * ? *)", "2026-11-22 10:00", ["2026-11-23 10:00", "2026-11-24 10:00"]),
        ("cron(15 12 * * ? *)", "2026-11-22 12:14", ["2026-11-22 12:15", "2026-11-23 12:15"]),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-20 17:59", ["2026-11-20 18:00", "2026-11-23 18:00"]),
        ("cron(0 8 1 * ? *)", "2026-11-22 00:00", ["2026-12-01 08:00", "2027-01-01 08:00"]),
        ("cron(0/15 * * * ? *)", "2026-11-22 10:31", ["2026-11-22 10:45", "2026-11-22 11:00"]),
        ("cron(0/10 * ? * MON-FRI *)", "2026-11-20 23:50", ["2026-11-23 00:00", "2026-11-23 00:10"]),
        ("cron(0/5 8-17 ? * MON-FRI *)", "2026-11-20 17:54", ["2026-11-20 17:55", "2026-11-23 08:00"]),
        # Weekdays count from Sunday.
        ("cron(0 0 ? * 1 *)", "2026-11-21 00:00", ["2026-11-22 00:00", "2026-11-29 00:00"]),
        ("cron(0 0 ? * 7 *)", "2026-11-21 00:01", ["2026-11-28 00:00"]),
        ("cron(0 0 ? * sun,Wed *)", "2026-11-22 00:00", ["2026-11-25 00:00", "2026-11-29 00:00"]),
        # Last days.
        ("cron(0 0 L * ? *)", "2028-02-01 00:00", ["2028-02-29 00:00", "2028-03-31 00:00"]),
        ("cron(15 10 ? * 6L 2026-2027)", "2026-11-01 00:00", ["2026-11-27 10:15", "2026-12-25 10:15"]),
        ("cron(0 0 ? * FRIL *)", "2026-11-01 00:00", ["2026-11-27 00:00"]),
        ("cron(0 0 ? * L *)", "2026-11-22 00:00", ["2026-11-28 00:00", "2026-12-05 00:00"]),
        ("cron(0 0 LW * ? *)", "2026-01-01 00:00", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-31 00:00"]),
        # The working day nearest to a date, never in another month.
        ("cron(0 0 3W * ? *)", "2026-10-01 00:00", ["2026-10-02 00:00", "2026-11-03 00:00", "2026-12-03 00:00"]),
        ("cron(0 0 1W * ? *)", "2026-08-01 00:00", ["2026-08-03 00:00", "2026-09-01 00:00"]),
        ("cron(0 0 31W 5 ? *)", "2026-05-01 00:00", ["2026-05-29 00:00", "2027-05-31 00:00"]),
        ("cron(0 0 31W * ? *)", "2026-02-01 00:00", ["2026-03-31 00:00"]),
        ("cron(0 0 22W 11 ? *)", "2026-11-01 00:00", ["2026-11-23 00:00"]),
        # The n-th weekday of a month.
        ("cron(0 0 ? * 3#2 *)", "2026-11-01 00:00", ["2026-11-10 00:00", "2026-12-08 00:00"]),
        ("cron(0 0 ? * THU#5 *)", "2026-11-01 00:00", ["2026-12-31 00:00", "2027-04-29 00:00"]),
        # Lists, ranges, steps.
        (
            "cron(5,10-12,50/5 3 * * ? *)",
            "2026-11-22 03:11",
            ["2026-11-22 03:12", "2026-11-22 03:50", "2026-11-22 03:55"],
        ),
        ("cron(0 */6 10-12 1/6 ? *)", "2026-01-12 17:00", ["2026-01-12 18:00", "2026-07-10 00:00"]),
        ("cron(0 0 1,15,L * ? *)", "2026-11-02 00:00", ["2026-11-15 00:00", "2026-11-30 00:00"]),
        ("cron(0 0 29 2 ? *)", "2096-03-01 00:00", ["2104-02-29 00:00"]),
        ("cron(0 0 1 1 ? 2020,2030/10)", "2026-01-01 00:00", ["2030-01-01 00:00", "2040-01-01 00:00"]),
        ("cron(0 0 1 1 ? 2020)", "2026-01-01 00:00", []),
        ("cron(59 23 31 12 ? *)", "2199-12-31 23:59", []),
        ("rate(5 minutes)", "2026-11-22 10:03", ["2026-11-22 10:08", "2026-11-22 10:13"]),
        ("rate(1 hour)", "2026-11-22 10:03", ["2026-11-22 11:03"]),
        ("rate(2 days)", "2026-11-22 10:03", ["2026-11-24 10:03"]),
        ("at(2026-11-22T13:00:00)", "2026-11-22 12:59", ["2026-11-22 13:00"]),
        ("at(2026-11-22T13:00:00)", "2026-11-22 13:00", []),
        (" cron( 0  10 * * ? * ) ", "2026-11-22 10:00", ["2026-11-23 10:00"]),
    ],
)
def test_next_times(expression: str, after: str, expected: list[str]) -> None:
    assert show(expression, after, max(1, len(expected))) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("cron(0 10 * * ? *)", "Asia/Tokyo", "2026-11-22 00:00", ["2026-11-22 01:00"]),
        ("cron(0 0 ? * MON *)", "Asia/Tokyo", "2026-11-21 00:00", ["2026-11-22 15:00"]),
        ("at(2022-11-20T13:00:00)", "America/Los_Angeles", "2022-01-01 00:00", ["2022-11-20 21:00"]),
        # The example of the Scheduler user guide: 02:30 does not exist on 2026-03-08 and comes twice a while later.
        ("cron(30 2 * * ? *)", "America/Los_Angeles", "2026-03-07 10:30", ["2026-03-09 09:30"]),
        ("cron(30 1 * * ? *)", "America/Los_Angeles", "2026-10-31 08:30", ["2026-11-01 08:30", "2026-11-02 09:30"]),
        ("cron(30 1 * * ? *)", "America/Los_Angeles", "2026-11-01 08:30", ["2026-11-02 09:30"]),
        # In the repeated hour nothing runs; after it all goes on.
        ("cron(0/30 * * * ? *)", "Europe/Berlin", "2026-10-25 00:00", ["2026-10-25 00:30", "2026-10-25 02:00"]),
        ("cron(0/30 * * * ? *)", "Europe/Berlin", "2026-03-29 00:00", ["2026-03-29 00:30", "2026-03-29 01:00"]),
        ("cron(0/30 * * * ? *)", "Europe/Berlin", "2026-10-25 01:10", ["2026-10-25 02:00"]),
        # Half an hour of daylight saving time, and a zone with a quarter.
        ("cron(45 1 * * ? *)", "Australia/Lord_Howe", "2026-04-04 12:00", ["2026-04-04 14:45", "2026-04-05 15:15"]),
        ("cron(0 6 * * ? *)", "Asia/Kathmandu", "2026-04-04 00:00", ["2026-04-04 00:15"]),
        ("at(2026-10-25T02:30:00)", "Europe/Berlin", "2026-01-01 00:00", ["2026-10-25 00:30"]),
        ("rate(1 day)", "Europe/Berlin", "2026-10-24 10:00", ["2026-10-25 10:00"]),
    ],
)
def test_time_zones(expression: str, zone: str, after: str, expected: list[str]) -> None:
    assert show(expression, after, len(expected), zone) == expected


def test_after_takes_any_zone_and_is_strict() -> None:
    table = parse("cron(0 10 * * ? *)")
    plus_two = timezone(timedelta(hours=2))
    assert table.after(datetime(2026, 11, 22, 12, 0, tzinfo=plus_two)) == utc("2026-11-23 10:00")
    assert table.after(datetime(2026, 11, 22, 11, 59, 59, 999_999, tzinfo=plus_two)) == utc("2026-11-22 10:00")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 10 * * ? *", "'0 10 * * ? *' is no schedule expression"),
        ("every(5 minutes)", "'every(5 minutes)' is no schedule expression"),
        ("rate(5)", "'rate(5)' is no rate: write a number, a blank and a unit"),
        ("rate(five minutes)", "'rate(five minutes)' is no rate: write a number, a blank and a unit"),
        ("rate(1.5 hours)", "'rate(1.5 hours)' is no rate: write a number, a blank and a unit"),
        ("rate(0 minutes)", "'rate(0 minutes)': a rate must be 1 or more"),
        ("rate(1 minutes)", "'rate(1 minutes)': AWS wants 'minute' after 1"),
        ("rate(5 minute)", "'rate(5 minute)': AWS wants 'minutes' after 5"),
        ("rate(5 seconds)", "'rate(5 seconds)': 'seconds' is no unit of a rate"),
        ("rate(9999999999 days)", "'rate(9999999999 days)': 9999999999 days is longer than time can be counted"),
        ("at(2026-11-22)", "'at(2026-11-22)' is no single time"),
        ("at(2026-11-22T10:00:00Z)", "'at(2026-11-22T10:00:00Z)' is no single time"),
        ("at(2026-02-30T10:00:00)", "'at(2026-02-30T10:00:00)' is no time that exists: day is out of range for month"),
        ("cron(0 10 * * ?)", "'cron(0 10 * * ?)' has 5 fields; AWS has 6"),
        ("cron()", "'cron()' has 0 fields; AWS has 6"),
        (
            "cron(0 10 * * * *)",
            "'cron(0 10 * * * *)': one of day-of-month '*' and day-of-week '*' must be '?', and only one",
        ),
        (
            "cron(0 10 ? * ? *)",
            "'cron(0 10 ? * ? *)': one of day-of-month '?' and day-of-week '?' must be '?', and only one",
        ),
        ("cron(60 10 * * ? *)", "'cron(60 10 * * ? *)': minutes '60': '60' is not in 0-59"),
        ("cron(? 10 * * ? *)", "'cron(? 10 * * ? *)': minutes '?': '?' is not in 0-59"),
        ("cron(0 24 * * ? *)", "'cron(0 24 * * ? *)': hours '24': '24' is not in 0-23"),
        (
            "cron(0 22-2 * * ? *)",
            (
                "'cron(0 22-2 * * ? *)': hours '22-2': "
                "the range '22-2' runs backwards; write it as two, with a comma between"
            ),
        ),
        ("cron(0 0 32 * ? *)", "'cron(0 0 32 * ? *)': day-of-month '32': '32' is not in 1-31"),
        ("cron(0 0 0 * ? *)", "'cron(0 0 0 * ? *)': day-of-month '0': '0' is not in 1-31"),
        ("cron(0 0 W * ? *)", "'cron(0 0 W * ? *)': day-of-month 'W': '' is not in 1-31"),
        ("cron(0 0 6L * ? *)", "'cron(0 0 6L * ? *)': day-of-month '6L': '6L' is not in 1-31"),
        ("cron(0 0 1 13 ? *)", "'cron(0 0 1 13 ? *)': month '13': '13' is not in 1-12 or JAN-DEC"),
        ("cron(0 0 1 MAI ? *)", "'cron(0 0 1 MAI ? *)': month 'MAI': 'MAI' is not in 1-12 or JAN-DEC"),
        ("cron(0 0 ? * 0 *)", "'cron(0 0 ? * 0 *)': day-of-week '0': '0' is not in 1-7 or SUN-SAT"),
        ("cron(0 0 ? * 8L *)", "'cron(0 0 ? * 8L *)': day-of-week '8L': '8' is not in 1-7 or SUN-SAT"),
        ("cron(0 0 ? * 3#6 *)", "'cron(0 0 ? * 3#6 *)': day-of-week '3#6': '3#6': the number after '#' is not in 1-5"),
        ("cron(0 0 ? * 3#1,6#3 *)", "'cron(0 0 ? * 3#1,6#3 *)': day-of-week '3#1,6#3': AWS allows no list with '#'"),
        ("cron(0/0 0 * * ? *)", "'cron(0/0 0 * * ? *)': minutes '0/0': the step '0' is not in 1-60"),
        ("cron(0/x 0 * * ? *)", "'cron(0/x 0 * * ? *)': minutes '0/x': the step 'x' is not in 1-60"),
        ("cron(0/ 0 * * ? *)", "'cron(0/ 0 * * ? *)': minutes '0/': the step '' is not in 1-60"),
        ("cron(1,,2 0 * * ? *)", "'cron(1,,2 0 * * ? *)': minutes '1,,2': '' is not in 0-59"),
        ("cron(0 0 1 1 ? 1969)", "'cron(0 0 1 1 ? 1969)': year '1969': '1969' is not in 1970-2199"),
        ("cron(0 0 31 2 ? *)", "'cron(0 0 31 2 ? *)' names no day that exists"),
        ("cron(٣ 0 1 1 ? *)", "'cron(٣ 0 1 1 ? *)': minutes '٣': '٣' is not in 0-59"),
    ],
)
def test_errors_name_the_part_that_is_wrong(expression: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(expression)
    assert str(error.value) == message


def test_a_time_zone_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match=r"there is no time zone 'Europe/Berlyn'; did you mean 'Europe/Berlin'\?"):
        parse("rate(1 day)", "Europe/Berlyn")
    for bad in ("", "Europe", "../etc/passwd", "\0"):
        with pytest.raises(ConfigError, match="there is no time zone"):
            parse("rate(1 day)", bad)


def test_a_rate_beyond_the_calendar_never_comes() -> None:
    assert parse("rate(999999999 days)").after(utc("2026-11-22 10:00")) is None


def test_a_single_time_that_the_clocks_skip() -> None:
    with pytest.raises(ConfigError, match="that local time does not exist in Europe/Berlin: the clocks skip it"):
        parse("at(2026-03-29T02:30:00)", "Europe/Berlin")


NUMBERS = st.sets(st.integers(0, 59), min_size=1, max_size=4)
WEEKDAYS = st.sets(st.integers(1, 7), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(NUMBERS, st.sets(st.integers(0, 23), min_size=1, max_size=3), WEEKDAYS, st.integers(0, 400 * 1440))
def test_agrees_with_looking_at_every_minute(minutes: set[int], hours: set[int], days: set[int], start: int) -> None:
    def join(numbers: set[int]) -> str:
        return ",".join(map(str, numbers))

    moment = utc("2026-01-01 00:00") + timedelta(minutes=start)
    found = parse(f"cron({join(minutes)} {join(hours)} ? * {join(days)} *)").after(moment)
    while True:
        moment += timedelta(minutes=1)
        weekday = moment.isoweekday() % 7 + 1
        if moment.minute in minutes and moment.hour in hours and weekday in days:
            break
    assert found == moment


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 366 * 1440), st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]))
def test_times_only_go_forward_in_every_zone(start: int, zone: str) -> None:
    table, moment = parse("cron(7/20 * * * ? *)", zone), utc("2026-01-01 00:00") + timedelta(minutes=start)
    for _ in range(8):
        following = table.after(moment)
        assert following is not None
        assert moment < following <= moment + timedelta(minutes=80)
        moment = following


def test_between_gives_the_latest_times_oldest_first() -> None:
    table = parse("cron(0 10 * * ? *)")
    since, until = utc("2026-11-01 10:00"), utc("2026-11-22 10:00")
    assert [t.day for t in between(table, since, until, 3)] == [20, 21, 22]
    assert [t.day for t in between(table, since, until, 100)] == list(range(2, 23))
    assert between(table, until, until, 5) == []
    assert between(table, until, since, 5) == []


def test_between_counts_a_rate_from_the_start() -> None:
    table = parse("rate(7 minutes)")
    since, until = utc("2026-11-01 10:03"), utc("2026-11-01 10:24")
    assert [t.minute for t in between(table, since, until, 5)] == [10, 17, 24]
    assert [t.minute for t in between(table, since, until, 2)] == [17, 24]
    assert between(table, until, since, 5) == []


@pytest.mark.parametrize("expression", ["rate(1 minute)", "cron(* * * * ? *)", "cron(0 0 1 1 ? *)"])
def test_between_does_not_walk_through_fifty_years(expression: str) -> None:
    started = time.perf_counter()
    times = between(parse(expression), utc("1970-01-01 00:00"), utc("2026-11-22 10:00"), 2)
    assert time.perf_counter() - started < 1
    assert len(times) == 2
    assert times[1] > times[0] > utc("2024-12-31 00:00")


def test_single_time_between() -> None:
    table = parse("at(2026-11-22T10:00:00)")
    assert between(table, utc("1970-01-01 00:00"), utc("2026-11-23 10:00"), 100) == [utc("2026-11-22 10:00")]
