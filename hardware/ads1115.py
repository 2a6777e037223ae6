"""A voltage by a Texas Instruments ADS1115, an analog-to-digital converter of four inputs and 16 bits.

    soil:
      driver: ads1115
      channel: 0
      gain: 1
      every: 30s
      scale: -71.4        # from volts to percent, for one probe of soil moisture
      offset: 200
      unit: "%"
      range: [0, 100]

A reading is a number of volts, 1.2345. It measures when it is read. Each input is a device of its own; those of one
chip take turns. At the end of its range it is a fault, since what it would say is not the voltage.

Arguments:
- `channel`: 0 to 3, the input AIN0 to AIN3.
- `minus`: the input that the voltage is against, instead of ground: 1 or 3 for channel 0; 3 for channels 1 and 2.
- `gain`: what is the most that it measures, in volts: 2/3 (6.144), 1 (4.096), 2 (2.048), 4 (1.024), 8 (0.512), 16
  (0.256). No input may ever have more than the chip's supply, whatever the gain.
- `rate`: 8, 16, 32, 64, 128, 250, 475 or 860 measurements a second; a slow one is steadier, and takes 1/8 s with 8.
- `bus`: the number of the I2C bus, or its file. 1 is the one on the header.
- `address`: 0x48 with the pin ADDR at ground, 0x49 at 3.3 V, 0x4A at SDA, 0x4B at SCL.

Wiring on a header of 40 pins: VDD to 3.3 V (pin 1), GND to ground (pin 6), SDA to GPIO2 (pin 3), SCL to GPIO3 (pin 5);
with VDD at 5 V the chip would pull SDA and SCL to 5 V and harm the board. Switch the bus on by `dtparam=i2c_arm=on` in
`/boot/firmware/config.txt`; the user must be in the group `i2c`. Install `edge-runtime[i2c]`.

Facts: data sheet SBAS444.
"""

from __future__ import annotations

import time

from edge_runtime.devices import arguments
from edge_runtime.devices.arguments import hex_number, one_of
from edge_runtime.devices.driver import SimulatedDevice
from edge_runtime.devices.i2c import I2cSensor, place
from edge_runtime.errors import ConfigError

_CONVERSION, _CONFIG = 0, 1
_PAIRS = {(0, 1): 0, (0, 3): 1, (1, 3): 2, (2, 3): 3}
"""What the multiplexer makes of a channel and its minus."""
_GAINS: dict[int | str, tuple[int, float]] = {
    "2/3": (0, 6.144),
    1: (1, 4.096),
    2: (2, 2.048),
    4: (3, 1.024),
    8: (4, 0.512),
    16: (5, 0.256),
}
_RATES = (8, 16, 32, 64, 128, 250, 475, 860)
_START, _READY, _SINGLE_SHOT, _NO_COMPARATOR = 0x80, 0x80, 0x01, 0x03
_ASKS = 20


class Ads1115(I2cSensor):
    """One input of an ADS1115, or the difference of two."""

    unit = "V"

    def __init__(
        self,
        *,
        channel: int,
        minus: int | None = None,
        gain: int | str = 1,
        rate: int = 128,
        bus: int | str = 1,
        address: int = 0x48,
    ) -> None:
        (wiring,) = self.wires(channel=channel, minus=minus, gain=gain, rate=rate, bus=bus, address=address)
        super().__init__(bus, address)
        self.wiring = wiring
        multiplexer = 4 + channel if minus is None else _PAIRS[channel, minus]
        code, self._most = _GAINS[gain]
        self._config = (
            _START | multiplexer << 4 | code << 1 | _SINGLE_SHOT,
            _RATES.index(rate) << 5 | _NO_COMPARATOR,
        )
        self._seconds = 1 / rate

    @classmethod
    def wires(
        cls,
        *,
        channel: int,
        minus: int | None = None,
        gain: int | str = 1,
        rate: int = 128,
        bus: int | str = 1,
        address: int = 0x48,
    ) -> list[str]:
        """Return what it takes hold of. Raises: ConfigError for a wrong argument."""
        arguments.whole("channel", channel, 0, 3)
        if minus is not None and (channel, arguments.whole("minus", minus, 0, 3)) not in _PAIRS:
            raise ConfigError(
                f"it cannot measure channel {channel} against {minus}", hint="it can: 0 - 1, 0 - 3, 1 - 3 and 2 - 3"
            )
        one_of("gain", gain, _GAINS)
        one_of("rate", rate, _RATES)
        hex_number("address", address, 0x48, 0x4B)
        return [f"{place(bus, address)} AIN{channel}" + ("" if minus is None else f"-AIN{minus}")]

    @classmethod
    def simulated(cls, *, channel: int, gain: int | str = 1, **others: int | str | None) -> SimulatedDevice:
        """Return one that measures half of what it can."""
        (wiring,) = cls.wires(channel=channel, gain=gain, **others)  # type: ignore[arg-type]  # it checks them itself
        return SimulatedDevice(_GAINS[gain][1] / 2, wiring=wiring)

    def _prepare(self) -> None:
        """Do nothing: each measurement says all."""

    def _measure(self) -> float:
        self.chip.write(_CONFIG, *self._config)
        time.sleep(self._seconds * 1.1)  # its clock is right by a tenth
        for _ in range(_ASKS):
            if self.chip.read(_CONFIG, 1)[0] & _READY:
                break
            time.sleep(self._seconds / 10)
        else:
            raise self.chip.fault("its conversion does not end")
        raw = int.from_bytes(self.chip.read(_CONVERSION, 2), "big", signed=True)
        if raw in (-32768, 32767):
            raise self.chip.fault(f"the voltage is beyond +-{self._most} V; take a lower gain, or divide the voltage")
        return round(raw * self._most / 32768, 6)
