"""BME280 and BMP280 against a chip with the registers of their data sheets."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Device
from edge_runtime.devices import Opener, close
from edge_runtime.devices.drivers import find
from edge_runtime.errors import ConfigError, DeviceError
from tests.i2c import I2c, Registers

Bme280 = find(Device("air", "bme280"))
TRIM = (27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
"""The worked example of the BMP280's data sheet, section 3.12."""
HUMIDITY_TRIM = (75, 363, 0, 313, 50, 30)
"""H1 to H6 of a real chip; the data sheet of the BME280 works no example for humidity."""


class _Chip(Registers):
    """A BME280: it measures when forced to, is busy for a while, and then sleeps."""

    def __init__(self, identity: int = 0x60, humidity: int = 28000, trim: tuple[int, ...] = HUMIDITY_TRIM) -> None:
        super().__init__(at_d0=identity, at_f5=0xFF, at_f3=0b1)
        self.by_itself = True  # as another program may have left it
        self.memory[0x88:0xA0] = struct.pack("<HhhHhhhhhhhh", *TRIM)
        h1, h2, h3, h4, h5, h6 = trim
        self.memory[0xA1] = h1
        packed = struct.pack("<hBBBBb", h2, h3, h4 >> 4 & 0xFF, (h4 & 15) | (h5 & 15) << 4, h5 >> 4 & 0xFF, h6)
        self.memory[0xE1:0xE8] = packed
        self.raw = (415148, 519888, humidity)
        self.busy = 1
        self.forced: list[int] = []
        self.lose_power()

    def lose_power(self) -> None:
        """Forget everything but the calibration."""
        self.memory[0xF2] = self.memory[0xF4] = 0
        self.memory[0xF7:0xFF] = bytes.fromhex("8000008000008000")

    def read(self, count: int) -> bytes:
        data = super().read(count)
        if self.at == 0xF3:
            self.busy -= self.busy > 0
            self.memory[0xF3] = 0b1000 if self.busy else 0
        return data

    def store(self, register: int, number: int) -> None:
        if register == 0xF5 and self.by_itself:
            return
        super().store(register, number)
        if register == 0xF4:
            self.by_itself = number & 3 == 3
        if register == 0xF4 and number & 3 == 1:
            self.forced.append(number)
            self.memory[0xF3], self.busy = 0b1000, 2
            self.memory[0xF4] &= 0xFC  # asleep when it is done
            pressure, temperature, humidity = self.raw
            self.memory[0xF7:0xFD] = (pressure << 4).to_bytes(3, "big") + (temperature << 4).to_bytes(3, "big")
            wet = humidity if self.memory[0xF2] & 7 and self.memory[0xD0] == 0x60 else 0x8000
            self.memory[0xFD:0xFF] = wet.to_bytes(2, "big")


def test_the_worked_example_of_the_data_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x76: _Chip(0x58)})
    sensor = Bme280(bus=i2c.path)
    assert sensor.value == {"temperature": 25.082, "pressure": 1006.533}  # 25.08 degrees, 100653.27 Pa
    assert i2c.chips[0x76].memory[0xF5] == 0  # type: ignore[attr-defined]  # no filter
    sensor.close()


def test_humidity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x77: _Chip()})
    sensor = Bme280(bus=i2c.path, address=0x77)
    value = sensor.value
    assert value["temperature"] == 25.082
    assert value["humidity"] == pytest.approx(by_whole_numbers(28000, 128422), abs=0.02)
    sensor.close()


def by_whole_numbers(raw: int, fine: int, trim: tuple[int, ...] = HUMIDITY_TRIM) -> float:
    """Return percent by the other way that the data sheet gives, with 32-bit whole numbers."""
    h1, h2, h3, h4, h5, h6 = trim
    base = fine - 76800
    wet = ((raw << 14) - (h4 << 20) - h5 * base + 16384) >> 15
    warm = ((base * h6 >> 10) * ((base * h3 >> 11) + 32768) >> 10) + 2097152
    wet *= (warm * h2 + 8192) >> 14
    wet -= ((wet >> 15) * (wet >> 15) >> 7) * h1 >> 4
    return (min(419430400, max(0, wet)) >> 12) / 1024


@given(st.integers(0, 0x7FFF), st.integers(-200_000, 400_000))
def test_both_ways_of_the_data_sheet_agree(raw: int, fine: int) -> None:
    trim = Bme280.__init__.__globals__["_Trim"]((), (), HUMIDITY_TRIM)
    assert trim.humidity(raw, float(fine)) == pytest.approx(by_whole_numbers(raw, fine), abs=0.03)


def test_negative_calibration_of_humidity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trim = (0, 370, 0, -20, -30, -3)
    i2c = I2c(tmp_path, monkeypatch, {0x76: _Chip(humidity=10000, trim=trim)})
    sensor = Bme280(bus=i2c.path)
    expected = by_whole_numbers(10000, 128422, trim)
    assert 50 < expected < 90
    assert sensor.value["humidity"] == pytest.approx(expected, abs=0.05)
    sensor.close()


def test_oversampling_goes_to_the_chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = _Chip()
    i2c = I2c(tmp_path, monkeypatch, {0x76: chip})
    sensor = Bme280(bus=i2c.path, oversampling=4)
    assert set(sensor.value) == {"temperature", "pressure", "humidity"}
    assert (chip.forced, chip.memory[0xF2]) == ([0b011_011_01], 3)
    sensor.close()


def test_power_that_is_lost_between_two_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = _Chip()
    i2c = I2c(tmp_path, monkeypatch, {0x76: chip})
    sensor = Bme280(bus=i2c.path)
    first = sensor.value
    chip.lose_power()
    assert sensor.value == first
    chip.raw = (0x80000, 519888, 28000)
    with pytest.raises(DeviceError, match="it has not measured"):
        _ = sensor.value
    chip.raw = (415148, 519888, 28000)
    assert sensor.value == first
    sensor.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0xD0: 0x61}, "chip 0x61, a BME680, is no BME280 and no BMP280"),
        ({0xD0: 0xFF}, "chip 0xff, unknown, is no BME280 and no BMP280"),
        ({0x88: 0, 0x89: 0}, "its calibration cannot be read"),
    ],
)
def test_a_chip_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[int, int], words: str
) -> None:
    chip = _Chip()
    for register, number in change.items():
        chip.memory[register] = number
    i2c = I2c(tmp_path, monkeypatch, {0x76: chip})
    sensor = Bme280(bus=i2c.path)
    with pytest.raises(DeviceError, match=f"0x76: {words}"):
        _ = sensor.value
    sensor.close()


def test_a_measurement_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = _Chip()
    chip.busy = 1000
    i2c = I2c(tmp_path, monkeypatch, {0x76: chip})
    sensor = Bme280(bus=i2c.path)
    with pytest.raises(DeviceError, match="its measurement does not end"):
        _ = sensor.value
    sensor.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": 0x78}, "address 0x78 is no number from 0x76 to 0x77"),
        ({"oversampling": 3}, "oversampling 3 is none of 1, 2, 4, 8, 16"),
        ({"bus": -1}, "bus -1 is no I2C bus"),
    ],
)
def test_wrong_arguments_are_found_without_hardware(options: dict[str, Any], words: str) -> None:
    for call in (Bme280.wires, Bme280.simulated, Bme280):
        with pytest.raises(ConfigError, match=words):
            call(**options)


def test_as_a_device_of_an_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x76: _Chip(0x58)})
    opened = Opener().open(Device("air", "bme280", {"bus": i2c.path}))
    assert (opened.device.value["temperature"], opened.simulated, opened.is_output) == (25.082, False, False)
    close([opened])
    assert not i2c.is_open()
    with pytest.raises(
        ConfigError, match=r"device 'air' \(bme280\): /dev/i2c-99 is missing: the I2C bus is off"
    ) as error:
        Opener().open(Device("air", "bme280", {"bus": 99}))
    assert "dtparam=i2c_arm=on" in error.value.hint
