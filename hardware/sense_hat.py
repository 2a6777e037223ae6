"""The sensors of a Raspberry Pi Sense HAT: temperature, humidity, pressure, and how it lies and moves.

    hat:
      driver: sense_hat
      every: 30s
      parts:
        temperature: {offset: -8, round: 1, deadband: 0.2}
        humidity: {range: [0, 100], round: 0}
        pressure: {range: [260, 1260], round: 1}

A reading is `{"temperature": 31.42, "humidity": 33.105, "pressure": 1009.21}` in degrees Celsius, percent and
hectopascal; with `motion: true` also `pitch`, `roll` and `yaw` in degrees, and `acceleration_x`, `acceleration_y` and
`acceleration_z` in multiples of gravity. The board below warms it: the temperature is some degrees too high, which a
negative `offset` corrects.

Arguments:
- `motion`: true reads how it lies and moves, too.

Wiring: it sits on all 40 pins of the header and is powered by them; its sensors are on I2C1 (SDA at pin 3, SCL at
pin 5, 3.3 V) at 0x5c, 0x5f, 0x1c and 0x6a. Switch the bus on by `dtparam=i2c_arm=on` in `/boot/firmware/config.txt`;
the user must be in the groups `i2c`, `input` and `video`. The library comes from apt: `apt install sense-hat`.

Facts: the API reference of the library `sense_hat`.
"""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

from edge_runtime.devices import arguments
from edge_runtime.devices.driver import SimulatedDevice, need
from edge_runtime.errors import DeviceError

_TRIES = 5
_PAUSE_S = 0.1
"""A sensor that was off says 0 at first."""


class SenseHat:
    """A Sense HAT."""

    wiring = "Sense HAT"
    unit: ClassVar = {
        "temperature": "C",
        "humidity": "%",
        "pressure": "hPa",
        "pitch": "deg",
        "roll": "deg",
        "yaw": "deg",
        "acceleration_x": "g",
        "acceleration_y": "g",
        "acceleration_z": "g",
    }

    def __init__(self, *, motion: bool = False) -> None:
        self.wires(motion=motion)
        self._motion = motion
        self._turn = threading.Lock()
        self._library = need("sense_hat", "apt:sense-hat")
        self._hat: Any = None
        self._opened()

    @classmethod
    def wires(cls, *, motion: bool = False) -> list[str]:
        """Return what it takes hold of. Raises: ConfigError for a wrong argument."""
        arguments.switch("motion", motion)
        return ["I2C1 0x5c", "I2C1 0x5f", "I2C1 0x1c", "I2C1 0x6a"]

    @classmethod
    def simulated(cls, *, motion: bool = False) -> SimulatedDevice:
        """Return one that lies flat on a mild day."""
        cls.wires(motion=motion)
        value = {"temperature": 21.0, "humidity": 45.0, "pressure": 1013.25}
        if motion:
            value |= dict.fromkeys(("pitch", "roll", "yaw", "acceleration_x", "acceleration_y"), 0.0)
            value["acceleration_z"] = 1.0
        return SimulatedDevice(value, wiring=cls.wiring)

    @property
    def value(self) -> object:
        """The parts. Raises: DeviceError."""
        with self._turn:
            try:
                return self._read()
            except DeviceError:
                raise
            except Exception as error:
                self._hat = None  # made anew at the next reading
                raise DeviceError(f"the Sense HAT cannot be read: {error}; is it pressed down on all pins?") from error

    def close(self) -> None:
        """Let go of it."""
        self._hat = None

    def _opened(self) -> Any:  # noqa: ANN401 - an object of a library without types
        if self._hat is None:
            try:
                self._hat = self._library.SenseHat()
            except Exception as error:
                raise DeviceError(
                    f"there is no Sense HAT: {error}",
                    hint="press it down on all pins and restart; the user must be in the groups i2c, input and video",
                ) from error
        return self._hat

    def _read(self) -> dict[str, float]:
        hat = self._opened()
        value = {
            "temperature": _sure("temperature", hat.get_temperature),
            "humidity": _sure("humidity", hat.get_humidity),
            "pressure": _sure("pressure", hat.get_pressure),
        }
        if self._motion:
            value |= hat.get_orientation_degrees()
            value |= {f"acceleration_{axis}": g for axis, g in hat.get_accelerometer_raw().items()}
        return {part: round(float(number), 3) for part, number in value.items()}


def _sure(part: str, read: Any) -> float:  # noqa: ANN401 - a method of a library without types
    """Return what a sensor measures. The library says 0 where it has nothing to say."""
    for _ in range(_TRIES):
        number = float(read())
        if number:
            return number
        time.sleep(_PAUSE_S)
    raise DeviceError(f"the {part} of the Sense HAT does not come")
