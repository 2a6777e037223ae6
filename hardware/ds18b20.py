"""Temperature by a DS18B20 on the 1-Wire bus, also one in a steel tube, on metres of cable.

    tank:
      driver: ds18b20
      id: 28-0316a2795c9f
      every: 60s
      round: 1
      deadband: 0.2

A reading is a number of degrees Celsius, 21.375. It takes up to 0.75 s. A wrong checksum is a fault, and so are the
85.0 degrees that a sensor says after its power came and before it has measured, 127.94 with too little power, and a
data line at ground, which looks like 0.0. DS18S20, DS1822, DS1825 and DS28EA00 are read in the same way.

Arguments:
- `id`: which sensor, as in `ls /sys/bus/w1/devices`. It may be left out while there is only one.
- `pin`: the pin of the data line, if it is not GPIO4: 17. The kernel is told by the overlay, below; here it is for the
  wiring to be checked.
- `root`: the folder of the bus, for a bus that is simulated.

Wiring on a header of 40 pins: red to 3.3 V (pin 1), black to ground (pin 6), yellow to GPIO4 (pin 7), and a resistor
of 4.7 kilo-ohms from yellow to red, one for all sensors. Write `dtoverlay=w1-gpio` in `/boot/firmware/config.txt` and
restart; `dtoverlay=w1-gpio,gpiopin=17` takes another pin. It needs no library.

Facts: data sheet DS18B20, the kernel's Documentation/w1/slaves/w1_therm.rst and its ABI of sysfs-driver-w1_therm.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

from edge_runtime.devices.driver import SimulatedDevice
from edge_runtime.errors import ConfigError, DeviceError

_ROOT = "/sys/bus/w1/devices"
_FAMILIES = ("10", "22", "28", "3b", "42")
_ID = re.compile(rf"({'|'.join(_FAMILIES)})-[0-9a-f]{{12}}")
_LEAST, _MOST = -55.0, 125.0
"""What it can measure, by its data sheet."""
_POWER_ON = 85.0
_NEAR = 10.0
"""85 degrees are true when the reading before was no further off."""
_POWER_ON_MARK, _MARK_AT = 0x0C, 6
"""What byte 6 of its memory is from power-up to its first measurement."""


class Ds18b20:
    """A DS18B20."""

    unit = "C"

    def __init__(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the key of the device
        pin: int | str | None = None,
        root: str = _ROOT,
    ) -> None:
        self.wiring = self.wires(id=id, pin=pin, root=root)[-1]
        self._id = id
        self._root = Path(root)
        self._last: float | None = None
        self._turn = threading.Lock()

    @classmethod
    def wires(
        cls,
        *,
        id: str | None = None,  # noqa: A002 - the key of the device
        pin: int | str | None = None,
        root: str = _ROOT,
    ) -> list[str]:
        """Return what it takes hold of. Raises: ConfigError for a wrong argument."""
        if id is not None and not (isinstance(id, str) and _ID.fullmatch(id)):
            raise ConfigError(f"id {id!r} is none of a sensor", hint=f"`ls {root}` shows them: 28-0316a2795c9f")
        if not isinstance(root, str):
            raise ConfigError(f"root {root!r} is no folder")
        line = [] if pin is None else [f"GPIO{pin}" if isinstance(pin, int) else pin]
        return [*line, f"1-Wire {id}" if id else "1-Wire"]

    @classmethod
    def simulated(
        cls,
        *,
        id: str | None = None,  # noqa: A002 - the key of the device
        pin: int | str | None = None,
        root: str = _ROOT,
    ) -> SimulatedDevice:
        """Return one that measures a mild day."""
        return SimulatedDevice(21.0, wiring=cls.wires(id=id, pin=pin, root=root)[-1])

    @property
    def value(self) -> float:
        """Degrees Celsius. Raises: DeviceError."""
        with self._turn:
            try:
                self._last = self._read()
            except DeviceError:
                self._last = None
                raise
            return self._last

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _read(self) -> float:
        folder = self._folder()
        celsius, memory = _parse(folder.name, *self._text(folder))
        if memory and not any(memory):
            raise DeviceError(f"1-Wire {folder.name} says nothing but zeros: its data line is at ground")
        if celsius == _POWER_ON and not self._is_true(memory):
            raise DeviceError(
                f"1-Wire {folder.name} says 85 degrees, as it does when it has lost its power for a moment"
            )
        if not _LEAST <= celsius <= _MOST:
            raise DeviceError(
                f"1-Wire {folder.name} says {celsius:g} degrees, which it cannot measure; check its power"
            )
        return celsius

    def _is_true(self, memory: bytes) -> bool:
        """Tell whether 85 degrees have been measured."""
        if len(memory) > _MARK_AT and memory[_MARK_AT] != _POWER_ON_MARK:
            return True
        return self._last is not None and abs(self._last - _POWER_ON) <= _NEAR

    def _folder(self) -> Path:
        if not self._root.is_dir():
            raise DeviceError(
                f"{self._root} is missing: the 1-Wire bus is off; "
                "write dtoverlay=w1-gpio in /boot/firmware/config.txt and restart"
            )
        found = sorted(path.name for path in self._root.iterdir() if _ID.fullmatch(path.name))
        if self._id is None and len(found) > 1:
            raise DeviceError(f"there are several sensors on the 1-Wire bus: name one by id: {', '.join(found)}")
        name = self._id or next(iter(found), "")
        if name not in found:
            there = f"there are {', '.join(found)}" if found else "there is none"
            raise DeviceError(f"{self.wiring}: no such sensor answers, {there}; check wiring and the resistor of 4.7 k")
        return self._root / name

    def _text(self, folder: Path) -> tuple[str, str]:
        """Return the contents of `w1_slave`, or that of `temperature` where there is no such file.

        Both measure. The first one also shows the checksum and the memory, which tell true readings from false ones.
        """
        try:
            try:
                return (folder / "w1_slave").read_text(encoding="ascii", errors="replace"), ""
            except FileNotFoundError:
                return "", (folder / "temperature").read_text(encoding="ascii", errors="replace")
        except OSError as error:
            raise DeviceError(
                f"1-Wire {folder.name} cannot be read: {error.strerror or error}; check its wiring"
            ) from error


def _parse(name: str, lines: str, number: str) -> tuple[float, bytes]:
    """Return degrees Celsius and the memory of the sensor, as far as it is known."""
    if not lines:
        try:
            return int(number) / 1000, b""
        except ValueError:
            raise DeviceError(f"1-Wire {name} says {number!r}, which is no temperature; check its wiring") from None
    found = re.fullmatch(r"((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)\n.* t=(-?\d+)\s*", lines)
    if found is None:
        raise DeviceError(f"1-Wire {name} says {lines[:80]!r}, which is no temperature; check its wiring")
    if found[2] != "YES":
        raise DeviceError(f"the checksum of 1-Wire {name} is wrong; check the wiring and the resistor of 4.7 k")
    return int(found[3]) / 1000, bytes.fromhex(found[1])
