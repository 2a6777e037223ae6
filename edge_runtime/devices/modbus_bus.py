"""Modbus lines: one connection for all devices on a line, one request at a time, errors in plain words.

Needs pymodbus from 3.11 on, and pyserial for a serial line (the extra `modbus`).
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

from edge_runtime.devices import arguments
from edge_runtime.devices.driver import need
from edge_runtime.devices.serial_port import Settings as SerialSettings
from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.pure.modbus_registers import exception_words

_PORT = 502


@dataclass(frozen=True, slots=True)
class Settings:
    """How devices are reached: by TCP at `host` and `port`, or without a host by the serial `port`.

    A device that does not answer within `timeout_s` is asked `retries` more times. Raises: ConfigError.
    """

    host: str = ""
    port: int | str = _PORT
    baud_rate: int = 9600
    parity: str = "none"
    bytesize: int = 8
    stop_bits: float = 1
    timeout_s: float = 1.0
    retries: int = 1

    def __post_init__(self) -> None:
        arguments.text("host", self.host, empty=True)
        if self.host:
            arguments.whole("port", self.port, 1, 65_535)
        elif not isinstance(self.port, str):
            raise ConfigError(
                "it has neither a host nor a serial port",
                hint="write host: 192.168.1.5, or port: /dev/ttyUSB0 with its baud_rate and parity",
            )
        else:
            self.serial()
        arguments.seconds("timeout", self.timeout_s, 0.01, 60)
        arguments.whole("retries", self.retries, 0, 10)

    def serial(self) -> SerialSettings:
        """Return the settings of the serial port."""
        return SerialSettings(str(self.port), self.baud_rate, self.parity, self.bytesize, self.stop_bits)

    @property
    def line(self) -> str:
        """What people call the line, and what tells it from others: `/dev/ttyUSB0`, `192.168.1.5:502`."""
        return f"{self.host}:{self.port}" if self.host else str(self.port)

    def client(self) -> Any:  # noqa: ANN401 - an object of pymodbus, which is imported late
        """Return a client of pymodbus that is not connected yet. Raises: ConfigError when a library is missing."""
        pymodbus = need("pymodbus.client", "modbus")
        logger = logging.getLogger("pymodbus.logging")
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)  # whatever it says there is raised, too
        if self.host:
            return pymodbus.ModbusTcpClient(self.host, port=self.port, timeout=self.timeout_s, retries=self.retries)
        need("serial", "modbus")
        serial = self.serial()
        return pymodbus.ModbusSerialClient(
            serial.port,
            baudrate=serial.baud_rate,
            bytesize=serial.bytesize,
            parity=serial.parity[0].upper(),
            stopbits=serial.stop_bits,
            timeout=self.timeout_s,
            retries=self.retries,
        )


class Line(Protocol):
    """Carries requests to devices."""

    def ask(self, request: str, device_id: int, **given: Any) -> Any:  # noqa: ANN401 - as pymodbus has it
        """Return the response to a request, which pymodbus calls by that name and whose arguments are `given`.

        Raises: DeviceError when there is none. A response may be that of an exception: see `good`.
        """

    def close(self) -> None:
        """Let go of the line."""


class _Shared:
    """A connection and those who use it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.users = 0
        self.client = settings.client()
        self.lock = threading.Lock()


_shared: dict[str, _Shared] = {}
_shared_lock = threading.Lock()


class ModbusLine:
    """The use of a line by one device. Nothing is connected before the first request. `close` it in the end."""

    def __init__(self, settings: Settings) -> None:
        """Take part in a line.

        Raises: ConfigError when pymodbus is missing, or when another device says something else of the same line.
        """
        with _shared_lock:
            shared = _shared.get(settings.line) or _Shared(settings)
            if shared.settings != settings:
                raise ConfigError(
                    f"two devices on the line {settings.line} do not say the same of it: "
                    f"{_differences(shared.settings, settings)}",
                    hint="write the same baud_rate, parity, bytesize, stop_bits, timeout and retries in both",
                )
            _shared[settings.line] = shared
            shared.users += 1
        self._line = shared
        self._closed = False

    def ask(self, request: str, device_id: int, **given: Any) -> Any:  # noqa: ANN401 - as pymodbus has it
        """Return the response to a request: see `Line`. Waits for requests of other devices. Connects when it must."""
        exceptions = need("pymodbus.exceptions", "modbus")
        name = self._line.settings.line
        with self._line.lock:
            if self._closed:
                raise DeviceError(f"{name}: it is closed")
            client = self._line.client
            try:
                if not client.connect():
                    raise self._cannot_connect()
                return getattr(client, request)(device_id=device_id, **given)
            except exceptions.ModbusIOException as error:
                client.close()  # an answer that comes late must not be taken for that to the next request
                raise DeviceError(
                    f"{name}: no answer from device {device_id} within {self._line.settings.timeout_s:g} s",
                    hint="check its number, its wiring (A and B may be swapped), baud_rate and parity",
                ) from error
            except exceptions.ConnectionException as error:
                client.close()
                raise DeviceError(f"{name}: the connection was lost") from error
            except exceptions.ModbusException as error:
                client.close()
                raise DeviceError(f"{name}: device {device_id} answered what is no answer: {error}") from error
            except OSError as error:
                client.close()
                raise error if isinstance(error, DeviceError) else DeviceError(f"{name}: {error}") from error

    def close(self) -> None:
        """Let go of the line; the last one closes it. Safe to call twice."""
        with _shared_lock:
            if self._closed:
                return
            self._closed = True
            self._line.users -= 1
            if self._line.users:
                return
            _shared.pop(self._line.settings.line, None)
        with self._line.lock:  # a request that is under way ends first
            self._line.client.close()

    def _cannot_connect(self) -> DeviceError:
        settings = self._line.settings
        if settings.host:
            return DeviceError(f"{settings.line} cannot be reached", hint="check host and port, and that it is on")
        try:
            settings.serial().open().close()
        except DeviceError as error:
            return error  # which says more than pymodbus does
        return DeviceError(f"{settings.line} cannot be opened")


class MemoryLine:
    """A line in a simulation: one device that has every register, zero at first, and takes everything."""

    def __init__(self, memory: dict[int, int] | None = None) -> None:
        self._memory = {} if memory is None else memory

    def ask(self, request: str, device_id: int, **given: Any) -> Any:  # noqa: ANN401, ARG002 - as `Line`
        """Read or write memory."""
        first: int = given.get("write_address", given.get("address", 0))
        if request == "mask_write_register":
            now = self._memory.get(first, 0)
            self._memory[first] = (now & given["and_mask"]) | (given["or_mask"] & ~given["and_mask"] & 0xFFFF)
        elif "values" in given or "value" in given:
            values = given["values"] if "values" in given else [given["value"]]
            self._memory.update(enumerate(map(int, values), first))
        start, count = given.get("read_address", first), given.get("read_count", given.get("count", 0))
        held = [self._memory.get(at, 0) for at in range(start, start + count)]
        return SimpleNamespace(isError=lambda: False, bits=held, registers=held)

    def close(self) -> None:
        """Do nothing: nothing is held."""


def good(response: Any, line: str, device_id: int) -> Any:  # noqa: ANN401 - an object of pymodbus
    """Return a response. Raises: DeviceError, by the name of the exception, when it is one."""
    if response.isError():
        raise DeviceError(f"{line}: device {device_id} says: {exception_words(response.exception_code)}")
    return response


def _differences(one: Settings, other: Settings) -> str:
    names = [name for name in Settings.__slots__ if getattr(one, name) != getattr(other, name)]
    return ", ".join(f"{n.removesuffix('_s')} {getattr(one, n)!r} and {getattr(other, n)!r}" for n in names)
