"""The GPIO connector of V1: parameters, devices, rules."""

from __future__ import annotations

import json

import pytest

from edge_runtime.app import Device, Rule
from edge_runtime.errors import ConfigError
from edge_runtime.pure import v1_gpio

GIVEN = {"GpioMem-ResourceId": "mem", "InputGpios": "5,6U,7D", "InputPollPeriod": 50, "OutputGpios": "8H,9,27L"}


def test_pins_become_devices() -> None:
    assert v1_gpio.devices(GIVEN) == (
        Device("gpio-5", "DigitalInputDevice", {"pin": 5, "pull_up": None, "active_state": True}, debounce_s=0.05),
        Device("gpio-6", "DigitalInputDevice", {"pin": 6, "pull_up": True}, debounce_s=0.05),
        Device("gpio-7", "DigitalInputDevice", {"pin": 7, "pull_up": False}, debounce_s=0.05),
        Device("gpio-8", "OutputDevice", {"pin": 8, "initial_value": True}),
        Device("gpio-9", "OutputDevice", {"pin": 9, "initial_value": None}),
        Device("gpio-27", "OutputDevice", {"pin": 27, "initial_value": False}),
    )
    assert v1_gpio.devices({"InputGpios": 5})[0].debounce_s == 0.02


def test_what_it_takes() -> None:
    assert v1_gpio.rules({"InputGpios": "5", "OutputGpios": "8"}, "pi-7") == (
        Rule("gpio/pi-7/+/read", ("connector/gpio",)),
        Rule("gpio/pi-7/+/write", ("connector/gpio",)),
        Rule("device/gpio-5/active", ("connector/gpio",)),
        Rule("device/gpio-5/inactive", ("connector/gpio",)),
        Rule("device/gpio-8/set", ("device/gpio-8",)),
        Rule("device/gpio-8", ("connector/gpio",)),
    )


def test_levels() -> None:
    pins = v1_gpio.pins(GIVEN)
    assert [(pins[n].level(0), pins[n].level(1)) for n in (5, 6, 7, 8)] == [(0, 1), (1, 0), (0, 1), (0, 1)]
    asked = [v1_gpio.level_wanted(p) for p in (b"0", b"1\n", b'"0"', b'"1"', b"2", b"on", b"", b"true")]
    assert asked == [0, 1, 0, 1, None, None, None, None]


def test_a_failure() -> None:
    topic, payload = v1_gpio.failure("pi-7", "gpio/pi-7/22/write", "why")
    assert topic == "gpio/pi-7/error"
    assert json.loads(payload) == {
        "topic": "gpio/pi-7/22/write",
        "error": "Invalid GPIO operation",
        "long_description": "why",
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "neither InputGpios nor OutputGpios names a pin"),
        ({"InputGpios": "", "OutputGpios": ""}, "neither InputGpios nor OutputGpios names a pin"),
        ({"InputGpios": "5;6"}, "InputGpios '5;6' is no list of pins"),
        ({"InputGpios": "5H"}, "InputGpios '5H' is no list of pins"),
        ({"OutputGpios": "5U"}, "OutputGpios '5U' is no list of pins"),
        ({"InputGpios": [5, 6]}, "InputGpios [5, 6] is no list of pins"),
        ({"InputGpios": "5,6", "OutputGpios": "6H"}, "OutputGpios: GPIO 6 is there twice"),
        ({"InputGpios": "5", "InputPollPeriod": 0}, "InputPollPeriod 0 is no whole number from 1 to 60000"),
        ({"InputGpio": "5"}, "there is no parameter 'InputGpio'; did you mean 'InputGpios'?"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        v1_gpio.pins(given)
    assert str(error.value) == message
