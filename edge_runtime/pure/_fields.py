"""The six fields of an AWS cron expression, and the calendar times they name."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar

from edge_runtime.errors import ConfigError

T = TypeVar("T")

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LAST_YEAR = 2199
_SATURDAY = 7
_MOST_OF_A_WEEKDAY = 5  # no weekday comes more often in a month


class _Span(NamedTuple):
    """What a field may hold."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """Return the value of a number or a name.

        Raises: ValueError, which says what is allowed.
        """
        if text.upper() in self.words:
            return self.words.index(text.upper()) + self.low
        # isdecimal is true for digits of other scripts too.
        if text.isascii() and text.isdecimal() and self.low <= int(text) <= self.high:
            return int(text)
        allowed = f"{self.low}-{self.high}" + (f" or {self.words[0]}-{self.words[-1]}" if self.words else "")
        raise ValueError(f"{text!r} is not in {allowed}")

    def values(self, text: str) -> set[int]:
        """Return the values of `*`, `7`, `1-5`, `*/10`, `5/10` or `1-30/10`.

        Raises: ValueError, which says what is wrong.
        """
        base, slash, step_text = text.partition("/")
        if base == "*":
            first, last = self.low, self.high
        elif "-" in base:
            left, _, right = base.partition("-")
            first, last = self.number(left), self.number(right)
            if first > last:
                raise ValueError(f"the range {base!r} runs backwards; write it as two, with a comma between")
        else:
            first = self.number(base)
            last = self.high if slash else first
        if not slash:
            return set(range(first, last + 1))
        most = self.high - self.low + 1
        if not (step_text.isascii() and step_text.isdecimal() and 1 <= int(step_text) <= most):
            raise ValueError(f"the step {step_text!r} is not in 1-{most}")
        return set(range(first, last + 1, int(step_text)))

    def all_values(self, field: str) -> tuple[int, ...]:
        """Return the sorted values of a whole field, a list with commas."""
        return tuple(sorted(set().union(*(self.values(part) for part in field.split(",")))))


_MINUTES = _Span("minutes", 0, 59)
_HOURS = _Span("hours", 0, 23)
_DAYS = _Span("day-of-month", 1, 31)
_MONTH = _Span("month", 1, 12, _MONTHS)
_WEEKDAY = _Span("day-of-week", 1, 7, _WEEKDAYS)
_YEARS = _Span("year", 1970, _LAST_YEAR)
_ORDER = (_MINUTES, _HOURS, _DAYS, _MONTH, _WEEKDAY, _YEARS)

_Pick = Callable[[int, int], Iterable[int]]
"""From a year and a month to days of that month. Days past its end are dropped by the caller."""


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _weekday(year: int, month: int, day: int) -> int:
    """Return 1-7 for SUN-SAT, as AWS counts."""
    return (calendar.weekday(year, month, day) + 1) % 7 + 1


def _nearest_working_day(year: int, month: int, day: int) -> list[int]:
    """Return the working day nearest to `day` in the same month; a month that is too short has none."""
    length = _length(year, month)
    if day > length:
        return []
    weekday = _weekday(year, month, day)
    if weekday == _SATURDAY:
        return [day - 1 if day > 1 else day + 2]
    if weekday == 1:
        return [day + 1 if day < length else day - 2]
    return [day]


def _by_date(part: str) -> _Pick:
    """Return the days that one part of the day-of-month field picks."""
    if part.upper() == "L":
        return lambda year, month: [_length(year, month)]
    if part.upper() == "LW":
        return lambda year, month: _nearest_working_day(year, month, _length(year, month))
    if part[-1:].upper() == "W":
        near = _DAYS.number(part[:-1])
        return lambda year, month: _nearest_working_day(year, month, near)
    days = _DAYS.values(part)
    return lambda _year, _month: days


def _by_weekday(part: str) -> _Pick:
    """Return the days that one part of the day-of-week field picks."""
    wanted = {_SATURDAY}  # a lone L is the last day of the week
    nth = 0
    if found := re.fullmatch(r"(.+)#(.*)", part):
        wanted = {_WEEKDAY.number(found[1])}
        if found[2] not in {str(n) for n in range(1, _MOST_OF_A_WEEKDAY + 1)}:
            raise ValueError(f"{part!r}: the number after '#' is not in 1-{_MOST_OF_A_WEEKDAY}")
        nth = int(found[2])
    elif len(part) > 1 and part[-1].upper() == "L":
        wanted = {_WEEKDAY.number(part[:-1])}
        nth = -1
    elif part.upper() != "L":
        wanted = _WEEKDAY.values(part)

    def pick(year: int, month: int) -> list[int]:
        days = [d for d in range(1, _length(year, month) + 1) if _weekday(year, month, d) in wanted]
        if not nth:
            return days
        return days[-1:] if nth < 0 else days[nth - 1 : nth]

    return pick


@dataclass(frozen=True, slots=True)
class Fields:
    """A checked cron expression."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[_Pick, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]

    def times(self, start: datetime) -> Iterator[datetime]:
        """Yield the clock faces from `start` (naive) on, in order."""
        first = (start.year, start.month, start.day)
        for year, month, day in self._dates(start.year, start.month):
            if (year, month, day) < first:
                continue
            today = (year, month, day) == first
            for hour in self.hours:
                if today and hour < start.hour:
                    continue
                for minute in self.minutes:
                    moment = datetime(year, month, day, hour, minute)  # noqa: DTZ001 - a clock face has no zone
                    if moment >= start:
                        yield moment

    def _dates(self, year: int, month: int) -> Iterator[tuple[int, int, int]]:
        for y in self.years:
            for m in self.months:
                if (y, m) >= (year, month):
                    last = _length(y, m)
                    picked = set().union(*(pick(y, m) for pick in self.days))
                    yield from ((y, m, d) for d in sorted(picked) if d <= last)


def parse(expression: str, inside: str) -> Fields:
    """Return the fields of the text between the parentheses of `expression`.

    Raises: ConfigError that names the field that is wrong.
    """
    fields = inside.split()
    if len(fields) != len(_ORDER):
        raise ConfigError(
            f"{expression!r} has {len(fields)} fields; AWS has 6",
            hint="minutes hours day-of-month month day-of-week year, as in cron(0 10 * * ? *)",
        )
    by_date, by_weekday = fields[2], fields[4]
    if (by_date == "?") == (by_weekday == "?"):
        raise ConfigError(
            f"{expression!r}: one of day-of-month {by_date!r} and day-of-week {by_weekday!r} must be '?', and only one",
            hint="put ? where any day will do, as in cron(0 10 * * ? *)",
        )
    if "#" in by_weekday and "," in by_weekday:
        raise ConfigError(f"{expression!r}: day-of-week {by_weekday!r}: AWS allows no list with '#'")
    checked = Fields(
        minutes=_read(expression, _MINUTES, fields[0], _MINUTES.all_values),
        hours=_read(expression, _HOURS, fields[1], _HOURS.all_values),
        days=_read(expression, _WEEKDAY, by_weekday, lambda field: tuple(map(_by_weekday, field.split(","))))
        if by_date == "?"
        else _read(expression, _DAYS, by_date, lambda field: tuple(map(_by_date, field.split(",")))),
        months=_read(expression, _MONTH, fields[3], _MONTH.all_values),
        years=_read(expression, _YEARS, fields[5], _YEARS.all_values),
    )
    # A pure question of the calendar, asked once here and not at every run: 31 February.
    if next(checked.times(datetime(_YEARS.low, 1, 1)), None) is None:  # noqa: DTZ001 - a clock face has no zone
        raise ConfigError(f"{expression!r} names no day that exists")
    return checked


def _read(expression: str, span: _Span, field: str, reader: Callable[[str], T]) -> T:
    try:
        return reader(field)
    except ValueError as error:
        raise ConfigError(f"{expression!r}: {span.name} {field!r}: {error}") from None
