"""What the registers of a Modbus device mean, and in which requests they are read.

Source: MODBUS Application Protocol Specification V1.1b3, sections 4.3, 6 and 7.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

TYPES = {
    "u16": "H",
    "s16": "h",
    "u32": "I",
    "s32": "i",
    "f32": "f",
    "u64": "Q",
    "s64": "q",
    "f64": "d",
}
"""Names of number types, and how `struct` calls them."""
TABLES = ("coil", "discrete", "holding", "input")
BITS = ("coil", "discrete")
MOST_BITS, MOST_WORDS = 2000, 125
"""How much one request may ask for (sections 6.1, 6.3)."""
LAST_ADDRESS = 0xFFFF
EXCEPTIONS = {
    1: "illegal function: it does not know this kind of request",
    2: "illegal data address: it has no such register",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge: it needs a long time",
    6: "server device busy: ask again later",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
"""What the codes of exception responses mean (section 7)."""


def exception_words(code: int) -> str:
    """Return what an exception code means, with the number."""
    return f"{EXCEPTIONS.get(code, 'unknown exception')} (exception {code})"


@dataclass(frozen=True, slots=True)
class Register:
    """A value in one or more registers that follow one another: `raw * scale + offset`, or a list of `count` values.

    With `word_order` big the first register holds the highest word; with `byte_order` little the bytes in each register
    are swapped.

    Raises: ValueError when there is no such place.
    """

    address: int
    type: str = "u16"
    count: int = 1
    byte_order: str = "big"
    word_order: str = "big"
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"type {self.type!r} is not known; known: {', '.join(TYPES)}")
        if self.count < 1:
            raise ValueError(f"count {self.count} is not 1 or more")
        if not 0 <= self.address <= LAST_ADDRESS:
            raise ValueError(f"address {self.address} is not from 0 to {LAST_ADDRESS}")
        if self.end > LAST_ADDRESS + 1:
            raise ValueError(
                f"{self.count} of type {self.type} from address {self.address} on go beyond {LAST_ADDRESS}"
            )
        if self.scale == 0 or not math.isfinite(self.scale) or not math.isfinite(self.offset):
            raise ValueError("scale and offset must be numbers, and scale not 0")

    @property
    def words(self) -> int:
        """How many registers it takes."""
        return self.count * struct.calcsize(f">{TYPES[self.type]}") // 2

    @property
    def end(self) -> int:
        """The address after its last register."""
        return self.address + self.words

    def decode(self, words: Sequence[int]) -> float | list[float]:
        """Return the value that the registers hold."""
        size = self.words // self.count
        found = [self._decode_one(words[at : at + size]) for at in range(0, self.words, size)]
        return found[0] if self.count == 1 else found

    def encode(self, value: object) -> list[int]:
        """Return the registers that hold a value. Raises: ValueError when they cannot."""
        values = value if isinstance(value, list | tuple) else [value]
        if len(values) != self.count:
            raise ValueError(f"it takes {self.count} {'numbers' if self.count > 1 else 'number'}, not {len(values)}")
        return [word for one in values for word in self._encode_one(one)]

    def _decode_one(self, words: Sequence[int]) -> float:
        ordered = words if self.word_order == "big" else words[::-1]
        data = b"".join(word.to_bytes(2, "big" if self.byte_order == "big" else "little") for word in ordered)
        raw: int | float = struct.unpack(f">{TYPES[self.type]}", data)[0]
        if self.scale == 1 and self.offset == 0:
            return raw
        value = raw * self.scale + self.offset
        return float(f"{value:.12g}")  # 2301 * 0.1 is a hair more than 230.1

    def _encode_one(self, value: object) -> list[int]:
        if isinstance(value, bool):
            value = int(value)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{value!r} is no number")
        raw: int | float = value if self.scale == 1 and self.offset == 0 else (value - self.offset) / self.scale
        if self.type[0] != "f":
            if not math.isclose(raw, round(raw), rel_tol=1e-9, abs_tol=1e-6):
                raise ValueError(f"{value!r} is no whole number of {self.scale:g}")
            raw = round(raw)
        try:
            data = struct.pack(f">{TYPES[self.type]}", raw)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{value!r} does not fit into {self.type}") from error
        order: Literal["big", "little"] = "big" if self.byte_order == "big" else "little"
        words = [int.from_bytes(data[at : at + 2], order) for at in range(0, len(data), 2)]
        return words if self.word_order == "big" else words[::-1]


class Span(NamedTuple):
    """Registers that one request reads."""

    address: int
    words: int


def spans(registers: Iterable[Register], most: int = MOST_WORDS) -> list[Span]:
    """Return the requests that read all registers: those next to one another together.

    What lies between others is not read along: a device may refuse a request for an address that it does not have.
    """
    found: list[Span] = []
    for one in sorted(registers, key=lambda register: register.address):
        last = found[-1] if found else None
        if last is not None and one.address <= last.address + last.words:
            end = max(last.address + last.words, one.end)
            if end - last.address <= most:
                found[-1] = Span(last.address, end - last.address)
                continue
        found.append(Span(one.address, one.words))
    return found
