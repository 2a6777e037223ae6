"""Every class that gpiozero exports: opened simulated, read, commanded and closed, or refused for a reason."""

from __future__ import annotations

import inspect
import threading
from typing import Any, NamedTuple

import gpiozero
import pytest

from edge_runtime.app import Device
from edge_runtime.devices import apply, check, close, open_devices
from edge_runtime.devices.commands import describe, is_active, put_safe
from edge_runtime.devices.drivers import gpiozero_names
from edge_runtime.devices.simulation import Simulated
from edge_runtime.errors import ConfigError

LEFT = {"driver": "Motor", "forward": 4, "backward": 14}
RIGHT = {"driver": "PhaseEnableMotor", "phase": 5, "enable": 12}
SEGMENTS = [5, 6, 13, 19, 26, 16, 20]
DARK, LIT = (0, 0), (1, 1)


class Out(NamedTuple):
    """An output: its arguments, its value when it is opened, a command, and its value then."""

    options: dict[str, Any]
    start: object
    command: str
    then: object
    safe: object = ...
    """Its value when it is off, if that is not `start`."""


class In(NamedTuple):
    """An input: its arguments, its value when it is opened, and a value to set. Without one it is real here."""

    options: dict[str, Any]
    start: object
    value: object = None


OUTPUTS = {
    "AngularServo": Out({"pin": 4, "min_angle": -45, "max_angle": 45}, 0, '{"angle": 45}', 1, None),
    "Buzzer": Out({"pin": 4}, 0, "beep", ...),
    "CamJamKitRobot": Out({}, (0, 0), "left", (-1, 1)),
    "CompositeOutputDevice": Out(
        {"lamp": {"driver": "PWMLED", "pin": 4}, "arm": {"driver": "Servo", "pin": 5}},
        (0, 0),  # by name: arm, lamp
        '{"value": {"lamp": 0.5}}',
        (0, 0.5),
        (None, 0),
    ),
    "DigitalOutputDevice": Out({"pin": 4, "active_high": False}, 0, "toggle", 1),
    "Energenie": Out({"socket": 2}, False, "true", True),
    "FishDish": Out({}, ((0, 0, 0), 0, 0), '{"do": "on", "part": "lights.amber"}', ((0, 1, 0), 0, 0)),
    "JamHat": Out(
        {"pwm": True},
        ((0, 0, 0), (0, 0, 0), 0, 0, None),
        '{"do": "play", "tone": "A4", "part": "buzzer"}',
        ((0, 0, 0), (0, 0, 0), 0, 0, 0),
    ),
    "LED": Out({"pin": "GPIO17", "initial_value": True}, 1, "off", 0, 0),
    "LEDBarGraph": Out({"pins": [4, 5, 6, 7], "pwm": True}, 0, "0.375", 0.375),
    "LEDBoard": Out(
        {"pins": [4, {"driver": "LEDBoard", "pins": [5, 6]}], "red": 13},
        (0, DARK, 0),
        '{"value": [1, [0, 1], 0]}',
        (1, (0, 1), 0),
    ),
    "LEDCharDisplay": Out({"pins": SEGMENTS, "dp": 21}, " ", '"7."', "7."),
    "LEDMultiCharDisplay": Out(
        {"char": {"driver": "LEDCharDisplay", "pins": SEGMENTS}, "pins": [2, 3]}, (" ", " "), "42", ("4", "2")
    ),
    "LedBorg": Out({}, (0, 0, 0), "[0, 0.5, 1]", (0, 0.5, 1)),
    "Motor": Out({"forward": 4, "backward": 14, "enable": 15}, 0, '{"do": "backward", "speed": 0.5}', -0.5),
    "OutputDevice": Out({"pin": "BOARD11"}, 0, "1", 1),
    "PWMLED": Out({"pin": 4, "frequency": 200}, 0, "0.25", 0.25),
    "PWMOutputDevice": Out({"pin": 4, "initial_value": 0.5}, 0.5, "toggle", 0.5, 0),
    "PhaseEnableMotor": Out({"phase": 4, "enable": 5}, 0, '{"do": "forward", "speed": 0.25}', 0.25),
    "PiHutXmasTree": Out({}, (0,) * 25, '{"do": "on", "part": "star"}', (1,) + (0,) * 24),
    "PiLiter": Out({}, (0,) * 8, '{"do": "toggle", "part": 7}', (0,) * 7 + (1,)),
    "PiLiterBarGraph": Out({}, 0, "-0.5", -0.5),
    "PiStop": Out({"location": "A+"}, (0, 0, 0), "on", (1, 1, 1)),
    "PiTraffic": Out({"initial_value": True}, (1, 1, 1), '{"do": "off", "part": "red"}', (0, 1, 1), (0, 0, 0)),
    "Pibrella": Out({}, ((0, 0, 0), 0, None), "on", ((1, 1, 1), 0, 0)),
    "PololuDRV8835Robot": Out({}, (0, 0), '{"do": "forward", "speed": 0.5, "curve_left": 0.5}', (0.25, 0.5)),
    "PumpkinPi": Out(
        {}, (DARK, ((0,) * 5, (0,) * 5)), '{"do": "on", "part": "sides.left.top"}', (DARK, ((0, 0, 0, 0, 1), (0,) * 5))
    ),
    "RGBLED": Out({"red": 4, "green": 5, "blue": 6}, (0, 0, 0), '{"value": 1, "part": "blue"}', (0, 0, 1)),
    "Robot": Out({"left": LEFT, "right": RIGHT}, (0, 0), '{"do": "right", "speed": 0.5}', (0.5, -0.5)),
    "RyanteckRobot": Out({"pwm": False}, (0, 0), "backward", (-1, -1)),
    "Servo": Out({"pin": 4, "initial_value": None}, None, "max", 1),
    "SnowPi": Out({"pwm": True}, (DARK, 0, ((0,) * 3, (0,) * 3)), "on", (LIT, 1, ((1,) * 3, (1,) * 3))),
    "StatusBoard": Out(
        {"labels": ["garage", "gate"]},
        ((0, DARK), (0, DARK)),
        '{"do": "on", "part": "gate.lights.green"}',
        ((0, DARK), (0, (0, 1))),
    ),
    "StatusZero": Out({}, (DARK,) * 3, '{"do": "on", "part": "two"}', (DARK, LIT, DARK)),
    "TonalBuzzer": Out({"pin": 4, "mid_tone": 440}, None, '{"do": "play", "tone": 880}', 1),
    "TrafficHat": Out({}, ((0, 0, 0), 0, 0), '{"value": [[1, 0, 0], 1, 1]}', ((1, 0, 0), 1, 0)),
    "TrafficLights": Out({"red": 4, "yellow": 5, "green": 6}, (0, 0, 0), '{"do": "on", "part": "yellow"}', (0, 1, 0)),
    "TrafficLightsBuzzer": Out(
        {
            "lights": {"driver": "TrafficLights", "red": 4, "amber": 5, "green": 6},
            "buzzer": {"driver": "Buzzer", "pin": 13},
            "button": {"driver": "Button", "pin": 19},
        },
        ((0, 0, 0), 0, 0),
        '{"do": "beep", "part": "buzzer", "n": 2}',
        ...,
    ),
    "TrafficpHat": Out({}, (0, 0, 0), "[0, 0, 1]", (0, 0, 1)),
}
CONVERTERS = {
    **{name: {"channel": 1} for name in ("MCP3002", "MCP3004", "MCP3008", "MCP3202", "MCP3204", "MCP3208")},
    **{name: {"channel": 2, "differential": True} for name in ("MCP3302", "MCP3304")},
    **{name: {"port": 0, "device": 1} for name in ("MCP3001", "MCP3201", "MCP3301")},
}
INPUTS = {
    **{name: In(options, 0, 0.5) for name, options in CONVERTERS.items()},
    "Button": In({"pin": 4}, 0, 1),
    "ButtonBoard": In({"pins": [4], "left": 5, "hold_time": 0.1}, (0, 0), (0, 1)),
    "CPUTemperature": In({"sensor_file": "/no such file"}, 0, 0.9),
    "CompositeDevice": In(
        {"door": {"driver": "Button", "pin": 4}, "args": [{"driver": "LED", "pin": 5}]}, (0, 0), (0, 1)
    ),
    "DigitalInputDevice": In({"pin": 4, "pull_up": None, "active_state": False}, 1, 0),
    "DiskUsage": In({"filesystem": "/no such folder"}, 0, 0.95),
    "DistanceSensor": In({"echo": 4, "trigger": 5, "queue_len": 1}, 0, 0.5),
    "InputDevice": In({"pin": 4, "pull_up": True}, 0, 1),
    "LightSensor": In({"pin": 4, "queue_len": 1}, 0, 0.5),
    "LineSensor": In({"pin": 4, "queue_len": 1}, 0, 1),
    "LoadAverage": In({"load_average_file": "/no such file", "minutes": 1}, 0, 0.9),
    "MotionSensor": In({"pin": 4, "sample_rate": 100}, 0, 1),
    "PingServer": In({"host": "127.0.0.1"}, ..., 1),
    "RotaryEncoder": In({"a": 4, "b": 5, "max_steps": 8}, 0, -0.25),
    "TimeOfDay": In({"start_time": "00:00", "end_time": "23:59:59.999999", "utc": False}, 1, 0),
}
BASES = {
    **dict.fromkeys(("Device", "GPIODevice", "InternalDevice", "PolledInternalDevice"), "it is "),
    **dict.fromkeys(("AnalogInputDevice", "SPI", "SPIDevice", "SmoothedInputDevice", "LEDCollection"), "it is a base"),
}


def exported() -> list[str]:
    """Return the names of all device classes that gpiozero exports."""
    return [n for n, c in inspect.getmembers(gpiozero, inspect.isclass) if issubclass(c, gpiozero.Device)]


def test_none_is_forgotten() -> None:
    assert sorted([*OUTPUTS, *INPUTS, *BASES]) == sorted(exported())
    assert gpiozero_names() == sorted([*OUTPUTS, *INPUTS])


@pytest.mark.parametrize("driver", OUTPUTS)
def test_an_output_obeys(driver: str) -> None:
    case = OUTPUTS[driver]
    (opened,) = open_devices([Device("it", driver, case.options)], simulate=True)
    try:
        off = case.start if case.safe is ... else case.safe
        assert (opened.is_output, opened.has_events, opened.simulated) == (True, False, True)
        assert opened.device.value == case.start
        assert opened.pin.startswith("GPIO")
        then = apply(opened, case.command.encode())
        assert case.then is ... or then == opened.device.value == case.then
        assert is_active(opened) is (case.then != off)
        assert put_safe(opened) == off
        assert not is_active(opened)
        assert {"off", "stop", "detach"} & {words.partition("(")[0] for words in describe(opened)}
    finally:
        close([opened])
    assert opened.device.closed


@pytest.mark.parametrize("driver", INPUTS)
def test_an_input_measures(driver: str) -> None:
    case = INPUTS[driver]
    (opened,) = open_devices([Device("it", driver, case.options)], simulate=True)
    try:
        assert not opened.is_output
        assert describe(opened) == []
        assert case.start is ... or opened.device.value == pytest.approx(case.start, abs=0.001)
        changed = threading.Event()
        if hasattr(opened.device, "_queue"):  # asks itself again and again; the next reading counts
            opened.device.when_activated = changed.set
        else:
            changed.set()
        Simulated([opened]).set("it", case.value)
        assert changed.wait(10)
        assert opened.device.value == pytest.approx(case.value, abs=0.001)
        assert opened.simulated
    finally:
        close([opened])
    assert opened.device.closed


@pytest.mark.parametrize("driver", [*BASES, "PhaseEnableRobot"])
def test_a_base_is_refused_with_what_to_take_instead(driver: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(Device("it", driver, {"pin": 4}))
    assert str(error.value) == f"device 'it': {driver} of gpiozero is no driver"
    assert error.value.hint.startswith(BASES.get(driver, "it is no class; take Robot"))
