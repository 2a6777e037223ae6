"""Simulated pins of boards that are no Raspberry Pi."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import close
from edge_runtime.devices.opening import Opener
from edge_runtime.devices.simulated_lines import simulated_factory
from edge_runtime.devices.simulation import Simulated, SimulatedFactory
from edge_runtime.errors import ConfigError, NotFoundError

BOARD = """
like = "generic"
header = "J1"
headers.J1 = ["3V3", "KEY", "LED", "GND"]
"""


def test_any_line_of_a_generic_board_can_be_simulated() -> None:
    opener = Opener(simulate=True, board="generic")
    specs = [
        Device("door", "Button", {"pin": "PC9"}),
        Device("lamp", "PWMLED", {"pin": 17}),
        Device("far", "DistanceSensor", {"echo": "gpiochip1:3", "trigger": 4}),
        Device("soil", "MCP3008", {"channel": 1}),
    ]
    opened = [opener.open(spec) for spec in specs]
    assert [device.pin for device in opened] == ["PC9", "17", "gpiochip1:3,4", "SPI0.0 channel 1"]
    Simulated(opened).set("door", 1)
    assert opened[0].device.is_pressed
    with pytest.raises(ConfigError, match=r"device 'x' \(LED\) cannot be opened: pin 17 is already in use by"):
        opener.open(Device("x", "LED", {"pin": "17"}))
    close(opened)


def test_the_names_are_those_of_the_board_file(tmp_path: Path) -> None:
    folder = tmp_path / "hardware/boards"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(BOARD, encoding="utf-8")
    opener = Opener(simulate=True, extra=tmp_path, board="mine")
    opened = opener.open(Device("lamp", "LED", {"pin": "BOARD3"}))
    assert opened.pin == "LED"
    close([opened])
    with pytest.raises(ConfigError, match=r"BOARD4 is ground \(GND\)"):
        opener.open(Device("x", "LED", {"pin": "BOARD4"}))


def test_a_pi_has_the_pins_that_gpiozero_knows() -> None:
    assert type(simulated_factory()) is SimulatedFactory
    assert type(simulated_factory("pi-5")) is SimulatedFactory
    with pytest.raises(NotFoundError):
        simulated_factory("pi5")
