"""Declared devices, opened."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime.app import Device
from edge_runtime.devices import drivers, factories, nested
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.pure.events.device import DeviceEvents

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenDevice:
    """A device at work."""

    name: str
    spec: Device
    device: Any
    """The object of the driver: of a gpiozero class, or of a class in a `hardware` folder."""
    simulated: bool
    """Whether its values are made up. A device without pins, such as LoadAverage, is real also in a simulation, until
    somebody sets its value."""
    pin: str
    """Where it is wired: `GPIO17`, `GPIO5,GPIO6`, `SPI0.0 channel 3`, or empty."""
    converter: Any = None
    """The far end of the SPI bus of a simulated device."""
    driver: Any = None
    """The driver's class, which a simulated `device` may not be of."""

    @property
    def active_high(self) -> bool:
        """Whether a high pin means active, for a device with one input pin."""
        asked = self.spec.options.get("active_state")
        return bool(asked) if asked is not None else not self.device.pull_up

    @property
    def is_output(self) -> bool:
        """Whether it can be commanded: it gets the topic `device/<name>/set`."""
        value = getattr(self.driver or type(self.device), "value", None)
        return getattr(value, "fset", None) is not None and not self.has_events

    @property
    def has_readings(self) -> bool:
        """Whether it hands over readings by itself, as they come: its driver has `when_read`."""
        return hasattr(self.driver or type(self.device), "when_read")

    @property
    def has_events(self) -> bool:
        """Whether it tells by itself when it becomes active and inactive."""
        return hasattr(self.driver or type(self.device), "when_activated")

    def events(self, thing: str, source: str) -> DeviceEvents:
        """Return what builds the payloads of its events; `source` is who speaks: `gpio` or `sample`."""
        return DeviceEvents(
            thing=thing,
            device=self.name,
            class_name=self.spec.driver,
            source=source,
            pin=self.pin,
            simulated=self.simulated,
        )


class Opener:
    """Opens devices one by one; they share the pin factories. Arguments as in `open_devices`."""

    def __init__(self, *, simulate: bool = False, extra: Path | None = None, board: str = "") -> None:
        """`board` is the name of the declared one; without it the machine is looked at."""
        self.choice: factories.Choice | None = None
        """What drives the real pins; None until one was wanted."""
        self._simulate = simulate or factories.wants_mock()
        self._extra = extra
        self._board = board
        self._real: Any = None
        self._mock: Any = None

    def open(self, spec: Device) -> OpenDevice:
        """Open one device; may block. One that failed may be tried again.

        Raises: ConfigError naming the device and the reason.
        """
        with _mapped(spec):
            return self._open(spec)

    def _open(self, spec: Device) -> OpenDevice:
        drivers.check(spec, self._extra)
        cls = drivers.find(spec, self._extra)
        device = self._make(spec, cls)
        made_up = self._simulate and not getattr(device, "is_real", False)
        converter = getattr(device, "_spi", None) if made_up else None
        return OpenDevice(
            spec.name, spec, device, simulated=made_up, pin=_pin_text(spec, device), converter=converter, driver=cls
        )

    def _make(self, spec: Device, cls: Any) -> Any:  # noqa: ANN401 - a class and an object without types
        """Return the object of a checked device, the devices within it made first. None stays open when one fails."""
        made: list[Any] = []

        def inner(where: nested.Where, found: nested.Nested) -> Any:  # noqa: ANN401 - an object without types
            part = replace(spec, driver=found.driver, options=found.options)
            about = f"{nested.dotted(where)} ({found.driver})"
            try:
                made.append(self._make(part, drivers.find(part, self._extra)))
            except EdgeError as error:
                text = str(error).removeprefix(f"device {spec.name!r} ({found.driver}): ")
                raise ConfigError(f"{about}: {text}", hint=error.hint) from error
            except Exception as error:
                raise ConfigError(f"{about} cannot be opened: {str(error) or type(error).__name__}") from error
            return made[-1]

        try:
            whole = replace(spec, options=nested.replaced(spec.options, inner))
            return self._call(cls, drivers.call_for(whole, drivers.arguments(cls)))
        except BaseException:
            for device in reversed(made):
                _close(f"a part of the device {spec.name!r}", device)
            raise

    def _call(self, cls: Any, call: drivers.Call) -> Any:  # noqa: ANN401 - a class and an object without types
        if self._simulate:
            from edge_runtime.devices import simulated_lines, simulation  # noqa: PLC0415 - it imports gpiozero

            if self._mock is None:
                self._mock = simulated_lines.simulated_factory(self._board, self._extra)
            return simulation.make(cls, self._mock, call.args, call.kwargs)
        factory = {"pin_factory": self._factory(cls)} if drivers.arguments(cls).takes_factory else {}
        return cls(*call.args, **call.kwargs, **factory)

    def _factory(self, cls: Any) -> Any:  # noqa: ANN401 - objects without types
        import gpiozero  # noqa: PLC0415 - imported late
        from gpiozero.pins.mock import MockFactory  # noqa: PLC0415 - imported late

        if issubclass(cls, gpiozero.InternalDevice):
            # It has no pins and wants a factory for its clock only; the default one does not exist off a Pi.
            if self._mock is None:
                self._mock = MockFactory()
            return self._mock
        if self._real is None:
            self.choice = factories.choose(self._board, self._extra)
            self._real = factories.make(self.choice)
            # Where the SPI bus is not enabled gpiozero drives it by software, and that asks for the global factory:
            # left alone it would open the pins a second time.
            gpiozero.Device.pin_factory = gpiozero.Device.pin_factory or self._real
        return self._real


def open_devices(specs: Iterable[Device], *, simulate: bool = False, extra: Path | None = None) -> list[OpenDevice]:
    """Open all devices, in order, or none. May block (a PingServer pings): not for the thread of an event loop.

    With `simulate`, or with GPIOZERO_PIN_FACTORY=mock, no hardware is touched: see `Simulated`. `extra` is the
    user's folder that may hold a `hardware` folder. Give the result to `close` in the end.

    Raises: ConfigError naming the device and the reason.
    """
    opener, opened = Opener(simulate=simulate, extra=extra), []
    try:
        for spec in specs:
            opened.append(opener.open(spec))  # noqa: PERF401 - what is open is closed when the next one fails
    except BaseException:
        close(opened)
        raise
    return opened


@contextmanager
def _mapped(spec: Device) -> Iterator[None]:
    """Log what gpiozero warns of, and make every error one that names the device."""
    who = f"device {spec.name!r} ({spec.driver})"
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except EdgeError as error:
        if repr(spec.name) in str(error):
            raise
        raise ConfigError(f"{who}: {error}", hint=error.hint) from error
    except Exception as error:
        raise ConfigError(
            f"{who} cannot be opened: {str(error) or type(error).__name__}",
            hint="correct the device, or run `edge run --simulate` to try the app without hardware",
        ) from error
    for warning in caught:
        # It advises a library that current systems do not have, for every distance sensor.
        if warning.category.__name__ != "PWMSoftwareFallback":
            _log.warning("%s: %s", who, warning.message)


def close(devices: Sequence[OpenDevice]) -> None:
    """Close the devices, the last one first, and give all pins back. Safe to call twice.

    A device that cannot be closed is logged and does not keep the others open.
    """
    factories_used = []
    for opened in reversed(devices):
        factory = getattr(opened.device, "pin_factory", None)
        if factory is not None and factory not in factories_used:
            factories_used.append(factory)
        _close(f"device {opened.name!r}", opened.device)
    for factory in factories_used:
        _close("the pin factory", factory)
        import gpiozero  # noqa: PLC0415 - imported late

        if gpiozero.Device.pin_factory is factory:
            gpiozero.Device.pin_factory = None


def _close(what: str, thing: Any) -> None:  # noqa: ANN401 - an object without types
    try:
        if hasattr(thing, "close"):
            thing.close()
    except Exception:  # noqa: BLE001 - a foreign driver's failure to close must not keep other pins claimed
        _log.warning("%s could not be closed", what, exc_info=True)


def _pin_text(spec: Device, device: Any) -> str:  # noqa: ANN401 - an object without types
    import gpiozero  # noqa: PLC0415 - imported late

    told = getattr(device, "wiring", "")
    if isinstance(told, str) and told:
        return told
    if isinstance(device, gpiozero.SPIDevice):
        port, select = spec.options.get("port", 0), spec.options.get("device", 0)
        where = f"SPI{port}.{select}" if "clock_pin" not in spec.options else f"SPI on GPIO{spec.options['clock_pin']}"
        return f"{where} channel {device.channel}" if hasattr(device, "channel") else where
    return ",".join(_pins(device))


def _pins(device: Any) -> list[str]:  # noqa: ANN401 - an object without types
    import gpiozero  # noqa: PLC0415 - imported late

    if isinstance(device, gpiozero.CompositeDevice):
        return [pin for part in device if part is not None for pin in _pins(part)]
    if isinstance(device, gpiozero.Energenie):
        return _pins(device._master)  # noqa: SLF001 - all sockets hang on the same pins, and it has no other way to tell
    leds = getattr(device, "_leds", ())  # an RGBLED has no other way to tell
    pins: list[Any] = [*(led.pin for led in leds), getattr(device, "pin", None), getattr(device, "trigger", None)]
    return [pin.info.name for pin in pins if hasattr(pin, "info")]
