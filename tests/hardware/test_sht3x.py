"""SHT3x against a chip that knows its commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices.drivers import find
from edge_runtime.errors import ConfigError, DeviceError
from tests.i2c import I2c

Sht3x = find(Device("air", "sht3x"))
crc8 = Sht3x.__init__.__globals__["_crc8"]


class _Chip:
    """An SHT3x, left in periodic measurement with its heater on by somebody else."""

    def __init__(self, temperature: int = 0x6666, humidity: int = 0x8000) -> None:
        self.words = (temperature, humidity)
        self.commands: list[str] = []
        self.periodic = True
        self.answer = b""

    def write(self, data: bytes) -> None:
        self.commands.append(data.hex())
        if data == b"\x30\x93":
            self.periodic = False
        elif data[0] == 0x24:
            assert not self.periodic, "it takes no single shot while it measures by itself"
            self.answer = b"".join(
                word.to_bytes(2, "big") + bytes([crc8(word.to_bytes(2, "big"))]) for word in self.words
            )

    def read(self, count: int) -> bytes:
        assert count == len(self.answer)
        return self.answer


def test_the_checksum_of_the_data_sheet() -> None:
    assert crc8(b"\xbe\xef") == 0x92


@pytest.mark.parametrize(("repeatability", "command"), [("high", "2400"), ("medium", "240b"), ("low", "2416")])
def test_a_single_shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repeatability: str, command: str) -> None:
    chip = _Chip()
    i2c = I2c(tmp_path, monkeypatch, {0x45: chip})
    sensor = Sht3x(bus=i2c.path, address=0x45, repeatability=repeatability)
    assert sensor.value == {"temperature": 25.0, "humidity": 50.001}
    assert sensor.value == {"temperature": 25.0, "humidity": 50.001}
    assert chip.commands == ["3093", "30a2", command, command]
    sensor.close()
    sensor.close()


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ((0, 0), {"temperature": -45.0, "humidity": 0.0}),
        ((0xFFFF, 0xFFFF), {"temperature": 130.0, "humidity": 100.0}),
    ],
)
def test_the_ends_of_its_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[int, int], value: dict[str, float]
) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x44: _Chip(*words)})
    sensor = Sht3x(bus=i2c.path)
    assert sensor.value == value
    sensor.close()


@pytest.mark.parametrize(("broken", "part"), [(0, "temperature"), (2, "temperature"), (4, "humidity")])
def test_a_wrong_checksum_is_a_fault_and_the_next_reading_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int, part: str
) -> None:
    chip = _Chip()
    i2c = I2c(tmp_path, monkeypatch, {0x44: chip})
    sensor = Sht3x(bus=i2c.path)
    good = sensor.value
    clean = chip.read

    def noisy(count: int) -> bytes:
        data = bytearray(clean(count))
        data[broken] ^= 0x10
        return bytes(data)

    chip.read = noisy  # type: ignore[method-assign]  # noise on the line
    with pytest.raises(DeviceError, match=f"0x44: the checksum of the {part} is wrong"):
        _ = sensor.value
    chip.read = clean  # type: ignore[method-assign]  # it is gone
    assert sensor.value == good
    sensor.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": 0x46}, "address 0x46 is no number from 0x44 to 0x45"),
        ({"repeatability": "hi"}, "repeatability 'hi' is not known"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], words: str) -> None:
    for call in (Sht3x.wires, Sht3x.simulated, Sht3x):
        with pytest.raises(ConfigError, match=words):
            call(**options)
