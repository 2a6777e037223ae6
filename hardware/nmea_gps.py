"""A satellite receiver (GPS and its kind) on a serial line that speaks NMEA 0183: nearly all of them do.

    place:
      driver: nmea_gps
      port: /dev/serial0
      interval: 10s

A reading is a position: `fix` (0: none, 1: satellites alone, 2: with corrections, 4 and 5: RTK, 6: dead reckoning),
`latitude` and `longitude` in degrees, north and east positive, `altitude` in m above the sea, `speed` in m/s, `course`
in degrees from north, `satellites` in use, `hdop` (below 2 is good), `time` in UTC. Without a fix it is `{"fix": 0}`
with what is known all the same: having none is a fact and no fault. A receiver that falls silent for `silence` (10s) is
a fault, as are a wrong checksum and a port that goes away.

- `port`: the device file, such as /dev/serial0 or /dev/ttyACM0. `baud_rate`: 9600 without one; some receivers have 4800
  or 115200.
- `interval`: at most one position in so much time, 1s without one. It hands them over as they come, so it needs no
  `every`.

No gpsd is needed; while gpsd runs on the port, nobody else can read it.

Wiring on a header of 40 pins: VCC to 3.3 V (pin 1), GND to ground (pin 6), its TX to GPIO15 (pin 10). Switch the UART
on without a console: `sudo raspi-config nonint do_serial_hw 0`, `sudo raspi-config nonint do_serial_cons 1`, and a
restart. The user must be in the group `dialout`. Install `edge-runtime[serial]`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from edge_runtime.devices import arguments
from edge_runtime.devices.driver import SimulatedSource
from edge_runtime.devices.serial_port import SerialReader, Settings
from edge_runtime.pure.framing import Framing
from edge_runtime.pure.nmea import Navigator, sentence

_FRAMING = Framing("line", checksum="xor", most=256)
"""A sentence has 82 characters at most by the standard; some makers' own are longer."""
_EARLY = 0.1
"""By how much of the interval a position may come too early: a receiver is not on the dot."""


class NmeaGps(SerialReader):
    """A satellite receiver. The module says what its arguments are."""

    unit = {"latitude": "deg", "longitude": "deg", "altitude": "m", "speed": "m/s", "course": "deg"}  # noqa: RUF012 - never changed

    def __init__(
        self,
        *,
        port: str,
        baud_rate: int = 9600,
        interval: str | float = 1.0,
        silence: str | float = 10.0,
    ) -> None:
        self._navigator = Navigator()
        self._now: Callable[[], float] = monotonic
        self._interval_s = arguments.seconds("interval", interval)
        self._next_s = 0.0
        super().__init__(Settings(port, baud_rate), _FRAMING, silence_s=arguments.seconds("silence", silence, 1.0))

    def _reading(self, data: bytes) -> object | None:
        told = sentence(data.decode("ascii", errors="replace"))
        position = self._navigator.take(told) if told is not None else None
        now_s = self._now()
        if position is None or now_s < self._next_s - self._interval_s * _EARLY:
            return None
        # By a grid: ten positions a second and an interval of 1 s make one each second, whenever each of them comes.
        self._next_s = self._interval_s + (self._next_s if now_s < self._next_s + self._interval_s else now_s)
        return position

    @classmethod
    def wires(
        cls, *, port: str, baud_rate: int = 9600, interval: str | float = 1.0, silence: str | float = 10.0
    ) -> list[str]:
        """Return the port. Raises: ConfigError for a wrong argument."""
        arguments.seconds("interval", interval)
        arguments.seconds("silence", silence, 1.0)
        return [Settings(port, baud_rate).port]

    @classmethod
    def simulated(cls, *, port: str, baud_rate: int = 9600, **others: str | float) -> SimulatedSource:
        """Return one that stands still, at Greenwich."""
        cls.wires(port=port, baud_rate=baud_rate, **others)
        here = {"fix": 1, "latitude": 51.4778, "longitude": -0.0015, "altitude": 47.0, "speed": 0.0, "satellites": 8}
        return SimulatedSource(here, wiring=Settings(port, baud_rate).wiring)
