"""What a device takes hold of, by its arguments. Nothing is opened."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.app import Device
from edge_runtime.devices import drivers
from edge_runtime.devices.boards import Board
from edge_runtime.errors import ConfigError, EdgeError

Where = tuple[str | int, ...]

_PINS = frozenset({
    *("pin", "pins", "echo", "trigger", "a", "b", "red", "green", "blue", "amber", "yellow"),
    *("forward", "backward", "enable", "phase"),
})  # fmt: skip
"""The arguments of gpiozero's classes that are pins, SPI's apart."""
_SPI = {"clock_pin": "SCLK", "mosi_pin": "MOSI", "miso_pin": "MISO", "select_pin": "CE0"}
_DATA = ("SCLK", "MOSI", "MISO")
_ONE_WIRE = "1-Wire"
_UP_BY_DEFAULT = frozenset({"Button", "ButtonBoard"})


@dataclass(frozen=True, slots=True)
class Use:
    """A device takes hold of something."""

    device: Device
    where: Where
    """Where that is said, below the device: `("pin",)`, `("left", "forward")`; empty: the driver says it."""
    pin: str
    """The name of the pin; empty for what is no pin."""
    thing: str
    """What it is: `GPIO17`, `I2C1 SDA`, `I2C1 0x76`, `/dev/ttyUSB0`."""
    shared: str = ""
    """Those for whom this is the same may use it together; empty: nobody else may."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not fit, and where it is said, below the device of that name."""

    device: str
    where: Where
    text: str


class Claims:
    """Gathers what devices take hold of, and what is wrong with how that is written."""

    def __init__(self, board: Board, extra: Path | None) -> None:
        self.uses: list[Use] = []
        self.problems: list[Problem] = []
        self.misplaced: list[Problem] = []
        """Those that another pin would mend."""
        self._board = board
        self._extra = extra

    def take(self, device: Device, part: Device | None = None, where: Where = ()) -> None:
        """Note what a device takes hold of, or a `part` of it that is a device of its own, written at `where`."""
        part = part or device
        try:
            cls = drivers.find(part, self._extra)
            drivers.check(part, self._extra)
            takes = drivers.arguments(cls)
            call = drivers.call_for(part, takes)
        except ConfigError:
            return  # whoever reads the file says that already
        if hasattr(cls, "wires"):
            self._take_told(device, cls, call, where)
        elif "clock_pin" in takes.names:
            self._take_spi(device, part, where)
        elif takes.takes_factory:
            self._take_named(device, part, takes, where)
            if not any(key in _PINS for key in (*takes.names, takes.many)) and not takes.open_ended:
                self._take_fixed(device, cls, call, where)

    def _take_named(self, device: Device, part: Device, takes: drivers.Arguments, where: Where) -> None:
        """Note the pins, and the devices within it, that its arguments name."""
        for key, value in part.options.items():
            if key in _PINS or (takes.open_ended and key not in takes.names):
                self._take_pins(device, value, (*where, key))
            else:
                self._take_parts(device, value, (*where, key))
        if "pull_up" in takes.names:
            pulls = bool(part.options.get("pull_up", part.driver in _UP_BY_DEFAULT))
        else:
            pulls = part.driver not in ("LightSensor", "DistanceSensor")
        for use in self.uses:
            if not pulls and use.device is device and use.where[:-1] == where and use.pin in self._board.pulled_up:
                how = "write pull_up: true, or take another; " if "pull_up" in takes.names else "take another; "
                text = f"{use.pin} ({self._board.place(use.pin)}) has a resistor to the supply on the board; {how}"
                self.misplaced.append(Problem(device.name, use.where, text.removesuffix("; ")))

    def _take_pins(self, device: Device, value: object, where: Where) -> None:
        """Note a pin, or each of several."""
        if isinstance(value, list | tuple):
            for n, item in enumerate(value):
                self._take_pins(device, item, (*where, n))
        elif isinstance(value, Mapping):
            self._take_parts(device, value, where)
        elif value is not None:
            self._take_pin(device, value, where)

    def _take_parts(self, device: Device, value: object, where: Where) -> None:
        """Note what the devices within a device take hold of: mappings with a `driver`."""
        if isinstance(value, list | tuple):
            for n, item in enumerate(value):
                self._take_parts(device, item, (*where, n))
        elif isinstance(value, Mapping) and isinstance(value.get("driver"), str):
            options = {str(key): item for key, item in value.items() if key != "driver"}
            self.take(device, Device(device.name, value["driver"], options), where)

    def _take_pin(self, device: Device, name: object, where: Where, *, role: str = "", shared: str = "") -> None:
        try:
            pin = self._board.resolve(name)
        except ConfigError as error:
            known = f"{'' if str(error).endswith('?') else ';'} {error.hint}" if error.hint else ""
            self.misplaced.append(Problem(device.name, where, f"{error}{known}"))
        else:
            self.uses.append(Use(device, where, pin, role or pin, shared))

    def _take_bus(self, device: Device, name: str, roles: Iterable[str], where: Where) -> None:
        """Note lines of a bus, as far as the board knows it."""
        bus = self._board.buses.get(name)
        for role in roles if bus is not None else ():
            if bus is not None and role in bus.lines:
                self.uses.append(Use(device, where, bus.lines[role], f"{name} {role}", name))

    def _take_spi(self, device: Device, part: Device, where: Where) -> None:
        """Note the lines of an SPI chip of gpiozero's. Its channels share the chip, and chips the bus."""
        options = part.options
        if any(key in options for key in _SPI):
            bus = self._board.buses.get("SPI0")
            usual = bus.lines if bus is not None else {}
            at = {key: options.get(key, usual.get(role)) for key, role in _SPI.items()}
            group = f"SPI on {at['clock_pin']}"
            for key, pin in at.items():
                if pin is not None:
                    shared = f"{group} {pin} {part.driver}" if key == "select_pin" else group
                    role = f"SPI {key.removesuffix('_pin')}"
                    self._take_pin(device, pin, (*where, key), role=role, shared=shared)
            return
        name, chip = f"SPI{options.get('port', 0)}", options.get("device", 0)
        bus, select = self._board.buses.get(name), f"CE{chip}"
        if bus is None:
            return  # a board file that does not tell of it
        self._take_bus(device, name, _DATA, where)
        if select in bus.lines:
            shared = f"{name}.{chip} {part.driver}"
            self.uses.append(Use(device, (*where, "device"), bus.lines[select], f"{name} {select}", shared))
        else:
            chips = ", ".join(role.removeprefix("CE") for role in bus.lines if role.startswith("CE"))
            text = f"{name} of {self._board.title} has no chip select {chip!r}; known: {chips}"
            self.problems.append(Problem(device.name, (*where, "device"), text))

    def _take_fixed(self, device: Device, cls: Any, call: drivers.Call, where: Where) -> None:  # noqa: ANN401 - a class without types
        """Note the pins of an add-on board (a TrafficHat): its class knows them, and reserves simulated ones."""
        import gpiozero  # noqa: PLC0415 - 0.1 s and more: only where there are devices
        from gpiozero.pins.mock import MockFactory, MockPWMPin  # noqa: PLC0415 - same

        if not cls.__module__.startswith("gpiozero.") or issubclass(cls, gpiozero.InternalDevice):
            return
        factory = MockFactory(pin_class=MockPWMPin)
        try:
            made = cls(*call.args, **call.kwargs, pin_factory=factory)
        except Exception:  # noqa: BLE001 - its arguments are wrong in a way that only it knows and says when it is opened
            return
        pins = [pin.name for pin, holders in factory._reservations.items() if holders]  # noqa: SLF001 - no other way
        made.close()
        factory.close()
        for pin in sorted(pins):
            self._take_pin(device, pin, where)

    def _take_told(self, device: Device, cls: Any, call: drivers.Call, where: Where) -> None:  # noqa: ANN401 - a class without types
        """Note what a driver of one's own says that it takes hold of."""
        try:
            told = [str(text) for text in cls.wires(*call.args, **call.kwargs)]
        except EdgeError as error:
            text = f"{error}; {error.hint}" if error.hint else str(error)
            self.problems.append(Problem(device.name, where, text))
            return
        except Exception as error:  # noqa: BLE001 - a foreign driver may raise anything; its words are for the user
            text = f"{part_of(device, cls)} cannot tell what it takes hold of: {type(error).__name__}: {error}"
            self.problems.append(Problem(device.name, where, text))
            return
        one_wire = any(text.partition(" ")[0] == _ONE_WIRE for text in told)
        for text in told:
            self._take_text(device, text, where, one_wire=one_wire)

    def _take_text(self, device: Device, text: str, where: Where, *, one_wire: bool) -> None:
        """Note one of the texts that a driver tells: a pin, a bus with an address, or anything else."""
        first, _, rest = text.partition(" ")
        spi = re.fullmatch(r"(?:/dev/spidev|SPI)([0-9]+)\.([0-9]+)", first)
        bus = f"SPI{spi[1]}" if spi else self._bus_of(first)
        if self._is_pin(first):
            # Sensors on a 1-Wire bus tell themselves apart: its line is for all of them.
            shared = _ONE_WIRE if one_wire or rest else ""
            self._take_pin(device, first, where, role=f"{_ONE_WIRE} DATA" if shared else "", shared=shared)
            return
        if spi:
            self._take_bus(device, bus, (*_DATA, f"CE{spi[2]}"), where)
            text = f"{bus}.{spi[2]} {rest}".strip()
        elif bus and not (bus == _ONE_WIRE and any(use.device is device and use.shared == bus for use in self.uses)):
            self._take_bus(device, bus, self._board.buses[bus].lines, where)
        if bus.startswith("I2C"):
            text = f"{bus} {rest}".strip()  # I2C1 0x76 and /dev/i2c-1 0x76 are one
        if text != _ONE_WIRE:
            self.uses.append(Use(device, where, "", text))

    def _bus_of(self, text: str) -> str:
        """Return the bus that a text begins with, by its name or its device file; empty when there is none."""
        if text in self._board.buses:
            return text
        return next((name for name, bus in self._board.buses.items() if text in bus.files), "")

    def _is_pin(self, text: str) -> bool:
        """Tell whether a text looks like a pin, a wrong one too."""
        header = text.partition(":")[0]
        named = re.fullmatch(r"((GPIO|BCM|BOARD|WPI)?|.+:)[0-9]+", text) is not None
        return text in self._board.pins or (named and (":" not in text or header in self._board.headers))


def part_of(device: Device, cls: type) -> str:
    """Return what to call a device, or a driver within it."""
    return f"{device.name!r} ({cls.__name__})"
