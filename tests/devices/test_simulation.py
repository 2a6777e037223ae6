"""Simulated devices: what a test or the demo can make them measure."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, apply, close, open_devices
from edge_runtime.devices.simulation import Simulated
from edge_runtime.errors import ConfigError, NotFoundError


@contextlib.contextmanager
def simulated(*specs: Device, extra: Path | None = None) -> Iterator[tuple[Simulated, dict[str, OpenDevice]]]:
    """Open devices for a test."""
    opened = open_devices(specs, simulate=True, extra=extra)
    try:
        yield Simulated(opened), {device.name: device for device in opened}
    finally:
        close(opened)


@pytest.mark.parametrize("options", [{}, {"pull_up": False}, {"pull_up": None, "active_state": True}])
def test_a_button_can_be_pressed_and_released(options: dict[str, object]) -> None:
    with simulated(Device("door", "Button", {"pin": 17, **options})) as (world, devices):
        button = devices["door"].device
        seen = []
        button.when_pressed = lambda: seen.append("pressed")
        button.when_released = lambda: seen.append("released")
        for value in (1, 1, 0, True, False):
            world.set("door", value)
            assert button.value == int(value)
        assert seen == ["pressed", "released", "pressed", "released"]


@pytest.mark.parametrize(
    "driver",
    ["MCP3001", "MCP3002", "MCP3004", "MCP3008", "MCP3201", "MCP3202", "MCP3204", "MCP3208", "MCP3302", "MCP3304"],
)
def test_converters_measure_what_was_set(driver: str) -> None:
    with simulated(Device("soil", driver)) as (world, devices):
        for value in (0, 0.25, 0.5, 1):
            world.set("soil", value)
            assert devices["soil"].device.value == pytest.approx(value, abs=0.001)
        for bad in (-0.1, 1.1, "wet", None):
            with pytest.raises(ConfigError, match=f"device 'soil' .{driver}. cannot measure"):
                world.set("soil", bad)


@given(st.floats(-1, 1))
def test_a_differential_converter_measures_below_zero(value: float) -> None:
    with simulated(Device("a", "MCP3301"), Device("b", "MCP3304", {"device": 1, "differential": True})) as (
        world,
        devices,
    ):
        for name in ("a", "b"):
            world.set(name, value)
            assert devices[name].device.value == pytest.approx(value, abs=0.001)


def test_channels_are_apart() -> None:
    with simulated(*(Device(f"ch{n}", "MCP3008", {"channel": n}) for n in range(8))) as (world, devices):
        for n in range(8):
            world.set(f"ch{n}", n / 10)
        assert [round(devices[f"ch{n}"].device.value, 2) for n in range(8)] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (Device("x", "LightSensor", {"pin": 4, "queue_len": 1}), 0.75),
        (Device("x", "DistanceSensor", {"echo": 4, "trigger": 5, "queue_len": 1}), 0.5),
        (Device("x", "MotionSensor", {"pin": 4, "sample_rate": 100}), 1),
        (Device("x", "LineSensor", {"pin": 4, "queue_len": 1}), 1),
    ],
)
def test_sensors_that_gpiozero_reads_again_and_again(spec: Device, value: float) -> None:
    with simulated(spec) as (world, devices):
        changed = threading.Event()
        devices["x"].device.when_activated = changed.set
        assert devices["x"].device.value == 0
        world.set("x", value)
        assert changed.wait(10)
        assert devices["x"].device.value == value


def test_a_rotary_encoder_turns_both_ways() -> None:
    with simulated(Device("knob", "RotaryEncoder", {"a": 4, "b": 5})) as (world, devices):
        turns: list[int] = []
        knob = devices["knob"].device
        knob.when_rotated = lambda: turns.append(knob.steps)
        world.set("knob", 0.25)
        world.set("knob", -0.125)
        assert turns == [1, 2, 3, 4, 3, 2, 1, 0, -1, -2]
        assert knob.value == -0.125


def test_devices_without_pins_are_real_until_set() -> None:
    with simulated(
        Device("load", "LoadAverage"), Device("ping", "TimeOfDay", {"start_time": "00:00", "end_time": "23:59:59"})
    ) as (
        world,
        devices,
    ):
        load = devices["load"].device
        assert load.value >= 0
        seen: list[str] = []
        world.set("load", 0)
        load.when_activated = lambda: seen.append("up")
        load.when_deactivated = lambda: seen.append("down")
        for value in (0.9, 0.8, 0):
            world.set("load", value)
            assert load.value == value
        assert seen == ["up", "down"]
        assert devices["ping"].device.value == 1


def test_a_board_of_buttons() -> None:
    with simulated(Device("pad", "ButtonBoard", {"pins": [5, 6]})) as (world, devices):
        world.set("pad", [0, 1])
        assert tuple(devices["pad"].device.value) == (0, 1)
        with pytest.raises(ConfigError, match="cannot measure"):
            world.set("pad", [1])


OWN = """
class Scale:
    def __init__(self, path):
        self.path = path

    @property
    def value(self):
        raise OSError("no scale here")
"""
OFFERS = """
class Scale:
    def __init__(self, path):
        raise OSError("no scale here")

    value = 3

    @classmethod
    def simulated(cls, path):
        return cls.__new__(cls)

    def simulate(self, value):
        self.value = value * 2
"""


def test_drivers_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "hardware"
    folder.mkdir()
    (folder / "scale_a.py").write_text(OWN, encoding="utf-8")
    (folder / "scale_b.py").write_text(OFFERS, encoding="utf-8")
    specs = [Device("a", "scale_a", {"path": "x"}), Device("b", "scale_b", {"path": "x"})]
    with simulated(*specs, extra=tmp_path) as (world, devices):
        assert [devices[n].device.value for n in "ab"] == [0.0, 3]
        world.set("a", 12.5)
        world.set("b", 12.5)
        assert [devices[n].device.value for n in "ab"] == [12.5, 25]
        assert [devices[n].has_events for n in "ab"] == [False, False]


OUTPUT = """
class Valve:
    def __init__(self):
        raise OSError("no valve here")

    @property
    def value(self):
        return 0

    @value.setter
    def value(self, value):
        raise OSError("no valve here")
"""


def test_an_output_of_ones_own_can_be_commanded(tmp_path: Path) -> None:
    folder = tmp_path / "hardware"
    folder.mkdir()
    (folder / "valve_a.py").write_text(OUTPUT, encoding="utf-8")
    with simulated(Device("valve", "valve_a"), extra=tmp_path) as (_, devices):
        assert devices["valve"].is_output
        assert apply(devices["valve"], b"0.5") == 0.5
        assert devices["valve"].device.value == 0.5


def test_what_cannot_be_set() -> None:
    with simulated(Device("lamp", "LED", {"pin": 4})) as (world, devices):
        with pytest.raises(ConfigError, match=r"device 'lamp' \(LED\) measures nothing"):
            world.set("lamp", 1)
        with pytest.raises(NotFoundError, match=r"there is no device 'lmap'; did you mean 'lamp'\?"):
            world.set("lmap", 1)
        real: Any = devices["lamp"]
        real.simulated = False
        with pytest.raises(ConfigError, match="device 'lamp' is real: its value cannot be set"):
            world.set("lamp", 1)


def test_what_has_no_pins_is_real_until_its_value_is_set() -> None:
    specs = Device("disk", "DiskUsage", {"filesystem": "/"}), Device("door", "Button", {"pin": 17})
    with simulated(*specs) as (world, devices):
        assert [devices[name].simulated for name in ("disk", "door")] == [False, True]
        world.set("disk", 0.25)
        assert (devices["disk"].simulated, devices["disk"].device.value) == (True, 0.25)
