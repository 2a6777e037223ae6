"""Devices that are written within a device."""

from __future__ import annotations

import gpiozero

from edge_runtime.devices import nested
from edge_runtime.devices.nested import Nested, Slot

MOTOR = {"driver": "Motor", "forward": 4, "backward": 14}


def test_a_mapping_with_a_driver_is_a_device() -> None:
    assert nested.nested(MOTOR) == Nested("Motor", {"forward": 4, "backward": 14})
    for other in ({"a": [1, 0]}, [MOTOR], 5, "Motor", None):
        assert nested.nested(other) is None


def test_devices_are_found_and_replaced_at_their_places() -> None:
    options = {"left": MOTOR, "pins": [5, {"driver": "LEDBoard", "pins": [6]}], "speed": 1, "font": {"a": [1]}}
    assert [(nested.dotted(where), found.driver) for where, found in nested.inside(options)] == [
        ("left", "Motor"),
        ("pins[1]", "LEDBoard"),
    ]
    made = nested.replaced(options, lambda where, found: f"{found.driver} at {nested.dotted(where)}")
    assert made == {"left": "Motor at left", "pins": [5, "LEDBoard at pins[1]"], "speed": 1, "font": {"a": [1]}}


def test_what_may_stand_where() -> None:
    left = nested.slot(gpiozero.Robot, "left")
    assert left == Slot(("Motor", "PhaseEnableMotor"))
    assert left.kind.words == "a Motor or PhaseEnableMotor, as in {driver: Motor, forward: 4, backward: 14}"
    assert (left.takes(gpiozero.PhaseEnableMotor), left.takes(gpiozero.Servo)) == (True, False)
    assert nested.slot(gpiozero.Motor, "forward") is None
    assert nested.part_slot("LEDBoard") == Slot(("LEDCollection",), plain=True)
    assert nested.part_slot("ButtonBoard") is None

    class Motor:
        """Of the name only."""

    assert not left.takes(Motor)
