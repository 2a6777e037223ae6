"""The part of CBOR that devices use for fleet provisioning: values of JSON and byte strings, of known length.

Source: RFC 8949, section 3. What is of unknown length, tagged, or a number of half precision is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = range(8)
_SIZES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_WORDS: Final[dict[int, bool | None]] = {20: False, 21: True, 22: None}
_SINGLE, _DOUBLE = 26, 27
_MOST_LEVELS: Final = 16


def encode(value: object) -> bytes:  # noqa: PLR0911 - one for each kind of value
    """Return a value in CBOR. Raises: TypeError for what JSON does not have, nor a byte string."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            return _head(_TEXT, len(data)) + data
        case bytes():
            return _head(_BYTES, len(value)) + value
        case list() | tuple():
            return _head(_LIST, len(value)) + b"".join(map(encode, value))
        case Mapping():
            pairs = (encode(key) + encode(item) for key, item in value.items())
            return _head(_MAP, len(value)) + b"".join(pairs)
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _head(major: int, number: int) -> bytes:
    if number < 24:  # noqa: PLR2004 - what fits into the first byte
        return bytes((major << 5 | number,))
    for mark, size in _SIZES.items():
        if number < 1 << 8 * size:
            return bytes((major << 5 | mark,)) + number.to_bytes(size, "big")
    raise TypeError(f"{number} is too large to be sent")


def decode(data: bytes) -> object:
    """Return the one value that the bytes are. Raises: ValueError that says what is wrong."""
    reader = _Reader(data)
    value = reader.value(_MOST_LEVELS)
    if reader.left:
        raise ValueError(f"there are {reader.left} bytes too many")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._pos

    def value(self, levels: int) -> object:  # noqa: PLR0911 - one for each kind of value
        if not levels:
            raise ValueError("it is nested too deep")
        first = self._take(1)[0]
        major, low = first >> 5, first & 0x1F
        if major == _SIMPLE:
            return self._simple(low)
        number = self._number(low)
        match major:
            case 0:
                return number
            case 1:
                return -1 - number
            case 2:
                return self._take(number)
            case 3:
                return self._take(number).decode()
            case 4:
                return [self.value(levels - 1) for _ in range(self._count(number))]
            case 5:
                return dict(self._pair(levels - 1) for _ in range(self._count(number)))
        raise ValueError("it holds a tag")

    def _pair(self, levels: int) -> tuple[str, object]:
        key = self.value(levels)
        if not isinstance(key, str):
            raise ValueError("a key is no text")  # noqa: TRY004 - of a message, not of a program
        return key, self.value(levels)

    def _simple(self, low: int) -> object:
        if low in _WORDS:
            return _WORDS[low]
        if low in (_SINGLE, _DOUBLE):
            number: float = struct.unpack(">f" if low == _SINGLE else ">d", self._take(_SIZES[low]))[0]
            return number
        raise ValueError(f"simple value {low} is not known")

    def _number(self, low: int) -> int:
        if low < 24:  # noqa: PLR2004 - what fits into the first byte
            return low
        if low not in _SIZES:
            raise ValueError("a length is not known")
        return int.from_bytes(self._take(_SIZES[low]), "big")

    def _count(self, number: int) -> int:
        if number > self.left:  # each takes a byte at least
            raise ValueError("it ends too early")
        return number

    def _take(self, count: int) -> bytes:
        if count > self.left:
            raise ValueError("it ends too early")
        self._pos += count
        return self._data[self._pos - count : self._pos]
