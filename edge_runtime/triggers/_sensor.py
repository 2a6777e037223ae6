"""What the readings of one device become: events."""

from __future__ import annotations

import threading
from random import Random
from typing import NamedTuple

from edge_runtime.clock import new_id
from edge_runtime.devices import OpenDevice
from edge_runtime.model import Event, Stamp
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.events.device import Moment
from edge_runtime.pure.measuring import Measurer, part_of
from edge_runtime.pure.sampling import Sampler
from edge_runtime.pure.threshold import Level

CONNECTED = object()
"""The value of an answer that is no reading: the device has been told where to hand its readings over."""
NEVER = 1 << 63
"""The `next_ns` of a device that need not be asked any more."""
_FIRST_WAIT_S = 1.0
_MOST_WAIT_S = 60.0
"""Between two tries of a failing device, at most."""
_HUNG_S = 5.0
_MOST_HUNG_S = 60.0


class Answer(NamedTuple):
    """What a thread brings."""

    sensor: Sensor
    stamp: Stamp
    value: object
    error: str


class Sensor:
    """One device: when it is to be asked, and what its readings become. Used on the loop, but where it is said."""

    def __init__(self, opened: OpenDevice, thing: str, random: Random | None, patience_s: float | None) -> None:
        spec = opened.spec
        self.opened = opened
        self.pushes = spec.every_s <= 0
        """It hands over its readings by itself, and is only asked to begin with that."""
        self.next_ns = 0
        """When it is to be asked next, by steady time."""
        self.patience_s = patience_s or max(_HUNG_S, min(spec.every_s, _MOST_HUNG_S))
        """How long it may take to answer."""
        self.lost = False
        """Set by a foreign thread when a reading found no room."""
        self.at_work = threading.Lock()
        """Held by the thread that reads it: where the trigger was started again, another may hang still."""
        self._every_ns = round(spec.every_s * 1e9)
        self._tick_ns = 0
        self._levels = [Level(threshold) for threshold in spec.thresholds]
        self._measurer = Measurer(
            spec.measures,
            unit=getattr(opened.driver or type(opened.device), "unit", ""),
            watched=[level.part for level in self._levels],
        )
        self._sampler = Sampler(
            every_s=spec.every_s, on_change=spec.on_change, heartbeat_s=spec.heartbeat_s, measures=spec.measures
        )
        self._backoff = Backoff(min(spec.every_s or _FIRST_WAIT_S, _MOST_WAIT_S), _MOST_WAIT_S, random=random)
        self._events = opened.events(thing, "sample")
        self._who = f"device/{opened.name}"
        self._told: object = None
        """The last reading that was emitted."""
        self._good: object = None
        """The last good one, emitted or not."""
        self._faulty_ns = 0
        self._seq = 0

    def start(self, now_ns: int) -> None:
        """Ask for the first time now, and from here on by this grid."""
        self.next_ns = self._tick_ns = now_ns

    def tick(self, now_ns: int) -> int:
        """Move on to the next time after now at which it is to be asked; return how many times were left out."""
        self._tick_ns = self.next_ns
        self._move_on(now_ns)
        return 0 if self.pushes else (self.next_ns - self._tick_ns) // self._every_ns - 1

    def hang(self, stamp: Stamp, *, synced: bool) -> list[Event]:
        """Note that the device does not answer."""
        return self._fault(f"the reading has not come back for {self.patience_s:g} s", stamp, synced=synced)

    def take(self, answer: Answer, *, synced: bool) -> list[Event]:
        """Take what a thread brought and return what to emit."""
        _, stamp, raw, reason = answer
        if not reason:
            if raw is CONNECTED:
                return []
            value, reason = self._measurer.take(raw)
        if not reason:
            try:
                events = self._reading(value, raw, stamp, synced=synced)
            except (TypeError, ValueError, RuntimeError) as error:  # a driver may change what it handed over
                reason = f"the reading {raw!r} has no form in JSON: {error}"
            else:
                self._backoff.reset()
                return events
        wait_ns = round(self._backoff.next() * 1e9)
        if raw is CONNECTED:
            self.next_ns = stamp.mono_ns + wait_ns
        else:
            self._move_on(stamp.mono_ns + wait_ns)
        return self._fault(reason, stamp, synced=synced)

    def _move_on(self, now_ns: int) -> None:
        """Let the next time be the first one of the grid after now: what was missed is not made up for."""
        if self.pushes:
            self.next_ns = NEVER
        elif self.next_ns <= now_ns:
            self.next_ns += ((now_ns - self.next_ns) // self._every_ns + 1) * self._every_ns

    def _reading(self, value: object, raw: object, stamp: Stamp, *, synced: bool) -> list[Event]:
        recovered = self._sampler.faulty
        now_ns = stamp.mono_ns if self.pushes else self._tick_ns
        wanted = self._sampler.reading(value, now_ns / 1e9)
        events = []
        if wanted:
            more: dict[str, object] = {"raw": raw} if self._measurer.calibrates else {}
            if unit := self._measurer.unit(value):
                more["unit"] = unit
            if recovered:
                lasted_s = (stamp.mono_ns - self._faulty_ns) / 1e9
                events.append(self._event("recovered", value, self._good, stamp, more, held_s=lasted_s, synced=synced))
            events.append(self._event("reading", value, self._told, stamp, more, synced=synced))
            self._told = value
        if self._levels:
            events += self._crossings(value, stamp, synced=synced)
        self._good = value
        return events

    def _crossings(self, value: object, stamp: Stamp, *, synced: bool) -> list[Event]:
        events = []
        for level in self._levels:
            part = part_of(value, level.part)
            name = level.take(part)  # type: ignore[arg-type]  # the measurer has seen that it is a number
            if name:
                before = part_of(self._good, level.part)
                more: dict[str, object] = {"threshold": level.level}
                if unit := self._measurer.unit_of(level.part):
                    more["unit"] = unit
                events.append(self._event(name, part, before, stamp, more, synced=synced))
        return events

    def _fault(self, reason: str, stamp: Stamp, *, synced: bool) -> list[Event]:
        if not self._sampler.fault():
            return []
        self._faulty_ns = stamp.mono_ns
        return [self._event("fault", None, self._told, stamp, {}, reason=reason, synced=synced)]

    def _event(
        self,
        name: str,
        value: object,
        previous: object,
        stamp: Stamp,
        more: dict[str, object],
        *,
        synced: bool,
        reason: str = "",
        held_s: float | None = None,
    ) -> Event:
        moment = Moment(new_id(stamp), stamp, self._seq + 1, synced)
        self._events.simulated = self.opened.simulated
        payload = self._events.build(name, value, moment, previous=previous, held_s=held_s, reason=reason, more=more)
        self._seq += 1
        topic = self._who if name == "reading" else f"{self._who}/{name}"
        return Event(topic, payload, self._who, stamp, moment.id)
