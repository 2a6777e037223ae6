"""Which class drives a declared device, and which arguments it takes.

A driver is the name of a class that gpiozero exports (`Button`, `MCP3008`), or of a file in a `hardware` folder.
Such a file defines one public class; its instances have a `value` and, best, a `close`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from types import ModuleType
from typing import Any

from edge_runtime import plugin
from edge_runtime.app import Device
from edge_runtime.errors import ConfigError

# Bases, and what can only be made from other device objects.
_NO_DRIVERS = frozenset({
    "AnalogInputDevice",
    "CompositeDevice",
    "CompositeOutputDevice",
    "Device",
    "GPIODevice",
    "InternalDevice",
    "LEDCollection",
    "LEDMultiCharDisplay",
    "PolledInternalDevice",
    "Robot",
    "SPI",
    "SPIDevice",
    "SmoothedInputDevice",
    "TrafficLightsBuzzer",
})  # fmt: skip
_SPI = ("port", "device", "clock_pin", "mosi_pin", "miso_pin", "select_pin")
# gpiozero gives these a default of None and then refuses it.
_ALWAYS_NEEDED = frozenset({"pin", "echo", "trigger"})


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a driver's constructor takes."""

    names: tuple[str, ...]
    needed: tuple[str, ...]
    many: str = ""
    """The name of its `*pins`, given as a list; empty: it has none."""
    open_ended: bool = False
    """True when any further name is a pin (`LEDBoard(red=5)`)."""
    takes_factory: bool = False


def gpiozero_names() -> list[str]:
    """Return the names of gpiozero's classes that can be a driver, sorted."""
    import gpiozero  # noqa: PLC0415 - 0.1 s and more: only where there are devices

    found = inspect.getmembers(gpiozero, lambda m: inspect.isclass(m) and issubclass(m, gpiozero.Device))
    return sorted(name for name, _ in found if name not in _NO_DRIVERS)


def find(spec: Device, extra: Path | None = None) -> Any:  # noqa: ANN401 - a class of a library without types
    """Return the class that drives `spec`. `extra` is the user's folder that may hold a `hardware` folder.

    Raises: ConfigError with the nearest name when there is none.
    """
    import gpiozero  # noqa: PLC0415 - 0.1 s and more: only where there are devices

    known = gpiozero_names()
    if spec.driver in known:
        return getattr(gpiozero, spec.driver)
    own = plugin.names("hardware", extra)
    if spec.driver not in own:
        raise ConfigError(
            f"device {spec.name!r}: there is no driver {spec.driver!r}{plugin.nearest(spec.driver, [*known, *own])}",
            hint="a driver is a class of gpiozero such as Button, or a file in the folder hardware",
        )
    try:
        module = plugin.load("hardware", spec.driver, extra)
    except Exception as error:
        raise ConfigError(
            f"device {spec.name!r}: the driver hardware/{spec.driver}.py cannot be loaded: {error!r}",
            hint="install what it imports, or correct the file",
        ) from error
    return _class_of(module, spec)


def _class_of(module: ModuleType, spec: Device) -> Any:  # noqa: ANN401 - a class of a library without types
    classes = [
        cls
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and not name.startswith("_") and hasattr(cls, "value")
    ]
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes) or "none"
        raise ConfigError(
            f"device {spec.name!r}: hardware/{spec.driver}.py must define one public class with a `value`; "
            f"found {names}"
        )
    return classes[0]


def arguments(cls: type) -> Arguments:
    """Return what the constructor of a driver class takes."""
    names: dict[str, bool] = {}  # name -> needed
    many, open_ended = "", False
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        forwards = ""
        # The metaclass of gpiozero hides the signature of the class itself.
        for parameter in list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]:
            if parameter.kind is parameter.VAR_POSITIONAL:
                many = many or parameter.name
            elif parameter.kind is parameter.VAR_KEYWORD:
                forwards = parameter.name
            elif parameter.name not in names:
                missing = parameter.default is parameter.empty
                names[parameter.name] = missing or (parameter.default is None and parameter.name in _ALWAYS_NEEDED)
        if forwards == "spi_args":
            names |= dict.fromkeys(_SPI, False)
        open_ended = open_ended or forwards == "named_pins"
        if not forwards or forwards in ("spi_args", "named_pins"):
            break
    takes_factory = names.pop("pin_factory", None) is not None or "clock_pin" in names
    public = [name for name in names if not name.startswith("_")]
    return Arguments(tuple(public), tuple(n for n in public if names[n]), many, open_ended, takes_factory)


def check(spec: Device, extra: Path | None = None) -> None:
    """Return if the driver of `spec` exists and takes its options. Opens nothing.

    Raises: ConfigError naming the device, the argument and the nearest one that exists.
    """
    cls = find(spec, extra)
    takes = arguments(cls)
    who = f"device {spec.name!r} ({spec.driver})"
    if "bounce_time" in spec.options:
        raise ConfigError(
            f"{who}: 'bounce_time' loses real edges that come within its time",
            hint="leave it out and write `debounce: 20ms`, which loses none",
        )
    allowed = [*takes.names, takes.many] if takes.many else list(takes.names)
    for name in spec.options:
        if name not in allowed and (not takes.open_ended or name == "pin_factory" or name.startswith("_")):
            raise ConfigError(
                f"{who} takes no argument {name!r}{plugin.nearest(name, allowed)}",
                hint=f"it takes: {', '.join(n for n in allowed if n != 'bounce_time') or 'none'}",
            )
    for name in takes.needed:
        if name not in spec.options:
            raise ConfigError(f"{who} needs the argument {name!r}", hint=f"it takes: {', '.join(allowed)}")
    if takes.many and not isinstance(spec.options.get(takes.many, []), list | tuple):
        raise ConfigError(f"{who}: {takes.many!r} must be a list", hint=f"as in {takes.many}: [5, 6, 13]")


@dataclass(slots=True)
class Call:
    """The arguments of a constructor call."""

    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = field(default_factory=dict)


def call_for(spec: Device, takes: Arguments) -> Call:
    """Return the constructor's arguments for checked options.

    Raises: ConfigError when a value cannot be read.
    """
    options: Mapping[str, object] = spec.options
    if spec.driver == "TimeOfDay":
        options = {name: _clock_time(spec, name, v) if name.endswith("_time") else v for name, v in options.items()}
    many = options.get(takes.many, ()) if takes.many else ()
    args = tuple(many) if isinstance(many, list | tuple) else ()
    return Call(args, {name: value for name, value in options.items() if not takes.many or name != takes.many})


def _clock_time(spec: Device, name: str, value: object) -> time:
    """Read `08:00`. YAML reads an unquoted `18:30` as the number 18 * 60 + 30 and `18:30:00` as seconds."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            seconds = value * 60 if value < 24 * 60 else value
            return time(seconds // 3600, seconds // 60 % 60, seconds % 60)
        return time.fromisoformat(str(value))
    except ValueError:
        raise ConfigError(
            f"device {spec.name!r} ({spec.driver}): {name} {value!r} is no time of day", hint='write it as "08:00"'
        ) from None
