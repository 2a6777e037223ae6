"""Chips on an I2C bus: one open bus for all its chips, one transfer at a time, and errors in plain words.

A driver for a chip derives from `I2cSensor`, or uses a `Chip`. Transfers are those of the kernel's i2c-dev interface
(Documentation/i2c/dev-interface.rst), through smbus2: I2C_RDWR, where a read follows its write without a stop.
"""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

from edge_runtime.devices.arguments import hex_number
from edge_runtime.devices.driver import need
from edge_runtime.errors import ConfigError, DeviceError

_NO_ANSWER = frozenset({errno.ENXIO, errno.EREMOTEIO})
"""What kernel drivers say when nobody acknowledges an address (Documentation/i2c/fault-codes.rst)."""
_FAULTS = {
    errno.ETIMEDOUT: "the bus is stuck: a chip holds a line low; check power, wiring and pull-ups",
    errno.EAGAIN: "another master has the bus; check the wiring",
    errno.EBUSY: "the bus is busy; check wiring and pull-ups",
    errno.EOPNOTSUPP: "the adapter knows SMBus only, not I2C; take another one",
    errno.ENODEV: "the adapter is gone; plug it in again",
}
_FIRST, _LAST = 0x03, 0x77
"""7-bit addresses that the specification does not reserve, as far as `i2cdetect` looks."""


def place(bus: int | str, address: int) -> str:
    """Return what people call a chip, and what two devices cannot both be: `I2C1 0x76`.

    Raises: ConfigError when it is no bus or no address.
    """
    if isinstance(bus, bool) or not isinstance(bus, int | str) or (isinstance(bus, int) and bus < 0) or bus == "":
        raise ConfigError(f"bus {bus!r} is no I2C bus", hint="write its number, as in bus: 1, or its file /dev/i2c-1")
    hex_number("address", address, _FIRST, _LAST)
    name = str(bus)
    if name.startswith("/dev/i2c-"):
        name = name.removeprefix("/dev/i2c-")
    return f"I2C{name} 0x{address:02x}" if name.isdigit() else f"I2C {name} 0x{address:02x}"


class _Bus:
    """An open bus, shared by its chips."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self.name = path.removeprefix("/dev/i2c-")
        self._smbus2: ModuleType = need("smbus2", "i2c")
        self._lock = threading.Lock()
        self._turns: dict[int, threading.RLock] = {}
        self._open: Any = None
        self._ended = False

    def turn(self, address: int) -> threading.RLock:
        """Return the lock of a chip, which several devices may share: the channels of a converter."""
        with self._lock:
            return self._turns.setdefault(address, threading.RLock())

    def open(self) -> None:
        """Open the file, if it is not open. Raises: DeviceError that says how to switch the bus on."""
        with self._lock:
            self._opened()

    def transfer(self, address: int, out: bytes, count: int) -> bytes:
        """Write bytes and then read some, without a stop between. Raises: DeviceError, without saying which chip."""
        messages: list[Any] = []
        if out:
            messages.append(self._smbus2.i2c_msg.write(address, out))
        if count:
            messages.append(self._smbus2.i2c_msg.read(address, count))
        with self._lock:
            bus = self._opened()
            try:
                bus.i2c_rdwr(*messages)
            except OSError as error:
                self._shut()  # opened anew with the next transfer: an adapter on USB may be another one then
                raise DeviceError(self._fault(error)) from error
        return bytes(messages[-1]) if count else b""

    def close(self) -> None:
        """Close the file for good."""
        with self._lock:
            self._ended = True
            self._shut()

    def _opened(self) -> Any:  # noqa: ANN401 - an object of smbus2, which is imported late
        if self._ended:
            raise DeviceError("it is closed")
        if self._open is None:
            bus = self._smbus2.SMBus()
            try:
                bus.open(self.path)
            except FileNotFoundError as error:
                raise DeviceError(
                    f"{self.path} is missing: the I2C bus is off",
                    hint="switch it on: `sudo raspi-config nonint do_i2c 0`, or dtparam=i2c_arm=on in "
                    "/boot/firmware/config.txt and a restart; `i2cdetect -l` lists the buses",
                ) from error
            except PermissionError as error:
                raise DeviceError(
                    f"{self.path} may not be opened by this user: it is not in the group i2c",
                    hint="`sudo usermod -aG i2c $USER`, then log in again; a service: SupplementaryGroups=i2c",
                ) from error
            except OSError as error:
                bus.close()  # what is open is no bus
                raise DeviceError(
                    f"{self.path} is no I2C bus: {error.strerror or error}", hint="`i2cdetect -l` lists the buses"
                ) from error
            self._open = bus
        return self._open

    def _shut(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _fault(self, error: OSError) -> str:
        if error.errno in _NO_ANSWER:
            return f"no answer; check its wiring and its address: `i2cdetect -y {self.name}` shows who is there"
        text = _FAULTS.get(error.errno or 0, "the transfer failed; check wiring, power and the length of the cable")
        return f"{text} ({error.strerror or error})"


_buses: dict[str, _Bus] = {}
_buses_lock = threading.Lock()


class Chip:
    """The chip at an address of a bus. `close` it in the end; the last one closes the bus."""

    def __init__(self, bus: int | str, address: int) -> None:
        """Open the bus. The chip itself is not asked: it may come later.

        Raises: ConfigError for a wrong argument or a missing smbus2, DeviceError when the bus cannot be opened.
        """
        self.wiring = place(bus, address)
        self.address = address
        path = f"/dev/i2c-{bus}" if str(bus).isdigit() else str(bus)
        with _buses_lock:
            self._bus = _buses.get(path) or _Bus(path)
            _buses[path] = self._bus
            self._bus.users += 1
        self._closed = False
        self.turn = self._bus.turn(address)
        """Held from the start of a measurement to its end: another thread may read the same chip."""
        try:
            self._bus.open()
        except DeviceError:
            self.close()
            raise

    def write(self, *data: int) -> None:
        """Write bytes. Raises: DeviceError."""
        self._transfer(bytes(data), 0)

    def read(self, register: int, count: int) -> bytes:
        """Read bytes from a register on. Raises: DeviceError."""
        return self._transfer(bytes([register]), count)

    def receive(self, count: int, after: bytes = b"") -> bytes:
        """Read bytes, after writing some. Raises: DeviceError."""
        return self._transfer(after, count)

    def fault(self, text: str) -> DeviceError:
        """Return the error that this is wrong with the chip."""
        return DeviceError(f"{self.wiring}: {text}")

    def close(self) -> None:
        """Let go of the bus. Safe to call twice."""
        with _buses_lock:
            if self._closed:
                return
            self._closed = True
            self._bus.users -= 1
            if self._bus.users:
                return
            _buses.pop(self._bus.path, None)
        self._bus.close()  # waits for a transfer that is under way: not with the lock of all buses

    def _transfer(self, out: bytes, count: int) -> bytes:
        if self._closed:
            raise self.fault("it is closed")
        try:
            return self._bus.transfer(self.address, out, count)
        except DeviceError as error:
            raise DeviceError(f"{self.wiring}: {error}", hint=error.hint) from error


class I2cSensor(ABC):
    """A sensor on an I2C bus. It is prepared before its first reading, and again after each failed one.

    So it may be plugged in later, and its replacement is no problem.
    """

    def __init__(self, bus: int | str, address: int) -> None:
        """Open the bus: see `Chip`."""
        self.chip = Chip(bus, address)
        self.wiring = self.chip.wiring
        self._ready = False

    @property
    def value(self) -> object:
        """What is measured now. Raises: DeviceError."""
        with self.chip.turn:
            try:
                if not self._ready:
                    self._prepare()
                self._ready = True
                return self._measure()
            except Exception:
                self._ready = False
                raise

    def close(self) -> None:
        """Let go of the bus."""
        self.chip.close()

    @abstractmethod
    def _prepare(self) -> None:
        """Look whether it is the right chip, and make it ready. Raises: DeviceError."""

    @abstractmethod
    def _measure(self) -> object:
        """Return a reading. Raises: DeviceError."""
