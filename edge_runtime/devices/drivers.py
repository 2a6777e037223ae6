"""Which class drives a declared device, and whether its arguments are right.

A driver is the name of a class that gpiozero exports (`Button`, `MCP3008`), or of a file in a `hardware` folder (see
`devices.driver`).
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from edge_runtime import plugin
from edge_runtime.app import Device
from edge_runtime.devices import nested, values
from edge_runtime.devices.constructors import Arguments, arguments
from edge_runtime.devices.nested import Where, dotted
from edge_runtime.errors import ConfigError

__all__ = ["Arguments", "Call", "Problem", "arguments", "call_for", "check", "find", "gpiozero_names", "problems"]

_INTERNAL = "it is a base; take CPUTemperature, DiskUsage, LoadAverage, PingServer or TimeOfDay"
_CONVERTER = "it is a base; take the converter by its name, as in MCP3008"
_BASES = {
    "AnalogInputDevice": _CONVERTER,
    "Device": "it is the base of all",
    "GPIODevice": "it is a base that sets no direction; take InputDevice or OutputDevice",
    "InternalDevice": _INTERNAL,
    "LEDCollection": "it is a base; take LEDBoard or LEDBarGraph",
    "PhaseEnableRobot": "it is no class; take Robot with left: {driver: PhaseEnableMotor, phase: 5, enable: 12}",
    "PolledInternalDevice": _INTERNAL,
    "SPI": _CONVERTER,
    "SPIDevice": _CONVERTER,
    "SmoothedInputDevice": "it is a base; take LineSensor, MotionSensor, LightSensor or DistanceSensor",
}
"""What gpiozero exports and nobody can wire, and what to take instead."""
_LEAST_PINS = {"LEDCharDisplay": 2}
_MOST_PINS = {"LEDCharDisplay": 26}


class Problem(NamedTuple):
    """One thing that is wrong with the arguments of a device."""

    where: Where
    """The argument, or the place in it: `("left", "forward")`; empty: the device as a whole."""
    text: str
    """What is wrong, to be put after `device 'rover' (Robot)`: ` needs the argument 'left'`, `: left (Motor) ...`."""
    hint: str
    is_unknown_key: bool = False


def gpiozero_names() -> list[str]:
    """Return the names of gpiozero's classes that can be a driver, sorted."""
    import gpiozero  # noqa: PLC0415 - 0.1 s and more: only where there are devices

    found = inspect.getmembers(gpiozero, lambda m: inspect.isclass(m) and issubclass(m, gpiozero.Device))
    return sorted(name for name, _ in found if name not in _BASES)


def find(spec: Device, extra: Path | None = None) -> Any:  # noqa: ANN401 - a class of a library without types
    """Return the class that drives `spec`. `extra` is the user's folder that may hold a `hardware` folder.

    Raises: ConfigError with the nearest name when there is none.
    """
    try:
        return _find(spec.driver, extra)
    except ConfigError as error:
        raise ConfigError(f"device {spec.name!r}: {error}", hint=error.hint) from error.__cause__


def _find(driver: str, extra: Path | None) -> Any:  # noqa: ANN401 - a class of a library without types
    import gpiozero  # noqa: PLC0415 - 0.1 s and more: only where there are devices

    known = gpiozero_names()
    if driver in known:
        return getattr(gpiozero, driver)
    own = plugin.names("hardware", extra)
    if driver in _BASES and driver not in own:
        raise ConfigError(f"{driver} of gpiozero is no driver", hint=_BASES[driver])
    if driver not in own:
        raise ConfigError(
            f"there is no driver {driver!r}{plugin.nearest(driver, [*known, *own])}",
            hint="a driver is a class of gpiozero such as Button, or a file in the folder hardware",
        )
    try:
        module = plugin.load("hardware", driver, extra)
    except Exception as error:
        raise ConfigError(
            f"the driver hardware/{driver}.py cannot be loaded: {error!r}",
            hint="install what it imports, or correct the file",
        ) from error
    return _class_of(module, driver)


def _class_of(module: ModuleType, driver: str) -> Any:  # noqa: ANN401 - a class of a library without types
    classes = [
        cls
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and not name.startswith("_") and hasattr(cls, "value")
    ]
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes) or "none"
        raise ConfigError(f"hardware/{driver}.py must define one public class with a `value`; found {names}")
    return classes[0]


def check(spec: Device, extra: Path | None = None) -> None:
    """Return if the driver of `spec` exists and takes its options. Opens nothing.

    Raises: ConfigError naming the device, the argument and the nearest one that exists.
    """
    for problem in problems(spec, extra):
        raise ConfigError(f"device {spec.name!r} ({spec.driver}){problem.text}", hint=problem.hint)


def problems(spec: Device, extra: Path | None = None) -> list[Problem]:
    """Return all that is wrong with the options of a device, also of devices within it. Opens nothing.

    Raises: ConfigError when there is no such driver.
    """
    return list(_Checked(find(spec, extra), spec.options, extra).problems())


@dataclass(frozen=True, slots=True)
class _Checked:
    """A device, or one within another, that is looked at."""

    cls: Any
    options: Mapping[str, object]
    extra: Path | None
    where: Where = ()
    about: str = ""
    """Where a device within another is, and what it is: `left (Motor)`."""

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong."""
        takes = arguments(self.cls)
        for name, value in self.options.items():
            if name == "bounce_time":
                text = ": 'bounce_time' loses real edges that come within its time"
                yield self._problem((name,), text, "leave it out and write `debounce: 20ms`, which loses none")
            elif name == takes.many:
                yield from self._many(name, value)
            elif name in takes.names:
                yield from self._one((name,), name, value, self._kind(takes, name), is_part=False)
            elif takes.open_ended and name != "pin_factory" and not name.startswith("_"):
                yield from self._named(name, value)
            else:
                text = f" takes no argument {name!r}{plugin.nearest(name, takes.allowed)}"
                problem = self._problem((name,), text, f"it takes: {', '.join(takes.allowed) or 'none'}")
                yield problem._replace(is_unknown_key=True)
        for name in takes.needed:
            if name not in self.options or (name in takes.theirs and self.options[name] is None):
                yield self._problem((), f" needs the argument {name!r}", f"it takes: {', '.join(takes.allowed)}")
        if takes.theirs:
            yield from self._together(takes)

    def _kind(self, takes: Arguments, name: str) -> values.Kind | None:
        """Return what an argument must be; None: anything."""
        if name not in takes.theirs:
            return values.kind_of_hint(takes.hints[name]) if name in takes.hints else None
        return values.kind_of(self.cls, name, self.options)

    def _one(
        self, where: Where, name: str, value: object, kind: values.Kind | None, *, is_part: bool
    ) -> Iterator[Problem]:
        """Yield what is wrong with a value, which may be a device."""
        takes = arguments(self.cls)
        place = nested.part_slot(takes.parts_of) if is_part else nested.slot(self.cls, name)
        device = nested.nested(value)
        if device is not None and (place is not None or (kind is None and name not in takes.theirs)):
            yield from self._inside(where, device, place)
            return
        if place is not None and not place.plain:
            kind = place.kind
        if name in takes.defaults and value == takes.defaults[name] and type(value) is type(takes.defaults[name]):
            return
        if kind is not None and not kind.fits(value):
            wrong = self._problem(
                where, f": {dotted(where)} may not be {values.shown(value)}", f"it must be {kind.words}"
            )
            yield wrong

    def _many(self, name: str, value: object) -> Iterator[Problem]:
        """Yield what is wrong with a list of pins."""
        if not isinstance(value, list | tuple):
            yield self._problem((name,), f": {name!r} must be a list", f"as in {name}: [5, 6, 13]")
            return
        for n, item in enumerate(value):
            yield from self._one((name, n), name, item, values.kind_of_many(name), is_part=True)

    def _named(self, name: str, value: object) -> Iterator[Problem]:
        """Yield what is wrong with a pin that has a name of one's choice."""
        if not name.isidentifier() or keyword.iskeyword(name) or hasattr(self.cls, name):
            text = f": {name!r} cannot be the name of a part"
            yield self._problem((name,), text, "choose another one, of letters, digits and _")
        else:
            yield from self._one((name,), name, value, values.PIN, is_part=True)

    def _inside(self, where: Where, device: nested.Nested, place: nested.Slot | None) -> Iterator[Problem]:
        """Yield what is wrong with a device within this one."""
        about = f"{dotted(where)} ({device.driver})"
        try:
            cls = _find(device.driver, self.extra)
        except ConfigError as error:
            yield self._problem((*where, "driver"), f": {dotted(where)}: {error}", error.hint)
            return
        if place is not None and not place.takes(cls):
            yield self._problem(
                (*where, "driver"), f": {about} does not belong there", f"it must be {place.kind.words}"
            )
            return
        inner = (*self.where, *where)
        about = f"{self.about}.{about}" if self.about else about
        yield from _Checked(cls, device.options, self.extra, inner, about).problems()

    def _together(self, takes: Arguments) -> Iterator[Problem]:
        """Yield what does not fit together in the arguments of a class of gpiozero's."""
        options = self.options
        names = {base.__name__ for base in self.cls.__mro__}
        if "active_state" in takes.names and "active_state" in takes.theirs:
            floats = "pull_up" in options and options["pull_up"] is None
            state = options.get("active_state")
            if floats and state is None:
                yield self._problem(
                    (), " needs the argument 'active_state' when pull_up is null", "true: active is high"
                )
            elif state is not None and not floats:
                text = ": active_state is for a pin that floats: pull_up says it already"
                yield self._problem(("active_state",), text, "leave it out, or write pull_up: null")
        if "yellow" in takes.theirs and (options.get("amber") is None) == (options.get("yellow") is None):
            yield self._problem((), " needs one of the arguments 'amber' and 'yellow'", "as in amber: 6")
        schemes = [[key for key in keys if key in options] for keys in (("port", "device"), values.SPI_PINS)]
        if "clock_pin" in takes.theirs and all(schemes):
            text = f": {schemes[0][0]!r} and {schemes[1][0]!r} cannot go together"
            yield self._problem((schemes[1][0],), text, "name a port and a device, or the pins")
        if takes.many in ("pins", "args"):
            given = options.get(takes.many, ())
            count = len(given) if isinstance(given, list | tuple) else 1
            count += sum(takes.open_ended and name not in takes.allowed for name in options)
            least = next((_LEAST_PINS[name] for name in names & _LEAST_PINS.keys()), 1)
            most = next((_MOST_PINS[name] for name in names & _MOST_PINS.keys()), count)
            if not least <= count <= most:
                bounds = f"{least} to {most}" if most != count else f"at least {least}"
                yield self._problem((), f" has {count} pins and needs {bounds}", f"as in {takes.many}: [5, 6, 13]")

    def _problem(self, where: Where, text: str, hint: str) -> Problem:
        return Problem((*self.where, *where), f": {self.about}{text}" if self.about else text, hint)


@dataclass(slots=True)
class Call:
    """The arguments of a constructor call."""

    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = field(default_factory=dict)


def call_for(spec: Device, takes: Arguments) -> Call:
    """Return the constructor's arguments for checked options. Devices within it are left as they are written.

    Raises: ConfigError when a value cannot be read.
    """
    options = {name: _converted(spec, takes, name, value) for name, value in spec.options.items()}
    many = options.pop(takes.many, ()) if takes.many else ()
    args = tuple(many) if isinstance(many, list | tuple) else ()
    if args:
        first = [name for name in takes.first if name in options]
        args = (*(options.pop(name) for name in first), *args)
    return Call(args, options)


def _converted(spec: Device, takes: Arguments, name: str, value: object) -> object:
    """Return a value as gpiozero wants it."""
    if name not in takes.theirs:
        return value
    if name in ("start_time", "end_time"):
        moment = values.clock_time(value)
        if moment is None:
            text = f"device {spec.name!r} ({spec.driver}): {name} {value!r} is no time of day"
            raise ConfigError(text, hint='write it as "08:00"')
        return moment
    if name == "mid_tone" and values.is_number(value):
        import gpiozero.tones  # noqa: PLC0415 - as above

        return gpiozero.tones.Tone.from_frequency(value)  # a number of Hz; else it might be one of MIDI
    if name == "font" and isinstance(value, Mapping):
        return {str(char): tuple(lit) for char, lit in value.items()}
    return value
