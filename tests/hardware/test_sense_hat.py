"""The Sense HAT, with a library of its own name that has the methods of the real one."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices.drivers import find
from edge_runtime.errors import ConfigError, DeviceError

SenseHat = find(Device("hat", "sense_hat"))


class Board(types.ModuleType):
    """The library `sense_hat` and the board below it."""

    def __init__(self) -> None:
        super().__init__("sense_hat")
        self.there = True
        self.made = 0
        self.pressures = [0, 0, 1009.2101]  # the chip says nothing at first
        self.broken: OSError | None = None
        board = self

        class Hat:
            """The class that the library offers."""

            def __init__(self) -> None:
                if not board.there:
                    raise OSError("Cannot detect RPi-Sense FB device")
                board.made += 1

            def get_temperature(self) -> float:
                if board.broken:
                    raise board.broken
                return 31.420001

            def get_humidity(self) -> float:
                return 33.10512

            def get_pressure(self) -> float:
                return board.pressures.pop(0) if len(board.pressures) > 1 else board.pressures[0]

            def get_orientation_degrees(self) -> dict[str, float]:
                return {"roll": 1.5, "pitch": 2.25, "yaw": 359.0}

            def get_accelerometer_raw(self) -> dict[str, float]:
                return {"x": 0.01, "y": -0.02, "z": 0.98}

        self.SenseHat = Hat


@pytest.fixture(name="board")
def a_board(monkeypatch: pytest.MonkeyPatch) -> Board:
    board = Board()
    monkeypatch.setitem(sys.modules, "sense_hat", board)
    return board


AIR = {"temperature": 31.42, "humidity": 33.105, "pressure": 1009.21}


def test_air(board: Board) -> None:
    hat = SenseHat()
    assert (hat.value, hat.value, board.made) == (AIR, AIR, 1)
    hat.close()
    hat.close()


@pytest.mark.usefixtures("board")
def test_how_it_lies_and_moves() -> None:
    assert SenseHat(motion=True).value == AIR | {
        "roll": 1.5,
        "pitch": 2.25,
        "yaw": 359.0,
        "acceleration_x": 0.01,
        "acceleration_y": -0.02,
        "acceleration_z": 0.98,
    }


def test_a_sensor_that_says_nothing(board: Board) -> None:
    board.pressures = [0]
    with pytest.raises(DeviceError, match="the pressure of the Sense HAT does not come"):
        _ = SenseHat().value


def test_a_board_that_fails_and_comes_back(board: Board) -> None:
    hat = SenseHat()
    board.broken = OSError("Humidity Init Failed")
    with pytest.raises(DeviceError, match="the Sense HAT cannot be read: Humidity Init Failed; is it pressed down"):
        _ = hat.value
    board.broken = None
    assert (hat.value, board.made) == (AIR, 2)


def test_no_board(board: Board) -> None:
    board.there = False
    with pytest.raises(DeviceError, match="there is no Sense HAT: Cannot detect RPi-Sense FB device") as error:
        SenseHat()
    assert "i2c, input and video" in error.value.hint


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sense_hat", None)
    with pytest.raises(ConfigError, match="the library sense_hat is missing") as error:
        SenseHat()
    assert error.value.hint == "apt install sense-hat, in a venv made with --system-site-packages"


def test_a_wrong_argument() -> None:
    wrong: Any = "yes"
    for call in (SenseHat.wires, SenseHat.simulated, SenseHat):
        with pytest.raises(ConfigError, match="motion 'yes' is neither true nor false"):
            call(motion=wrong)


def test_simulated() -> None:
    assert set(SenseHat.simulated(motion=True).value) == set(SenseHat.unit)
    assert set(SenseHat.simulated().value) == set(AIR)
