"""Devices that tell by themselves: buttons, motion and line sensors, encoders, thresholds.

Topics are `device/<name>/<what happened>`: `pressed` and `released` for a Button, `motion` and `no_motion` for a
MotionSensor, and so on: the names of gpiozero's own events (`when_pressed`), or `active` and `inactive` where it has
no other; `held` for a device with a `hold_time`, `rotated` for a RotaryEncoder, with its steps. Each button of a
ButtonBoard tells for itself: `part` is its name or number, the value has the levels of all.

gpiozero's threads only note the time and the level. For a device on one pin they are called by the pin itself, below
gpiozero's `when_activated`: that one drops an edge whose opposite was lost. Time stamps are those of the kernel. A
MotionSensor or LineSensor is smoothed as gpiozero does it, but reckoned from its edges (`pure.smoothing`): while its
pin is still, nothing runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edge_runtime.clock import Clock, wall_is_synced
from edge_runtime.devices import OpenDevice
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Emit, Stamp
from edge_runtime.triggers._inbox import Inbox
from edge_runtime.triggers._input import Happening, Line, Note, Source, Turns
from edge_runtime.triggers._refusals import Refusals

_BATCH = 500
"""Events in one call of emit at most: a long stall must not become one endless transaction."""


class GpioTrigger:
    """Emits what input devices tell, debounced by time stamps, several at once when they come fast.

    A level counts when it has been steady for the device's `debounce_s`; its event carries the time of the edge that
    began it. A device that is active when the trigger starts says nothing until it changes. An event that the store
    refuses is counted in `refused` and the trigger goes on: an edge cannot be asked for again.

    `devices` must have `has_events`; they are not closed here. `synced` tells whether the wall clock is right. Up to
    `most` edges wait while the store is busy; when there are more, the level is read anew afterwards.
    """

    def __init__(
        self,
        devices: Sequence[OpenDevice],
        thing: str,
        clock: Clock,
        *,
        synced: Callable[[], bool] = wall_is_synced,
        most: int = 100_000,
    ) -> None:
        self._clock = clock
        self._most = most
        self._synced = synced
        self._sources = [Source(device, thing, clock) for device in devices]
        self._refusals = Refusals(clock)
        self._lost: set[Source] = set()
        self._dues: dict[Line | Turns, int] = {}
        """When time alone will bring something about: only for those of whom it will."""

    @property
    def refused(self) -> Mapping[str, int]:
        """How many events of each device the store refused since the start."""
        return self._refusals.counts

    async def run(self, emit: Emit) -> None:
        """Emit what happens, for ever."""
        inbox: Inbox[Note] = Inbox(self._clock, "gpio", self._most)
        self._lost, self._dues = set(), {}
        try:
            for source in self._sources:
                source.attach(inbox, self._lost)
            while True:
                inbox.arm(min(self._dues.values(), default=None))
                notes = await inbox.wait()
                now = self._clock.now()
                happened = self._collect(notes, now.mono_ns)
                for start in range(0, len(happened), _BATCH):
                    await self._emit(emit, happened[start : start + _BATCH], now)
        finally:
            for source in self._sources:
                source.detach()
            await inbox.close()

    def _collect(self, notes: list[Note], now_ns: int) -> list[Happening]:
        happened: list[Happening] = []
        while self._lost:
            source = self._lost.pop()
            self._refusals.add(source.opened.name, QueueFullError("edges came faster than they could be taken in"))
            notes += source.look()
        for line, mono_ns, level in notes:
            happened += line.feed(mono_ns, level)
        for line in {note[0] for note in notes}:
            self._await(line)
        for line in [line for line, due in self._dues.items() if due <= now_ns]:
            happened += line.expire(now_ns)
            self._await(line)
        happened.sort(key=_when)
        return happened

    def _await(self, line: Line | Turns) -> None:
        due = line.due()
        if due is None:
            self._dues.pop(line, None)
        else:
            self._dues[line] = due

    async def _emit(self, emit: Emit, happened: list[Happening], now: Stamp) -> None:
        ahead_ns, synced = now.wall_ns - now.mono_ns, self._synced()
        events = [h.source.event(h, Stamp(h.mono_ns + ahead_ns, h.mono_ns, now.boot), synced=synced) for h in happened]
        try:
            await emit(*events)
        except (QueueFullError, StoreError) as error:
            for happening in happened:
                self._refusals.add(happening.source.opened.name, error)


def _when(happening: Happening) -> int:
    return happening.mono_ns
