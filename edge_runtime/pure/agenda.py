"""Which times of a schedule are to be fired now, over restarts and whatever the wall clock does.

A device without a clock of its own starts in the past and jumps forward when the network comes; a wrong battery
clock is set back. The rules:

- A time that passed unfired, by a jump or while the host was down, is missed; the misfire policy says what happens.
  A time is not yet missed in its first minute, the precision of EventBridge Scheduler.
- No time is fired twice: when the clock goes back, the times that were fired are left out until it has passed them.
- But a clock that goes back by more than three hours was wrong before, as in Vixie cron: then all begins anew at the
  new time, and only a later jump over the times fired before leaves them out again.
- A rate counts steady time: a step of the clock moves it along and makes nothing missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from edge_runtime.pure.cron import Timetable, between

MOST_MISSED = 100
"""The policy `all` makes up for so many times at most, the latest."""
_ON_TIME = timedelta(minutes=1)
_CORRECTION = timedelta(hours=3)


class Due(NamedTuple):
    """What is due: fire `times`, then call `done(upto)`."""

    times: list[datetime]
    upto: datetime
    missed: int
    """How many further times were passed over (counted up to MOST_MISSED)."""


class Agenda:
    """The state of one schedule. `memo` is the last time dealt with, from an earlier run, or None at the very first.

    `misfire` is `skip` (missed times are dropped), `once` (the latest stands for all) or `all`. All times are aware.
    """

    def __init__(self, table: Timetable, misfire: str, *, now: datetime, memo: datetime | None = None) -> None:
        self._table = table
        self._misfire = misfire
        self._since = now if memo is None else memo  # times up to here are dealt with
        self._fired = memo
        self.memo = self._since
        """The latest time ever dealt with: keep it over a restart."""
        self._settle(now)

    def shift(self, step: timedelta) -> None:
        """Note that the wall clock stepped against steady time, forward when `step` is positive."""
        if self._table.steady:
            self._since += step
            self.memo = self._since

    def next(self, now: datetime) -> datetime | None:
        """Return when to call `due` if the clock does not step; None: never again."""
        self._settle(now)
        return self._table.after(self._since)

    def due(self, now: datetime) -> Due | None:
        """Return what is due at `now`, or None. Nothing changes until `done` is called."""
        self._settle(now)
        passed = between(self._table, self._since, now, MOST_MISSED)
        if not passed:
            return None
        times = passed if self._misfire == "all" else passed[-1:]
        if self._misfire == "skip" and now - passed[-1] >= _ON_TIME:
            times = []
        return Due(times, passed[-1], len(passed) - len(times))

    def memo_after(self, upto: datetime) -> datetime:
        """Return what `memo` will be after `done(upto)`, to be kept in the transaction of what is fired."""
        return upto if self._table.steady else max(self.memo, upto)

    def done(self, upto: datetime) -> None:
        """Note that all times up to this one are dealt with, for good."""
        self._since = self._fired = upto
        self.memo = self.memo_after(upto)

    def _settle(self, now: datetime) -> None:
        if self._since > now:
            repeat = self._fired is not None and not self._table.steady and now < self._fired <= now + _CORRECTION
            self._since = self._fired if repeat and self._fired is not None else now
        elif self._since < self.memo <= now:
            self._since = self.memo
