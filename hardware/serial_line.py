r"""A serial line: what a scale, a meter, an Arduino or a modem says, frame by frame, and what is said to it.

    scale:
      driver: serial_line
      port: /dev/ttyUSB0
      baud_rate: 9600
      format: regex
      pattern: '(?P<weight>[0-9.]+) *kg'
      parts: {weight: {unit: kg, range: [0, 300], deadband: 0.05}}

Each frame is a reading, as it comes. `value` is what the last one says. What is no frame (a wrong checksum, a text
that is not of the format) is a fault with the reason, and so is a port that goes away: it is opened again when it comes
back.

- `port`: the device file. `/dev/serial/by-id/...` stays the same whatever is plugged in first.
- `baud_rate`, `parity` (none, even, odd, mark, space), `bytesize` (5 to 8), `stop_bits` (1, 1.5, 2): 9600, none, 8, 1.
- `framing`: where a frame begins and ends:
  - `line`: `terminator` ends it, `"\n"` without one (a `"\r"` before that is taken away);
  - `start_end`: it is between `start` (`"\x02"`) and `end` (`"\x03"`);
  - `length`: it has `length` bytes;
  - `prefix`: its first `prefix` bytes (1, 2 or 4, `byte_order` big or little) say how many follow;
  - `gap`: a pause of `gap` (50ms, at least 5ms) ends it.
- `checksum`: none, xor, sum8, crc16_modbus or crc16_ccitt. With `line` and `start_end` it is hex after a `*`, as in
  NMEA 0183; else it is bytes at the end of the frame.
- `format`: what a frame says: `text`, `hex`, `json`, `csv` (fields between `separator`, called by `names`), or `regex`
  (the named groups of `pattern`). Fields that look like numbers are numbers.
- `encoding`: of the text, utf-8 without one. `most`: the most bytes of a frame, 4096.
- `silence`: it is a fault when nothing has come for so long, as in `silence: 1m`. Without it silence is no fault.

It is an output, too: `{"value": "AT+CSQ"}` on `device/<name>/set` sends one frame, with its end and checksum. With
`format: hex` the value is bytes in hex, with `json` it is whatever is to be said. A `guard` needs its `safe`: a line
has no off.

Wiring: TX of one side to RX of the other, and ground to ground. The UART of a Raspberry Pi (GPIO14 TX, GPIO15 RX) is
`/dev/serial0` and bears 3.3 V; RS-232 has up to 15 V and needs a converter. Switch it on without a console:
`sudo raspi-config nonint do_serial_hw 0`, `sudo raspi-config nonint do_serial_cons 1`, and a restart. The user must be
in the group `dialout`. Install `edge-runtime[serial]`.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.devices import arguments
from edge_runtime.devices.driver import SimulatedSource
from edge_runtime.devices.serial_port import SerialReader, Settings
from edge_runtime.errors import ConfigError
from edge_runtime.pure.frame_formats import FORMATS, Format
from edge_runtime.pure.framing import KINDS, Framing


class SerialLine(SerialReader):
    """A serial line. The module says what its arguments are."""

    def __init__(  # noqa: PLR0913 - each is a key of the device
        self,
        *,
        port: str,
        baud_rate: int = 9600,
        parity: str = "none",
        bytesize: int = 8,
        stop_bits: float = 1,
        framing: str = "line",
        terminator: str = "\n",
        start: str = "\x02",
        end: str = "\x03",
        length: int = 0,
        prefix: int = 1,
        byte_order: str = "big",
        gap: str | float = 0.05,
        checksum: str = "none",
        format: str = "text",  # noqa: A002 - the key that people expect
        names: Sequence[str] = (),
        pattern: str = "",
        separator: str = ",",
        encoding: str = "utf-8",
        most: int = 4096,
        silence: str | float = 0.0,
    ) -> None:
        settings = Settings(port, baud_rate, parity, bytesize, stop_bits)
        self._format = _format(format, names, pattern, separator, encoding)
        self._framing = _framing(
            framing,
            terminator=terminator,
            start=start,
            end=end,
            length=length,
            prefix=prefix,
            byte_order=byte_order,
            checksum=checksum,
            most=most,
        )
        gap_s = arguments.seconds("gap", gap, 0.005, 60)
        super().__init__(settings, self._framing, gap_s=gap_s, silence_s=arguments.seconds("silence", silence))

    @property
    def value(self) -> object:
        """What the last good frame says; a value that is set is sent as a frame."""
        return super().value

    @value.setter
    def value(self, value: object) -> None:
        self.send(value)

    def send(self, value: object) -> None:
        """Send one frame. Raises: ConfigError when it cannot be one, DeviceError when the port does not take it."""
        self._port.send(_frame(self._framing, self._format, value))

    def _reading(self, data: bytes) -> object:
        return self._format.read(data)

    @classmethod
    def wires(cls, *, port: str, **others: object) -> list[str]:
        """Return the port. Raises: ConfigError for a wrong argument."""
        _Simulated(port=port, **others)
        return [port]

    @classmethod
    def simulated(cls, **options: object) -> SimulatedSource:
        """Return a line that hands over what it is told, as a frame or as a value, and swallows what is sent."""
        return _Simulated(**options)


class _Simulated(SimulatedSource):
    """A line with nobody at the other end."""

    def __init__(  # noqa: PLR0913 - as above
        self,
        *,
        port: object,
        baud_rate: object = 9600,
        parity: object = "none",
        bytesize: object = 8,
        stop_bits: object = 1,
        gap: object = 0.05,
        silence: object = 0.0,
        format: object = "text",  # noqa: A002 - as above
        names: object = (),
        pattern: object = "",
        separator: object = ",",
        encoding: object = "utf-8",
        framing: object = "line",
        **others: object,
    ) -> None:
        settings = Settings(port, baud_rate, parity, bytesize, stop_bits)  # type: ignore[arg-type]  # it checks them
        arguments.seconds("gap", gap, 0.005, 60)
        arguments.seconds("silence", silence)
        self._format = _format(format, names, pattern, separator, encoding)
        self._framing = _framing(framing, **others)
        self.sent: list[bytes] = []
        """The last frames that were sent."""
        super().__init__(None, wiring=settings.wiring)

    def simulate(self, value: object) -> None:
        """Hand over a value; a text is read as a frame."""
        try:
            super().simulate(self._format.read_text(value) if isinstance(value, str) else value)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def send(self, value: object) -> None:
        """Keep what would be sent."""
        self.sent = [*self.sent[-9:], _frame(self._framing, self._format, value)]


def _format(kind: object, names: object, pattern: object, separator: object, encoding: object) -> Format:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"names {names!r} is no list of texts", hint="write names: [temperature, humidity]")
    try:
        return Format(
            arguments.word("format", kind, FORMATS),
            names=names,
            pattern=arguments.text("pattern", pattern, empty=True),
            separator=arguments.text("separator", separator),
            encoding=arguments.text("encoding", encoding),
        )
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _framing(kind: object, **options: object) -> Framing:
    found: dict[str, object] = {}
    for name, value in options.items():
        if name in ("terminator", "start", "end"):
            try:
                found[name] = arguments.text(name, value).encode("latin-1")
            except UnicodeEncodeError as error:
                raise ConfigError(f"{name} {value!r} is more than bytes", hint=r'write bytes as in "\x02"') from error
        elif name in ("checksum", "byte_order"):
            found[name] = arguments.text(name, value)
        else:
            found[name] = arguments.whole(name, value, 0, 1 << 20)
    try:
        return Framing(arguments.word("framing", kind, KINDS), **found)  # type: ignore[arg-type]  # checked above
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _frame(framing: Framing, form: Format, value: object) -> bytes:
    try:
        return framing.wrap(form.write(value))
    except ValueError as error:
        raise ConfigError(f"{value!r} cannot be sent: {error}") from error
