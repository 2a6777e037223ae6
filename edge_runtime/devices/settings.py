"""Setting an output to a value: what of a command goes to which part, checked before anything moves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edge_runtime import plugin
from edge_runtime.devices import parts, values
from edge_runtime.devices.values import Kind
from edge_runtime.errors import ConfigError

Plan = list[tuple[Any, Any]]
"""Outputs, and the value that each is to have."""


def plan(who: str, device: Any, command: object) -> Plan:  # noqa: ANN401 - an object without types
    """Return what setting a device to a value comes to.

    Raises: ConfigError when the device, or a part of it, does not take that. KeyError for a character that a display
    has no picture of.
    """
    import gpiozero  # noqa: PLC0415 - imported late

    if isinstance(device, gpiozero.LEDMultiCharDisplay):
        return [(device, _characters(who, device, command))]
    if isinstance(device, gpiozero.LEDCharDisplay):
        text = command if isinstance(command, str) else str(command) if values.is_number(command, whole=True) else ""
        return [(device, _known(who, device, text, command))]
    inner = {} if isinstance(device, gpiozero.LEDBarGraph) else parts.parts(device)
    if not inner:
        return [(device, _single(who, device, command))]
    if isinstance(command, Mapping):
        for name in command:
            if name not in inner or not parts.is_output(inner[name]):
                hint = f"its parts: {', '.join(parts.outputs(device))}"
                raise ConfigError(f"{who} has no part {values.shown(name)}{plugin.nearest(name, inner)}", hint=hint)
        chosen = [(inner[name], value) for name, value in command.items()]
    elif isinstance(command, list) and len(command) == len(inner):
        chosen = [(part, value) for part, value in zip(inner.values(), command, strict=True) if parts.is_output(part)]
    else:
        raise ConfigError(
            f"{who} has {len(inner)} parts and does not take {values.shown(command)}", hint=f"send {words(device)}"
        )
    return [step for part, value in chosen for step in plan(who, part, value)]


def carry_out(steps: Plan) -> None:
    """Do what was planned. Raises what the devices raise."""
    for device, value in steps:
        parts.put(device, value)


def takes_text(device: Any) -> bool:  # noqa: ANN401 - an object without types
    """Tell whether a text is a value of the device's: a display, or a driver of one's own that shows one."""
    import gpiozero  # noqa: PLC0415 - imported late

    if isinstance(device, gpiozero.LEDCharDisplay | gpiozero.LEDMultiCharDisplay):
        return True
    return _kind(device) is None and isinstance(device.value, str)


def words(device: Any) -> str:  # noqa: ANN401 - an object without types
    """Return what a device can be set to, for people."""
    import gpiozero  # noqa: PLC0415 - imported late

    if isinstance(device, gpiozero.LEDMultiCharDisplay):
        return f"a text of up to {len(device.plex)} characters"
    if isinstance(device, gpiozero.LEDCharDisplay):
        return f"one of the characters {''.join(device.font)!r}"
    inner = {} if isinstance(device, gpiozero.LEDBarGraph) else parts.parts(device)
    if inner:
        return f"a list of {len(inner)}, for {', '.join(inner)}"
    kind = _kind(device)
    return kind.words if kind is not None else "a value of its driver's"


def extras(device: Any) -> dict[str, Kind]:  # noqa: ANN401 - an object without types
    """Return what else a device can be set by: the name of a property, and what it must be."""
    import gpiozero  # noqa: PLC0415 - imported late

    if isinstance(device, gpiozero.AngularServo):
        ends = sorted((device.min_angle, device.max_angle))
        return {"angle": values.or_nothing(values.number(*ends))}
    return {}


def _kind(device: Any) -> Kind | None:  # noqa: ANN401 - an object without types
    """Return what the value of a single output of gpiozero's must be; None for one of another kind."""
    import gpiozero  # noqa: PLC0415 - imported late

    if isinstance(device, gpiozero.PWMOutputDevice):
        return values.UNIT
    if isinstance(device, gpiozero.OutputDevice | gpiozero.Energenie):
        return values.SWITCH
    if parts.rests(device):
        return values.or_nothing(values.AROUND)
    if isinstance(device, gpiozero.Motor | gpiozero.PhaseEnableMotor | gpiozero.LEDBarGraph):
        return values.AROUND
    return None


def _single(who: str, device: Any, command: object) -> Any:  # noqa: ANN401 - an object without types, any JSON
    kind = _kind(device)
    if kind is not None:
        number = int(command) if isinstance(command, bool) else command
        if not kind.fits(number):
            raise ConfigError(f"{who} does not take {values.shown(command)}", hint=f"send {kind.words}")
        return number
    now = device.value
    if isinstance(now, bool | int | float) and command is not None:
        if not isinstance(command, bool) and not values.is_number(command):
            raise ConfigError(f"{who} does not take {values.shown(command)}", hint="send true, false or a number")
    elif isinstance(now, tuple | list) and not (isinstance(command, list) and len(command) == len(now)):
        raise ConfigError(f"{who} does not take {values.shown(command)}", hint=f"send a list of {len(now)}")
    return command


def _characters(who: str, device: Any, command: object) -> Sequence[str]:  # noqa: ANN401 - an object without types
    """Return what each digit of a display of several is to show."""
    text = str(command) if values.is_number(command) else command
    has_point = "dp" in parts.parts(device.char)
    if isinstance(text, str):
        items: list[Any] = re.findall(r"[^.]\.?|\." if has_point else r".", text, re.DOTALL)
    else:
        items = text if isinstance(text, list) else [None]
    if len(items) > len(device.plex):
        raise ConfigError(f"{who} has {len(device.plex)} digits and does not take {values.shown(command)}")
    return [_known(who, device.char, item, command) for item in items]


def _known(who: str, char: Any, text: object, command: object) -> str:  # noqa: ANN401 - an object without types
    """Return a text if a display of one digit can show it."""
    font = char.font
    point = (
        text[:-1] if isinstance(text, str) and len(text) > 1 and text.endswith(".") and hasattr(char, "dp") else text
    )
    if not isinstance(text, str) or point not in font:
        raise ConfigError(f"{who} does not take {values.shown(command)}", hint=f"it shows: {' '.join(font)}")
    return text
