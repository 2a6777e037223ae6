"""INA219 against a chip that reckons as its data sheet says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices.drivers import find
from edge_runtime.errors import ConfigError, DeviceError
from tests.i2c import I2c, Words

Ina219 = find(Device("battery", "ina219"))


class _Chip(Words):
    """An INA219 between a shunt and a load."""

    def __init__(self, shunt_ohms: float, volts: float, amps: float) -> None:
        super().__init__()
        self.shunt_ohms, self.volts, self.amps = shunt_ohms, volts, amps
        self.busy = 0
        self.stuck = False

    def store(self, register: int, word: int) -> None:
        super().store(register, word & 0xFFFE if register == 5 else word)
        if register == 0 and word & 7 == 0b011:
            self.busy = 2

    def load(self, register: int) -> int:
        if register == 2 and self.busy:
            self.busy -= not self.stuck
            return 0
        return self.reckon()[register]

    def reckon(self) -> list[int]:
        """Return what the registers say: formulas 4 and 5 of the data sheet."""
        config, calibration = self.words.get(0, 0x399F), self.words.get(5, 0)
        most = 4000 << (config >> 11 & 3)
        shunt = max(-most, min(most, round(self.amps * self.shunt_ohms / 10e-6)))
        bus = round(self.volts / 0.004)
        current = int(shunt * calibration / 4096)
        power = int(abs(current) * bus / 5000)
        overflow = abs(current) > 32767 or power > 65535
        return [config, shunt, bus << 3 | 0b10 | overflow, power, current, calibration]


def measure(i2c: I2c, **options: object) -> dict[str, float]:
    sensor = Ina219(bus=i2c.path, **options)
    try:
        value: dict[str, float] = sensor.value
    finally:
        sensor.close()
    return value


def test_the_example_of_the_data_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 A through 2 milliohms at 11.98 V, 15 A expected (figure 27)."""
    chip = _Chip(0.002, 11.98, 10.0)
    i2c = I2c(tmp_path, monkeypatch, {0x40: chip})
    value = measure(i2c, shunt_ohms=0.002, max_amps=15, samples=1)
    assert value["bus_voltage"] == 11.98
    assert value["current"] == pytest.approx(10.0, abs=0.0005)
    assert value["power"] == pytest.approx(119.8, abs=0.01)
    assert chip.words == {5: 44738, 0: 0x2000 | 0b00 << 11 | 0b0011 << 7 | 0b0011 << 3 | 0b011}


@pytest.mark.parametrize(
    ("ohms", "most", "amps"),
    [(0.1, 3.2, 1.0), (0.1, 3.2, -2.5), (0.1, 0.4, 0.123), (0.01, 30, 17.5), (0.1, 0.1, 0.05), (1.5, 0.2, 0.19)],
)
def test_currents_in_both_directions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ohms: float, most: float, amps: float
) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x40: _Chip(ohms, 12.0, amps)})
    value = measure(i2c, shunt_ohms=ohms, max_amps=most, samples=1)
    assert value["current"] == pytest.approx(amps, abs=2 * most / 32768 + 10e-6 / ohms)
    assert value["power"] == pytest.approx(abs(12.0 * amps), rel=0.01)


def test_a_chip_that_lost_its_power_is_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = _Chip(0.1, 5.0, 0.5)
    i2c = I2c(tmp_path, monkeypatch, {0x40: chip})
    sensor = Ina219(bus=i2c.path, samples=1)
    first = sensor.value
    chip.words.clear()
    assert sensor.value == first
    assert first["current"] == pytest.approx(0.5, abs=0.001)
    sensor.close()


@pytest.mark.parametrize("amps", [3.3, -5.0])
def test_too_much_current_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amps: float) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x40: _Chip(0.1, 12.0, amps)})
    with pytest.raises(DeviceError, match=r"0x40: the current is beyond 3\.2 A; say more in max_amps"):
        measure(i2c, samples=1)


def test_an_overflow_in_its_reckoning_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 A are expected, and 2.5 A are within the range of the shunt but not of the register."""
    i2c = I2c(tmp_path, monkeypatch, {0x40: _Chip(0.1, 12.0, 2.5)})
    with pytest.raises(DeviceError, match="the current is beyond 2 A"):
        measure(i2c, max_amps=2, samples=1)


def test_a_measurement_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = _Chip(0.1, 12.0, 1.0)
    chip.stuck = True
    i2c = I2c(tmp_path, monkeypatch, {0x40: chip})
    with pytest.raises(DeviceError, match="its measurement does not end"):
        measure(i2c, samples=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shunt_ohms": 0}, "shunt_ohms 0 is no number above 0"),
        ({"max_amps": "3"}, "max_amps '3' is no number above 0"),
        ({"max_amps": 4}, "4 A make 0.4 V at 0.1 ohms, and it measures from 0.001 to 0.32 V there"),
        ({"samples": 3}, "samples 3 is none of 1, 2, 4, 8"),
        ({"address": 0x50}, "address 0x50 is no number from 0x40 to 0x4f"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], words: str) -> None:
    for call in (Ina219.wires, Ina219.simulated, Ina219):
        with pytest.raises(ConfigError, match=words):
            call(**options)
