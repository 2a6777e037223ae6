"""Devices within a device: `left: {driver: Motor, forward: 4, backward: 14}` of a Robot.

A mapping with the key `driver` is a device wherever an argument may be one; its other keys are that driver's arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime.devices.values import Kind

Where = tuple[str | int, ...]
"""The keys and indexes that lead to a value, from the device."""

_MOTOR = ("Motor", "PhaseEnableMotor")
_BY_ARGUMENT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "LEDMultiCharDisplay": {"char": ("LEDCharDisplay",)},
    "Robot": {"left": _MOTOR, "right": _MOTOR},
    "TrafficLightsBuzzer": dict.fromkeys(("lights", "buzzer", "button"), ("Device",)),
}
_BY_PART: Mapping[str, tuple[str, ...]] = {"CompositeDevice": ("Device",), "LEDBoard": ("LEDCollection",)}
_EXAMPLE = "{driver: LED, pin: 5}"
_EXAMPLES = {
    "Motor": "{driver: Motor, forward: 4, backward: 14}",
    "LEDCharDisplay": "{driver: LEDCharDisplay, pins: [5, 6, 13, 19, 26, 16, 20]}",
    "LEDCollection": "{driver: LEDBoard, pins: [5, 6]}",
}


@dataclass(frozen=True, slots=True)
class Nested:
    """A device that is written as an argument of another."""

    driver: str
    options: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a device: what gpiozero wants there, and whether a plain value, a pin, will do too."""

    classes: tuple[str, ...]
    """Names of classes of gpiozero, any of which it must be of."""
    plain: bool = False

    @property
    def kind(self) -> Kind:
        """What a value must be that is no device, for the words."""
        names = "device" if "Device" in self.classes else " or ".join(self.classes)
        example = _EXAMPLES.get(self.classes[0], _EXAMPLE)
        return Kind(f"a {names}, as in {example}", lambda _: False)

    def takes(self, cls: type) -> bool:
        """Tell whether a device of a class may stand here."""
        return any(base.__name__ in self.classes and base.__module__.startswith("gpiozero.") for base in cls.__mro__)


def nested(value: object) -> Nested | None:
    """Return the device that a value describes; None when it is none."""
    if not isinstance(value, Mapping) or "driver" not in value:
        return None
    return Nested(str(value["driver"]), {str(key): item for key, item in value.items() if key != "driver"})


def slot(cls: type, name: str) -> Slot | None:
    """Return what device an argument of a class must be; None: none."""
    for base in cls.__mro__:
        if name in _BY_ARGUMENT.get(base.__name__, {}):
            return Slot(_BY_ARGUMENT[base.__name__][name])
    return None


def part_slot(parts_of: str) -> Slot | None:
    """Return what device a part of a board may be, by `Arguments.parts_of`; None: none."""
    return Slot(_BY_PART[parts_of], plain=parts_of == "LEDBoard") if parts_of in _BY_PART else None


def inside(options: Mapping[str, object]) -> Iterator[tuple[Where, Nested]]:
    """Yield the devices right within the options of one, with their places."""
    for key, value in options.items():
        for where, item in [((key,), value), *(((key, n), v) for n, v in _items(value))]:
            found = nested(item)
            if found is not None:
                yield where, found


def replaced(options: Mapping[str, object], make: Callable[[Where, Nested], Any]) -> dict[str, object]:
    """Return the options with each device within them made."""

    def one(where: Where, value: object) -> object:
        found = nested(value)
        return value if found is None else make(where, found)

    return {
        key: [one((key, n), item) for n, item in _items(value)]
        if isinstance(value, list | tuple)
        else one((key,), value)
        for key, value in options.items()
    }


def dotted(where: Where) -> str:
    """Return a place as text: `left`, `pins[1]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in where).removeprefix(".")


def _items(value: object) -> list[tuple[int, object]]:
    return list(enumerate(value)) if isinstance(value, list | tuple) else []
