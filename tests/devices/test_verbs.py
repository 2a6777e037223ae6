"""The verbs of outputs, read from their classes."""

from __future__ import annotations

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import close, open_devices, verbs

MOTOR = {"driver": "Motor", "forward": 4, "backward": 14}
PARTS = ["off", "on", "toggle"]
DIGITAL = ["blink", *PARTS]
DIMMED = ["blink", "off", "on", "pulse", "toggle"]
VERBS: list[tuple[str, dict[str, object], list[str]]] = [
    ("AngularServo", {"pin": 4}, ["detach", "max", "mid", "min"]),
    ("Buzzer", {"pin": 4}, ["beep", *DIGITAL]),
    ("DigitalOutputDevice", {"pin": 4}, DIGITAL),
    ("Energenie", {"socket": 1, "initial_value": None}, ["off", "on"]),
    ("JamHat", {}, PARTS),
    ("LEDBarGraph", {"pins": [4, 5]}, PARTS),
    ("LEDBoard", {"pins": [4, 5]}, DIGITAL),
    ("LEDBoard", {"pins": [4, 5], "pwm": True}, DIMMED),
    ("LEDCharDisplay", {"pins": [4, 5, 6, 7, 8, 9, 10]}, PARTS),
    ("Motor", {"forward": 4, "backward": 5}, ["backward", "forward", "reverse", "stop"]),
    ("OutputDevice", {"pin": 4}, PARTS),
    ("PWMLED", {"pin": 4}, DIMMED),
    ("PhaseEnableMotor", {"phase": 4, "enable": 5}, ["backward", "forward", "reverse", "stop"]),
    ("RGBLED", {"red": 4, "green": 5, "blue": 6, "pwm": False}, DIGITAL),
    (
        "Robot",
        {"left": MOTOR, "right": {**MOTOR, "forward": 5, "backward": 6}},
        ["backward", "forward", "left", "reverse", "right", "stop"],
    ),
    ("Servo", {"pin": 4}, ["detach", "max", "mid", "min"]),
    ("TonalBuzzer", {"pin": 4}, ["play", "stop"]),
]


@pytest.mark.parametrize(("driver", "options", "expected"), VERBS)
def test_the_verbs_of_a_class(driver: str, options: dict[str, object], expected: list[str]) -> None:
    (opened,) = open_devices([Device("it", driver, options)], simulate=True)
    found = verbs.verbs(opened.device)
    close([opened])
    assert list(found) == expected
    assert [name for name in expected if not verbs.is_short(found[name])] == [n for n in expected if n == "play"]


def test_what_a_verb_takes() -> None:
    (robot,) = open_devices([Device("r", "CamJamKitRobot")], simulate=True)
    found = verbs.verbs(robot.device)
    assert verbs.words("forward", found["forward"]) == "forward(speed=1, curve_left=0, curve_right=0)"
    assert verbs.words("stop", found["stop"]) == "stop"
    close([robot])


def test_blinking_is_always_in_the_background() -> None:
    (led,) = open_devices([Device("led", "LED", {"pin": 4})], simulate=True)
    found = verbs.verbs(led.device)["blink"]
    assert verbs.prepare("led", led.device, "blink", found, {"n": 2}) == {"n": 2, "background": True}
    close([led])
