"""What stands in for a device that has no pins."""

from __future__ import annotations

from functools import partial
from typing import Any

from gpiozero import EventsMixin, InternalDevice, PolledInternalDevice
from gpiozero.pins.mock import MockFactory

from edge_runtime.devices import parts
from edge_runtime.devices.driver import Take

_UNSET = object()


class Settable(InternalDevice):  # type: ignore[misc]  # gpiozero ships no types
    """A device that has no pins: it shows the real one (`LoadAverage`) until a value is set, or `start` without one."""

    is_stand_in = True
    when_read: Take | None = None
    """Of the stand-in of a driver that hands over what it reads: takes each value that is set."""

    def __init__(self, real: Any, pin_factory: MockFactory, *, start: object = 0.0, level: float = 0.0) -> None:  # noqa: ANN401 - an object without types
        """`level` is the value above which it is active."""
        self._real = real
        self._start = start
        self._level = level
        self._simulated_value: Any = _UNSET
        super().__init__(pin_factory=pin_factory)
        active = getattr(real, "_last_active", None)  # most have just looked, which may have taken its time (a ping)
        if active is None:
            active = self.is_active
            if isinstance(real, EventsMixin):
                # Else what it sees first would be no change.
                real._fire_events(self.pin_factory.ticks(), active)  # noqa: SLF001 - as its own subclasses do
        self._fire_events(self.pin_factory.ticks(), active)

    @property
    def is_real(self) -> bool:
        """Whether it shows a real device, and nobody has set a value."""
        return self._real is not None and self._simulated_value is _UNSET

    @property
    def value(self) -> Any:  # noqa: ANN401 - any driver's value
        """What was set, or what the real device says."""
        if self._simulated_value is not _UNSET:
            return self._simulated_value
        return self._start if self._real is None else self._real.value

    @value.setter
    def value(self, value: object) -> None:
        self.simulate(value)

    @property
    def is_active(self) -> bool:
        """Whether a number is above the level, or anything else is not empty; or what the real device says."""
        if self.is_real:
            return bool(self._real.is_active)
        value = self.value
        return bool(value > self._level) if isinstance(value, int | float) and self._level else bool(value)

    def simulate(self, value: object) -> None:
        """Set the value; a change to or from being active fires the device's events."""
        self._simulated_value = value
        self._listen(enabled=False)
        self._fire_events(self.pin_factory.ticks(), self.is_active)
        if self.when_read is not None:
            self.when_read(value)

    def on(self) -> None:
        """Stand in for the `on` of an output."""
        self.simulate(1)

    def off(self) -> None:
        """Stand in for the `off` of an output."""
        self.simulate(parts.zero(self.value))

    def toggle(self) -> None:
        """Stand in for the `toggle` of an output."""
        if self.is_active:
            self.off()
        else:
            self.on()

    def _start_stop_events(self, enabled: bool) -> None:  # noqa: FBT001 - gpiozero calls it so
        self._listen(enabled=enabled and self.is_real)

    def _listen(self, *, enabled: bool) -> None:
        """Have the real device tell when it changes, or no longer. A real one is asked by a thread of its own."""
        if not isinstance(self._real, PolledInternalDevice):
            return
        for name, active in (("when_activated", True), ("when_deactivated", False)):
            if enabled:
                setattr(self._real, name, partial(self._tell, active))
            elif getattr(self._real, name) is not None:
                setattr(self._real, name, None)

    def _tell(self, active: bool) -> None:  # noqa: FBT001 - called by gpiozero
        if self.is_real:
            self._fire_events(self.pin_factory.ticks(), active)

    def close(self) -> None:
        """Close the real one too."""
        if getattr(self, "_real", None) is not None and hasattr(self._real, "close"):
            self._real.close()
        super().close()
