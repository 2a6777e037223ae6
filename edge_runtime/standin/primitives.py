"""The data types of MQTT (5.0 section 1.5), read with every length checked and written with every limit checked."""

from __future__ import annotations

from edge_runtime.standin.codes import Code, CodecError

MOST_VARINT = 268_435_455
"""The greatest variable byte integer, and so the greatest remaining length of a packet."""
MOST_BINARY = 65535
_CONTINUES = 0x80


class Reader:
    """Reads a body from `pos` to `end`. Running over the end or a malformed value raises CodecError."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    def _advance(self, count: int) -> int:
        start = self.pos
        if start + count > self.end:
            raise CodecError(f"a packet ends {start + count - self.end} bytes too early")
        self.pos = start + count
        return start

    @property
    def left(self) -> int:
        """How many bytes are still to be read."""
        return self.end - self.pos

    def byte(self) -> int:
        """Read one byte."""
        return self.data[self._advance(1)]

    def two(self) -> int:
        """Read a two byte integer."""
        start = self._advance(2)
        return self.data[start] << 8 | self.data[start + 1]

    def four(self) -> int:
        """Read a four byte integer."""
        start = self._advance(4)
        return int.from_bytes(self.data[start : start + 4], "big")

    def varint(self) -> int:
        """Read a variable byte integer: at most four bytes, and no more than needed."""
        value = 0
        for shift in (0, 7, 14, 21):
            digit = self.byte()
            value |= (digit & 0x7F) << shift
            if digit < _CONTINUES:
                if digit == 0 and shift:
                    raise CodecError("a variable byte integer is longer than it needs to be")
                return value
        raise CodecError("a variable byte integer has more than four bytes")

    def binary(self) -> bytes:
        """Read binary data with its length in front."""
        size = self.two()
        start = self._advance(size)
        return self.data[start : start + size]

    def text(self) -> str:
        """Read a UTF-8 string with its length in front."""
        data, start = self.data, self.pos + 2
        if start > self.end or (end := start + (data[start - 2] << 8 | data[start - 1])) > self.end:
            raise CodecError("a string runs over the end of what holds it")
        self.pos = end
        return decode_text(data[start:end])

    def packet_id(self) -> int:
        """Read a packet identifier, which is not 0."""
        value = self.two()
        if not value:
            raise CodecError("packet identifier 0 is not allowed", code=Code.PROTOCOL_ERROR)
        return value

    def rest(self) -> bytes:
        """Read all that is left."""
        start, self.pos = self.pos, self.end
        return self.data[start : self.end]

    def finish(self) -> None:
        """Return if everything was read."""
        if self.pos != self.end:
            raise CodecError(f"a packet has {self.left} bytes too many")


def decode_text(raw: bytes) -> str:
    """Return the text of strict UTF-8: no surrogates, no over-long forms, no NUL (MQTT 5.0 section 1.5.4)."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CodecError(f"a string is not UTF-8: {error.reason} at byte {error.start}") from None
    if "\0" in text:
        raise CodecError("a string holds a NUL character")
    return text


def varint(value: int) -> bytes:
    """Write a variable byte integer."""
    if not 0 <= value <= MOST_VARINT:
        raise CodecError(f"{value} does not fit a variable byte integer", code=Code.PACKET_TOO_LARGE)
    out = bytearray()
    while value >= _CONTINUES:
        out.append(value & 0x7F | _CONTINUES)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(value: int, size: int) -> bytes:
    """Write an integer of 1, 2 or 4 bytes."""
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise CodecError(f"{value} does not fit {size} bytes") from None


def binary(data: bytes) -> bytes:
    """Write binary data with its length in front."""
    if len(data) > MOST_BINARY:
        raise CodecError(f"binary data of {len(data)} bytes; MQTT allows {MOST_BINARY}")
    return len(data).to_bytes(2, "big") + data


def text(value: str) -> bytes:
    """Write a UTF-8 string with its length in front."""
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise CodecError(f"{value!r} cannot be encoded as UTF-8") from None
    if b"\0" in raw:
        raise CodecError(f"{value!r} holds a NUL character")
    return binary(raw)
