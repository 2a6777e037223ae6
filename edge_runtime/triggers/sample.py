"""Devices that must be asked: their `value`, read every so often, on `device/<name>`.

Each device has a thread of its own, for reading may block, for ever even: one that hangs or fails never stops the
others. A device that fails, hangs, or reads NaN tells so on `device/<name>/fault`, once until it reads well again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from random import Random
from typing import NamedTuple

from edge_runtime.clock import Clock, new_id, wall_is_synced
from edge_runtime.devices import OpenDevice
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Emit, Event, Stamp
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.events.device import DeviceEvents, Moment
from edge_runtime.pure.sampling import Sampler, unusable
from edge_runtime.triggers._inbox import Inbox
from edge_runtime.triggers._refusals import Refusals

_GRACE_NS = 50_000_000
"""How long the quick devices of one tick wait for the slow ones, to travel together."""
_HUNG_S = 5.0
"""A reading that takes longer than this, and longer than `every_s`, is a fault."""
_MOST_WAIT_S = 60.0
"""Between two tries of a failing device, at most."""


class _Answer(NamedTuple):
    """What a reader thread brings back."""

    sensor: _Sensor
    stamp: Stamp
    value: object
    error: str


class _Reader:
    """The thread of one device. It ends after `stop`; one that hangs ends with the process."""

    def __init__(self, sensor: _Sensor, inbox: Inbox[_Answer], clock: Clock) -> None:
        self._sensor = sensor
        self._inbox = inbox
        self._clock = clock
        self._asked: SimpleQueue[bool] = SimpleQueue()
        name = f"sample[{sensor.opened.name}]"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def ask(self) -> None:
        """Have the device read once."""
        self._asked.put(True)

    def stop(self) -> None:
        """End the thread when it is idle."""
        self._asked.put(False)

    def _run(self) -> None:
        while self._asked.get():
            value, error = None, ""
            try:
                value = self._sensor.opened.device.value
            except Exception as raised:  # noqa: BLE001 - whatever a driver raises is the reason that is reported
                error = f"{type(raised).__name__}: {raised}"
            self._inbox.put(_Answer(self._sensor, self._clock.now(), value, error))


class _Sensor:
    """One device: when it is to be read, and what its readings become. Used on the loop only."""

    def __init__(self, opened: OpenDevice, thing: str, random: Random | None) -> None:
        spec = opened.spec
        self.opened = opened
        self.asked_ns: int | None = None
        """When the reading that is under way was asked for."""
        self.next_ns = 0
        self._every_ns = round(spec.every_s * 1e9)
        self._tick_ns = 0
        self._hung_ns = round(max(_HUNG_S, spec.every_s) * 1e9)
        self._sampler = Sampler(
            every_s=spec.every_s, on_change=spec.on_change, deadband=spec.deadband, heartbeat_s=spec.heartbeat_s
        )
        self._backoff = Backoff(min(spec.every_s, _MOST_WAIT_S), _MOST_WAIT_S, random=random)
        self._events = DeviceEvents(
            thing=thing,
            device=opened.name,
            class_name=spec.driver,
            source="sample",
            pin=opened.pin,
            simulated=opened.simulated,
        )
        self._previous: object = None
        self._seq = 0

    def start(self, now_ns: int) -> None:
        """Read for the first time now, and from here on by this grid."""
        self.asked_ns, self.next_ns, self._tick_ns = None, now_ns, now_ns

    def tick(self, now_ns: int) -> bool:
        """Move on to the next time of the grid and tell whether to read: not while a reading is under way."""
        self._tick_ns = self.next_ns
        self._move_on(now_ns)
        if self.asked_ns is not None:
            return False
        self.asked_ns = now_ns
        return True

    def hangs_at(self) -> int | None:
        """Return when the reading under way will have become a fault; None: there is none, or it is known."""
        return None if self.asked_ns is None or self._sampler.faulty else self.asked_ns + self._hung_ns

    def hang(self, stamp: Stamp, *, synced: bool) -> list[Event]:
        """Note that a reading does not come back."""
        return self._fault(f"the reading has not come back for {self._hung_ns / 1e9:g} s", stamp, synced=synced)

    def take(self, answer: _Answer, *, synced: bool) -> list[Event]:
        """Take what the thread brought and return what to emit."""
        self.asked_ns = None
        reason = answer.error or unusable(answer.value)
        if not reason:
            try:
                events = self._reading(answer.value, answer.stamp, synced=synced)
            except (TypeError, ValueError) as error:
                reason = f"the reading {answer.value!r} has no form in JSON: {error}"
            else:
                self._backoff.reset()
                return events
        self._move_on(answer.stamp.mono_ns + round(self._backoff.next() * 1e9))
        return self._fault(reason, answer.stamp, synced=synced)

    def _move_on(self, now_ns: int) -> None:
        """Let the next time be the first one of the grid after now: what was missed is not made up for."""
        if self.next_ns <= now_ns:
            self.next_ns += ((now_ns - self.next_ns) // self._every_ns + 1) * self._every_ns

    def _reading(self, value: object, stamp: Stamp, *, synced: bool) -> list[Event]:
        moment = self._moment(stamp, synced=synced)
        self._events.simulated = self.opened.simulated
        payload = self._events.build("reading", value, moment, previous=self._previous)
        if not self._sampler.reading(value, self._tick_ns / 1e9):
            return []
        self._previous = value
        return [self._event("", payload, moment)]

    def _fault(self, reason: str, stamp: Stamp, *, synced: bool) -> list[Event]:
        if not self._sampler.fault():
            return []
        moment = self._moment(stamp, synced=synced)
        self._events.simulated = self.opened.simulated
        payload = self._events.build("fault", None, moment, previous=self._previous, reason=reason)
        return [self._event("/fault", payload, moment)]

    def _moment(self, stamp: Stamp, *, synced: bool) -> Moment:
        return Moment(new_id(stamp), stamp, self._seq + 1, synced)

    def _event(self, ending: str, payload: bytes, moment: Moment) -> Event:
        self._seq += 1
        who = f"device/{self.opened.name}"
        return Event(who + ending, payload, who, moment.stamp, moment.id)


class SampleTrigger:
    """Reads devices by a grid of steady time that does not drift, and emits the readings that are worth it.

    What a device's `on_change`, `deadband` and `heartbeat_s` say is kept; the readings of one tick go in one emit.
    A failing device is tried again with back-off; a hung one is waited for, as asking it twice helps nobody. Times
    missed while the store or the device was slow are left out. An event that the store refuses is counted in
    `refused` and the trigger goes on: the next reading is newer.

    `devices` must have `every_s` above 0; they are not closed here. `synced` tells whether the wall clock is right.
    """

    def __init__(
        self,
        devices: Sequence[OpenDevice],
        thing: str,
        clock: Clock,
        *,
        synced: Callable[[], bool] = wall_is_synced,
        random: Random | None = None,
    ) -> None:
        self._clock = clock
        self._synced = synced
        self._sensors = [_Sensor(device, thing, random) for device in devices]
        self._refusals = Refusals(clock)

    @property
    def refused(self) -> Mapping[str, int]:
        """How many events of each device the store refused since the start."""
        return self._refusals.counts

    async def run(self, emit: Emit) -> None:
        """Read and emit, for ever."""
        inbox: Inbox[_Answer] = Inbox(self._clock, "sample")
        readers = {sensor: _Reader(sensor, inbox, self._clock) for sensor in self._sensors}
        try:
            for sensor in self._sensors:
                sensor.start(self._clock.now().mono_ns)
            ready: list[Event] = []
            while True:
                now_ns = self._clock.now().mono_ns
                for sensor in self._sensors:
                    if sensor.next_ns <= now_ns and sensor.tick(now_ns):
                        readers[sensor].ask()
                slow_ns = max((s.asked_ns + _GRACE_NS for s in self._sensors if s.asked_ns is not None), default=0)
                if ready and slow_ns <= now_ns:
                    ready = await self._emit(emit, ready)
                    continue
                inbox.arm(self._next(slow_ns if ready else None))
                ready += self._collect(await inbox.wait())
        finally:
            for reader in readers.values():
                reader.stop()
            await inbox.close()

    def _next(self, slow_ns: int | None) -> int | None:
        times = [slow_ns, *(s.next_ns for s in self._sensors), *(s.hangs_at() for s in self._sensors)]
        return min((time for time in times if time is not None), default=None)

    def _collect(self, answers: list[_Answer]) -> list[Event]:
        synced = self._synced()
        ready = [event for answer in answers for event in answer.sensor.take(answer, synced=synced)]
        now = self._clock.now()
        for sensor in self._sensors:
            if (hangs := sensor.hangs_at()) is not None and hangs <= now.mono_ns:
                ready += sensor.hang(now, synced=synced)
        return ready

    async def _emit(self, emit: Emit, events: list[Event]) -> list[Event]:
        try:
            await emit(*events)
        except (QueueFullError, StoreError) as error:
            for event in events:
                self._refusals.add(event.source.removeprefix("device/"), error)
        return []
