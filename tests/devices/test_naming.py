"""What the events of a driver are called."""

from __future__ import annotations

import gpiozero
import pytest
from gpiozero import Button, DistanceSensor, LightSensor, LoadAverage, MotionSensor, RotaryEncoder

from edge_runtime.devices.drivers import gpiozero_names
from edge_runtime.devices.naming import event_names, levels

PLAIN = ["active", "inactive"]
EVENTS = {
    "Button": ["pressed", "released", "held"],
    "ButtonBoard": ["pressed", "released", "held"],
    "CPUTemperature": PLAIN,
    "DigitalInputDevice": PLAIN,
    "DiskUsage": PLAIN,
    "DistanceSensor": ["out_of_range", "in_range"],
    "LightSensor": ["light", "dark"],
    "LineSensor": ["no_line", "line"],
    "LoadAverage": PLAIN,
    "MotionSensor": ["motion", "no_motion"],
    "PingServer": PLAIN,
    "RotaryEncoder": [*PLAIN, "rotated"],
    "TimeOfDay": PLAIN,
}
"""The events of each class that has any: what it calls becoming active comes first."""


def test_the_events_of_every_class_of_gpiozero() -> None:
    classes = {name: getattr(gpiozero, name) for name in gpiozero_names()}
    assert {n: event_names(cls) for n, cls in classes.items() if hasattr(cls, "when_activated")} == EVENTS


@pytest.mark.parametrize("cls", [Button, MotionSensor, LightSensor, DistanceSensor, LoadAverage, RotaryEncoder])
def test_the_first_two_are_the_levels(cls: type) -> None:
    assert levels(cls) == tuple(EVENTS[cls.__name__][:2])


def test_a_driver_of_ones_own_has_plain_names() -> None:
    class Own:
        value = 1

    assert event_names(Own) == PLAIN


def test_a_driver_of_ones_own_that_builds_on_gpiozero_has_its_names() -> None:
    class Doorbell(Button):  # type: ignore[misc]  # gpiozero ships no types
        pass

    assert event_names(Doorbell) == EVENTS["Button"]
