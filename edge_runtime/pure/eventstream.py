"""Frames of AWS's event stream encoding (`application/vnd.amazon.eventstream`), which Greengrass's IPC speaks.

A frame is, big-endian: its whole length and the length of its headers (32 bits each), the CRC-32 of those eight bytes,
the headers, the payload, and the CRC-32 of all before. A header is a byte for the length of its name, the name, a byte
for its type, and the value (Amazon Transcribe developer guide, "Event stream encoding").
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from edge_runtime.errors import LimitError

Value = bool | int | str | bytes

_PRELUDE = struct.Struct(">III")
_LENGTHS = struct.Struct(">II")
_CRC = struct.Struct(">I")
_COUNT = struct.Struct(">H")
LEAST_BYTES = _PRELUDE.size + _CRC.size
"""A frame without headers and payload."""
MOST_BYTES = 24 * 1024 * 1024
MOST_HEADER_BYTES = 128 * 1024
_MOST_NAME = 255
_MOST_VALUE = 32_767
_UUID_BYTES = 16


class Kind(IntEnum):
    """The type of a header's value."""

    TRUE = 0
    FALSE = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    """Milliseconds since the epoch, an int."""
    UUID = 9
    """16 bytes."""


_NUMBERS = {
    Kind.INT8: struct.Struct(">b"),
    Kind.INT16: struct.Struct(">h"),
    Kind.INT32: struct.Struct(">i"),
    Kind.INT64: struct.Struct(">q"),
    Kind.TIMESTAMP: struct.Struct(">q"),
}


class Header(NamedTuple):
    """One header: a name of 1 to 255 bytes, and a value of the type that `kind` says."""

    name: str
    kind: Kind
    value: Value


class Frame(NamedTuple):
    """One message: headers in their order, and a payload."""

    headers: tuple[Header, ...] = ()
    payload: bytes = b""

    def number(self, name: str, default: int = 0) -> int:
        """Return the whole number in the header `name`, or the default where there is none."""
        value = self._value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def text(self, name: str) -> str:
        """Return the text in the header `name`, or an empty one."""
        value = self._value(name)
        return value if isinstance(value, str) else ""

    def _value(self, name: str) -> Value | None:
        return next((header.value for header in self.headers if header.name == name), None)


def number(name: str, value: int) -> Header:
    """Return a header with an int of 32 bits."""
    return Header(name, Kind.INT32, value)


def text(name: str, value: str) -> Header:
    """Return a header with a text."""
    return Header(name, Kind.STRING, value)


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame.

    Raises: LimitError when a header or the whole does not fit the encoding.
    """
    headers = b"".join(map(_packed, frame.headers))
    if len(headers) > MOST_HEADER_BYTES:
        raise LimitError(f"the headers of a frame have {len(headers)} bytes; {MOST_HEADER_BYTES} are allowed")
    total = LEAST_BYTES + len(headers) + len(frame.payload)
    if total > MOST_BYTES:
        raise LimitError(f"a frame has {total} bytes; {MOST_BYTES} are allowed")
    lengths = _LENGTHS.pack(total, len(headers))
    whole = b"".join((lengths, _CRC.pack(zlib.crc32(lengths)), headers, frame.payload))
    return whole + _CRC.pack(zlib.crc32(whole))


def _packed(header: Header) -> bytes:
    name = _utf8(header.name)
    if not 1 <= len(name) <= _MOST_NAME:
        raise LimitError(f"the name of a header has {len(name)} bytes; it must have 1 to {_MOST_NAME}")
    return bytes([len(name)]) + name + bytes([header.kind]) + _packed_value(header)


def _packed_value(header: Header) -> bytes:
    kind, value = header.kind, header.value
    if kind in (Kind.TRUE, Kind.FALSE) and value is (kind is Kind.TRUE):
        return b""
    if kind in _NUMBERS and isinstance(value, int) and not isinstance(value, bool):
        try:
            return _NUMBERS[kind].pack(value)
        except struct.error:
            raise LimitError(f"header {header.name!r}: {value} does not fit {kind.name}") from None
    if kind is Kind.UUID and isinstance(value, bytes) and len(value) == _UUID_BYTES:
        return value
    if (kind is Kind.STRING and isinstance(value, str)) or (kind is Kind.BYTES and isinstance(value, bytes)):
        raw = _utf8(value) if isinstance(value, str) else value
        if len(raw) > _MOST_VALUE:
            raise LimitError(f"header {header.name!r} has {len(raw)} bytes; {_MOST_VALUE} are allowed")
        return _COUNT.pack(len(raw)) + raw
    raise LimitError(f"header {header.name!r}: {type(value).__name__} is not a value of type {kind.name}")


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise LimitError(f"{value!r} cannot be written as UTF-8") from None


class Decoder:
    """Cuts frames out of bytes as they arrive. After an error it is of no use: there is no way back into step."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """`most_bytes`: a frame that announces more is an error before its bytes are gathered."""
        self._most = most_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with `data`. To be run to its end.

        Raises: LimitError when the bytes are not frames: a bad CRC, length, type or text.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _PRELUDE.size:
            total = self._checked_length()
            if len(buffer) < total:
                return
            raw = bytes(buffer[:total])
            del buffer[:total]
            yield _frame(raw)

    @property
    def pending(self) -> int:
        """How many bytes of a frame that is not complete have arrived."""
        return len(self._buffer)

    def _checked_length(self) -> int:
        total, headers, crc = _PRELUDE.unpack_from(self._buffer)
        if zlib.crc32(self._buffer[: _LENGTHS.size]) != crc:
            raise LimitError("the lengths of a frame do not match their CRC")
        if total > self._most:
            raise LimitError(f"a frame announces {total} bytes; {self._most} are allowed")
        if headers > MOST_HEADER_BYTES or headers > total - LEAST_BYTES:
            raise LimitError(f"a frame of {total} bytes announces {headers} bytes of headers")
        return int(total)


def decode(data: bytes) -> Frame:
    """Return the one frame that `data` is.

    Raises: LimitError when it is not exactly one.
    """
    decoder = Decoder()
    frames = list(decoder.feed(data))
    if len(frames) != 1 or decoder.pending:
        raise LimitError(f"{len(data)} bytes hold {len(frames)} frames and {decoder.pending} bytes more, not one frame")
    return frames[0]


def _frame(raw: bytes) -> Frame:
    _, length, _ = _PRELUDE.unpack_from(raw)
    body, end = _PRELUDE.size + length, len(raw) - _CRC.size
    if zlib.crc32(raw[:end]) != _CRC.unpack_from(raw, end)[0]:
        raise LimitError("a frame does not match its CRC")
    return Frame(tuple(_headers(raw[_PRELUDE.size : body])), raw[body:end])


def _headers(raw: bytes) -> Iterator[Header]:
    at = 0
    while at < len(raw):
        size = raw[at]
        name, at = _slice(raw, at + 1, size)
        code, at = _slice(raw, at, 1)
        if not name:
            raise LimitError("a header has no name")
        if code[0] not in Kind.__members__.values():
            raise LimitError(f"header {name!r} has the unknown type {code[0]}")
        kind = Kind(code[0])
        value, at = _value(raw, at, kind)
        yield Header(_text(name), kind, value)


def _value(raw: bytes, at: int, kind: Kind) -> tuple[Value, int]:
    if kind in (Kind.TRUE, Kind.FALSE):
        return kind is Kind.TRUE, at
    if kind in _NUMBERS:
        packed, at = _slice(raw, at, _NUMBERS[kind].size)
        return int(_NUMBERS[kind].unpack(packed)[0]), at
    if kind is Kind.UUID:
        return _slice(raw, at, _UUID_BYTES)
    count, at = _slice(raw, at, _COUNT.size)
    value, at = _slice(raw, at, _COUNT.unpack(count)[0])
    return (_text(value) if kind is Kind.STRING else value), at


def _slice(raw: bytes, at: int, count: int) -> tuple[bytes, int]:
    if at + count > len(raw):
        raise LimitError(f"the headers of a frame end {at + count - len(raw)} bytes too early")
    return raw[at : at + count], at + count


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise LimitError(f"a header is not UTF-8: {error.reason} at byte {error.start}") from None
