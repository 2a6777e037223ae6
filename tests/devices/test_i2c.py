"""Chips on an I2C bus: sharing it, and what is said when it fails."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from edge_runtime.devices.i2c import Chip, I2cSensor, place
from edge_runtime.errors import ConfigError, DeviceError
from tests.i2c import I2c, Registers


class Sensor(I2cSensor):
    """A chip whose register 1 counts how often it was made ready, and register 2 is the reading."""

    def _prepare(self) -> None:
        self.chip.write(1, self.chip.read(1, 1)[0] + 1)

    def _measure(self) -> object:
        return self.chip.read(2, 1)[0]


def test_reads_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x20: Registers(at_10=7, at_11=8)})
    chip = Chip(i2c.path, 0x20)
    assert chip.wiring == f"I2C {i2c.path} 0x20"
    assert chip.read(0x10, 2) == b"\x07\x08"
    chip.write(0x11, 9, 10)
    assert chip.receive(2, after=b"\x11") == b"\x09\x0a"
    chip.write(0x12)
    assert chip.receive(1) == b"\x0a"
    chip.close()


def test_chips_of_one_bus_share_it_and_the_last_one_closes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x20: Registers(at_00=1), 0x21: Registers(at_00=2)})
    one, other = Chip(i2c.path, 0x20), Chip(i2c.path, 0x21)
    assert (one.read(0, 1), other.read(0, 1), i2c.opened) == (b"\x01", b"\x02", 1)
    one.close()
    one.close()
    assert i2c.is_open()
    assert other.read(0, 1) == b"\x02"
    with pytest.raises(DeviceError, match="it is closed"):
        one.read(0, 1)
    other.close()
    assert not i2c.is_open()
    again = Chip(i2c.path, 0x20)
    assert (again.read(0, 1), i2c.opened) == (b"\x01", 2)
    again.close()


def test_devices_on_one_chip_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x20: Registers()})
    one, same, other = Chip(i2c.path, 0x20), Chip(i2c.path, 0x20), Chip(i2c.path, 0x21)
    assert one.turn is same.turn
    assert one.turn is not other.turn
    for chip in (one, same, other):
        chip.close()


@pytest.mark.parametrize("number", [errno.EREMOTEIO, errno.ENXIO])
def test_nobody_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x20: Registers()})
    i2c.failing = number
    chip = Chip(i2c.path, 0x20)
    with pytest.raises(DeviceError) as error:
        chip.read(0, 1)
    assert str(error.value) == (
        f"I2C {i2c.path} 0x20: no answer; check its wiring and its address: "
        f"`i2cdetect -y {i2c.path}` shows who is there"
    )
    chip.close()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ETIMEDOUT, "the bus is stuck: a chip holds a line low; check power, wiring and pull-ups"),
        (errno.ENODEV, "the adapter is gone; plug it in again"),
        (errno.EOPNOTSUPP, "the adapter knows SMBus only, not I2C; take another one"),
        (errno.EIO, "the transfer failed; check wiring, power and the length of the cable"),
    ],
)
def test_a_failed_transfer_says_why_and_opens_the_bus_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x20: Registers(at_00=5)})
    chip = Chip(i2c.path, 0x20)
    i2c.failing = number
    with pytest.raises(DeviceError) as error:
        chip.read(0, 1)
    assert str(error.value) == f"I2C {i2c.path} 0x20: {words} ({os.strerror(number)})"
    assert not i2c.is_open()
    i2c.failing = 0
    assert chip.read(0, 1) == b"\x05"
    assert i2c.opened == 2
    chip.close()


def test_a_bus_that_is_off() -> None:
    with pytest.raises(DeviceError) as error:
        Chip(98, 0x20)
    assert str(error.value) == "/dev/i2c-98 is missing: the I2C bus is off"
    assert "dtparam=i2c_arm=on" in error.value.hint


def test_a_bus_that_this_user_may_not_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    i2c = I2c(tmp_path, monkeypatch, {})

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("smbus2.smbus2.os.open", refuse)
    with pytest.raises(DeviceError) as error:
        Chip(i2c.path, 0x20)
    assert str(error.value) == f"{i2c.path} may not be opened by this user: it is not in the group i2c"
    assert "usermod -aG i2c" in error.value.hint


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_that_is_no_bus(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    before = open_files()
    with pytest.raises(DeviceError, match=f"{path} is no I2C bus: Inappropriate ioctl for device"):
        Chip(str(path), 0x20)
    assert open_files() == before


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smbus2", None)
    with pytest.raises(ConfigError, match="the library smbus2 is missing") as error:
        Chip(1, 0x20)
    assert error.value.hint == "pip install 'edge-runtime[i2c]'"


def test_a_sensor_is_made_ready_once_and_again_after_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = Registers(at_02=42)
    i2c = I2c(tmp_path, monkeypatch, {})
    sensor = Sensor(i2c.path, 0x20)
    with pytest.raises(DeviceError, match="no answer"):
        _ = sensor.value
    i2c.chips[0x20] = chip  # it is plugged in later
    assert [sensor.value, sensor.value, chip.memory[1]] == [42, 42, 1]
    i2c.failing = errno.EIO
    with pytest.raises(DeviceError):
        _ = sensor.value
    i2c.failing = 0
    assert [sensor.value, chip.memory[1]] == [42, 2]
    sensor.close()
    sensor.close()


@pytest.mark.parametrize(
    ("bus", "address", "name"),
    [
        (1, 0x76, "I2C1 0x76"),
        ("/dev/i2c-1", 0x76, "I2C1 0x76"),
        ("1", 0x03, "I2C1 0x03"),
        ("/dev/i2c-sensors", 0x40, "I2C sensors 0x40"),
        (22, 0x77, "I2C22 0x77"),
    ],
)
def test_what_a_chip_is_called(bus: int | str, address: int, name: str) -> None:
    assert place(bus, address) == name


@pytest.mark.parametrize(
    ("bus", "address", "words"),
    [
        (-1, 0x20, "bus -1 is no I2C bus"),
        (True, 0x20, "bus True is no I2C bus"),
        ("", 0x20, "bus '' is no I2C bus"),
        (1.5, 0x20, "bus 1.5 is no I2C bus"),
        (1, 0x78, "address 0x78 is no number from 0x03 to 0x77"),
        (1, "0x76", "address '0x76' is no number from 0x03 to 0x77"),
        (1, None, "address None is no number from 0x03 to 0x77"),
        (1, -3, "address -3 is no number from 0x03 to 0x77"),
    ],
)
def test_what_is_no_place(bus: int, address: int, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        place(bus, address)
    assert str(error.value) == words
    assert error.value.hint
