"""How to write a driver: a file in a `hardware` folder, whose name is the name in `driver:`.

The file defines one public class. The arguments of its constructor are the keys of a device, by the same names and in
plain values (numbers, texts, lists); a missing default makes a key needed. It is imported when a device names it, so it
may import a library at its top, by `need`. An instance has

- `value`: what is measured now, as JSON knows it: a number, a text, a list or a dict of parts (`{"humidity": 51.0}`).
  Reading may block, and runs on a thread of the device's own. It raises when there is no reading, and works again by
  itself once the sensor does: it is asked again, after a while. A value that can be set makes the device an output.
- `close()`, which gives back what it holds and may be called twice.

and may have

- `when_read`: for a device that hands over readings as they come (a serial line, a watched folder). It is set to a
  function that takes each value, or the exception that says why there is none just now, on whatever thread; or to None.
  `Source` has it.
- `send`: for an output to which a value is said, and which measures something else (a serial line). It takes any
  command, as JSON knows it, in place of setting the value.
- `wiring`: where it is connected, for people: `I2C1 0x76`. A class attribute `unit`: the unit of its value, or those
  of its parts by name.
- a class method `wires`, with the arguments of the constructor: what the device takes hold of, one text each, `GPIO4`,
  `I2C1 0x76`, `/dev/ttyUSB0`. Two devices that take hold of the same are a mistake that is found without opening them.
- a class method `simulated`, with the arguments of the constructor: an object that touches no hardware. It may have a
  method `simulate(value)` that makes it measure that. `SimulatedDevice` is one.
"""

from __future__ import annotations

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Protocol

from edge_runtime.errors import ConfigError, DeviceError

Take = Callable[[object], None]
"""Takes a reading, or the exception that says why there is none."""


class Driver(Protocol):
    """What every driver is."""

    @property
    def value(self) -> object:
        """What is measured now."""

    def close(self) -> None:
        """Give back what is held."""


class SimulatedDevice:
    """A device that measures what it is told, for the `simulated` of a driver."""

    def __init__(self, value: object, *, wiring: str = "") -> None:
        self.wiring = wiring
        self._value = value

    @property
    def value(self) -> object:
        """What was told last; an exception told is raised."""
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def simulate(self, value: object) -> None:
        """Measure this from now on."""
        self._value = value

    def close(self) -> None:
        """Do nothing: nothing is held."""


class SimulatedSource(SimulatedDevice):
    """A simulated device that hands over each value that it is told."""

    when_read: Take | None = None

    def simulate(self, value: object) -> None:
        """Measure this from now on, and hand it over."""
        super().simulate(value)
        if self.when_read is not None:
            self.when_read(value)


class Source(ABC):
    """A device that hands over readings as they come, of which the last is its value: what such drivers begin with.

    Its thread calls `hand_over` with each reading, `lost` when there is none just now, and `well` when there is again.
    """

    def __init__(self, wiring: str, nothing: str) -> None:
        self.wiring = wiring
        self.turn = threading.RLock()
        """Held while something is handed over: who holds it may rely on `when_read` to stay."""
        self._nothing = nothing
        """Why there is no value before the first reading."""
        self._value: object = None
        self._fault = ""
        self._take: Take | None = None

    @property
    def value(self) -> object:
        """What was handed over last. Raises: DeviceError before the first reading, and while there is a fault."""
        if self._fault:
            raise DeviceError(self._fault)
        if self._value is None:
            raise DeviceError(f"{self.wiring}: {self._nothing}")
        return self._value

    @property
    def when_read(self) -> Take | None:
        """Who takes each reading, and the error when there is none. What comes while nobody does is the driver's."""
        return self._take

    @when_read.setter
    def when_read(self, take: Take | None) -> None:
        with self.turn:  # not in the middle of handing over
            self._take = take
            if take is not None and self._fault:
                take(DeviceError(self._fault))
        self.taken()

    @abstractmethod
    def taken(self) -> None:
        """Note that somebody else takes from now on, or nobody: the thread may have to wake up."""

    def hand_over(self, value: object) -> bool:
        """Make this the value, and hand it over. Return False when nobody takes it: then it is not the value."""
        with self.turn:
            if self._take is None:
                return False
            self._value, self._fault = value, ""
            self._take(value)
        return True

    def lost(self, reason: str) -> None:
        """Have no value from now on; whoever takes is told why, once as long as it is the same."""
        with self.turn:
            again, self._fault = self._fault == reason, reason
            if self._take is not None and not again:
                self._take(DeviceError(reason))

    def well(self) -> None:
        """Have a value again: what was handed over last."""
        self._fault = ""


def need(library: str, extra: str) -> ModuleType:
    """Import a library that only some drivers need.

    Raises: ConfigError that says how to install it; `extra` is the name of the package's extra that brings it, or an
    apt package as `apt:NAME`.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        how = (
            f"apt install {extra.removeprefix('apt:')}, in a venv made with --system-site-packages"
            if extra.startswith("apt:")
            else f"pip install 'edge-runtime[{extra}]'"
        )
        raise ConfigError(f"the library {library} is missing ({error})", hint=how) from error
