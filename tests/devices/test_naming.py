"""What the events of a driver are called."""

from __future__ import annotations

import pytest
from gpiozero import Button, DistanceSensor, LightSensor, LoadAverage, MotionSensor, RotaryEncoder

from edge_runtime.devices.naming import event_names, levels


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (Button, ["pressed", "released", "held"]),
        (MotionSensor, ["motion", "no_motion"]),
        (LightSensor, ["light", "dark"]),
        (DistanceSensor, ["out_of_range", "in_range"]),
        (LoadAverage, ["active", "inactive"]),
    ],
)
def test_gpiozeros_own_names(cls: type, names: list[str]) -> None:
    assert event_names(cls) == names
    assert levels(cls) == tuple(names[:2])


def test_an_encoder_turns() -> None:
    assert event_names(RotaryEncoder)[2:] == ["rotated"]


def test_a_driver_of_ones_own_has_plain_names() -> None:
    class Own:
        value = 1

    assert event_names(Own) == ["active", "inactive"]
