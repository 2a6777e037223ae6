"""Devices that tell by themselves: buttons, motion and line sensors, encoders, thresholds.

Topics are `device/<name>/<what happened>`: `pressed` and `released` for a Button, `motion` and `no_motion` for a
MotionSensor, and so on: the names of gpiozero's own events (`when_pressed`), or `active` and `inactive` where it has
no other; `held` for a device with a `hold_time`, `rotated` for a RotaryEncoder.

gpiozero's threads only note the time and the level. For a device on one pin they are called by the pin itself, below
gpiozero's `when_activated`: that one drops an edge whose opposite was lost. Time stamps are those of the kernel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from edge_runtime.clock import Clock, new_id, wall_is_synced
from edge_runtime.devices import OpenDevice
from edge_runtime.devices.naming import levels
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Emit, Event, Stamp
from edge_runtime.pure.events.device import DeviceEvents, Moment
from edge_runtime.pure.hold import Change, Holder
from edge_runtime.triggers._inbox import Inbox
from edge_runtime.triggers._refusals import Refusals

_BATCH = 500
"""Events in one call of emit at most: a long stall must not become one endless transaction."""
_OLDEST_NS = 60_000_000_000
_log = logging.getLogger(__name__)


class _Happening(NamedTuple):
    """What is to become an event."""

    mono_ns: int
    source: _Source
    name: str
    value: int
    previous: int
    held_s: float | None


_Take = Callable[[int, int], list[_Happening]]
_Note = tuple[_Take, int, int]
"""What a gpiozero thread leaves: who takes it, the steady time, the level or the steps."""


class _Source:
    """One device: its connection to gpiozero, its state, and its events."""

    def __init__(self, opened: OpenDevice, thing: str, clock: Clock) -> None:
        self.opened = opened
        self.on, self.off = levels(type(opened.device))
        self.events = DeviceEvents(
            thing=thing,
            device=opened.name,
            class_name=opened.spec.driver,
            source="gpio",
            pin=opened.pin,
            simulated=opened.simulated,
        )
        self.seq = 0
        self.lost = False
        """Set by gpiozero's thread when an edge found no room: the level is then to be read anew."""
        self._clock = clock
        self._holder = Holder(0)
        self._steps = 0
        self._handlers: list[Callable[..., None]] = []  # gpiozero keeps weak references only
        self._detach: list[Callable[[], None]] = []

    def attach(self, inbox: Inbox[_Note]) -> None:
        """Ask gpiozero to tell, and only then look at the level, so that no change falls between."""
        device, spec = self.opened.device, self.opened.spec
        hold_s, repeat = getattr(device, "hold_time", 0.0), getattr(device, "hold_repeat", False)
        if _has_one_pin(device):
            _stop_polling(device)
            self._attach_pin(inbox)
            self._holder = Holder(spec.debounce_s, int(bool(device.value)), hold_s=hold_s, repeat=repeat)
            return
        # gpiozero has smoothed or polled these already; their value may take for ever, so it is not asked for.
        self._holder = Holder(0, hold_s=hold_s, repeat=repeat)
        self._attach_event("when_activated", lambda: self._leave(inbox, self._now(), 1))
        self._attach_event("when_deactivated", lambda: self._leave(inbox, self._now(), 0))
        if hasattr(type(device), "when_rotated"):
            self._steps = device.steps
            self._attach_event("when_rotated", lambda: inbox.put((self._turned, self._now(), device.steps)))

    def detach(self) -> None:
        """Give gpiozero back what it had. What it will not take back is logged: the other devices go first."""
        while self._detach:
            try:
                self._detach.pop()()
            except Exception:  # noqa: BLE001 - a poll that hangs (a ping) makes gpiozero raise after 10 s
                _log.warning("device %r did not stop telling", self.opened.name, exc_info=True)
        self._handlers.clear()

    def take(self, mono_ns: int, level: int) -> list[_Happening]:
        """Take an edge."""
        return self._happenings(self._holder.feed(mono_ns, level))

    def expire(self, mono_ns: int) -> list[_Happening]:
        """Return what time alone has brought about."""
        due = self._holder.due()
        return self._happenings(self._holder.expire(mono_ns)) if due is not None and due <= mono_ns else []

    def due(self) -> int | None:
        """Return when to call `expire`."""
        return self._holder.due()

    def resync(self, mono_ns: int) -> list[_Happening]:
        """Take the level as it is now, after edges were lost."""
        self.lost = False
        return self.take(mono_ns, int(bool(self.opened.device.value))) if _has_one_pin(self.opened.device) else []

    def event(self, happening: _Happening, stamp: Stamp, *, synced: bool) -> Event:
        """Return the event."""
        self.seq += 1
        name, who = happening.name, f"device/{self.opened.name}"
        self.events.simulated = self.opened.simulated
        moment = Moment(new_id(stamp), stamp, self.seq, synced)
        payload = self.events.build(name, happening.value, moment, previous=happening.previous, held_s=happening.held_s)
        return Event(f"{who}/{name}", payload, who, stamp, moment.id)

    def _happenings(self, changes: list[Change]) -> list[_Happening]:
        return [
            _Happening(c.mono_ns, self, "held", 1, 1, c.held_s)
            if c.held
            else _Happening(c.mono_ns, self, self.on if c.level else self.off, c.level, 1 - c.level, c.held_s)
            for c in changes
        ]

    def _turned(self, mono_ns: int, steps: int) -> list[_Happening]:
        before, self._steps = self._steps, steps
        return [_Happening(mono_ns, self, "rotated", steps, before, None)]

    def _now(self) -> int:
        return self._clock.now().mono_ns

    def _leave(self, inbox: Inbox[_Note], mono_ns: int, level: int) -> None:
        if not inbox.put((self.take, mono_ns, level)):
            self.lost = True

    def _attach_pin(self, inbox: Inbox[_Note]) -> None:
        pin, factory = self.opened.device.pin, self.opened.device.pin_factory
        high, simulated = int(self.opened.active_high), self.opened.simulated

        def changed(ticks: float, state: object) -> None:
            mono_ns = self._clock.now().mono_ns
            if not simulated:
                # The kernel noted the edge before this thread ran. Ticks are opaque but for their difference.
                age_ns = int(factory.ticks_diff(factory.ticks(), ticks) * 1e9)
                if 0 < age_ns < _OLDEST_NS:  # an old kernel stamps by another clock
                    mono_ns -= age_ns
            self._leave(inbox, mono_ns, high if state else 1 - high)

        before = pin.when_changed
        self._handlers.append(changed)
        pin.when_changed = changed

        def restore() -> None:
            pin.when_changed = before

        self._detach.append(restore)

    def _attach_event(self, attribute: str, handler: Callable[[], object]) -> None:
        device = self.opened.device
        setattr(device, attribute, handler)
        self._detach.append(lambda: setattr(device, attribute, None))


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
        self._sources = [_Source(device, thing, clock) for device in devices]
        self._refusals = Refusals(clock)

    @property
    def refused(self) -> Mapping[str, int]:
        """How many events of each device the store refused since the start."""
        return self._refusals.counts

    async def run(self, emit: Emit) -> None:
        """Emit what happens, for ever."""
        inbox: Inbox[_Note] = Inbox(self._clock, "gpio", self._most)
        try:
            for source in self._sources:
                source.attach(inbox)
            while True:
                inbox.arm(min((due for s in self._sources if (due := s.due()) is not None), default=None))
                happened = self._collect(await inbox.wait())
                for start in range(0, len(happened), _BATCH):
                    await self._emit(emit, happened[start : start + _BATCH])
        finally:
            for source in self._sources:
                source.detach()
            await inbox.close()

    def _collect(self, notes: list[_Note]) -> list[_Happening]:
        happened: list[_Happening] = []
        for take, mono_ns, level in notes:
            happened += take(mono_ns, level)
        now_ns = self._clock.now().mono_ns
        for source in self._sources:
            if source.lost:
                self._refusals.add(source.opened.name, QueueFullError("edges came faster than they could be taken in"))
                happened += source.resync(now_ns)
            happened += source.expire(now_ns)
        happened.sort(key=lambda happening: happening.mono_ns)
        return happened

    async def _emit(self, emit: Emit, happened: list[_Happening]) -> None:
        now = self._clock.now()
        ahead_ns, synced = now.wall_ns - now.mono_ns, self._synced()
        events = [h.source.event(h, Stamp(h.mono_ns + ahead_ns, h.mono_ns, now.boot), synced=synced) for h in happened]
        try:
            await emit(*events)
        except (QueueFullError, StoreError) as error:
            for happening in happened:
                self._refusals.add(happening.source.opened.name, error)


def _has_one_pin(device: Any) -> bool:  # noqa: ANN401 - an object without types
    from gpiozero import DigitalInputDevice  # noqa: PLC0415 - imported late

    return isinstance(device, DigitalInputDevice)


def _stop_polling(device: Any) -> None:  # noqa: ANN401 - an object without types
    """End the thread with which a Button asks itself ten times a second whether it is held: that is done here."""
    thread = getattr(device, "_hold_thread", None)
    if thread is not None:
        thread.stopping.set()
