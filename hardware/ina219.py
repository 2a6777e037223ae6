"""Voltage, current and power by a Texas Instruments INA219: how much a solar panel gives or a battery takes.

    battery:
      driver: ina219
      shunt_ohms: 0.1
      max_amps: 3.2
      every: 60s
      parts:
        bus_voltage: {round: 2, range: [0, 26]}
        current: {round: 3}
      thresholds: {low: {below: 11.5, hysteresis: 0.5, part: bus_voltage}}

A reading is `{"bus_voltage": 12.304, "current": -0.4212, "power": 5.1828}` in volts, amperes and watts. The voltage is
that between VIN- and ground; the current is negative when it flows from VIN- to VIN+, the power never is. It measures
when it is read. A current beyond `max_amps` is a fault.

Arguments:
- `shunt_ohms`: the resistor on the board, 0.1 (it says R100) on most.
- `max_amps`: the most current that is expected; at most 0.32 V may fall off at the shunt: 3.2 A with 0.1 ohms.
- `samples`: 1, 2, 4, 8, 16, 32, 64 or 128 measurements make one reading: less noise, and up to 137 ms.
- `bus`: the number of the I2C bus, or its file. 1 is the one on the header.
- `address`: 0x40 to 0x4F by the pins A0 and A1; 0x40 with both at ground.

Wiring on a header of 40 pins: VCC to 3.3 V (pin 1), GND to ground (pin 6), SDA to GPIO2 (pin 3), SCL to GPIO3 (pin 5);
VIN+ to the source (up to 26 V), VIN- to the load, and the ground of both to that of the board. Switch the bus on by
`dtparam=i2c_arm=on` in `/boot/firmware/config.txt`; the user must be in the group `i2c`. Install `edge-runtime[i2c]`.

Facts: data sheet SBOS448.
"""

from __future__ import annotations

import math
import time
from typing import ClassVar

from edge_runtime.devices.arguments import hex_number, one_of
from edge_runtime.devices.driver import SimulatedDevice
from edge_runtime.devices.i2c import I2cSensor, place
from edge_runtime.errors import ConfigError

_CONFIG, _SHUNT, _BUS, _POWER, _CURRENT, _CALIBRATION = range(6)
_SHUNT_VOLTS = (0.04, 0.08, 0.16, 0.32)
"""What may fall off at the shunt, by the code of the amplifier."""
_LEAST_VOLTS = 0.001
_SHUNT_END = 4000
"""What the shunt register says at the end of the first of these ranges."""
_SAMPLES = {1: 0b0011, 2: 0b1001, 4: 0b1010, 8: 0b1011, 16: 0b1100, 32: 0b1101, 64: 0b1110, 128: 0b1111}
_SAMPLE_S = 0.000586
"""How long one measurement of one voltage takes at most."""
_RANGE_32V, _BOTH_ONCE = 1 << 13, 0b011
_READY, _OVERFLOW = 0b10, 0b01
_ASKS = 20


class Ina219(I2cSensor):
    """An INA219."""

    unit: ClassVar = {"bus_voltage": "V", "current": "A", "power": "W"}

    def __init__(
        self,
        *,
        shunt_ohms: float = 0.1,
        max_amps: float = 3.2,
        samples: int = 16,
        bus: int | str = 1,
        address: int = 0x40,
    ) -> None:
        self.wires(shunt_ohms=shunt_ohms, max_amps=max_amps, samples=samples, bus=bus, address=address)
        super().__init__(bus, address)
        self._code = next(code for code, volts in enumerate(_SHUNT_VOLTS) if max_amps * shunt_ohms <= volts * 1.000001)
        self._config = _RANGE_32V | self._code << 11 | _SAMPLES[samples] * 0x88 | _BOTH_ONCE
        # The register has 16 bits, the last always 0. What is cut off is made up for in the unit of the current.
        self._calibration = min(0xFFFE, math.trunc(0.04096 * 32768 / (max_amps * shunt_ohms))) & 0xFFFE
        self._amps = 0.04096 / (self._calibration * shunt_ohms)
        self._limit = max_amps
        self._seconds = 2 * samples * _SAMPLE_S

    @classmethod
    def wires(
        cls,
        *,
        shunt_ohms: float = 0.1,
        max_amps: float = 3.2,
        samples: int = 16,
        bus: int | str = 1,
        address: int = 0x40,
    ) -> list[str]:
        """Return what it takes hold of. Raises: ConfigError for a wrong argument."""
        for name, number in (("shunt_ohms", shunt_ohms), ("max_amps", max_amps)):
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
                raise ConfigError(f"{name} {number!r} is no number above 0")
        volts = max_amps * shunt_ohms
        if not _LEAST_VOLTS <= volts <= _SHUNT_VOLTS[-1] * 1.000001:
            raise ConfigError(
                f"{max_amps:g} A make {volts:g} V at {shunt_ohms:g} ohms, and it measures from 0.001 to 0.32 V there",
                hint=f"max_amps is at most {_SHUNT_VOLTS[-1] / shunt_ohms:g} with this shunt",
            )
        one_of("samples", samples, _SAMPLES)
        hex_number("address", address, 0x40, 0x4F)
        return [place(bus, address)]

    @classmethod
    def simulated(cls, **arguments: float | str) -> SimulatedDevice:
        """Return one that measures a battery of 12 V under a small load."""
        (wiring,) = cls.wires(**arguments)  # type: ignore[arg-type]  # it checks them itself
        return SimulatedDevice({"bus_voltage": 12.0, "current": 0.25, "power": 3.0}, wiring=wiring)

    def _prepare(self) -> None:
        """Do nothing: each measurement says all, for the chip forgets its calibration with its power."""

    def _measure(self) -> object:
        self._write(_CALIBRATION, self._calibration)
        self._write(_CONFIG, self._config)
        time.sleep(self._seconds)
        for _ in range(_ASKS):
            bus = self._read(_BUS)
            if bus & _READY:
                break
            time.sleep(max(0.001, self._seconds / 10))
        else:
            raise self.chip.fault("its measurement does not end")
        shunt = self._read(_SHUNT, signed=True)
        if bus & _OVERFLOW or abs(shunt) >= _SHUNT_END << self._code:
            raise self.chip.fault(
                f"the current is beyond {self._limit:g} A; say more in max_amps, or take a smaller shunt"
            )
        value = {
            "bus_voltage": (bus >> 3) * 0.004,
            "current": self._read(_CURRENT, signed=True) * self._amps,
            "power": self._read(_POWER) * 20 * self._amps,
        }
        return {part: round(number, 6) for part, number in value.items()}

    def _write(self, register: int, word: int) -> None:
        self.chip.write(register, word >> 8, word & 0xFF)

    def _read(self, register: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.chip.read(register, 2), "big", signed=signed)
