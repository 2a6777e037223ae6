"""How the world plays on simulated devices: what drives the pins of each kind of input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpiozero import (
    MCP3001,
    MCP3201,
    MCP3301,
    MCP3302,
    MCP3304,
    AnalogInputDevice,
    Device,
    InputDevice,
    RotaryEncoder,
    SmoothedInputDevice,
)

from edge_runtime import plugin
from edge_runtime.devices import parts
from edge_runtime.errors import ConfigError

_SHIFTS = {MCP3001: 3, MCP3201: 1}
"""Where these put the reading in the two bytes they send (their data sheets): the others at the right end."""
_CLOCKWISE = ((1, None), (None, 1), (0, None), (None, 0))
"""What a rotary encoder does to its pins (a, b) in one step."""
_MOST_STEPS = 10_000


def play(name: str, device: Any, value: Any) -> None:  # noqa: ANN401 - an object without types, whatever it measures
    """Make a simulated device, of that name, measure a value.

    Raises: ConfigError, whose words go after the name of the device, when it measures nothing; whatever its `simulate`
    raises, or ValueError and the like for a value that it cannot measure.
    """
    if hasattr(device, "simulate"):
        device.simulate(value)
    elif isinstance(device, AnalogInputDevice):
        _convert(device, value)
    elif isinstance(device, RotaryEncoder):
        _rotate(device, value)
    elif isinstance(device, InputDevice):
        _drive(device, active=_is_active(device, value))
    elif _has_inputs(device):
        _board(name, device, value)
    elif isinstance(device, Device):
        raise ConfigError("measures nothing", hint=f"command it on the topic device/{name}/set")
    else:
        raise ConfigError("cannot be set: what its `simulated` returns has no method `simulate(value)`")


def _board(name: str, device: Any, value: Any) -> None:  # noqa: ANN401 - as above
    """Set the inputs of a board: by name, or by a list with an item for each part; those of outputs do not count."""
    inner = parts.parts(device)
    inputs = {key: part for key, part in inner.items() if _has_inputs(part)}
    if isinstance(value, Mapping):
        for key in value:
            if key not in inputs:
                raise ConfigError(
                    f"has no input {key!r}{plugin.nearest(str(key), inputs)}",
                    hint=f"its inputs: {', '.join(inputs) or 'none'}",
                )
        chosen = [(inputs[key], level) for key, level in value.items()]
    elif isinstance(value, list | tuple) and len(value) == len(inner):
        chosen = [(part, level) for (key, part), level in zip(inner.items(), value, strict=True) if key in inputs]
    else:
        raise ValueError(f"it takes a list of {len(inner)}, or a mapping of {', '.join(inputs) or 'no inputs'}")
    for part, level in chosen:
        play(name, part, level)


def _has_inputs(device: Any) -> bool:  # noqa: ANN401 - an object without types
    if hasattr(device, "simulate") or isinstance(device, InputDevice | AnalogInputDevice | RotaryEncoder):
        return True
    return any(_has_inputs(part) for part in parts.parts(device).values())


def in_range(value: Any, least: float, most: float) -> float:  # noqa: ANN401 - any value
    """Return a value as a number. Raises: ValueError, TypeError or OverflowError when it is none within bounds."""
    number = float(value)
    if not least <= number <= most:
        raise ValueError(f"it measures from {least:g} to {most:g}")
    return number


def _is_active(device: Any, value: Any) -> bool:  # noqa: ANN401 - objects without types, any value
    """Tell whether a value means that a digital input is active; one that is smoothed measures what lies between."""
    number = in_range(value, 0, 1)
    if isinstance(device, SmoothedInputDevice):
        return bool(number > device.threshold)
    if number not in (0, 1):
        raise ValueError("it is 0 or 1")
    return number == 1


def _drive(device: Any, *, active: bool) -> None:  # noqa: ANN401 - an object without types
    if active == device._active_state:  # noqa: SLF001 - pull_up does not tell it of a pin that floats
        device.pin.drive_high()
    else:
        device.pin.drive_low()


def _convert(device: Any, value: Any) -> None:  # noqa: ANN401 - an object without types, any value
    signed = isinstance(device, MCP3301 | MCP3302 | MCP3304) and device.differential
    number = in_range(value, -1 if signed else 0, 1)
    # The inverse of AnalogInputDevice.value.
    raw = round((number + 1) / 2 * (2 ** (device.bits + 1) - 1) - 2**device.bits)
    shift = next((bits for cls, bits in _SHIFTS.items() if isinstance(device, cls)), 0)
    device._spi.word = (raw << shift) & 0x1FFF  # noqa: SLF001 - the far end of its bus, a Converter


def _rotate(device: Any, value: Any) -> None:  # noqa: ANN401 - an object without types, any value
    """Turn an encoder until its value is that. One without `max_steps` is set in steps from where it stands at 0."""
    most = 1 if device.max_steps else _MOST_STEPS
    steps = round(in_range(value, -most, most) * (device.max_steps or 1)) - device.steps
    for _ in range(abs(steps)):
        for a, b in _CLOCKWISE if steps > 0 else ((y, x) for x, y in _CLOCKWISE):
            pin, level = (device.a.pin, a) if a is not None else (device.b.pin, b)
            # Pulled up: a closed contact is low.
            if level:
                pin.drive_low()
            else:
                pin.drive_high()
