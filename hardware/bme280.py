"""Air by a Bosch BME280: temperature, pressure and humidity; or by its sister BMP280, which has no humidity.

    air:
      driver: bme280
      address: 0x76
      every: 60s
      parts:
        temperature: {range: [-40, 85], round: 1, deadband: 0.2}
        pressure: {range: [300, 1100], round: 1}
        humidity: {range: [0, 100], round: 0}

A reading is `{"temperature": 21.408, "pressure": 1006.533, "humidity": 44.1}` in degrees Celsius, hectopascal and
percent; which chip it is, it says itself: for a BMP280 leave `humidity` out of `parts`. It measures when it is read,
and sleeps until the next time.

Arguments:
- `bus`: the number of the I2C bus, or its file. 1 is the one on the header.
- `address`: 0x76 with the pin SDO at ground, 0x77 with SDO at 3.3 V, as on most breakout boards of Adafruit.
- `oversampling`: 1, 2, 4, 8 or 16 measurements make one reading: less noise, and up to 113 ms instead of 10.

Wiring on a header of 40 pins: VIN to 3.3 V (pin 1), GND to ground (pin 6), SDA to GPIO2 (pin 3), SCL to GPIO3 (pin 5).
Not to 5 V. Switch the bus on by `dtparam=i2c_arm=on` in `/boot/firmware/config.txt`; the user must be in the group
`i2c`. Install `edge-runtime[i2c]`.

Facts: data sheets BST-BME280-DS002 and BST-BMP280-DS001, the compensation in floating point.
"""

from __future__ import annotations

import struct
import time
from typing import ClassVar, NamedTuple

from edge_runtime.devices.arguments import hex_number, one_of
from edge_runtime.devices.driver import SimulatedDevice
from edge_runtime.devices.i2c import I2cSensor, place

_BME280, _BMP280 = 0x60, 0x58
_NAMES = {0x56: "a BMP280 sample", 0x57: "a BMP280 sample", 0x55: "a BMP180", 0x61: "a BME680", 0x50: "a BMP388"}
_CHIP_ID, _STATUS, _CTRL_HUM, _CTRL_MEAS, _CONFIG, _DATA = 0xD0, 0xF3, 0xF2, 0xF4, 0xF5, 0xF7
_CALIBRATION, _CALIBRATION_HUMIDITY = 0x88, 0xE1
_FORCED = 1
_BUSY = 0b1001
"""Bits of the status: a conversion runs, or the calibration is being copied."""
_OVERSAMPLING = {1: 1, 2: 2, 4: 3, 8: 4, 16: 5}
_SKIPPED, _SKIPPED_HUMIDITY = 0x80000, 0x8000
"""What the chip gives where nothing was measured."""
_ASKS = 10


class _Trim(NamedTuple):
    """The calibration of one chip, by the names of the data sheet: T1 to T3, P1 to P9, H1 to H6."""

    t: tuple[int, ...]
    p: tuple[int, ...]
    h: tuple[int, ...]

    def temperature(self, raw: int) -> tuple[float, float]:
        """Return degrees Celsius, and the `t_fine` that the others need."""
        t1, t2, t3 = self.t
        fine = (raw / 16384 - t1 / 1024) * t2 + (raw / 131072 - t1 / 8192) ** 2 * t3
        return fine / 5120, fine

    def pressure(self, raw: int, fine: float) -> float:
        """Return hectopascal."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.p
        base = fine / 2 - 64000
        offset = (base * base * p6 / 32768 + base * p5 * 2) / 4 + p4 * 65536
        gain = (1 + (p3 * base * base / 524288 + p2 * base) / 524288 / 32768) * p1
        rough = (1048576 - raw - offset / 4096) * 6250 / gain
        return (rough + (p9 * rough * rough / 2147483648 + rough * p8 / 32768 + p7) / 16) / 100

    def humidity(self, raw: int, fine: float) -> float:
        """Return percent."""
        h1, h2, h3, h4, h5, h6 = self.h
        base = fine - 76800
        wet = (raw - (h4 * 64 + h5 / 16384 * base)) * (
            h2 / 65536 * (1 + h6 / 67108864 * base * (1 + h3 / 67108864 * base))
        )
        return min(100.0, max(0.0, wet * (1 - h1 * wet / 524288)))


class Bme280(I2cSensor):
    """A BME280 or BMP280."""

    unit: ClassVar = {"temperature": "C", "pressure": "hPa", "humidity": "%"}

    def __init__(self, *, bus: int | str = 1, address: int = 0x76, oversampling: int = 1) -> None:
        self.wires(bus=bus, address=address, oversampling=oversampling)
        super().__init__(bus, address)
        self._oversampling = oversampling
        self._trim = _Trim((), (), ())
        self._humid = False

    @classmethod
    def wires(cls, *, bus: int | str = 1, address: int = 0x76, oversampling: int = 1) -> list[str]:
        """Return what it takes hold of. Raises: ConfigError for a wrong argument."""
        hex_number("address", address, 0x76, 0x77)
        one_of("oversampling", oversampling, _OVERSAMPLING)
        return [place(bus, address)]

    @classmethod
    def simulated(cls, *, bus: int | str = 1, address: int = 0x76, oversampling: int = 1) -> SimulatedDevice:
        """Return one that measures a mild day."""
        (wiring,) = cls.wires(bus=bus, address=address, oversampling=oversampling)
        return SimulatedDevice({"temperature": 21.0, "pressure": 1013.25, "humidity": 45.0}, wiring=wiring)

    def _prepare(self) -> None:
        found = self.chip.read(_CHIP_ID, 1)[0]
        if found not in (_BME280, _BMP280):
            raise self.chip.fault(f"chip 0x{found:02x}, {_NAMES.get(found, 'unknown')}, is no BME280 and no BMP280")
        self._humid = found == _BME280
        self._wait(0.0)  # after power-up it copies its calibration
        block = self.chip.read(_CALIBRATION, 26)
        numbers = struct.unpack("<H2hH8h", block[:24])
        self._trim = _Trim(numbers[:3], numbers[3:], self._humidity_trim(block[25]) if self._humid else ())
        if not numbers[0] or not numbers[3]:
            raise self.chip.fault("its calibration cannot be read; check its power")
        self.chip.write(_CTRL_MEAS, 0)  # asleep: while it measures by itself it ignores what follows
        self.chip.write(_CONFIG, 0)  # no filter: it would blend in readings that are an hour old

    def _humidity_trim(self, h1: int) -> tuple[int, ...]:
        h2, h3, e4, e5, e6, h6 = struct.unpack("<hBbBbb", self.chip.read(_CALIBRATION_HUMIDITY, 7))
        return h1, h2, h3, e4 * 16 + (e5 & 0x0F), e6 * 16 + (e5 >> 4), h6

    def _measure(self) -> object:
        times = _OVERSAMPLING[self._oversampling]
        if self._humid:
            self.chip.write(_CTRL_HUM, times)  # counts from the next write to ctrl_meas on
        self.chip.write(_CTRL_MEAS, times << 5 | times << 2 | _FORCED)
        quantities = 3 if self._humid else 2
        self._wait((1.25 + quantities * 2.3 * self._oversampling + (quantities - 1) * 0.575) / 1000)
        data = self.chip.read(_DATA, 8 if self._humid else 6)
        pressure, temperature = (int.from_bytes(data[at : at + 3], "big") >> 4 for at in (0, 3))
        humidity = int.from_bytes(data[6:], "big") if self._humid else 0
        if _SKIPPED in (pressure, temperature) or humidity == _SKIPPED_HUMIDITY:
            raise self.chip.fault("it has not measured; it may have lost its power for a moment")
        celsius, fine = self._trim.temperature(temperature)
        value = {"temperature": celsius, "pressure": self._trim.pressure(pressure, fine)}
        if self._humid:
            value["humidity"] = self._trim.humidity(humidity, fine)
        return {part: round(number, 3) for part, number in value.items()}

    def _wait(self, seconds: float) -> None:
        """Return when it is not at work, which takes at least so long."""
        time.sleep(seconds)
        for _ in range(_ASKS):
            if not self.chip.read(_STATUS, 1)[0] & _BUSY:
                return
            time.sleep(0.002)
        raise self.chip.fault("its measurement does not end")
