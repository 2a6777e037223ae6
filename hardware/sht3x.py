"""Air by a Sensirion SHT30, SHT31 or SHT35: temperature and humidity.

    cellar:
      driver: sht3x
      address: 0x44
      every: 60s
      parts:
        temperature: {range: [-40, 125], round: 1, deadband: 0.2}
        humidity: {range: [0, 100], round: 0}

A reading is `{"temperature": 17.214, "humidity": 61.93}` in degrees Celsius and percent. It measures when it is read;
both numbers come with a checksum, and one that is wrong is a fault.

Arguments:
- `bus`: the number of the I2C bus, or its file. 1 is the one on the header.
- `address`: 0x44 with the pin ADDR at ground (or open, on most boards), 0x45 with ADDR at 3.3 V.
- `repeatability`: `high` (0.04 degrees, 16 ms), `medium` (0.08, 7 ms) or `low` (0.15, 5 ms).

Wiring on a header of 40 pins: VIN to 3.3 V (pin 1), GND to ground (pin 6), SDA to GPIO2 (pin 3), SCL to GPIO3 (pin 5).
Switch the bus on by `dtparam=i2c_arm=on` in `/boot/firmware/config.txt`; the user must be in the group `i2c`. Install
`edge-runtime[i2c]`.

Facts: data sheet SHT3x-DIS: single shot without clock stretching, CRC-8 with the polynomial 0x31.
"""

from __future__ import annotations

import time
from typing import ClassVar

from edge_runtime.devices import arguments
from edge_runtime.devices.arguments import hex_number
from edge_runtime.devices.driver import SimulatedDevice
from edge_runtime.devices.i2c import I2cSensor, place

_SHOTS = {"high": (0x24, 0x00, 0.016), "medium": (0x24, 0x0B, 0.007), "low": (0x24, 0x16, 0.005)}
"""The command of a single shot, and how long it takes at most, in seconds."""
_BREAK, _SOFT_RESET = (0x30, 0x93), (0x30, 0xA2)
_RESET_S = 0.002


def _crc8(data: bytes) -> int:
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc


class Sht3x(I2cSensor):
    """An SHT30, SHT31 or SHT35."""

    unit: ClassVar = {"temperature": "C", "humidity": "%"}

    def __init__(self, *, bus: int | str = 1, address: int = 0x44, repeatability: str = "high") -> None:
        self.wires(bus=bus, address=address, repeatability=repeatability)
        super().__init__(bus, address)
        self._shot = _SHOTS[repeatability]

    @classmethod
    def wires(cls, *, bus: int | str = 1, address: int = 0x44, repeatability: str = "high") -> list[str]:
        """Return what it takes hold of. Raises: ConfigError for a wrong argument."""
        hex_number("address", address, 0x44, 0x45)
        arguments.word("repeatability", repeatability, _SHOTS)
        return [place(bus, address)]

    @classmethod
    def simulated(cls, *, bus: int | str = 1, address: int = 0x44, repeatability: str = "high") -> SimulatedDevice:
        """Return one that measures a mild day."""
        (wiring,) = cls.wires(bus=bus, address=address, repeatability=repeatability)
        return SimulatedDevice({"temperature": 21.0, "humidity": 45.0}, wiring=wiring)

    def _prepare(self) -> None:
        # Another program may have left it measuring by itself, or with its heater on.
        self.chip.write(*_BREAK)
        time.sleep(_RESET_S)
        self.chip.write(*_SOFT_RESET)
        time.sleep(_RESET_S)

    def _measure(self) -> object:
        high, low, seconds = self._shot
        self.chip.write(high, low)
        time.sleep(seconds)
        data = self.chip.receive(6)
        for part, word in (("temperature", data[:3]), ("humidity", data[3:])):
            if _crc8(word[:2]) != word[2]:
                raise self.chip.fault(f"the checksum of the {part} is wrong; check the wiring and the cable's length")
        temperature, humidity = (int.from_bytes(data[at : at + 2], "big") for at in (0, 3))
        return {
            "temperature": round(175 * temperature / 65535 - 45, 3),
            "humidity": round(100 * humidity / 65535, 3),
        }
