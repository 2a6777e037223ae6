"""Times: the schedules of an app, on `schedule/<name>`, in the shape of EventBridge's scheduled events.

Which times are fired after a jump of the clock or a restart: see `edge_runtime.pure.agenda`.

One timer serves all schedules. It sleeps by steady time until the earliest is due, but never longer than a minute,
and then compares the wall clock with what steady time says it should be: so a clock that was set is noticed within a
minute, which is as precise as schedules are, at the price of one wake-up a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from edge_runtime.app import Schedule
from edge_runtime.clock import Clock, new_id
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Emit, Event, Stamp
from edge_runtime.pure.agenda import Agenda, Due
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.cron import parse
from edge_runtime.pure.events.schedule import scheduled_event

_LONGEST_SLEEP_S = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


class _Entry:
    """One schedule at work."""

    def __init__(self, schedule: Schedule) -> None:
        self.name = f"schedule/{schedule.name}"
        self._schedule = schedule
        self._table = parse(schedule.expression, schedule.timezone)
        self._agenda: Agenda  # made by `start`
        self._backoff = Backoff(1.0, _LONGEST_SLEEP_S)
        self._not_before_ns = 0

    async def start(self, now: datetime, recall: Callable[[str], Awaitable[str | None]], emit: Emit) -> None:
        """Take up where an earlier run ended."""
        text = await recall(self.name)
        memo = None if text is None else _moment(text)
        if text is not None and memo is None:
            _log.warning(
                "%s: what was kept of the last run, %r, is no time; missed times are not known", self.name, text
            )
        self._agenda = Agenda(self._table, self._schedule.misfire, now=now, memo=memo)
        if memo is None:
            # Kept from the first moment on: a schedule that has never fired can miss its time as well.
            try:
                await emit(memo={self.name: self._agenda.memo.isoformat()})
            except (QueueFullError, StoreError) as error:
                _log.warning("%s: its start could not be kept: %s", self.name, error)

    def shift(self, step: timedelta) -> None:
        """Note a step of the wall clock."""
        self._agenda.shift(step)

    async def fire(self, now: Stamp, clock: Clock, emit: Emit) -> None:
        """Emit what is due by now. What the store refuses stays due, and is tried again by the back-off."""
        if now.mono_ns < self._not_before_ns:
            return
        due = self._agenda.due(_wall(now.wall_ns))
        if due is None:
            return
        if due.missed:
            _log.warning(
                "%s: %d or more missed times are left out (misfire: %s)", self.name, due.missed, self._schedule.misfire
            )
        try:
            await self._emit(clock, emit, due)
        except (QueueFullError, StoreError) as error:
            wait_s = self._backoff.next()
            self._not_before_ns = clock.now().mono_ns + round(wait_s * 1e9)
            _log.warning("%s: %s was refused, next try in %.1f s: %s", self.name, due.upto.isoformat(), wait_s, error)
            return
        self._backoff.reset()
        self._agenda.done(due.upto)

    def sleep_s(self, clock: Clock) -> float:
        """Return how long there is nothing to do, as far as the wall clock can tell."""
        now = clock.now()
        if now.mono_ns < self._not_before_ns:
            return (self._not_before_ns - now.mono_ns) / 1e9
        wall = _wall(now.wall_ns)
        following = self._agenda.next(wall)
        return _LONGEST_SLEEP_S if following is None else (following - wall).total_seconds()

    async def _emit(self, clock: Clock, emit: Emit, due: Due) -> None:
        if not due.times:
            return
        events = []
        for when in due.times:
            now = clock.now()
            identity = new_id(now)
            events.append(
                Event(self.name, scheduled_event(self._schedule.name, when, identity), self.name, now, identity)
            )
        await emit(*events, memo={self.name: self._agenda.memo_after(due.upto).isoformat()})


class ScheduleTrigger:
    """Fires the schedules of an app; the event's payload carries the time that the schedule names.

    `recall` gives back what was kept by `memo` under `schedule/<name>`: up to which time the schedule has been dealt
    with. It is kept in the transaction of the events, so that no crash fires a time twice or loses it. A time that
    the store refuses is tried again until it is accepted or missed.

    Raises: ConfigError when an expression or a time zone is wrong.
    """

    def __init__(
        self,
        schedules: Sequence[Schedule],
        thing: str,  # noqa: ARG002 - EventBridge's shape has no place for it; all triggers are made alike
        clock: Clock,
        recall: Callable[[str], Awaitable[str | None]],
    ) -> None:
        self._clock = clock
        self._recall = recall
        self._entries = [_Entry(schedule) for schedule in schedules]

    async def run(self, emit: Emit) -> None:
        """Fire what is due, for ever."""
        now = self._clock.now()
        ahead_ns = now.wall_ns - now.mono_ns
        for entry in self._entries:
            await entry.start(_wall(now.wall_ns), self._recall, emit)
        while True:
            now = self._clock.now()
            step_ns, ahead_ns = now.wall_ns - now.mono_ns - ahead_ns, now.wall_ns - now.mono_ns
            for entry in self._entries:
                entry.shift(timedelta(microseconds=step_ns / 1000))
                await entry.fire(now, self._clock, emit)
            times = (entry.sleep_s(self._clock) for entry in self._entries)
            await self._clock.sleep(min(_LONGEST_SLEEP_S, max(0.0, min(times, default=_LONGEST_SLEEP_S))))


def _wall(wall_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=wall_ns // 1000)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
