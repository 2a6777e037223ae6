"""Devices that measure: those that must be asked for their `value` every so often, and those that hand it over.

What a reading becomes is declared: it is calibrated, has a unit, and must be within a range. Topics are

- `device/<name>`: a reading that is worth it, by `on_change`, deadband and heartbeat;
- `device/<name>/<threshold>` and `device/<name>/no_<threshold>`: a level was crossed, and is no longer, with
  hysteresis; every good reading is looked at, emitted or not;
- `device/<name>/fault`: it failed, hangs, reads NaN, or is out of its range. It is told once, with the reason, until
- `device/<name>/recovered`: it reads well again. `held_s` says how long the fault lasted; the reading itself follows.

Each device that is asked has a thread of its own, for reading may block, for ever even: one that hangs or fails never
stops the others, and is not asked again before it has answered. One that fails is tried again with back-off. A device
that hands over its readings (`when_read`, see `devices.driver`) is asked all the same if `every` is declared for it.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from time import monotonic

from edge_runtime.clock import Clock, wall_is_synced
from edge_runtime.devices import OpenDevice
from edge_runtime.errors import EdgeError, LimitError, QueueFullError, StoreError
from edge_runtime.model import Emit, Event
from edge_runtime.threads import hold
from edge_runtime.triggers._inbox import Inbox
from edge_runtime.triggers._pins import stop_hold_thread
from edge_runtime.triggers._readers import Listener, Reader, stop_all
from edge_runtime.triggers._refusals import Refusals
from edge_runtime.triggers._sensor import CONNECTED, NEVER, Answer, Sensor

_GRACE_S = 0.05
"""How long the quick devices of one tick wait for the slow ones, to travel together."""
_BATCH = 500
"""Events in one call of emit at most."""
_MOST_READY = 5_000
"""Events that wait for the store at most; then nothing is read before it has taken some."""
_HELD_S = 120.0
"""For so long made time waits for a reading: longer than it takes until that counts as hanging."""


class SampleTrigger:
    """Reads devices by a grid of steady time that does not drift, and emits the readings that are worth it.

    The readings of one tick go in one emit. While the store is busy, reading goes on, up to a few thousand events.
    Times missed because the device was slow, or the store for longer, are left out and counted in `left_out`. An event
    that the store refuses is counted in `refused` and the trigger goes on: the next reading is newer.

    `devices` must have `every_s` above 0 or `has_readings`; they are not closed here. `synced` tells whether the wall
    clock is right. `patience_s` is how long a device may take to answer; without it that is 5 s, or `every_s` up to a
    minute. It is time of the machine, whatever the clock is. Up to `most` readings wait to be looked at; what a device
    hands over beyond that is counted in `refused`.
    """

    def __init__(
        self,
        devices: Sequence[OpenDevice],
        thing: str,
        clock: Clock,
        *,
        synced: Callable[[], bool] = wall_is_synced,
        random: Random | None = None,
        patience_s: float | None = None,
        most: int = 100_000,
    ) -> None:
        self._clock = clock
        self._most = most
        self._synced = synced
        self._sensors = [Sensor(device, thing, random, patience_s) for device in devices]
        self._refusals = Refusals(clock)
        self._asked: dict[Sensor, float] = {}
        self._hung: set[Sensor] = set()
        self._ready: list[Event] = []
        self._emitting: asyncio.Task[None] | None = None
        self._ready_at = 0.0
        self._look_at = 0.0
        self.left_out: dict[str, int] = {}
        """How many times of its grid each device was not read at, because it or the store was slow."""

    @property
    def refused(self) -> Mapping[str, int]:
        """How many events of each device the store refused since the start."""
        return self._refusals.counts

    @property
    def awaited(self) -> set[str]:
        """The devices that were asked and have not answered yet."""
        return {sensor.opened.name for sensor in self._asked}

    async def run(self, emit: Emit) -> None:
        """Read and emit, for ever."""
        inbox: Inbox[Answer] = Inbox(self._clock, "sample", self._most)
        self._asked, self._hung, self._ready, self._look_at = {}, set(), [], math.inf
        drivers: dict[Sensor, Reader | Listener] = {}
        now_ns = self._clock.now().mono_ns
        release = hold(lambda: bool(self._ready) or len(self._asked) > len(self._hung), _HELD_S)
        try:
            for sensor in self._sensors:
                stop_hold_thread(sensor.opened.device)
                drivers[sensor] = (Listener if sensor.pushes else Reader)(sensor, inbox, self._clock)
                sensor.start(now_ns)
            await self._serve(inbox, emit, drivers)
        finally:
            release()
            await self._stop_emitting()
            await inbox.close()
            await stop_all(drivers.values())

    async def _serve(self, inbox: Inbox[Answer], emit: Emit, drivers: Mapping[Sensor, Reader | Listener]) -> None:
        # By the time at which they are due: a look at all of them for each of many answers would cost more than they.
        grid = [(sensor.next_ns, number, sensor) for number, sensor in enumerate(self._sensors)]
        while True:
            now_ns, at = self._clock.now().mono_ns, monotonic()
            while grid and grid[0][0] <= now_ns:
                _, number, sensor = grid[0]
                if sensor.next_ns <= now_ns and self._tick(sensor, now_ns, at):
                    drivers[sensor].ask()
                heapq.heapreplace(grid, (sensor.next_ns, number, sensor))
            if self._emitting is not None and (self._emitting.done() or len(self._ready) >= _MOST_READY):
                await self._emitting
                self._emitting = None
                continue
            if self._emitting is None and self._travels_at() <= at:
                self._emitting = asyncio.create_task(self._emit(emit), name="sample.emit")
                self._emitting.add_done_callback(inbox.wake)
            inbox.arm(grid[0][0] if grid and grid[0][0] < NEVER else None)
            inbox.arm_machine(min(self._look_at, math.inf if self._emitting else self._travels_at()))
            if self._collect(await inbox.wait()):
                grid = [(sensor.next_ns, number, sensor) for number, sensor in enumerate(self._sensors)]
                heapq.heapify(grid)

    async def _stop_emitting(self) -> None:
        emitting, self._emitting = self._emitting, None
        if emitting is not None:
            emitting.cancel()
            await asyncio.wait([emitting])

    def _tick(self, sensor: Sensor, now_ns: int, at: float) -> bool:
        """Move a device on to its next time and tell whether to ask it: not while it has not answered yet."""
        missed = sensor.tick(now_ns) + (sensor in self._asked)
        if missed:
            name = sensor.opened.name
            self.left_out[name] = self.left_out.get(name, 0) + missed
        if sensor in self._asked:
            return False
        self._asked[sensor] = at
        self._look_at = min(self._look_at, at + sensor.patience_s)
        return True

    def _travels_at(self) -> float:
        """Return when what is ready is to be emitted: not before the others of its tick, if they are quick."""
        if not self._ready:
            return math.inf
        newest = next(reversed(self._asked.values()), -math.inf)
        return min(newest, self._ready_at) + _GRACE_S

    def _collect(self, answers: list[Answer]) -> bool:
        """Take answers, and see who does not answer; return whether somebody is to be asked earlier than was known."""
        at, synced, found, sooner = monotonic(), self._synced(), [], False
        for answer in answers:
            sensor = answer.sensor
            if answer.value is CONNECTED or not sensor.pushes:
                self._asked.pop(sensor, None)
                self._hung.discard(sensor)
            found += sensor.take(answer, synced=synced)
            sooner = sooner or (sensor.pushes and sensor.next_ns < NEVER)
        if at >= self._look_at:
            found += self._hanging(at, synced=synced)
        for sensor in self._sensors:
            if sensor.lost:
                sensor.lost = False
                text = "readings came faster than they could be taken in"
                self._refusals.add(sensor.opened.name, QueueFullError(text))
        if found and not self._ready:
            self._ready_at = at
        self._ready += found
        return sooner

    def _hanging(self, at: float, *, synced: bool) -> list[Event]:
        self._look_at, now, found = math.inf, self._clock.now(), []
        for sensor, asked_at in self._asked.items():
            if sensor in self._hung:
                continue
            if asked_at + sensor.patience_s <= at:
                self._hung.add(sensor)
                found += sensor.hang(now, synced=synced)
            else:
                self._look_at = min(self._look_at, asked_at + sensor.patience_s)
        return found

    async def _emit(self, emit: Emit) -> None:
        events, self._ready = self._ready, []
        for start in range(0, len(events), _BATCH):
            await self._emit_together(emit, events[start : start + _BATCH])

    async def _emit_together(self, emit: Emit, events: list[Event]) -> None:
        try:
            await emit(*events)
        except LimitError as error:
            if len(events) == 1:
                self._refuse(events, error)
                return
            for event in events:  # one that is too big keeps no other
                await self._emit_together(emit, [event])
        except (QueueFullError, StoreError) as error:
            self._refuse(events, error)

    def _refuse(self, events: list[Event], error: EdgeError) -> None:
        for event in events:
            self._refusals.add(event.source.removeprefix("device/"), error)
