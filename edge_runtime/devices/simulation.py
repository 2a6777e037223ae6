"""Devices without hardware: gpiozero's mock pins, a converter for its SPI devices, and values that a test can set."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gpiozero import (
    CPUTemperature,
    Device,
    DiskUsage,
    DistanceSensor,
    GPIOZeroError,
    InternalDevice,
    LEDMultiCharDisplay,
    LightSensor,
    LoadAverage,
)
from gpiozero.pins.mock import MockFactory, MockPWMPin
from gpiozero.pins.spi import SPI

from edge_runtime import plugin
from edge_runtime.devices._playing import in_range, play
from edge_runtime.devices._settable import Settable
from edge_runtime.devices.constructors import arguments
from edge_runtime.devices.values import shown
from edge_runtime.errors import ConfigError, EdgeError, NotFoundError

if TYPE_CHECKING:
    from edge_runtime.devices.opening import OpenDevice


class Converter(SPI):  # type: ignore[misc]  # gpiozero ships no types
    """The far end of an SPI bus: an analog-to-digital converter that answers what `word` says."""

    def __init__(self, factory: SimulatedFactory, pins: Sequence[object]) -> None:
        super().__init__(pin_factory=factory)
        self.word = 0
        self._open = True
        factory.reserve_pins(self, *pins)

    def _conflicts_with(self, other: object) -> bool:
        return not isinstance(other, Converter)  # channels of one chip share its bus

    def transfer(self, data: Sequence[int]) -> list[int]:
        """Return as many words as were sent, the reading in the last two."""
        return [*[0] * (len(data) - 2), self.word >> 8, self.word & 0xFF]

    def read(self, n: int) -> list[int]:
        """Return n words."""
        return self.transfer([0] * n)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return not self._open

    def close(self) -> None:
        """Give the pins back."""
        if getattr(self, "_open", False):
            self.pin_factory.release_all(self)
        self._open = False
        super().close()

    def _get_bits_per_word(self) -> int:
        return 8


class SimulatedFactory(MockFactory):  # type: ignore[misc]  # gpiozero ships no types
    """Mock pins that know PWM, and SPI devices that need no bit-banging.

    gpiozero's software SPI takes its factory from the global `Device.pin_factory`; simulation leaves that alone.
    """

    def __init__(self) -> None:
        super().__init__(pin_class=MockPWMPin)
        self.converters: list[Converter] = []

    def spi(self, **spi_args: object) -> Converter:
        """Return a new converter on the pins that the arguments name."""
        spi_args.pop("shared", None)
        pins, rest = self._extract_spi_args(**spi_args)
        if rest:
            raise GPIOZeroError(f"unknown SPI argument {next(iter(rest))!r}")
        self.converters.append(Converter(self, [pin for pin in pins.values() if pin is not None]))
        return self.converters[-1]


class _Level:
    """A sensor whose physics are left out: `_read` gives what was set."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._simulated_level = 0.0
        super().__init__(*args, **kwargs)

    def _read(self) -> float:
        return self._simulated_level

    def simulate(self, value: object) -> None:
        """Set what is measured, 0 to 1."""
        self._simulated_level = in_range(value, 0, 1)


class _SimulatedLightSensor(_Level, LightSensor):  # type: ignore[misc]  # gpiozero ships no types
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._queue.sample_wait = 0.1  # what one measurement takes; without the physics it would spin


class _SimulatedDistanceSensor(_Level, DistanceSensor):  # type: ignore[misc]  # gpiozero ships no types
    pass


_STAND_INS = {LightSensor: _SimulatedLightSensor, DistanceSensor: _SimulatedDistanceSensor}


def make(cls: Any, factory: SimulatedFactory, args: Sequence[object], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 - classes without types
    """Return a simulated object of a driver class.

    A driver of one's own that drives no pins may offer a class method `simulated` with the same arguments (see
    `devices.driver`). Without one it is stood in for by a `Settable`, which starts at the class's `example`.
    """
    if hasattr(cls, "simulated"):
        return cls.simulated(*args, **kwargs)
    if issubclass(cls, InternalDevice):
        try:
            return Settable(cls(*args, pin_factory=factory, **kwargs), factory, level=_level(cls, kwargs))
        except OSError:  # no such sensor here: it can be set all the same
            return Settable(None, factory, level=_level(cls, kwargs))
    if issubclass(cls, LEDMultiCharDisplay):
        with _as_global(factory):
            return cls(*args, pin_factory=factory, **kwargs)
    if hasattr(cls, "pin_factory"):
        return _STAND_INS.get(cls, cls)(*args, pin_factory=factory, **kwargs)
    return Settable(None, factory, start=getattr(cls, "example", 0.0))


_GLOBAL = threading.Lock()


@contextmanager
def _as_global(factory: SimulatedFactory) -> Iterator[None]:
    """Let gpiozero make an object whose parts it gives no factory."""
    with _GLOBAL:
        before, Device.pin_factory = Device.pin_factory, factory
        try:
            yield
        finally:
            Device.pin_factory = before


_SCALES = {
    CPUTemperature: ("min_temp", "max_temp"),
    LoadAverage: ("min_load_average", "max_load_average"),
    DiskUsage: ("", ""),
}
"""The arguments that say what the values 0 and 1 stand for, of devices with a threshold; it is 0 to 100 without."""


def _level(cls: Any, kwargs: dict[str, Any]) -> float:  # noqa: ANN401 - a class without types
    """Return the value at which such a device becomes active, by its `threshold`."""
    for known, (low, high) in _SCALES.items():
        if issubclass(cls, known):
            given = {**arguments(known).defaults, "": 0.0, **kwargs}
            least, most = given[low], given[high] if high else 100.0
            return float((given["threshold"] - least) / (most - least))
    return 0.0


class Simulated:
    """The hand that plays the world: `Simulated(devices).set("door", 1)` presses the button."""

    def __init__(self, devices: Sequence[OpenDevice]) -> None:
        self._devices = {device.name: device for device in devices}

    def set(self, name: str, value: Any) -> None:  # noqa: ANN401 - whatever the driver measures
        """Make the device measure `value`: 1 or 0 for what is on or off, else in the scale of its `value`.

        Raises: NotFoundError for an unknown name, ConfigError for a device that is real or measures nothing, or for
        a value that it cannot measure.
        """
        opened = self._devices.get(name)
        if opened is None:
            raise NotFoundError(f"there is no device {name!r}{plugin.nearest(name, self._devices)}")
        if not opened.simulated and not isinstance(opened.device, Settable):
            raise ConfigError(f"device {name!r} is real: its value cannot be set", hint="start with --simulate")
        try:
            play(opened.name, opened.device, value)
        except EdgeError as error:
            raise ConfigError(f"device {name!r} ({opened.spec.driver}) {error}", hint=error.hint) from error
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ConfigError(
                f"device {name!r} ({opened.spec.driver}) cannot measure {shown(value)}: {reason}"
            ) from error
        opened.simulated = True
