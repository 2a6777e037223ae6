"""How many messages a target is given, and how big they are: measured while a host runs, for whoever plans an outage.

Counts come from the ledgers: a look about once a minute, and the difference is what was accepted meanwhile. They are
kept by the minute for an hour and by the hour for two weeks, in running time, which no wall clock moves and which does
not pass while the power is off. A ledger that begins anew is no count: that interval is left out.

Sizes come from a few events of each minute. What is old weighs less and less.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

MINUTES, HOURS, SIZES = "rates/minutes", "rates/hours", "rates/sizes"
"""Under these the store remembers them."""
_MINUTE_S, _HOUR_S = 60, 3600
_MOST_MINUTES, _MOST_HOURS = 60, 14 * 24
MOST_TARGETS = 64
"""So many targets are looked at, the first ones there were."""
_LEAST_S = 30.0
"""A shorter look tells nothing."""
_WEIGHT = 2048.0
"""So many events of a target are remembered as they were; then all weigh half."""
LEVELS = 10
"""Priorities, 0 to 9."""


class Slot(NamedTuple):
    """What was accepted in one minute or hour of running time."""

    number: int
    """Running time over the length of a slot."""
    seconds: float
    """How much of it was looked at."""
    counts: tuple[int, ...]
    """By target, in the order of their names; those that came later are missing at the end."""

    def plus(self, seconds: float, counts: Sequence[int]) -> Slot:
        """Return the slot with more in it."""
        before = (*self.counts, *[0] * (len(counts) - len(self.counts)))
        return Slot(self.number, self.seconds + seconds, tuple(a + b for a, b in zip(before, counts, strict=True)))


class Rate(NamedTuple):
    """How many messages a second a target is given."""

    per_s: float
    over_s: float
    """So long was measured."""
    last_hour: float
    """A second, within the last hour of running time; `per_s` when nothing is known of that."""
    busiest: float
    """A second, in the busiest of all hours of which at least half was seen; `per_s` when there is none."""


class History:
    """Counts by the minute and by the hour."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._minutes: deque[Slot] = deque(maxlen=_MOST_MINUTES)
        self._hours: deque[Slot] = deque(maxlen=_MOST_HOURS)
        self._before: tuple[float, Mapping[str, int]] | None = None
        self._kept_hour = -1
        """The last hour that was closed when the hours were last kept."""

    def note(self, age_s: float, produced: Mapping[str, int]) -> None:
        """Take a look: at this running time, in seconds, so many messages were accepted by each target in all."""
        before, self._before = self._before, (age_s, dict(produced))
        if before is None:
            return
        seconds = age_s - before[0]
        if seconds < 0:  # another life of the store
            self._minutes.clear()
            self._hours.clear()
        if seconds <= 0 or any(produced.get(name, 0) < count for name, count in before[1].items()):
            return
        for name in produced:
            if name not in self._names and len(self._names) < MOST_TARGETS:
                self._names.append(name)
        known = before[1]
        counts = [max(0, produced.get(name, 0) - known.get(name, produced.get(name, 0))) for name in self._names]
        for slots, length in ((self._minutes, _MINUTE_S), (self._hours, _HOUR_S)):
            number = int(age_s // length)
            if not slots or slots[-1].number != number:
                slots.append(Slot(number, 0.0, ()))
            slots[-1] = slots[-1].plus(seconds, counts)

    def rate(self, target: str) -> Rate | None:
        """Return what was measured of a target; None when that is next to nothing."""
        if target not in self._names or not self._hours:
            return None
        place = self._names.index(target)
        hours = [slot for slot in self._hours if slot.number > self._hours[-1].number - _MOST_HOURS]
        per_s, over_s = _mean(hours, place)
        if over_s < _LEAST_S:
            return None
        recent = [slot for slot in self._minutes if slot.number > self._hours[-1].number * 60 - _MOST_MINUTES]
        last, seconds = _mean(recent, place)
        whole = [_mean([slot], place)[0] for slot in hours if slot.seconds >= _HOUR_S / 2]
        return Rate(per_s, over_s, last if seconds >= _LEAST_S else per_s, max(whole, default=per_s))

    @property
    def targets(self) -> Sequence[str]:
        """The targets that were looked at."""
        return tuple(self._names)

    def memo(self) -> dict[str, str]:
        """Return what is to be kept: the minutes with the hour that is not over, and other hours when one is new."""
        if not self._hours:
            return {}
        *closed, last = self._hours
        found = {MINUTES: _text(self._names, [*self._minutes, last])}
        if closed and closed[-1].number != self._kept_hour:
            self._kept_hour = closed[-1].number
            found[HOURS] = _text(self._names, closed)
        return found

    def lost(self) -> None:
        """Note that the last memo was not kept."""
        self._kept_hour = -1

    @classmethod
    def restore(cls, minutes: str | None, hours: str | None) -> History:
        """Return what was kept. Raises: ValueError when it is none of ours."""
        self = cls()
        if minutes is None:
            return self
        self._names, slots = _slots(minutes)
        if not slots:
            raise ValueError("no hour")
        *found, last = slots
        self._minutes.extend(found)
        if hours is not None:
            names, closed = _slots(hours)
            # They were kept earlier, and names are only ever added.
            if names != self._names[: len(names)]:
                raise ValueError("names of other targets")
            self._hours.extend(slot for slot in closed if slot.number < last.number)
            self._kept_hour = self._hours[-1].number if self._hours else -1
        self._hours.append(last)
        return self


@dataclass(slots=True)
class Sizes:
    """How big the messages of one target are. Sums over `count` messages, the older ones by less than they were."""

    count: float = 0.0
    disk: float = 0.0
    """Bytes in the queue, by its own books: what its limit counts."""
    payload: float = 0.0
    topic: float = 0.0
    priorities: list[float] = field(default_factory=lambda: [0.0] * LEVELS)
    topics: int = 0
    """Different ones among the events of one look, the greatest number there was."""
    gzip: float = 0.0
    """What packed messages were compressed to, as a part of what they were; 0: not known."""

    def add(self, disk: int, payload: int, topic: int, priority: int) -> None:
        """Take notice of a message."""
        if self.count >= _WEIGHT:
            self.count, self.disk, self.payload, self.topic = (
                part / 2 for part in (self.count, self.disk, self.payload, self.topic)
            )
            self.priorities = [part / 2 for part in self.priorities]
        self.count += 1
        self.disk += disk
        self.payload += payload
        self.topic += topic
        self.priorities[priority] += 1

    def packed(self, ratio: float) -> None:
        """Take notice of what messages were compressed to."""
        self.gzip = ratio if not self.gzip else self.gzip + (ratio - self.gzip) / 4


def sizes_text(sizes: Mapping[str, Sizes]) -> str:
    """Return what `sizes_of` reads."""
    found = {}
    for name, one in sizes.items():
        row = {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(one).items()}
        found[name] = {**row, "priorities": [round(part, 3) for part in one.priorities]}
    return json.dumps(found, separators=(",", ":"))


def sizes_of(text: str) -> dict[str, Sizes]:
    """Return what was kept. Raises: ValueError when it is none of ours."""
    try:
        found = {str(name): Sizes(**row) for name, row in json.loads(text).items()}
        for one in found.values():
            numbers = [one.count, one.disk, one.payload, one.topic, one.topics, one.gzip, *one.priorities]
            if len(one.priorities) != LEVELS or not all(0 <= number < float("inf") for number in numbers):
                raise ValueError("a size")  # noqa: TRY301 - one way out for whatever is wrong
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"these are no sizes: {error}") from error
    return found


def _mean(slots: Sequence[Slot], place: int) -> tuple[float, float]:
    """Return the mean a second of the target in that place, and over how many seconds."""
    seconds = sum(slot.seconds for slot in slots)
    count = sum(slot.counts[place] for slot in slots if place < len(slot.counts))
    return (count / seconds if seconds else 0.0), seconds


def _text(names: Sequence[str], slots: Sequence[Slot]) -> str:
    rows = [[slot.number, round(slot.seconds, 1), *slot.counts] for slot in slots]
    return json.dumps({"names": names, "slots": rows}, separators=(",", ":"))


def _slots(text: str) -> tuple[list[str], list[Slot]]:
    """Read what `_text` wrote. Raises: ValueError."""
    try:
        data = json.loads(text)
        names = [str(name) for name in data["names"]]
        slots = [Slot(int(n), float(seconds), tuple(int(c) for c in counts)) for n, seconds, *counts in data["slots"]]
    except (TypeError, KeyError, ValueError, RecursionError, OverflowError) as error:
        raise ValueError(f"these are no rates: {error!r}") from error
    if any(len(slot.counts) > len(names) or min((slot.seconds, *slot.counts)) < 0 for slot in slots):
        raise ValueError("these are no rates: more counts than names, or below zero")
    return names, slots
