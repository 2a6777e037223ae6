"""Driver classes and their arguments."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import check
from edge_runtime.devices.drivers import arguments, call_for, find, gpiozero_names, problems
from edge_runtime.errors import ConfigError


def complaint(spec: Device, extra: Path | None = None) -> tuple[str, str]:
    """Return the message and the hint of what `check` says against it."""
    with pytest.raises(ConfigError) as error:
        check(spec, extra)
    return str(error.value), error.value.hint


@pytest.mark.parametrize(
    "spec",
    [
        Device("a", "Button", {"pin": 17, "pull_up": False, "hold_time": 2}),
        Device("a", "MCP3008", {"channel": 3, "device": 1, "max_voltage": 5}),
        Device("a", "MCP3201", {"clock_pin": 1, "mosi_pin": 2, "miso_pin": 3, "select_pin": 4}),
        Device("a", "LEDBoard", {"pins": [5, 6], "pwm": True}),
        Device("a", "LEDBoard", {"red": 5, "green": 6}),
        Device("a", "TrafficLights", {"red": 5, "amber": 6, "green": 13}),
        Device("a", "LoadAverage"),
        Device("a", "Motor", {"forward": 5, "backward": 6}),
        Device("a", "TimeOfDay", {"start_time": "08:00", "end_time": "18:00"}),
    ],
)
def test_what_gpiozero_takes(spec: Device) -> None:
    check(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            Device("door", "Buton", {"pin": 17}),
            "device 'door': there is no driver 'Buton'; did you mean 'Button'?",
        ),
        (Device("door", "GPIODevice", {"pin": 17}), "device 'door': GPIODevice of gpiozero is no driver"),
        (
            Device("door", "Button", {"pin": 17, "pul_up": False}),
            "device 'door' (Button) takes no argument 'pul_up'; did you mean 'pull_up'?",
        ),
        (
            Device("soil", "MCP3008", {"chanel": 3}),
            "device 'soil' (MCP3008) takes no argument 'chanel'; did you mean 'channel'?",
        ),
        (Device("soil", "MCP3008", {"bits": 3}), "device 'soil' (MCP3008) takes no argument 'bits'"),
        (
            Device("door", "Button", {"pin": 1, "pin_factory": "x"}),
            "device 'door' (Button) takes no argument 'pin_factory'",
        ),
        (Device("board", "LEDBoard", {"_order": ["a"]}), "device 'board' (LEDBoard) takes no argument '_order'"),
        (Device("door", "Button"), "device 'door' (Button) needs the argument 'pin'"),
        (Device("t", "TimeOfDay", {"start_time": "8:00"}), "device 't' (TimeOfDay) needs the argument 'end_time'"),
        (Device("d", "DistanceSensor", {"echo": 5}), "device 'd' (DistanceSensor) needs the argument 'trigger'"),
        (
            Device("board", "LEDBoard", {"pins": 5}),
            "device 'board' (LEDBoard): 'pins' must be a list",
        ),
        (
            Device("door", "Button", {"pin": 17, "bounce_time": 0.05}),
            "device 'door' (Button): 'bounce_time' loses real edges that come within its time",
        ),
    ],
)
def test_what_is_wrong_is_named(spec: Device, message: str) -> None:
    found, hint = complaint(spec)
    assert message in found
    assert hint


def test_the_hint_lists_what_a_driver_takes() -> None:
    _, hint = complaint(Device("door", "Button", {"pin": 1, "x": 2}))
    assert hint == "it takes: pin, pull_up, active_state, hold_time, hold_repeat"


def test_every_driver_of_gpiozero_can_be_looked_into() -> None:
    names = gpiozero_names()
    assert {"Button", "LED", "MCP3008", "LoadAverage", "Energenie"} <= set(names)
    for name in names:
        takes = arguments(find(Device("x", name)))
        assert takes.takes_factory, name


LEFT = {"driver": "Motor", "forward": 4, "backward": 14}


@pytest.mark.parametrize(
    ("driver", "options", "message", "hint"),
    [
        ("Button", {"pin": "abc"}, ": pin may not be 'abc'", "it must be a pin: its number, as in 17, or a name"),
        ("Button", {"pin": True}, ": pin may not be true", "it must be a pin"),
        ("Button", {"pin": None}, " needs the argument 'pin'", "it takes: pin"),
        ("Button", {"pin": 4, "pull_up": "yes"}, ": pull_up may not be 'yes'", "it must be true or false, or null"),
        ("Button", {"pin": 4, "hold_time": -1}, ": hold_time may not be -1", "it must be a number at least 0"),
        ("Button", {"pin": 4, "pull_up": None}, " needs the argument 'active_state' when pull_up is null", "true:"),
        ("Button", {"pin": 4, "active_state": True}, ": active_state is for a pin that floats", "leave it out"),
        ("PWMLED", {"pin": 4, "initial_value": 2}, ": initial_value may not be 2", "it must be a number from 0 to 1"),
        ("PWMLED", {"pin": 4, "frequency": 0}, ": frequency may not be 0", "it must be a number above 0"),
        ("LED", {"pin": 4, "initial_value": 0.5}, ": initial_value may not be 0.5", "it must be true or false"),
        ("Servo", {"pin": 4, "initial_value": -2}, ": initial_value may not be -2", "it must be a number from -1 to 1"),
        ("RGBLED", {"red": 4, "green": 5}, " needs the argument 'blue'", "it takes: red, green, blue"),
        (
            "RGBLED",
            {"red": 4, "green": 5, "blue": 6, "initial_value": [1, 2, 0]},
            ": initial_value may not be [1, 2, 0]",
            "it must be a list of 3, each a number from 0 to 1",
        ),
        ("LEDBoard", {}, " has 0 pins and needs at least 1", "as in pins: [5, 6, 13]"),
        ("LEDBoard", {"pins": [5, "x"]}, ": pins[1] may not be 'x'", "it must be a pin"),
        ("LEDBoard", {"red": []}, ": red may not be []", "it must be a pin"),
        ("LEDBoard", {"on": 5}, ": 'on' cannot be the name of a part", "choose another one"),
        ("LEDBoard", {"class": 5}, ": 'class' cannot be the name of a part", "choose another one"),
        ("LEDCharDisplay", {"pins": [5]}, " has 1 pins and needs 2 to 26", "as in pins"),
        (
            "LEDCharDisplay",
            {"pins": [5, 6], "font": {"ab": [1, 0]}},
            ": font may not be {'ab': [1, 0]}",
            "it must be a",
        ),
        ("StatusBoard", {"labels": ["my gate"]}, ": labels[0] may not be 'my gate'", "it must be a name"),
        ("TrafficLights", {"red": 4, "green": 5}, " needs one of the arguments 'amber' and 'yellow'", "as in amber: 6"),
        ("PiStop", {"location": "Z"}, ": location may not be 'Z'", "it must be one of A, A+, B, B+, C, D"),
        ("Energenie", {"socket": 5}, ": socket may not be 5", "it must be a whole number from 1 to 4"),
        ("MCP3002", {"channel": 2}, ": channel may not be 2", "it must be a whole number from 0 to 1"),
        ("MCP3008", {"device": 1, "clock_pin": 11}, ": 'device' and 'clock_pin' cannot go together", "name a port"),
        ("MotionSensor", {"pin": 4, "threshold": 1}, ": threshold may not be 1", "it must be a number between 0 and 1"),
        ("LoadAverage", {"minutes": 2}, ": minutes may not be 2", "it must be one of 1, 5, 15"),
        ("TonalBuzzer", {"pin": 4, "mid_tone": "H9"}, ": mid_tone may not be 'H9'", "it must be a note, as in A4"),
        (
            "TimeOfDay",
            {"start_time": "noon", "end_time": "20:00"},
            ": start_time may not be 'noon'",
            "it must be a time",
        ),
        (
            "Robot",
            {"left": 4, "right": LEFT},
            ": left may not be 4",
            "it must be a Motor or PhaseEnableMotor, as in {dri",
        ),
        ("Robot", {"left": LEFT}, " needs the argument 'right'", "it takes: left, right"),
        (
            "Robot",
            {"left": {"driver": "Moter"}, "right": LEFT},
            ": left: there is no driver 'Moter'; did you mean 'Motor'?",
            "a driver is",
        ),
        (
            "Robot",
            {"left": {"driver": "LED", "pin": 5}, "right": LEFT},
            ": left (LED) does not belong there",
            "it must be a Motor or PhaseEnableMotor",
        ),
        (
            "Robot",
            {"left": LEFT, "right": {**LEFT, "forwad": 1}},
            ": right (Motor) takes no argument 'forwad'; did you mean 'forward'?",
            "it takes: forward, backward, enable, pwm",
        ),
        (
            "LEDBoard",
            {"arms": {"driver": "LEDBoard", "pins": [1, {"driver": "LEDBoard", "left": "x"}]}},
            ": arms (LEDBoard).pins[1] (LEDBoard): left may not be 'x'",
            "it must be a pin",
        ),
        (
            "LED",
            {"pin": {"driver": "LED", "pin": 4}},
            ": pin may not be {'driver': 'LED', 'pin': 4}",
            "it must be a pin",
        ),
        (
            "CompositeOutputDevice",
            {"lamp": 5},
            ": lamp may not be 5",
            "it must be a device, as in {driver: LED, pin: 5}",
        ),
    ],
)
def test_what_is_wrong_with_a_value_is_named(driver: str, options: dict[str, object], message: str, hint: str) -> None:
    found, said = complaint(Device("it", driver, options))
    assert found.startswith(f"device 'it' ({driver}){message}")
    assert said.startswith(hint)


def test_all_that_is_wrong_is_found_with_its_place() -> None:
    inner = {"driver": "Motor", "forward": "x", "backwards": 5}
    found = problems(Device("rover", "Robot", {"left": inner, "speed": 1}))
    assert [(problem.where, problem.is_unknown_key) for problem in found] == [
        (("left", "forward"), False),
        (("left", "backwards"), True),
        (("left",), False),
        (("speed",), True),
        ((), False),
    ]
    assert found[2].text == ": left (Motor) needs the argument 'backward'"


def test_arguments_that_look_odd_and_are_right() -> None:
    for driver, options in (
        ("PhaseEnableMotor", {"phase": 1, "enable": 2, "pwm": 0}),
        ("LEDBoard", {"pins": ["GPIO5", "BOARD7", "6", "J8:11"], "initial_value": None}),
        ("LEDBoard", {"pins": [5], "pwm": True, "initial_value": 0.5}),
        ("MCP3008", {"clock_pin": 1, "mosi_pin": None}),
        ("LEDCharDisplay", {"pins": [5, 6], "font": {0: [1, 0], "A": [1, True]}, "initial_value": None}),
        ("TimeOfDay", {"start_time": "8:00", "end_time": 1110}),
        ("RotaryEncoder", {"a": 4, "b": 5, "threshold_steps": [-3, 3], "max_steps": 0}),
    ):
        assert problems(Device("it", driver, options)) == [], driver


TYPED = '''
class Valve:
    """A driver of one's own with annotations."""

    value = 0

    def __init__(self, port: str, address: int | None = None, ways: list[int] = [], lamp=None, mode: "no_type" = 0):
        pass
'''


def test_annotations_of_a_driver_of_ones_own_are_checked(tmp_path: Path) -> None:
    folder = hardware(tmp_path, "valve_t", TYPED.replace(', mode: "no_type" = 0', ""))
    check(
        Device("v", "valve_t", {"port": "x", "address": None, "ways": [1], "lamp": {"driver": "LED", "pin": 4}}), folder
    )
    for options, text in (
        ({"port": 5}, "port may not be 5"),
        ({"port": "x", "address": "0x40"}, "address may not be '0x40'"),
        ({"port": "x", "ways": ["a"]}, "ways may not be ['a']"),
        ({"port": "x", "lamp": {"driver": "LED"}}, "lamp (LED) needs the argument 'pin'"),
    ):
        assert complaint(Device("v", "valve_t", options), folder)[0] == f"device 'v' (valve_t): {text}"
    folder = hardware(tmp_path, "valve_u", TYPED)  # one name that cannot be found makes all unknown
    check(Device("v", "valve_u", {"port": 5}), folder)


OWN = '''
class Gauge:
    """A driver of one's own."""

    def __init__(self, path, scale=1.0):
        self.path = path

    value = 7


class _Helper:
    value = 1
'''


def hardware(tmp_path: Path, name: str, text: str) -> Path:
    """Write a driver file and return the folder to look in."""
    folder = tmp_path / "hardware"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_driver_of_ones_own(tmp_path: Path) -> None:
    extra = hardware(tmp_path, "gauge_a", OWN)
    check(Device("g", "gauge_a", {"path": "x"}), extra)
    takes = arguments(find(Device("g", "gauge_a"), extra))
    assert (takes.names, takes.needed, takes.takes_factory) == (("path", "scale"), ("path",), False)
    message, _ = complaint(Device("g", "gauge_a", {"path": "x", "skale": 2}), extra)
    assert message == "device 'g' (gauge_a) takes no argument 'skale'; did you mean 'scale'?"
    message, _ = complaint(Device("g", "gauge_b"), extra)
    assert message == "device 'g': there is no driver 'gauge_b'; did you mean 'gauge_a'?"


def test_a_driver_file_with_two_classes_or_an_error(tmp_path: Path) -> None:
    extra = hardware(tmp_path, "gauge_c", OWN + OWN.replace("Gauge", "Other"))
    message, _ = complaint(Device("g", "gauge_c"), extra)
    assert message == (
        "device 'g': hardware/gauge_c.py must define one public class with a `value`; found Gauge, Other"
    )
    hardware(tmp_path, "gauge_d", "import nothing_of_that_name")
    message, hint = complaint(Device("g", "gauge_d"), extra)
    assert message.startswith("device 'g': the driver hardware/gauge_d.py cannot be loaded: ModuleNotFoundError")
    assert hint == "install what it imports, or correct the file"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("08:00", time(8)),
        ("18:30:15", time(18, 30, 15)),
        (1110, time(18, 30)),
        (66615, time(18, 30, 15)),
        (480, time(8)),
    ],
)
def test_times_of_day_as_yaml_gives_them(written: object, expected: time) -> None:
    spec = Device("t", "TimeOfDay", {"start_time": written, "end_time": "20:00", "utc": False})
    call = call_for(spec, arguments(find(spec)))
    assert call.kwargs == {"start_time": expected, "end_time": time(20), "utc": False}


def test_what_is_no_time_of_day() -> None:
    for bad in ("8 o'clock", 999_999, True, None):
        spec = Device("t", "TimeOfDay", {"start_time": bad, "end_time": "20:00"})
        with pytest.raises(ConfigError) as error:
            call_for(spec, arguments(find(spec)))
        assert str(error.value) == f"device 't' (TimeOfDay): start_time {bad!r} is no time of day"
        assert problems(spec)


def test_a_list_of_pins_is_given_one_by_one() -> None:
    spec = Device("board", "LEDBoard", {"pins": [5, 6], "pwm": True})
    call = call_for(spec, arguments(find(spec)))
    assert (call.args, call.kwargs) == ((5, 6), {"pwm": True})


def test_what_stands_before_a_list_of_pins_is_given_before_it() -> None:
    spec = Device("clock", "LEDMultiCharDisplay", {"pins": [2, 3], "char": "the display", "active_high": False})
    call = call_for(spec, arguments(find(spec)))
    assert (call.args, call.kwargs) == (("the display", 2, 3), {"active_high": False})


def test_values_are_given_as_gpiozero_wants_them() -> None:
    spec = Device("tune", "TonalBuzzer", {"pin": 4, "mid_tone": 100})
    assert call_for(spec, arguments(find(spec))).kwargs["mid_tone"] == 100  # as a number of MIDI it would be 2637 Hz
    spec = Device("digit", "LEDCharDisplay", {"pins": [4, 5], "font": {7: [1, 0]}})
    assert call_for(spec, arguments(find(spec))).kwargs["font"] == {"7": (1, 0)}
