"""A line as gpiozero's pin: its level and its edges."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from datetime import timedelta
from types import MethodType
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from gpiozero import (
    PinFixedPull,
    PinInvalidBounce,
    PinInvalidEdges,
    PinInvalidFunction,
    PinInvalidPull,
    PinInvalidState,
    PinPWMFixedValue,
    PinSetInput,
)
from gpiozero.pins import Pin, PinInfo

from edge_runtime.devices._gpiod_threads import SoftPwm

if TYPE_CHECKING:
    from edge_runtime.devices.gpiod_factory import GpiodFactory

_Changed = Callable[[float, int], object]
"""Takes the ticks and the level."""
_MOST_HZ = 1000.0


class GpiodPin(Pin):  # type: ignore[misc]  # gpiozero ships no types
    """A line that is held. What it can do is what gpiozero documents of `Pin`."""

    def __init__(self, factory: GpiodFactory, info: PinInfo, request: Any) -> None:  # noqa: ANN401 - an object of a module
        super().__init__()
        line = factory.gpiod.line
        self._factory = factory
        self._info = info
        self._request = request
        self._lock = threading.RLock()  # the package asks that one request is used by one thread at a time
        self._line = line
        self._input = True
        self._bias = line.Bias.AS_IS
        self._bounce: float | None = None
        self._edges = "both"
        self._pwm: SoftPwm | None = None
        self._changed: Callable[[], _Changed | None] | None = None

    def __repr__(self) -> str:
        return str(self._info.name)

    @property
    def factory(self) -> GpiodFactory:
        """The factory that made it."""
        return self._factory

    def _get_info(self) -> PinInfo:
        return self._info

    def close(self) -> None:
        """Give the line back. Safe to call twice."""
        self._set_when_changed(None)
        self._end_pwm()
        with self._lock:
            request, self._request = self._request, None
            if request is not None:
                request.release()

    # -- what it is --------------------------------------------------------------------------------------------------

    def _configure(self, *, level: bool = False) -> None:
        """Tell the kernel what the line is to be. Raises: OSError."""
        line, waits = self._line, self._changed is not None and self._input
        edge = {"both": line.Edge.BOTH, "rising": line.Edge.RISING, "falling": line.Edge.FALLING}[self._edges]
        settings = self._factory.gpiod.LineSettings(
            direction=line.Direction.INPUT if self._input else line.Direction.OUTPUT,
            edge_detection=edge if waits else line.Edge.NONE,
            bias=self._bias if self._input else line.Bias.AS_IS,
            debounce_period=timedelta(seconds=self._bounce or 0.0) if self._input else timedelta(),
            event_clock=line.Clock.MONOTONIC,
            output_value=line.Value.ACTIVE if level else line.Value.INACTIVE,
        )
        with self._lock:
            self._request.reconfigure_lines({self._info.number: settings})

    def _get_function(self) -> str:
        return "input" if self._input else "output"

    def _set_function(self, value: str) -> None:
        if value not in ("input", "output"):
            raise PinInvalidFunction(f"invalid function {value!r} for pin {self!r}")
        self._end_pwm()
        self._input = value == "input"
        self._configure()

    def output_with_state(self, state: float) -> None:
        """Make it an output that has the level from the start."""
        self._end_pwm()
        self._input = False
        self._configure(level=bool(state))

    def _get_pull(self) -> str:
        bias = self._line.Bias
        return {bias.PULL_UP: "up", bias.PULL_DOWN: "down"}.get(self._bias, "floating")

    def _set_pull(self, value: str) -> None:
        if not self._input:
            raise PinFixedPull(f"cannot set pull on non-input pin {self!r}")
        bias = self._line.Bias
        known = {"up": bias.PULL_UP, "down": bias.PULL_DOWN, "floating": bias.DISABLED}
        if value not in known:
            raise PinInvalidPull(f"invalid pull {value!r} for pin {self!r}")
        before, self._bias = self._bias, known[value]
        try:
            self._configure()
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENXIO, errno.EINVAL):
                raise
            self._bias = bias.AS_IS if value == "floating" else before
            self._configure()
            if value != "floating":
                text = f"the chip of {self!r} has no pull-{value} resistors: wire one, and write pull_up: null"
                raise PinFixedPull(text) from error

    # -- its level ---------------------------------------------------------------------------------------------------

    def _get_state(self) -> float:
        if self._pwm is not None:
            return self._pwm.duty
        with self._lock:
            return int(self._request.get_value(self._info.number) == self._line.Value.ACTIVE)

    def _set_state(self, value: float) -> None:
        if self._input:
            raise PinSetInput(f"cannot set state of pin {self!r}")
        if not 0 <= value <= 1:
            raise PinInvalidState(f"invalid state {value!r} for pin {self!r}")
        if self._pwm is not None:
            self._pwm.set(duty=float(value))
        else:
            self._put(bool(value))

    def _put(self, level: bool) -> None:  # noqa: FBT001 - the one thing it takes
        with self._lock:
            if self._request is not None:
                value = self._line.Value.ACTIVE if level else self._line.Value.INACTIVE
                self._request.set_value(self._info.number, value)

    def _get_frequency(self) -> float | None:
        return None if self._pwm is None else self._pwm.hz

    def _set_frequency(self, value: float | None) -> None:
        if not value:
            self._end_pwm()
            return
        if self._input:
            raise PinPWMFixedValue(f"cannot start PWM on pin {self!r}")
        if not 0 < value <= _MOST_HZ:
            raise PinPWMFixedValue(f"{self!r} is switched by a thread, which can do up to {_MOST_HZ:g} Hz")
        if self._pwm is None:
            self._pwm = SoftPwm(self._put, value)
        else:
            self._pwm.set(hz=value)

    def _end_pwm(self) -> None:
        pwm, self._pwm = self._pwm, None
        if pwm is not None:
            pwm.close()
            self._put(False)

    # -- its edges ---------------------------------------------------------------------------------------------------

    def _get_bounce(self) -> float | None:
        return self._bounce

    def _set_bounce(self, value: float | None) -> None:
        if value is not None and value < 0:
            raise PinInvalidBounce("bounce must be 0 or greater")
        self._bounce = value
        self._configure()

    def _get_edges(self) -> str:
        return self._edges

    def _set_edges(self, value: str) -> None:
        if value not in ("both", "rising", "falling"):
            raise PinInvalidEdges(f"invalid edges {value!r} for pin {self!r}")
        self._edges = value
        self._configure()

    def _get_when_changed(self) -> _Changed | None:
        return None if self._changed is None else self._changed()

    def _set_when_changed(self, value: _Changed | None) -> None:
        before = self._changed
        if value is None:
            self._changed = None
        elif isinstance(value, MethodType):
            self._changed = WeakMethod(value)  # a device that nobody holds any more may go
        else:
            self._changed = lambda: value
        if self._request is None or (before is None) == (value is None):
            return
        if value is None:
            self._factory.edges.remove(self._request.fd)
        self._configure()
        if value is not None:
            self._factory.edges.add(self._request.fd, self._read)

    def _read(self) -> None:
        """Hand on the edges that wait. Called on the thread of the factory. Raises: OSError."""
        with self._lock:
            if self._request is None or self._changed is None:
                return
            events = self._request.read_edge_events()
        rising = self._factory.gpiod.EdgeEvent.Type.RISING_EDGE
        for event in events:
            changed = None if self._changed is None else self._changed()
            if changed is not None:
                changed(event.timestamp_ns / 1e9, int(event.event_type is rising))
