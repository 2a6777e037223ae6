"""Serial lines: a port that is read on a thread of its own, frame by frame, and opened again when it comes back.

A driver of a serial line derives from `SerialReader`. Needs pyserial (the extra `serial`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from edge_runtime.devices import arguments
from edge_runtime.devices.driver import Take, need
from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.framing import Bad, Framer, Framing

PARITIES = {"none": "N", "even": "E", "odd": "O", "mark": "M", "space": "S"}
_STOP_BITS = (1, 1.5, 2)
_ROOM = 4096
_WRITE_S = 5.0
_MOST_LOOPED = 1 << 20
_END_S = 2.0
_MOST_WAIT_S = 15.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """A port and how its bits go. Raises: ConfigError for what no port can do."""

    port: str
    baud_rate: int = 9600
    parity: str = "none"
    bytesize: int = 8
    stop_bits: float = 1
    rtscts: bool = False
    xonxoff: bool = False

    def __post_init__(self) -> None:
        arguments.text("port", self.port)
        if not self.port.startswith("/"):
            raise ConfigError(f"port {self.port!r} is no device file", hint="write its whole path, as in /dev/ttyUSB0")
        arguments.whole("baud_rate", self.baud_rate, 50, 4_000_000)
        arguments.word("parity", self.parity, PARITIES)
        arguments.whole("bytesize", self.bytesize, 5, 8)
        if isinstance(self.stop_bits, bool) or self.stop_bits not in _STOP_BITS:
            raise ConfigError(f"stop_bits {self.stop_bits!r} is not one of 1, 1.5, 2")

    @property
    def wiring(self) -> str:
        """What people call it: `/dev/ttyUSB0 9600 8N1`."""
        return f"{self.port} {self.baud_rate} {self.bytesize}{PARITIES[self.parity]}{self.stop_bits:g}"

    def open(self, *, timeout_s: float = 0.0) -> Any:  # noqa: ANN401 - an object of pyserial, which is imported late
        """Open the port for this process alone; reading waits for up to `timeout_s`.

        Raises: DeviceError that says why not, ConfigError when pyserial is missing or the port cannot do that.
        """
        serial = need("serial", "serial")
        try:
            return serial.Serial(
                self.port,
                self.baud_rate,
                self.bytesize,
                PARITIES[self.parity],
                self.stop_bits,
                timeout=timeout_s,
                write_timeout=_WRITE_S,
                rtscts=self.rtscts,
                xonxoff=self.xonxoff,
                exclusive=True,
            )
        except ValueError as error:
            raise ConfigError(f"{self.port}: {error}") from error
        except OSError as error:  # pyserial's own error is one
            raise why_not(self.port, error) from error


def why_not(port: str, error: OSError) -> DeviceError:
    """Return the error that says why a port cannot be opened, and what to do."""
    number = error.errno
    if number == errno.ENOENT:
        return DeviceError(
            f"{port} is not there",
            hint="plug it in; `ls /dev/serial/by-id` lists what is; the UART of a Pi: "
            "`sudo raspi-config nonint do_serial_hw 0` and `do_serial_cons 1`, and a restart",
        )
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError(
            f"{port} may not be opened by this user: it is not in the group dialout",
            hint="`sudo usermod -aG dialout $USER`, then log in again; a service: SupplementaryGroups=dialout",
        )
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusive" in str(error):
        return DeviceError(f"{port} is in use by another program", hint=f"`sudo fuser -v {port}` shows which")
    return DeviceError(f"{port} cannot be opened: {error.strerror or error}")


def exchange(port: Any, data: bytes, count: int) -> bytes:  # noqa: ANN401 - an object of pyserial, or a `Loop`
    """Write bytes to an open port, and return up to `count` that come before its timeout. Raises: DeviceError."""
    try:
        if data:
            port.write(data)
        return bytes(port.read(count)) if count else b""
    except OSError as error:  # pyserial's own errors are some
        raise DeviceError(f"{port.name}: {error}") from error


class Loop:
    """A port in a simulation: what is written to it can be read. A read never waits."""

    name = "the simulated port"

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> None:
        """Keep bytes."""
        self._held += data
        del self._held[: max(0, len(self._held) - _MOST_LOOPED)]

    def read(self, count: int) -> bytes:
        """Return bytes that were kept."""
        found = bytes(self._held[:count])
        del self._held[:count]
        return found

    def close(self) -> None:
        """Do nothing: nothing is held."""


class SerialPort:
    """An open port. Give it back with `close`.

    When it goes it is tried again for ever, with back-off; what comes meanwhile is lost, as it is with every port that
    nobody has open. A line that is silent for `silence_s` counts as lost, too, until something comes; 0: it never does.
    A pause of `gap_s` ends a frame, where pauses do.
    """

    def __init__(
        self,
        settings: Settings,
        framing: Framing,
        take: Callable[[bytes | Bad], None],
        lost: Callable[[str], None],
        *,
        gap_s: float = 0.05,
        silence_s: float = 0.0,
    ) -> None:
        """Open it. On its thread `take` gets each frame, and `lost` why nothing comes any more.

        Raises: DeviceError, ConfigError, as `Settings.open`.
        """
        self._settings = settings
        self._framing = framing
        self._take = take
        self._lost = lost
        self._gap_s = gap_s
        self._silence_s = silence_s
        self._lock = threading.Lock()
        self._serial: Any = settings.open()
        self._ended = threading.Event()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"serial[{settings.port}]", daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Write bytes. Raises: DeviceError when there is no port, or it does not take them."""
        with self._lock:
            if self._serial is None:
                raise DeviceError(f"{self._settings.port} is not there", hint="plug it in")
            try:
                self._serial.write(data)
            except OSError as error:  # pyserial's own errors are some
                raise DeviceError(f"{self._settings.port} does not take what is written: {error}") from error

    def close(self) -> None:
        """Let go of the port. Safe to call twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        os.write(self._waker, b"x")
        self._thread.join(_END_S)
        self._shut()
        if self._thread.is_alive():  # somebody does not take a frame: its pipe is left to it
            _log.warning("%s: whoever takes its frames does not come back", self._settings.port)
            return
        os.close(self._wake)
        os.close(self._waker)

    def _shut(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            opened, self._serial = self._serial, None
            if opened is not None:
                opened.close()

    def _run(self) -> None:
        backoff = Backoff(0.5, _MOST_WAIT_S)
        while not self._ended.is_set():
            reason = self._listen()
            self._shut()
            if not reason:
                return
            self._lost(f"{self._settings.port}: {reason}")
            backoff.reset()
            while not self._ended.wait(backoff.next()):
                try:
                    opened = self._settings.open()
                except (DeviceError, ConfigError) as error:
                    self._lost(str(error))
                    continue
                with self._lock:
                    self._serial = opened
                break

    def _listen(self) -> str:
        """Hand over frames until the port goes; return why it went, or an empty text at the end."""
        framer = Framer(self._framing)
        heard = monotonic()
        with selectors.DefaultSelector() as selector:
            port = self._serial.fileno()
            selector.register(port, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._ended.is_set():
                events = selector.select(self._patience(framer, monotonic() - heard))
                if any(key.fd == self._wake for key, _ in events):
                    break
                frames: list[bytes | Bad] = []
                if events:
                    try:
                        data = os.read(port, _ROOM)
                    except BlockingIOError:
                        continue
                    except OSError as error:
                        return f"it went away: {error.strerror}"
                    if not data:
                        return "it went away"
                    heard, frames = monotonic(), framer.feed(data)
                elif framer.waits:
                    frames = framer.idle()
                elif self._silence_s and monotonic() - heard >= self._silence_s:
                    heard = monotonic()
                    self._lost(f"{self._settings.port}: nothing has come for {self._silence_s:g} s")
                for frame in frames:
                    self._take(frame)
        return ""

    def _patience(self, framer: Framer, quiet_s: float) -> float | None:
        if framer.waits:
            return self._gap_s
        return max(0.0, self._silence_s - quiet_s) if self._silence_s else None


class SerialReader(ABC):
    """A driver that hands over what comes through a serial port.

    `_reading` makes a reading of a frame. What is no frame is counted in `bad_frames` and handed over as the error that
    says so; the frames after it are read all the same.
    """

    def __init__(self, settings: Settings, framing: Framing, *, gap_s: float = 0.05, silence_s: float = 0.0) -> None:
        """Open the port: see `SerialPort`."""
        self.wiring = settings.wiring
        self.bad_frames = 0
        """How many frames came and were none since the device was opened."""
        self._port_name = settings.port
        self._when_read: Take | None = None
        self._value: object = None
        self._fault = f"{settings.port}: nothing has come yet"
        self._is_lost = False
        self._port = SerialPort(settings, framing, self._frame, self._lost, gap_s=gap_s, silence_s=silence_s)

    @property
    def value(self) -> object:
        """What the last good frame says. Raises: DeviceError before the first one, and when the port is lost."""
        if self._fault:
            raise DeviceError(self._fault)
        return self._value

    @property
    def when_read(self) -> Take | None:
        """Who takes each reading, and the error when there is none."""
        return self._when_read

    @when_read.setter
    def when_read(self, take: Take | None) -> None:
        self._when_read = take
        if take is not None and self._is_lost:  # nobody was there to be told
            take(DeviceError(self._fault))

    def close(self) -> None:
        """Let go of the port."""
        self._port.close()

    def _frame(self, data: bytes | Bad) -> None:
        """Take a frame from the port."""
        if isinstance(data, Bad):
            self._bad(data.reason)
            return
        try:
            reading = self._reading(data)
        except ValueError as error:
            self._bad(str(error))
            return
        except Exception as error:  # noqa: BLE001 - a foreign driver's mistake with one frame must not end the thread
            self._bad(f"{type(error).__name__}: {error}")
            return
        if reading is not None:
            self._value, self._fault, self._is_lost = reading, "", False
            self._tell(reading)

    def _lost(self, reason: str) -> None:
        """Take notice that the port is gone, or silent."""
        self._fault, self._is_lost = reason, True
        self._tell(DeviceError(reason))

    def _bad(self, reason: str) -> None:
        self.bad_frames += 1
        self._tell(DeviceError(f"{self._port_name}: {reason} (bad frame {self.bad_frames} since it was opened)"))

    def _tell(self, what: object) -> None:
        take = self._when_read  # another thread may set it to None just now
        if take is not None:
            take(what)

    @abstractmethod
    def _reading(self, data: bytes) -> object | None:
        """Return what a frame says; None when that is no reading yet. Raises: ValueError when it makes no sense."""
