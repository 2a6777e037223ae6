"""Devices without hardware: gpiozero's mock pins, a converter for its SPI devices, and values that a test can set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpiozero import (
    AnalogInputDevice,
    ButtonBoard,
    DistanceSensor,
    GPIOZeroError,
    InputDevice,
    InternalDevice,
    LightSensor,
    RotaryEncoder,
)
from gpiozero.pins.mock import MockFactory, MockPWMPin
from gpiozero.pins.spi import SPI

from edge_runtime import plugin
from edge_runtime.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from edge_runtime.devices.opening import OpenDevice

_SHIFTS = {"MCP3001": 3, "MCP3201": 1}
"""Where these put the reading in the two bytes they send (their data sheets): the others at the right end."""
_CLOCKWISE = ((1, None), (None, 1), (0, None), (None, 0))
"""What a rotary encoder does to its pins (a, b) in one step."""


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

    def simulate(self, value: float) -> None:
        """Set what is measured, 0 to 1."""
        self._simulated_level = min(1.0, max(0.0, float(value)))


class _SimulatedLightSensor(_Level, LightSensor):  # type: ignore[misc]  # gpiozero ships no types
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._queue.sample_wait = 0.1  # what one measurement takes; without the physics it would spin


class _SimulatedDistanceSensor(_Level, DistanceSensor):  # type: ignore[misc]  # gpiozero ships no types
    pass


_STAND_INS = {LightSensor: _SimulatedLightSensor, DistanceSensor: _SimulatedDistanceSensor}


class Settable(InternalDevice):  # type: ignore[misc]  # gpiozero ships no types
    """A device that has no pins: it shows the real one (`LoadAverage`) until a value is set, or 0 without one."""

    def __init__(self, real: Any, pin_factory: MockFactory) -> None:  # noqa: ANN401 - an object without types
        self._real = real
        self._simulated_value: Any = None
        super().__init__(pin_factory=pin_factory)
        self._fire_events(self.pin_factory.ticks(), self.is_active)

    @property
    def is_real(self) -> bool:
        """Whether it shows a real device, and nobody has set a value."""
        return self._real is not None and self._simulated_value is None

    @property
    def value(self) -> Any:  # noqa: ANN401 - any driver's value
        """What was set, or what the real device says."""
        if self._simulated_value is not None:
            return self._simulated_value
        return 0.0 if self._real is None else self._real.value

    @value.setter
    def value(self, value: object) -> None:
        self.simulate(value)

    def simulate(self, value: object) -> None:
        """Set the value; a change between zero and not zero fires the device's events."""
        self._simulated_value = value
        self._fire_events(self.pin_factory.ticks(), self.is_active)

    def close(self) -> None:
        """Close the real one too."""
        if getattr(self, "_real", None) is not None and hasattr(self._real, "close"):
            self._real.close()
        super().close()


def make(cls: Any, factory: SimulatedFactory, args: Sequence[object], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 - classes without types
    """Return a simulated object of a driver class.

    A driver of one's own that drives no pins may offer a classmethod `simulated` with the same arguments; its
    object may have a method `simulate(value)`. Without one it is stood in for by a `Settable`.
    """
    if hasattr(cls, "simulated"):
        return cls.simulated(*args, **kwargs)
    if issubclass(cls, InternalDevice):
        try:
            real = cls(*args, pin_factory=factory, **kwargs)
        except OSError:
            real = None  # no such sensor here: it can be set all the same
        return Settable(real, factory)
    if hasattr(cls, "pin_factory"):
        return _STAND_INS.get(cls, cls)(*args, pin_factory=factory, **kwargs)
    return Settable(None, factory)


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
            _play(opened, value)
            opened.simulated = True
        except (TypeError, ValueError) as error:
            raise ConfigError(f"device {name!r} ({opened.spec.driver}) cannot measure {value!r}: {error}") from error


def _play(opened: OpenDevice, value: Any) -> None:  # noqa: ANN401 - whatever the driver measures
    device = opened.device
    if hasattr(device, "simulate"):
        device.simulate(value)
    elif isinstance(device, AnalogInputDevice):
        _convert(opened, float(value))
    elif isinstance(device, RotaryEncoder):
        _rotate(device, round(float(value) * (device.max_steps or 1)) - device.steps)
    elif isinstance(device, ButtonBoard):
        for button, level in zip(device, value, strict=True):
            _drive(button, active=bool(level), high=not button.pull_up)
    elif isinstance(device, InputDevice):
        _drive(device, active=bool(value), high=opened.active_high)
    else:
        raise ConfigError(
            f"device {opened.name!r} ({opened.spec.driver}) measures nothing",
            hint=f"command it on the topic device/{opened.name}/set",
        )


def _drive(device: Any, *, active: bool, high: bool) -> None:  # noqa: ANN401 - an object without types
    if active == high:
        device.pin.drive_high()
    else:
        device.pin.drive_low()


def _convert(opened: OpenDevice, value: float) -> None:
    device, converter = opened.device, opened.converter
    least = -1 if opened.spec.driver.startswith("MCP33") and device.differential else 0
    if converter is None or not least <= value <= 1:
        raise ValueError(f"it measures from {least} to 1")
    # The inverse of AnalogInputDevice.value.
    raw = round((value + 1) / 2 * (2 ** (device.bits + 1) - 1) - 2**device.bits)
    converter.word = (raw << _SHIFTS.get(opened.spec.driver, 0)) & 0x1FFF


def _rotate(device: Any, steps: int) -> None:  # noqa: ANN401 - an object without types
    for _ in range(abs(steps)):
        for a, b in _CLOCKWISE if steps > 0 else ((y, x) for x, y in _CLOCKWISE):
            pin, level = (device.a.pin, a) if a is not None else (device.b.pin, b)
            # Pulled up: a closed contact is low.
            if level:
                pin.drive_low()
            else:
                pin.drive_high()
