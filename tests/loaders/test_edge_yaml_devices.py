"""`edge.yaml`: gpiozero's devices by their class names, and what is said of their arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loaders.appfile import load, wrong

ROVER = """\
thing: a
devices:
  rover:
    driver: Robot
    left: {driver: Motor, forward: 4, backward: 14}
    right:
      driver: PhaseEnableMotor
      phase: 5
      enable: 12
  lights: {driver: LEDBoard, red: 17, arms: {driver: LEDBoard, left: 22, right: 23}}
  knob: {driver: RotaryEncoder, a: 20, b: 21}
  pad: {driver: ButtonBoard, pins: [6, 13], up: 19}
functions:
  turn:
    code: irrigate
    handler: app.handler
    events: [{device: knob, on: rotated}, {device: pad, on: held}]
"""


def test_devices_within_devices_are_options_as_they_are_written(folder: Path) -> None:
    app = load(folder, ROVER)
    options = {device.name: device.options for device in app.devices}
    assert options["rover"] == {
        "left": {"driver": "Motor", "forward": 4, "backward": 14},
        "right": {"driver": "PhaseEnableMotor", "phase": 5, "enable": 12},
    }
    assert options["lights"]["arms"] == {"driver": "LEDBoard", "left": 22, "right": 23}
    assert {"device/rover/set", "device/lights/set"} <= {rule.filter for rule in app.rules}
    assert "device/knob/rotated" in {rule.filter for rule in app.rules}


@pytest.mark.parametrize(
    ("was", "now", "line"),
    [
        (
            "enable: 12",
            "enable: 12\n      enabel: 13",
            (
                "edge.yaml:10: devices.rover.right.enabel: right (PhaseEnableMotor) takes no argument 'enabel'; did "
                "you mean 'enable'? it takes: phase, enable, pwm"
            ),
        ),
        (
            "enable: 12",
            "enable: abc",
            (
                "edge.yaml:9: devices.rover.right.enable: right (PhaseEnableMotor): enable may not be 'abc'; it "
                "must be a pin: its number, as in 17, or a name with one, as in GPIO17 or BOARD11"
            ),
        ),
        (
            "driver: PhaseEnableMotor",
            "driver: PhaseEnableMotr",
            (
                "edge.yaml:7: devices.rover.right.driver: right: there is no driver 'PhaseEnableMotr'; did you mean "
                "'PhaseEnableMotor'?"
            ),
        ),
        (
            "enable: 12",
            "enable: 12\n      pwm: off",
            "edge.yaml:10: devices.rover.right.pwm: write true or false, or 'off' in quotes when the text is meant",
        ),
        (
            "pins: [6, 13]",
            "pins: 6",
            "edge.yaml:12: devices.pad.pins: 'pins' must be a list; as in pins: [5, 6, 13]",
        ),
        (
            "pins: [6, 13]",
            "pins: [6, x]",
            "edge.yaml:12: devices.pad.pins[1]: pins[1] may not be 'x'; it must be a pin",
        ),
        (
            "driver: Robot",
            "driver: PhaseEnableRobot",
            "edge.yaml:4: devices.rover.driver: PhaseEnableRobot of gpiozero is no driver; it is no class; take Robot",
        ),
        (
            "on: rotated",
            "on: turned",
            "edge.yaml:17: functions.turn.events[0].on: a RotaryEncoder has no event 'turned'",
        ),
    ],
)
def test_one_mistake_gets_one_line_at_its_place(folder: Path, was: str, now: str, line: str) -> None:
    found = wrong(folder, ROVER.replace(was, now))
    assert found[0].startswith(line)


def test_a_device_alone_has_all_its_mistakes_told(folder: Path) -> None:
    text = "thing: a\ndevices:\n  door:\n    driver: Button\n    hold_time: x\n    bounce_time: 1\n    pul_up: true\n"
    assert [line.split(": ")[1] for line in wrong(folder, text)] == [
        "devices.door",
        "devices.door.hold_time",
        "devices.door.bounce_time",
        "devices.door.pul_up",
    ]
