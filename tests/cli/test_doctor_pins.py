"""doctor: what drives the pins, on machines that are made up."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from edge_runtime.app import App, Device
from edge_runtime.cli._checks_devices import pins
from edge_runtime.cli._finding import Finding
from edge_runtime.devices.chips import Chip
from edge_runtime.devices.factories import Machine
from tests.devices.fakegpiod import Lines, module

CHIP = Chip(0, Path("/dev/gpiochip0"), "main-pins", 4)
LAMP = Device("lamp", "LED", {"pin": 2})
SIMULATE = "run `edge run --simulate` to try the app without hardware"


@pytest.fixture(autouse=True)
def _real(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no test look at what this machine is told to do."""
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)


def machine(root: Path, *libraries: str) -> Machine:
    """Return a machine with one chip and some libraries."""

    def version(package: str) -> str:
        if package == "gpiozero":
            return "2.0.1.post3"
        if package not in libraries:
            raise PackageNotFoundError(package)
        return "2.3.0"

    def load(name: str) -> Any:  # noqa: ANN401 - what importlib returns
        if name not in libraries:
            raise ModuleNotFoundError(name, name=name.partition(".")[0])
        return module({"/dev/gpiochip0": Lines("PA0")}) if name == "gpiod" else ModuleType(name)

    return Machine(root, {}, lambda: [CHIP], version, load)


def findings(app: App, made: Machine) -> list[Finding]:
    return list(pins(app, made))


def test_nothing_is_said_without_pins(tmp_path: Path) -> None:
    assert findings(App("a", tmp_path), machine(tmp_path)) == []
    devices = (Device("load", "LoadAverage"), Device("air", "bme280"))
    assert findings(App("a", tmp_path, devices=devices), machine(tmp_path)) == []


def test_a_board_that_is_driven(tmp_path: Path) -> None:
    app = App("a", tmp_path, board="generic", devices=(LAMP,))
    [found] = findings(app, machine(tmp_path, "gpiod"))
    assert (found.level, found.text, found.fix) == (
        "ok",
        (
            "any board with a gpiochip: driven by gpiod on gpiochip0 (main-pins) "
            "(lgpio: gpiozero's lgpio drives the pins of a Raspberry Pi only)"
        ),
        "",
    )


def test_what_is_missing_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    app = App("a", tmp_path, board="generic", devices=(LAMP,))
    [found] = findings(app, machine(tmp_path))
    assert (found.level, found.text, found.fix) == (
        "fail",
        (
            "lamp: the GPIO pins of this machine cannot be reached (lgpio: gpiozero's lgpio drives the pins of a "
            "Raspberry Pi only; gpiod: the library gpiod is missing: pip install 'edge-runtime[gpiod]'; rpigpio: "
            "RPi.GPIO drives the pins of a Raspberry Pi only; native: it drives the pins of a Raspberry Pi only)"
        ),
        SIMULATE,
    )


def test_a_machine_that_no_board_file_knows(tmp_path: Path) -> None:
    [found] = findings(App("a", tmp_path, devices=(LAMP,)), machine(tmp_path, "gpiod"))
    assert found.level == "fail"
    assert found.text.endswith(
        "gpiod: to use the lines of gpiochip0 (main-pins) write board: generic, or a board file of your own)"
    )


def test_second_best_is_a_warning(tmp_path: Path) -> None:
    made = replace(machine(tmp_path, "RPi.GPIO"), find_chips=list, kind=lambda _: MockFactory)
    [found] = findings(App("a", tmp_path, board="pi-4", devices=(LAMP,)), made)
    assert (found.level, found.text, found.fix) == (
        "warn",
        (
            "Raspberry Pi 4: driven by rpigpio (lgpio: the library lgpio is missing: apt install python3-lgpio, in a "
            "venv made with --system-site-packages)"
        ),
        "apt install python3-lgpio, which also a Pi 5 can do with",
    )
