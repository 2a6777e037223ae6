"""ADS1115 against a chip that converts when it is told to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices.drivers import find
from edge_runtime.errors import ConfigError, DeviceError
from tests.i2c import I2c, Words

Ads1115 = find(Device("soil", "ads1115"))
FULL = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256)
PAIRS = ((0, 1), (0, 3), (1, 3), (2, 3))


class _Chip(Words):
    """An ADS1115 with a voltage at each input. Until a conversion is done it shows the one before."""

    def __init__(self, *volts: float) -> None:
        super().__init__()
        self.volts = volts
        self.busy = 0
        self.stuck = False
        self.configs: list[int] = []

    def store(self, register: int, word: int) -> None:
        assert register == 1
        super().store(1, word & 0x7FFF)
        self.configs.append(word)
        if word & 0x8000:
            self.busy = 2

    def load(self, register: int) -> int:
        if register == 0 or self.busy == 0:
            return super().load(register) | (0x8000 if register else 0)
        self.busy -= not self.stuck
        if self.busy == 0:
            self.words[0] = self.convert(super().load(1))
        return super().load(1)

    def convert(self, config: int) -> int:
        multiplexer = config >> 12 & 7
        if multiplexer < 4:
            plus, minus = PAIRS[multiplexer]
            volts = self.volts[plus] - self.volts[minus]
        else:
            volts = self.volts[multiplexer - 4]
        return max(-32768, min(32767, round(volts / FULL[config >> 9 & 7] * 32768)))


@pytest.mark.parametrize(
    ("options", "volts", "config"),
    [
        ({"channel": 0}, 1.25, 0xC383),
        ({"channel": 3, "gain": "2/3"}, 3.28125, 0xF183),
        ({"channel": 2, "gain": 16, "rate": 860}, 0.125, 0xEBE3),
        ({"channel": 0, "minus": 1, "gain": 2, "rate": 475}, -0.75, 0x85C3),
        ({"channel": 2, "minus": 3}, -3.15625, 0xB383),
    ],
)
def test_volts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], volts: float, config: int
) -> None:
    chip = _Chip(1.25, 2.0, 0.125, 3.28125)
    i2c = I2c(tmp_path, monkeypatch, {0x49: chip})
    sensor = Ads1115(bus=i2c.path, address=0x49, **options)
    assert sensor.value == pytest.approx(volts, abs=1e-6)
    assert chip.configs == [config]
    sensor.close()


@pytest.mark.parametrize("volts", [3.0, -3.0])
def test_beyond_its_range_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volts: float) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x48: _Chip(volts, 0.0, 0.0, 0.0)})
    sensor = Ads1115(channel=0, minus=1, gain=2, rate=860, bus=i2c.path)
    with pytest.raises(DeviceError, match=r"0x48: the voltage is beyond \+-2.048 V; take a lower gain"):
        _ = sensor.value
    sensor.close()


def test_a_conversion_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = _Chip(1.0)
    chip.stuck = True
    i2c = I2c(tmp_path, monkeypatch, {0x48: chip})
    sensor = Ads1115(channel=0, rate=860, bus=i2c.path)
    with pytest.raises(DeviceError, match="its conversion does not end"):
        _ = sensor.value
    sensor.close()


def test_inputs_that_are_read_at_once_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x48: _Chip(0.0, 0.5, 1.0, 1.5)})
    sensors = [Ads1115(channel=n, rate=860, bus=i2c.path) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda sensor: [sensor.value for _ in range(10)], sensors))
    assert found == [[n / 2] * 10 for n in range(4)]
    assert i2c.opened == 1
    for sensor in sensors:
        sensor.close()
    assert not i2c.is_open()


def test_what_it_takes_hold_of() -> None:
    assert Ads1115.wires(channel=2) == ["I2C1 0x48 AIN2"]
    assert Ads1115.wires(channel=0, minus=3, address=0x4B) == ["I2C1 0x4b AIN0-AIN3"]
    assert Ads1115.simulated(channel=0, minus=3, gain=4).wiring == "I2C1 0x48 AIN0-AIN3"
    assert Ads1115.simulated(channel=0, gain=4).value == 0.512


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channel": 4}, "channel 4 is no whole number from 0 to 3"),
        ({"channel": 0, "minus": 2}, "it cannot measure channel 0 against 2"),
        ({"channel": 0, "minus": 4}, "minus 4 is no whole number from 0 to 3"),
        ({"channel": 0, "gain": 3}, "gain 3 is none of 2/3, 1, 2, 4, 8, 16"),
        ({"channel": 0, "rate": 100}, "rate 100 is none of 8, 16, 32"),
        ({"channel": 0, "address": 0x4C}, "address 0x4c is no number from 0x48 to 0x4b"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], words: str) -> None:
    for call in (Ads1115.wires, Ads1115.simulated, Ads1115):
        with pytest.raises(ConfigError, match=words):
            call(**options)
