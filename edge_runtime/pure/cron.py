"""AWS schedule expressions: `rate(5 minutes)`, `cron(0 10 ? * MON-FRI *)`, `at(2026-11-20T13:00:00)`.

Written after the Amazon EventBridge user guide ("Cron expressions reference", "Rate expressions reference") and the
EventBridge Scheduler user guide ("Schedule types"). What surprises people who know Unix cron:

- six fields: minutes, hours, day-of-month, month, day-of-week, year;
- weekdays are 1-7 for SUN-SAT;
- one of day-of-month and day-of-week must be `?`;
- daylight saving time: a local time that is skipped in spring does not run; one that comes twice in autumn runs the
  first time only. That also silences `cron(*/5 * * * ? *)` in the repeated hour; a rate is not touched.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import takewhile
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from edge_runtime.errors import ConfigError
from edge_runtime.pure import _fields

_HELP = "write rate(5 minutes), cron(minutes hours day-of-month month day-of-week year) or at(yyyy-mm-ddThh:mm:ss)"
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


class Timetable(Protocol):
    """The times of a schedule. All times that come out are in UTC, so that they compare and subtract rightly."""

    @property
    def steady(self) -> bool:
        """True when the times are counted from the last one, so that a step of the clock shifts them along."""

    def after(self, wall: datetime) -> datetime | None:
        """Return the first time later than `wall` (which must be aware), or None when there is none."""


class Rate:
    """A fixed interval. A day is 24 hours, whatever daylight saving time does."""

    steady = True

    def __init__(self, period: timedelta) -> None:
        self.period = period

    def after(self, wall: datetime) -> datetime | None:
        """Return the time one period after `wall`, or None beyond the year 9999."""
        try:
            return wall.astimezone(UTC) + self.period
        except OverflowError:
            return None


class At:
    """One time only."""

    steady = False

    def __init__(self, moment: datetime) -> None:
        self.moment = moment.astimezone(UTC)

    def after(self, wall: datetime) -> datetime | None:
        """Return the one time, or None when it has passed."""
        return self.moment if self.moment > wall else None


class Cron:
    """Times by calendar and wall clock of a time zone."""

    steady = False

    def __init__(self, fields: _fields.Fields, zone: ZoneInfo) -> None:
        self._fields = fields
        self._zone = zone

    def after(self, wall: datetime) -> datetime | None:
        """Return the next time, or None when the years named are over."""
        local = wall.astimezone(self._zone).replace(tzinfo=None)
        for naive in self._fields.times(local.replace(second=0, microsecond=0)):
            # In the repeated hour the first passing may be before `wall`, though its clock face is after.
            moment = _instant(naive, self._zone)
            if moment is not None and moment > wall:
                return moment
        return None


def parse(expression: str, timezone: str = "UTC") -> Timetable:
    """Return the timetable of an AWS schedule expression. `timezone` is an IANA name such as `Europe/Berlin`.

    Raises: ConfigError that names the part that is wrong.
    """
    zone = _zone(timezone)
    found = re.fullmatch(r"\s*(rate|cron|at)\((.*)\)\s*", expression)
    if not found:
        raise ConfigError(f"{expression!r} is no schedule expression", hint=_HELP)
    kind, inside = found.groups()
    if kind == "rate":
        return Rate(_period(expression, inside))
    if kind == "at":
        return At(_moment(expression, inside, zone))
    return Cron(_fields.parse(expression, inside), zone)


def between(table: Timetable, since: datetime, until: datetime, most: int) -> list[datetime]:
    """Return the latest times of `table` that are later than `since` and not later than `until`, oldest first.

    Never more than `most`, and found from the end, so that years between the two cost no more than minutes.
    """
    if isinstance(table, Rate):  # its times hang on `since`: they are counted, not walked through
        count = max(0, (until - since) // table.period)
        return [since.astimezone(UTC) + table.period * n for n in range(max(0, count - most) + 1, count + 1)]
    look = timedelta(minutes=1)
    while True:
        start = max(since, until - look)
        times = list(deque(_run(table, start, until), maxlen=most))
        if len(times) >= most or start == since:
            return times
        look *= 8


def _run(table: Timetable, since: datetime, until: datetime) -> Iterator[datetime]:
    def times() -> Iterator[datetime]:
        moment = table.after(since)
        while moment is not None:
            yield moment
            moment = table.after(moment)

    return takewhile(lambda moment: moment <= until, times())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name of a folder, such as "Europe", is an OSError
        close = get_close_matches(name, available_timezones(), n=1)
        raise ConfigError(
            f"there is no time zone {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""),
            hint="use an IANA name such as Europe/Berlin; install tzdata if the machine has no time zones at all",
        ) from None


def _instant(naive: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first moment with this clock face, or None when the clocks skip it."""
    moment = naive.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == naive else None


def _period(expression: str, inside: str) -> timedelta:
    found = re.fullmatch(r"\s*([0-9]+)\s+([a-z]+)\s*", inside)
    if not found:
        raise ConfigError(
            f"{expression!r} is no rate: write a number, a blank and a unit", hint="as in rate(5 minutes)"
        )
    count, unit = int(found[1]), found[2]
    single = unit.removesuffix("s")
    if single not in _UNITS:
        raise ConfigError(f"{expression!r}: {unit!r} is no unit of a rate", hint="use minutes, hours or days")
    if count == 0:
        raise ConfigError(f"{expression!r}: a rate must be 1 or more")
    # AWS refuses `1 minutes` and `5 minute` in rules; what is accepted here must be accepted there.
    right = single if count == 1 else f"{single}s"
    if unit != right:
        raise ConfigError(f"{expression!r}: AWS wants {right!r} after {count}", hint=f"write rate({count} {right})")
    try:
        return _UNITS[single] * count
    except OverflowError:
        raise ConfigError(f"{expression!r}: {count} {unit} is longer than time can be counted") from None


def _moment(expression: str, inside: str, zone: ZoneInfo) -> datetime:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", inside, re.ASCII):
        raise ConfigError(f"{expression!r} is no single time", hint="write at(yyyy-mm-ddThh:mm:ss), without a zone")
    try:
        moment = _instant(datetime.fromisoformat(inside), zone)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{expression!r} is no time that exists: {error}") from None
    if moment is None:
        raise ConfigError(f"{expression!r}: that local time does not exist in {zone.key}: the clocks skip it")
    return moment
