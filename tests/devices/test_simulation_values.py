"""Values that simulated inputs are set to: each in the scale of its class, and errors for what none measures."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, apply, close, open_devices
from edge_runtime.devices.commands import put_safe
from edge_runtime.devices.simulation import Simulated
from edge_runtime.errors import ConfigError


@contextlib.contextmanager
def simulated(*specs: Device, extra: Path | None = None) -> Iterator[tuple[Simulated, dict[str, OpenDevice]]]:
    """Open devices for a test."""
    opened = open_devices(specs, simulate=True, extra=extra)
    try:
        yield Simulated(opened), {device.name: device for device in opened}
    finally:
        close(opened)


def test_a_board_of_buttons_by_name_and_without_pull() -> None:
    options = {"pins": [5], "left": 6, "pull_up": None, "active_state": False, "hold_time": 0.1}
    with simulated(Device("pad", "ButtonBoard", options)) as (world, devices):
        world.set("pad", [0, 0])
        world.set("pad", {"left": 1})
        assert tuple(devices["pad"].device.value) == (0, 1)
        world.set("pad", {"0": True, "left": 0.0})
        assert tuple(devices["pad"].device.value) == (1, 0)
        for bad, why in (
            ({"lef": 1}, "has no input 'lef'; did you mean 'left'?"),
            ([1, 0.5], "cannot measure [1, 0.5]: it is 0 or 1"),
            (1, "cannot measure 1: it takes a list of 2, or a mapping of 0, left"),
        ):
            with pytest.raises(ConfigError) as error:
                world.set("pad", bad)
            assert str(error.value) == f"device 'pad' (ButtonBoard) {why}"


def test_the_buttons_of_boards_with_lights() -> None:
    with simulated(Device("hat", "JamHat")) as (world, devices):
        world.set("hat", {"button_2": 1})
        assert devices["hat"].device.value[2:4] == (0, 1)
        world.set("hat", [None, None, 1, 0, None])  # what is said for lights does not count
        assert devices["hat"].device.value[2:4] == (1, 0)
        with pytest.raises(ConfigError, match=r"has no input 'lights_1'") as error:
            world.set("hat", {"lights_1": [1, 1, 1]})
        assert error.value.hint == "its inputs: button_1, button_2"
    with simulated(Device("board", "StatusBoard", {"labels": ["a", "b"]})) as (world, devices):
        world.set("board", {"b": {"button": 1}})
        assert [part.button.value for part in devices["board"].device] == [0, 1]


@pytest.mark.parametrize(
    ("spec", "bad"),
    [
        (Device("x", "Button", {"pin": 4}), [0.5, 2, "pressed", None, [1], float("nan")]),
        (Device("x", "MotionSensor", {"pin": 4}), [-1, 1.5]),
        (Device("x", "LightSensor", {"pin": 4, "queue_len": 1}), [-0.1, 1.1, "dark"]),
        (Device("x", "RotaryEncoder", {"a": 4, "b": 5}), [1.1, float("inf"), "left", 10**400]),
        (Device("x", "RotaryEncoder", {"a": 4, "b": 5, "max_steps": 0}), [10_001]),
    ],
)
def test_what_a_sensor_cannot_measure(spec: Device, bad: list[object]) -> None:
    with simulated(spec) as (world, _):
        for value in bad:
            with pytest.raises(ConfigError, match=rf"device 'x' .{spec.driver}. cannot measure "):
                world.set("x", value)


def test_an_encoder_without_an_end_is_set_in_steps() -> None:
    with simulated(Device("knob", "RotaryEncoder", {"a": 4, "b": 5, "max_steps": 0})) as (world, devices):
        world.set("knob", 3)
        assert devices["knob"].device.steps == 3
        world.set("knob", -1)
        assert devices["knob"].device.steps == -1


@pytest.mark.parametrize(
    ("spec", "below", "above"),
    [
        (Device("x", "CPUTemperature", {"threshold": 60, "min_temp": 20, "sensor_file": "/none"}), 0.5, 0.51),
        (
            Device("x", "LoadAverage", {"threshold": 0.5, "max_load_average": 2, "load_average_file": "/none"}),
            0.25,
            0.26,
        ),
        (Device("x", "DiskUsage", {"filesystem": "/none"}), 0.9, 0.91),
    ],
)
def test_the_threshold_of_a_simulated_device_is_that_of_the_real_one(spec: Device, below: float, above: float) -> None:
    with simulated(spec) as (world, devices):
        seen: list[str] = []
        devices["x"].device.when_activated = lambda: seen.append("up")
        for value, active, count in ((below, False, 0), (above, True, 1), (below, False, 1)):
            world.set("x", value)
            assert (devices["x"].device.is_active, len(seen)) == (active, count)


def test_a_real_device_without_pins_tells_until_its_value_is_set(tmp_path: Path) -> None:
    load = tmp_path / "load"
    load.write_text("0.1 0.1 0.1 1/1 1")
    options = {"load_average_file": str(load), "event_delay": 0.01}
    with simulated(Device("load", "LoadAverage", options)) as (world, devices):
        up, down, device = threading.Event(), threading.Event(), devices["load"].device
        device.when_activated, device.when_deactivated = up.set, down.set
        above = tmp_path / "above"
        above.write_text("2 2 2 1/1 1")
        above.rename(load)  # at once: it is being read
        assert up.wait(10)
        assert device.is_active
        assert not down.is_set()
        world.set("load", 0.1)
        assert down.is_set()
        assert device._real._event_thread is None  # nobody asks it any more


def test_inputs_within_a_device() -> None:
    parts = {"door": {"driver": "Button", "pin": 4}, "soil": {"driver": "MCP3008", "channel": 2}}
    spec = Device("shed", "CompositeDevice", {**parts, "load": {"driver": "LoadAverage"}})
    with simulated(spec) as (world, devices):
        world.set("shed", {"door": 1, "soil": 0.5, "load": 0.75})
        value = devices["shed"].device.value
        assert (value.door, round(value.soil, 3), value.load) == (1, 0.5, 0.75)


EXAMPLES = """
class Meter:
    example = {"volts": 12.5, "amps": 0.1}
    when_read = None
    value = 3

    def __init__(self):
        raise OSError("no meter here")
"""
PICKY = """
class Picky:
    value = 1

    @classmethod
    def simulated(cls):
        return cls()

    def simulate(self, value):
        self.value = {"a": 1}[value]
"""
MUTE = """
class Mute:
    value = 1

    @classmethod
    def simulated(cls):
        return cls()
"""
SIMULATED_OUTPUT = """
from edge_runtime.devices.driver import SimulatedDevice

class Pump:
    value = property(lambda self: 0, lambda self, value: None)

    def __init__(self):
        raise OSError("no pump here")

    @classmethod
    def simulated(cls):
        return SimulatedDevice(0, wiring="/dev/ttyUSB0")
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Write drivers of one's own and return the folder to look in."""
    (tmp_path / "hardware").mkdir()
    texts = {"meter_a": EXAMPLES, "picky_a": PICKY, "mute_a": MUTE, "pump_s": SIMULATED_OUTPUT}
    for name, text in texts.items():
        (tmp_path / "hardware" / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_stand_in_starts_at_the_example_and_hands_over_what_is_set(own: Path) -> None:
    with simulated(Device("meter", "meter_a"), extra=own) as (world, devices):
        meter = devices["meter"]
        read: list[object] = []
        assert (meter.has_readings, meter.device.value) == (True, {"volts": 12.5, "amps": 0.1})
        meter.device.when_read = read.append
        world.set("meter", {"volts": 11.0})
        assert read == [meter.device.value] == [{"volts": 11.0}]


def test_a_driver_that_cannot_be_set_says_so(own: Path) -> None:
    with simulated(Device("picky", "picky_a"), Device("mute", "mute_a"), extra=own) as (world, devices):
        world.set("picky", "a")
        assert devices["picky"].device.value == 1
        with pytest.raises(ConfigError, match=r"device 'picky' \(picky_a\) cannot measure 'b': 'b'"):
            world.set("picky", "b")
        with pytest.raises(ConfigError, match=r"device 'mute' \(mute_a\) cannot be set: what its `simulated` returns"):
            world.set("mute", 1)


def test_an_output_whose_stand_in_only_measures_is_told_what_it_measures(own: Path) -> None:
    with simulated(Device("pump", "pump_s"), extra=own) as (_, devices):
        assert (devices["pump"].is_output, devices["pump"].pin) == (True, "/dev/ttyUSB0")
        assert (apply(devices["pump"], b"0.5"), put_safe(devices["pump"])) == (0.5, 0)
