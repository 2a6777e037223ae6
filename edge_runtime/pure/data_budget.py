"""How many bytes may go through a metered link, over calendar periods, nights and clocks that are wrong.

The rules:

- A period is a day or a month of the calendar where the device is. What was used of it is remembered, over restarts.
- Messages of an urgent priority always go, and count. The others go until the budget is used up, and then wait for the
  next period or for the night. The last one may go over the budget: it is decided before a publish, not within.
- At night traffic is free: everything goes, and nothing is counted. Priorities from `later` on go at night only.
- While the wall clock is not known to be right there is neither calendar nor night. What is sent then counts to the
  period that was the last, until it has lasted its length in running time; then that begins anew. When the clock is
  right again, what was counted meanwhile counts to the period that it says.
- A clock that goes back finds what it had counted before; in a period that was never seen it goes on counting with
  what the next later one has used. So no clock, however it jumps, gives the same period twice.

Source of the sizes on the wire: MQTT 5.0, sections 2.1 and 3.3; RFC 8446, section 5.2; TCP over IPv4 with timestamps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from edge_runtime.app import Budget

ALL = 9
"""The least urgent priority there is: when it may go, all may."""
_LENGTH_S = {"day": 86_400.0, "month": 30 * 86_400.0}
_KEPT = 8
"""Periods that are remembered, the latest: a clock may go back and forward again."""

_SEGMENT = 1_400
_TCP_IP = 52
_TLS_RECORD = 29
_TLS_MOST = 16_384
_PUBACK = 6
CONNECT_BYTES = 8_000
"""A TLS handshake with certificates on both sides, CONNECT, SUBSCRIBE, and their answers."""
PING_BYTES = 2 * (2 + _TLS_RECORD + _TCP_IP) + _TCP_IP
"""A keep-alive: PINGREQ, PINGRESP, and what acknowledges them."""


def publish_bytes(topic: str, payload: int, properties: Mapping[str, str]) -> int:
    """Return about how many bytes a QoS 1 publish of `payload` bytes and its acknowledgement take on the wire.

    By itself: publishes that leave together share segments, and take less. What is lost and repeated takes more.
    """
    named = sum(5 + len(key.encode()) + len(value.encode()) for key, value in properties.items())
    packet = 5 + 2 + len(topic.encode()) + 2 + 3 + named + payload
    sealed = packet + _TLS_RECORD * -(-packet // _TLS_MOST)
    segments = -(-sealed // _SEGMENT)
    answers = 1 + (segments - 1) // 2
    return sealed + segments * _TCP_IP + _PUBACK + _TLS_RECORD + answers * _TCP_IP + _TCP_IP


class Moment(NamedTuple):
    """A time to decide by."""

    run_s: float
    """Running time, which goes on over restarts and never back."""
    wall_s: float | None
    """Seconds since the epoch; None while the wall clock is not known to be right."""


class Standing(NamedTuple):
    """How the budget does at a moment."""

    limit: int
    used: int
    least: int
    """The least urgent priority that may go now."""
    until_s: float | None
    """When that may change for the better, in seconds since the epoch; None when all may go, or nobody knows."""
    night: bool


class DataBudget:
    """What was used, and who may go. Not for several threads."""

    def __init__(self, spec: Budget, memo: str | None = None) -> None:
        """`memo` is what `memo()` returned in an earlier run. Raises: ValueError when it is not."""
        self._spec = spec
        self._zone = ZoneInfo(spec.timezone)
        self._periods: dict[str, int] = {}
        """Used bytes by the first day of the period. Key "": counted while the clock was not known to be right."""
        self._current = ""
        self._began_s: float | None = None
        """The running time at which the current count began."""
        if memo is not None:
            self._restore(memo)

    def charge(self, size: int, now: Moment) -> None:
        """Count bytes that go now."""
        self._roll(now)
        if not self._is_night(now):
            key = self._current if now.wall_s is not None else ""
            self._periods[key] = self._periods.get(key, 0) + size

    def least(self, now: Moment) -> int:
        """Return the least urgent priority that may go now."""
        self._roll(now)
        return self._least(night=self._is_night(now), synced=now.wall_s is not None)

    def standing(self, now: Moment) -> Standing:
        """Return how it stands."""
        self._roll(now)
        night = self._is_night(now)
        least = self._least(night=night, synced=now.wall_s is not None)
        until_s = None
        if least < ALL and now.wall_s is not None:
            ends = [start for start, _ in self._nights(now.wall_s) if start > now.wall_s]
            if self._used >= self._spec.limit_bytes:
                ends.append(self._period_end(now.wall_s))
            until_s = min(ends, default=None)
        return Standing(self._spec.limit_bytes, self._used, least, until_s, night)

    def boundary(self, now: Moment) -> float | None:
        """Return when a night or a period begins or ends next, in seconds since the epoch; None while nobody knows."""
        if now.wall_s is None:
            return None
        edges = [edge for night in self._nights(now.wall_s) for edge in night]
        return min(edge for edge in (*edges, self._period_end(now.wall_s)) if edge > now.wall_s)

    def memo(self) -> str:
        """Return what is to be kept over a restart."""
        return json.dumps({"periods": self._periods, "current": self._current, "began_s": self._began_s})

    # -- counting ------------------------------------------------------------------------------------------------

    @property
    def _used(self) -> int:
        return sum(self._periods.get(key, 0) for key in {self._current, ""})

    def _least(self, *, night: bool, synced: bool) -> int:
        if night:
            return ALL
        if self._used >= self._spec.limit_bytes:
            return self._spec.urgent
        return self._spec.later - 1 if self._spec.night and synced else ALL

    def _roll(self, now: Moment) -> None:
        """Begin a new period when it is time."""
        if self._began_s is None or now.run_s < self._began_s:  # a new store: its running time begins anew
            self._began_s = now.run_s
        if now.wall_s is None:
            if now.run_s - self._began_s >= _LENGTH_S[self._spec.per]:
                self._current, self._began_s = "", now.run_s
                self._periods[""] = 0
            return
        key = self._period(now.wall_s).isoformat()
        if key != self._current:
            if key not in self._periods:
                later = min((known for known in self._periods if known > key), default="")
                self._periods[key] = self._periods[later] if later else 0
            self._current, self._began_s = key, now.run_s
            self._forget()
        self._periods[key] += self._periods.pop("", 0)

    def _forget(self) -> None:
        old = sorted(key for key in self._periods if key not in {"", self._current})
        for key in old[: max(0, len(old) - _KEPT + 1)]:
            del self._periods[key]

    def _restore(self, memo: str) -> None:
        try:
            data = json.loads(memo)
            periods = {str(key): int(used) for key, used in data["periods"].items()}
            current, began_s = str(data["current"]), data["began_s"]
            self._began_s = None if began_s is None else float(began_s)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{memo[:80]!r} is no memo of a data budget: {error!r}") from None
        for key in periods:
            if key:
                date.fromisoformat(key)
        self._periods, self._current = periods, current

    # -- the calendar --------------------------------------------------------------------------------------------

    def _period(self, wall_s: float) -> date:
        """Return the first day of the period that a time lies in."""
        today = datetime.fromtimestamp(wall_s, self._zone).date()
        if self._spec.per == "day":
            return today
        first = today.replace(day=self._spec.month_begins)
        return first if first <= today else (first.replace(day=1) - timedelta(days=1)).replace(day=first.day)

    def _period_end(self, wall_s: float) -> float:
        begins = self._period(wall_s)
        if self._spec.per == "day":
            ends = begins + timedelta(days=1)
        else:
            ends = (begins.replace(day=1) + timedelta(days=31)).replace(day=self._spec.month_begins)
        return min(self._instants(ends, 0))

    def _is_night(self, now: Moment) -> bool:
        return now.wall_s is not None and any(start <= now.wall_s < end for start, end in self._nights(now.wall_s))

    def _nights(self, wall_s: float) -> list[tuple[float, float]]:
        """Return the nights around a time. Where the clocks change, never more of a night than there surely is."""
        if self._spec.night is None:
            return []
        begins, ends = self._spec.night
        today = datetime.fromtimestamp(wall_s, self._zone).date()
        found = []
        for day in (today + timedelta(days=n) for n in (-1, 0, 1)):
            morning = day + timedelta(days=1) if ends <= begins else day
            found.append((max(self._instants(day, begins)), min(self._instants(morning, ends))))
        return [(start, end) for start, end in found if start < end]

    def _instants(self, day: date, minute: int) -> list[float]:
        """Return when a local time is: twice when the clocks go back, and about an hour apart when there is none."""
        local = datetime.combine(day, time(minute // 60, minute % 60), self._zone)
        return [local.replace(fold=fold).astimezone(UTC).timestamp() for fold in (0, 1)]
