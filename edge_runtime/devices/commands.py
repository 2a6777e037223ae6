"""Commands to output devices: what is published on `device/<name>/set`."""

from __future__ import annotations

import json
import math
from typing import Any

from edge_runtime.devices.opening import OpenDevice
from edge_runtime.errors import ConfigError, EdgeError

_WORDS = ("on", "off", "toggle")
_MOST_SHOWN = 80


def apply(opened: OpenDevice, payload: bytes) -> Any:  # noqa: ANN401 - whatever the driver's value is
    """Carry out one command and return the value that the device has then.

    `payload` is `on`, `off`, `toggle`, `true`, `false`, `null`, a number, a list of numbers (one for each part of an
    RGBLED or LEDBoard), a text for a display, or `{"value": ...}` with one of these. A number is in the scale of the
    driver's `value`: 0 to 1 for a PWMLED, -1 to 1 for a Servo or Motor. `null` lets a Servo or TonalBuzzer go quiet.

    Raises: ConfigError when the command is malformed or not one of this device; EdgeError when the device fails.
    """
    who = f"device {opened.name!r} ({opened.spec.driver})"
    if not opened.is_output:
        raise ConfigError(f"{who} is an input and takes no commands")
    command = _read(who, payload)
    try:
        if isinstance(command, str) and command in _WORDS:
            _say(who, opened.device, command)
        else:
            _set(who, opened.device, command)
        value = opened.device.value
    except EdgeError:
        raise
    except (ValueError, TypeError, LookupError) as error:
        raise ConfigError(f"{who} does not take {command!r}: {error}") from error
    except Exception as error:
        raise EdgeError(f"{who} failed at the command {command!r}: {str(error) or type(error).__name__}") from error
    return value


def _read(who: str, payload: bytes) -> Any:  # noqa: ANN401 - any JSON
    shown = payload[:_MOST_SHOWN].decode(errors="replace")
    text = payload.decode(errors="replace").strip()
    if text in _WORDS:
        return text
    try:
        command = json.loads(text)
    except (ValueError, RecursionError):
        command = {}
    if isinstance(command, dict) and set(command) == {"value"}:
        command = command["value"]
    if isinstance(command, dict):
        raise ConfigError(
            f"{who} cannot read the command {shown!r}", hint='send on, off, toggle, true, a number or {"value": 0.5}'
        )
    return command


def _say(who: str, device: Any, word: str) -> None:  # noqa: ANN401 - an object without types
    method = getattr(device, word, None)
    if method is None:
        known = [w for w in _WORDS if hasattr(device, w)]
        raise ConfigError(f"{who} knows no {word!r}", hint=f"send {', '.join([*known, 'a value'])}")
    method()


def _set(who: str, device: Any, command: Any) -> None:  # noqa: ANN401 - an object without types, any JSON
    now = device.value
    if isinstance(now, tuple):
        if not isinstance(command, list) or len(command) != len(now):
            raise ConfigError(
                f"{who} has {len(now)} parts and does not take {command!r}", hint="send a list of numbers"
            )
        device.value = tuple(tuple(part) if isinstance(part, list) else _number(who, part) for part in command)
    elif isinstance(now, str):
        device.value = str(command)
    elif command is None:
        if not (hasattr(device, "detach") or hasattr(device, "stop")) or hasattr(device, "forward"):
            raise ConfigError(f"{who} does not take null")
        device.value = None
    else:
        device.value = _number(who, command)


def _number(who: str, command: Any) -> float:  # noqa: ANN401 - any JSON
    if not isinstance(command, int | float) or not math.isfinite(command):
        raise ConfigError(f"{who} does not take {command!r}", hint="send on, off, toggle, true, false or a number")
    return command
