"""The register of any chip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices.drivers import find
from edge_runtime.errors import ConfigError
from tests.i2c import I2c, Registers

I2cRegister = find(Device("board", "i2c_register"))


class _Expander:
    """A PCF8574: it has no registers, only eight pins."""

    def write(self, data: bytes) -> None:
        raise AssertionError(f"{data!r} would switch its pins")

    def read(self, count: int) -> bytes:
        return b"\xa5" * count


class _Wide:
    """A chip whose registers have numbers of two bytes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def read(self, count: int) -> bytes:
        return (int.from_bytes(self.written[-1], "big") + 1).to_bytes(count, "big")


def read(i2c: I2c, **options: object) -> int:
    sensor = I2cRegister(bus=i2c.path, **options)
    try:
        value: int = sensor.value
    finally:
        sensor.close()
    return value


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, 0xE7),
        ({"signed": True}, -25),
        ({"length": 2}, 0xE731),
        ({"length": 2, "order": "little"}, 0x31E7),
        ({"length": 2, "signed": True}, -6351),
        ({"length": 3, "order": "little", "signed": True}, -0x6ACE19),
        ({"length": 2, "mask": 0x0FF0}, 0x73),
        ({"length": 2, "mask": 0xFFF0, "signed": True}, -0x18D),
        ({"length": 2, "mask": 0x0070, "signed": True}, 3),
        ({"length": 2, "mask": 0x0030, "signed": True}, -1),
        ({"mask": 0x80}, 1),
        ({"length": 8}, 0xE731950000000000),
    ],
)
def test_what_the_bytes_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], value: int
) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x48: Registers(at_10=0xE7, at_11=0x31, at_12=0x95)})
    assert read(i2c, address=0x48, register=0x10, **options) == value


def test_a_chip_without_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    i2c = I2c(tmp_path, monkeypatch, {0x20: _Expander()})
    assert read(i2c, address=0x20) == 0xA5


def test_a_register_with_a_long_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = _Wide()
    i2c = I2c(tmp_path, monkeypatch, {0x29: chip})
    assert read(i2c, address=0x29, register=0x010F, register_length=2, length=2) == 0x0110
    assert chip.written == [b"\x01\x0f"]


def test_a_command_before_each_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = Registers()
    i2c = I2c(tmp_path, monkeypatch, {0x40: chip})
    assert read(i2c, address=0x40, register=5, command=[5, 77], wait="1ms") == 77


def test_what_it_takes_hold_of() -> None:
    assert I2cRegister.wires(address=0x48) == ["I2C1 0x48"]
    assert I2cRegister.wires(address=0x48, register=5) == ["I2C1 0x48 register 0x05"]
    assert I2cRegister.wires(address=0x48, register=5, register_length=2, mask=0xF0) == [
        "I2C1 0x48 register 0x0005 & 0xf0"
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": 0x78}, "address 0x78 is no number from 0x03 to 0x77"),
        ({"register": 256}, "register 0x100 is no number from 0x00 to 0xff"),
        ({"register_length": 3}, "register_length 3 is no whole number from 1 to 2"),
        ({"length": 0}, "length 0 is no whole number from 1 to 8"),
        ({"mask": 0}, "mask 0x00 is no number from 0x01 to 0xff"),
        ({"mask": 0x100}, "mask 0x100 is no number from 0x01 to 0xff"),
        ({"order": "middle"}, "order 'middle' is not known"),
        ({"signed": "yes"}, "signed 'yes' is neither true nor false"),
        ({"command": 5}, "command 5 is no list of up to 32 bytes"),
        ({"command": [256]}, "command 0x100 is no number from 0x00 to 0xff"),
        ({"wait": -1}, "wait"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], words: str) -> None:
    for call in (I2cRegister.wires, I2cRegister.simulated, I2cRegister):
        with pytest.raises(ConfigError, match=words):
            call(**{"address": 0x48, **options})
