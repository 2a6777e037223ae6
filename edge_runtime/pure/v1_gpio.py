"""The Raspberry Pi GPIO connector of AWS IoT Greengrass V1: its parameters, its topics, what it takes and tells.

Source: AWS IoT Greengrass V1 developer guide, "Raspberry Pi GPIO connector".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.app import Device, Rule
from edge_runtime.errors import ConfigError
from edge_runtime.pure import v1_parameters as parameters

TARGET = "connector/gpio"
KEYS = ("InputGpios", "InputPollPeriod", "OutputGpios", "GpioMem-ResourceId")
_LEVELS: Mapping[bytes, int] = {b"0": 0, b"1": 1, b'"0"': 0, b'"1"': 1}
_MOST_PERIOD_MS = 60_000
_OPTIONS: Mapping[tuple[bool, str], Mapping[str, object]] = {
    (True, "H"): {"initial_value": True},
    (True, "L"): {"initial_value": False},
    (True, ""): {"initial_value": None},
    (False, "U"): {"pull_up": True},
    (False, "D"): {"pull_up": False},
    (False, ""): {"pull_up": None, "active_state": True},
}
"""The arguments of gpiozero's classes, by whether it is an output, and its mode."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin by its BCM number. `mode` is U or D for the pull of an input, H or L for how an output begins, or empty."""

    number: int
    is_output: bool
    mode: str

    @property
    def device(self) -> str:
        """The name of its device."""
        return f"gpio-{self.number}"

    def level(self, value: object) -> int:
        """Return the level of the pin for the value of its device: an input with a pull-up is active when low."""
        on = int(bool(value))
        return 1 - on if self.mode == "U" else on


def pins(given: Mapping[str, object]) -> dict[int, Pin]:
    """Return the pins by number. Raises: ConfigError that names the parameter."""
    parameters.known(given, KEYS)
    found: dict[int, Pin] = {}
    for key, modes, is_output in (("InputGpios", "UD", False), ("OutputGpios", "HL", True)):
        text = given.get(key, "")
        number = str(text) if isinstance(text, int) and not isinstance(text, bool) else text
        if not isinstance(number, str) or not re.fullmatch(
            rf"([0-9]+[{modes}]?(,[0-9]+[{modes}]?)*)?", number, re.ASCII
        ):
            example = "8H,9,27L" if is_output else "5,6U,7D"
            raise ConfigError(f"{key} {text!r} is no list of pins", hint=f'write it as in {key}: "{example}"')
        for one in filter(None, number.split(",")):
            pin = Pin(int(one.rstrip(modes)), is_output, one.lstrip("0123456789"))
            if pin.number in found:
                raise ConfigError(
                    f"{key}: GPIO {pin.number} is there twice", hint="a pin is an input or an output, once"
                )
            found[pin.number] = pin
    period_ms(given)
    if not found:
        raise ConfigError("neither InputGpios nor OutputGpios names a pin", hint='write InputGpios: "5,6U,7D"')
    return found


def period_ms(given: Mapping[str, object]) -> int | None:
    """Return the polling period. Raises: ConfigError."""
    return parameters.whole(given, "InputPollPeriod", 1, _MOST_PERIOD_MS)


def devices(given: Mapping[str, object]) -> tuple[Device, ...]:
    """Return the devices that drive the pins. Nothing is polled: a level counts when it was steady for the period."""
    period = period_ms(given)
    debounce_s = Device("", "").debounce_s if period is None else period / 1000
    found = []
    for pin in pins(given).values():
        options: dict[str, object] = {"pin": pin.number, **_OPTIONS[pin.is_output, pin.mode]}
        if pin.is_output:
            found.append(Device(pin.device, "OutputDevice", options))
        else:
            found.append(Device(pin.device, "DigitalInputDevice", options, debounce_s=debounce_s))
    return tuple(found)


def rules(given: Mapping[str, object], thing: str) -> tuple[Rule, ...]:
    """Return which events the connector takes, and by which its outputs are commanded."""
    found = [Rule(f"gpio/{thing}/+/{verb}", (TARGET,)) for verb in ("read", "write")]
    for pin in pins(given).values():
        if pin.is_output:
            found += [
                Rule(f"device/{pin.device}/set", (f"device/{pin.device}",)),
                Rule(f"device/{pin.device}", (TARGET,)),
            ]
        else:
            found += [Rule(f"device/{pin.device}/{event}", (TARGET,)) for event in ("active", "inactive")]
    return tuple(found)


def state_topic(thing: str, number: int) -> str:
    """Return where the level of a pin is told."""
    return f"gpio/{thing}/{number}/state"


def level_wanted(payload: bytes) -> int | None:
    """Return the level that a write request asks for; None when it is malformed."""
    return _LEVELS.get(payload.strip())


def pin_of(topic: str) -> tuple[str, str]:
    """Return the pin and the verb of a request, as they are written."""
    *_, pin, verb = topic.split("/")
    return pin, verb


def failure(thing: str, topic: str, description: str) -> tuple[str, bytes]:
    """Return topic and payload that tell of a request that cannot be done."""
    told = {"topic": topic, "error": "Invalid GPIO operation", "long_description": description}
    return f"gpio/{thing}/error", json.dumps(told).encode()
