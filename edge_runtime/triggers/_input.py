"""One input device: its connection to gpiozero, its state, and its events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from edge_runtime.clock import Clock, new_id
from edge_runtime.devices import OpenDevice
from edge_runtime.devices.naming import levels
from edge_runtime.model import Event, Stamp
from edge_runtime.pure.events.device import Moment
from edge_runtime.pure.hold import Change, Holder
from edge_runtime.triggers._inbox import Inbox
from edge_runtime.triggers._pins import Smoothing, buttons, has_one_pin, stop_hold_thread

_OLDEST_NS = 60_000_000_000
_NOTHING: Mapping[str, object] = {}
_log = logging.getLogger(__name__)


class Happening(NamedTuple):
    """What is to become an event."""

    mono_ns: int
    source: Source
    name: str
    value: object
    previous: object
    held_s: float | None
    more: Mapping[str, object] = _NOTHING


class Line:
    """What one pin does to a device, or what gpiozero itself makes of several pins. Used on the loop only."""

    def __init__(self, source: Source, number: int = 0, part: str = "") -> None:
        self.source = source
        self.holder = Holder(0)
        self.smoothing: Smoothing | None = None
        self._number = number
        self._more = {"part": part} if part else _NOTHING

    def feed(self, mono_ns: int, level: int) -> list[Happening]:
        """Take an edge."""
        changes = self.holder.feed(mono_ns, level)
        return [self._happening(change) for change in changes] if changes else []

    def expire(self, mono_ns: int) -> list[Happening]:
        """Return what time alone has brought about."""
        return [self._happening(change) for change in self.holder.expire(mono_ns)]

    def due(self) -> int | None:
        """Return when to call `expire`."""
        return self.holder.due()

    def _happening(self, change: Change) -> Happening:
        mono_ns, level, held_s, held = change
        source = self.source
        if self.smoothing is not None:
            self.smoothing.fill(level)
        name = "held" if held else source.on if level else source.off
        if not source.states:
            return Happening(mono_ns, source, name, level, level if held else 1 - level, held_s)
        before = source.states
        source.states = [*before[: self._number], level, *before[self._number + 1 :]]
        return Happening(mono_ns, source, name, source.states, before, held_s, self._more)


class Turns:
    """The steps of an encoder."""

    def __init__(self, source: Source, steps: int) -> None:
        self.source = source
        self._steps = steps

    def feed(self, mono_ns: int, steps: int) -> list[Happening]:
        """Take the steps after a turn."""
        before, self._steps = self._steps, steps
        return [Happening(mono_ns, self.source, "rotated", steps, before, None)]

    def expire(self, _mono_ns: int) -> list[Happening]:
        """Return nothing: time turns no knob."""
        return []

    def due(self) -> int | None:
        """Return None."""
        return None


Note = tuple[Line | Turns, int, int]
"""What a gpiozero thread leaves: who takes it, the steady time, the level or the steps."""


class Source:
    """One device. `lost` gets it when an edge found no room: its levels are then to be read anew."""

    def __init__(self, opened: OpenDevice, thing: str, clock: Clock) -> None:
        self.opened = opened
        self.on, self.off = levels(opened.driver or type(opened.device))
        self.states: list[int] = []
        """The levels of the buttons of a board; empty for a device of one part."""
        self._who = f"device/{opened.name}"
        self._clock = clock
        self._seq = 0
        self._events = opened.events(thing, "gpio")
        self._pins: list[tuple[Line, Any]] = []
        self._handlers: list[Callable[..., None]] = []  # gpiozero keeps weak references only
        self._detach: list[Callable[[], None]] = []

    def attach(self, inbox: Inbox[Note], lost: set[Source]) -> None:
        """Ask gpiozero to tell, and only then look at the level, so that no change falls between."""
        device, self._pins, self.states = self.opened.device, [], []
        stop_hold_thread(device)
        if parts := buttons(device):
            self.states = [0] * len(parts)
            for number, (part, button) in enumerate(parts.items()):
                stop_hold_thread(button)
                self.states[number] = self._attach_held(button.pin, Line(self, number, part), inbox, lost)
        elif has_one_pin(device):
            self._attach_held(device.pin, Line(self), inbox, lost)
        elif (smoothing := Smoothing.of(device)) is not None:
            self._detach.append(smoothing.close)
            line = Line(self)
            level = self._attach_pin(device.pin, line, inbox, lost)
            line.smoothing = smoothing
            line.holder = Holder(0, smoother=smoothing.smoother(level, self._now()))
        else:
            self._attach_events(inbox, lost)

    def detach(self) -> None:
        """Give gpiozero back what it had. What it will not take back is logged: the other devices go first."""
        while self._detach:
            try:
                self._detach.pop()()
            except Exception:  # noqa: BLE001 - a poll that hangs (a ping) makes gpiozero raise after 10 s
                _log.warning("device %r did not stop telling", self.opened.name, exc_info=True)
        self._handlers.clear()

    def look(self) -> list[Note]:
        """Return the level of each pin as it is now."""
        return [(line, self._now(), self._level(pin)) for line, pin in self._pins]

    def event(self, happening: Happening, stamp: Stamp, *, synced: bool) -> Event:
        """Return the event."""
        self._seq += 1
        _, _, name, value, previous, held_s, more = happening
        self._events.simulated = self.opened.simulated
        moment = Moment(new_id(stamp), stamp, self._seq, synced)
        payload = self._events.build(name, value, moment, previous=previous, held_s=held_s, more=more)
        return Event(f"{self._who}/{name}", payload, self._who, stamp, moment.id)

    def _now(self) -> int:
        return self._clock.now().mono_ns

    def _level(self, pin: Any) -> int:  # noqa: ANN401 - an object without types
        return int(bool(pin.state) == self.opened.active_high)

    def _hold(self) -> tuple[float, bool]:
        device = self.opened.device
        return getattr(device, "hold_time", 0.0), getattr(device, "hold_repeat", False)

    def _attach_held(self, pin: Any, line: Line, inbox: Inbox[Note], lost: set[Source]) -> int:  # noqa: ANN401 - as above
        level = self._attach_pin(pin, line, inbox, lost)
        hold_s, repeat = self._hold()
        line.holder = Holder(self.opened.spec.debounce_s, level, hold_s=hold_s, repeat=repeat)
        return level

    def _attach_pin(self, pin: Any, line: Line, inbox: Inbox[Note], lost: set[Source]) -> int:  # noqa: ANN401 - as above
        """Have a pin tell of its edges, and return its level."""
        factory, now, put = self.opened.device.pin_factory, self._clock.now, inbox.put
        high, simulated = int(self.opened.active_high), self.opened.simulated

        def changed(ticks: float, state: object) -> None:
            mono_ns = now().mono_ns
            if not simulated:
                # The kernel noted the edge before this thread ran. Ticks are opaque but for their difference.
                age_ns = int(factory.ticks_diff(factory.ticks(), ticks) * 1e9)
                if 0 < age_ns < _OLDEST_NS:  # an old kernel stamps by another clock
                    mono_ns -= age_ns
            if not put((line, mono_ns, high if state else 1 - high)):
                lost.add(self)

        before = pin.when_changed

        def restore() -> None:
            pin.when_changed = before

        self._handlers.append(changed)
        self._detach.append(restore)
        self._pins.append((line, pin))
        pin.edges = "both"
        pin.when_changed = changed
        return self._level(pin)

    def _attach_events(self, inbox: Inbox[Note], lost: set[Source]) -> None:
        """Have gpiozero tell what it has smoothed or polled. Its value may take for ever, so it is not asked for."""
        device, line = self.opened.device, Line(self)
        hold_s, repeat = self._hold()
        line.holder = Holder(0, hold_s=hold_s, repeat=repeat)

        def leave(who: Line | Turns, level: int) -> None:
            if not inbox.put((who, self._now(), level)):
                lost.add(self)

        self._attach_event("when_activated", lambda: leave(line, 1))
        self._attach_event("when_deactivated", lambda: leave(line, 0))
        if hasattr(type(device), "when_rotated"):
            turns = Turns(self, device.steps)
            self._attach_event("when_rotated", lambda: leave(turns, device.steps))

    def _attach_event(self, attribute: str, handler: Callable[[], object]) -> None:
        device = self.opened.device
        setattr(device, attribute, handler)
        self._detach.append(lambda: setattr(device, attribute, None))
