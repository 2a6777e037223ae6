"""Wiring maps of boards: a file `hardware/boards/NAME.toml` says where each pin is and what it can do.

A file of one's own may be `like` another and say only what differs. All its keys:

    title = "Orange Pi Zero"             # for people
    like = "generic"                     # begin with what that board says
    compatible = ["xunlong,orangepi-zero"]     # from /proc/device-tree/compatible: how it is recognised
    models = ["Xunlong Orange Pi Zero"]  # or how /proc/device-tree/model begins
    chips = ["1c20800.pinctrl"]          # labels of its gpiochips, as `gpiodetect` shows them
    volts = 3.3                          # of its pins
    factories = ["gpiod"]                # what can drive them, the best first: lgpio, rpigpio, native, gpiod
    header = "CON1"                      # BOARD7 is pin 7 of this one
    pulled_up = ["PA12"]                 # pins with a resistor to the supply
    kept = ["PA4"]                       # pins that work and are never suggested
    refused = { lgpio = "why not" }
    headers.CON1 = ["3V3", "5V", "PA12"] # pin 1, 2, 3: a name, or 3V3, 5V, 1V8, GND, NC
    lines = { PA12 = 12 }                # which line of the chip a pin is, where the kernel does not name it so
    buses.I2C0 = { files = ["/dev/i2c-0"], lines = { SDA = "PA12", SCL = "PA11" } }
    functions = { PA6 = ["PWM1"] }
    names = { WPI0 = "PA6" }             # further names of pins

A board without `headers` takes any line, by its offset or its name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime import plugin
from edge_runtime.devices import _board_file as board_file
from edge_runtime.errors import ConfigError, NotFoundError

NOT_SIGNALS = {"3V3": "3.3 V power", "5V": "5 V power", "1V8": "1.8 V power", "GND": "ground", "NC": "not connected"}
"""What a pin of a header may be that is none of the processor's."""
COMMON = "_raspberry-pi"
"""What an app is checked against that names no board, on a machine that is none."""
_DEEPEST = 4
_TREE = Path("proc/device-tree")
_MOST_NAME = 1000
"""More than the length of a name that a machine has."""


@dataclass(frozen=True, slots=True)
class Bus:
    """A bus: the device files that lead to it, and the pins of its lines by their role (`SDA`)."""

    files: tuple[str, ...] = ()
    lines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Board:
    """What is known of a board. `name` is that of its file."""

    name: str
    title: str = ""
    volts: float = 3.3
    compatible: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    factories: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    header: str = ""
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pulled_up: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    lines: Mapping[str, str | int] = field(default_factory=dict)
    buses: Mapping[str, Bus] = field(default_factory=dict)
    functions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def pins(self) -> tuple[str, ...]:
        """The pins of its headers in the order of their numbers (GPIO2 before GPIO10). Empty: it takes any line."""
        found = {pin for header in self.headers.values() for pin in header if pin not in NOT_SIGNALS}
        return tuple(sorted(found, key=_in_order))

    def place(self, pin: str) -> str:
        """Return where a pin is, for people: `pin 11`, `J2 pin 3` off the main header, or an empty text."""
        for name, header in self.headers.items():
            if pin in header:
                number = header.index(pin) + 1
                return f"pin {number}" if name == self.header else f"{name} pin {number}"
        return ""

    def roles(self, pin: str) -> list[str]:
        """Return what a pin can do beside being an input or an output: `I2C1 SDA`, `PWM0`."""
        of_buses = [f"{name} {role}" for name, bus in self.buses.items() for role, at in bus.lines.items() if at == pin]
        return [*of_buses, *self.functions.get(pin, ())]

    def resolve(self, name: object) -> str:
        """Return the pin that a name means: 17, "GPIO17", "BCM17", "17", "BOARD11", "J8:11" or "WPI0".

        Raises: ConfigError that says why there is no such pin, or why it cannot be used.
        """
        if isinstance(name, bool) or not isinstance(name, int | str) or name == "":
            raise ConfigError(f"{name!r} is no name of a pin", hint="write its number or its name, as in 17 or GPIO17")
        if not self.headers:
            return str(name)
        found = self._find(str(name))
        if found in NOT_SIGNALS:
            raise ConfigError(f"{name} is {NOT_SIGNALS[found]} ({found})")
        return found

    def _find(self, name: str) -> str:
        pins = self.pins
        for known in (name, f"GPIO{name}", name.replace("BCM", "GPIO", 1), self.names.get(name, "")):
            if known in pins:
                return known
        header, _, number = name.rpartition(":")
        if name.startswith("BOARD"):
            header, number = self.header, name.removeprefix("BOARD")
        if header in self.headers and re.fullmatch("[1-9][0-9]{0,3}", number):
            row = self.headers[header]
            if int(number) > len(row):
                raise ConfigError(f"{name} is none of the {len(row)} pins of the header {header} of {self.title}")
            return row[int(number) - 1]
        near = plugin.nearest(name, [*pins, *self.names]) if not name.isdigit() else ""
        raise ConfigError(f"{name} is no pin of {self.title}{near}", hint=f"its pins: {listed(pins)}")


def _in_order(pin: str) -> list[tuple[str, int]]:
    return [(text, int(number or 0)) for text, number in re.findall("([^0-9]*)([0-9]*)", pin)]


def listed(pins: Iterable[str]) -> str:
    """Return the names of pins for a sentence, with runs put together: `GPIO0 to GPIO27`."""
    runs: list[list[str]] = []
    for pin in pins:
        stem, number = re.fullmatch("(.*?)([0-9]*)", pin, re.DOTALL).groups()  # type: ignore[union-attr]  # matches all
        before = runs[-1][-1] if runs else ""
        if number and before == f"{stem}{int(number) - 1}":
            runs[-1].append(pin)
        else:
            runs.append([pin])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def names(extra: Path | None = None) -> list[str]:
    """Return the names of all boards; `extra` is the user's folder that may hold a `hardware` folder."""
    found = {file.stem for folder in plugin.folders("hardware", extra) for file in folder.glob("boards/*.toml")}
    return sorted(name for name in found if not name.startswith("_"))


def load(name: str, extra: Path | None = None) -> Board:
    """Return the board of a name.

    Raises: NotFoundError with the nearest name when there is none; ConfigError when its file is wrong.
    """
    return _board(name, _keys(name, extra, ()))


def _board(name: str, keys: Mapping[str, Any]) -> Board:
    buses = {bus: Bus(tuple(of.get("files", ())), of.get("lines", {})) for bus, of in keys.get("buses", {}).items()}
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in keys.items() if key != "like"
    }
    for key in ("headers", "functions"):
        plain[key] = {name: tuple(pins) for name, pins in keys.get(key, {}).items()}
    plain |= {"title": keys.get("title", name), "name": name, "buses": buses}
    return Board(**plain)


def _keys(name: str, extra: Path | None, above: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys of a board file, laid over those of the board that it is like."""
    path = _path(name, extra, above)
    read = _read(path)
    like = read.get("like")
    if like is not None:
        if like in (*above, name) or len(above) >= _DEEPEST:
            raise ConfigError(f"the board file {path}: like: {like!r} leads round in a circle, or too far")
        base = _keys(like, extra, (*above, name))
        # What a family is recognised by is not what this one is: each board says that by itself.
        base = {key: value for key, value in base.items() if key not in ("compatible", "models")}
        read = _over(base, read)
    board_file.check_sense(path, read)
    return read


def _over(base: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys laid over others, tables key by key."""
    tables = {key: _over(base[key], keys[key]) for key in keys if isinstance(keys[key], dict) and key in base}
    return {**base, **keys, **tables}


def _read(path: Path) -> dict[str, Any]:
    """Return the keys that stand in a board file itself. Raises: ConfigError."""
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the board file {path} is no TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"the board file {path} cannot be read: {error.strerror}") from error
    board_file.check_shape(path, read)
    return read


def _path(name: str, extra: Path | None, above: tuple[str, ...]) -> Path:
    for folder in plugin.folders("hardware", extra):
        path = folder / "boards" / f"{name}.toml"
        if re.fullmatch(r"[A-Za-z0-9._-]+", name) and path.is_file():
            return path
    known = names(extra)
    by = f", which {above[-1]!r} is like" if above else ""
    raise NotFoundError(
        f"there is no board {name!r}{by}{plugin.nearest(name, known)}", hint=f"known: {', '.join(known)}"
    )


def detect(root: Path = Path("/"), extra: Path | None = None) -> Board | None:
    """Return the board that this machine is; None when no board file knows it. `root` is where `proc` is.

    Raises: ConfigError when a board file of the user's is wrong.
    """
    kinds, called = _strings(root / _TREE / "compatible"), model(root)
    if not kinds and not called:
        return None  # no such tree: no file needs to be read
    fits: list[tuple[int, str]] = []
    for name in names(extra):
        keys = _read(_path(name, extra, ()))
        # The kinds of a tree go from the most special to the most common, and all come before the name.
        fits += [
            (_MOST_NAME + len(kinds) - n, name) for n, kind in enumerate(kinds) if kind in keys.get("compatible", ())
        ]
        fits += [(len(start), name) for start in keys.get("models", ()) if called.startswith(start)]
    if fits:
        return load(max(fits)[1], extra)
    # A Pi that has no file yet, or one whose header of 26 pins is a part of the common one.
    return load(COMMON, extra) if called.startswith("Raspberry Pi") else None


def model(root: Path = Path("/")) -> str:
    """Return what the machine calls itself in its device tree, or an empty text."""
    return "".join(_strings(root / _TREE / "model")[:1])


def _strings(path: Path) -> list[str]:
    try:
        return [text for text in path.read_bytes().decode(errors="replace").split("\0") if text]
    except OSError:
        return []  # no device tree on this machine
