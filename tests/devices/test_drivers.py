"""Driver classes and their arguments."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import check
from edge_runtime.devices.drivers import arguments, call_for, find, gpiozero_names
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
        (Device("door", "GPIODevice", {"pin": 17}), "device 'door': there is no driver 'GPIODevice'"),
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


def test_a_list_of_pins_is_given_one_by_one() -> None:
    spec = Device("board", "LEDBoard", {"pins": [5, 6], "pwm": True})
    call = call_for(spec, arguments(find(spec)))
    assert (call.args, call.kwargs) == ((5, 6), {"pwm": True})
