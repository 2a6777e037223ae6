"""Where a frame begins and ends in what a serial line brings, and whether it came through whole.

A framer takes bytes as they come, in pieces of any size, and gives frames without what marks them: terminator, start
and end, length and checksum. It never keeps more than `most` bytes: what is longer is no frame, and is left out up to
the next place where one may begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edge_runtime.pure.checksums import CHECKSUMS

KINDS = ("line", "start_end", "length", "gap", "prefix")
MOST = 4096
_MOST_SHOWN = 60
_MARKS = (b"$", b"!")
"""What begins a sentence of NMEA 0183 and is not in its checksum."""


class Bad(NamedTuple):
    """What came and is no frame, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Framing:
    r"""How frames are marked.

    `line`: each ends with `terminator`, empty ones do not count, and a carriage return before a `\n` is taken away.
    `start_end`: between `start` and `end`. `length`: each has `length` bytes. `gap`: a pause ends it, which whoever
    reads tells by `Framer.idle`. `prefix`: its first `prefix` bytes say how many follow.

    The checksum stands at the end of a frame: in `line` and `start_end`, which are text, in hex after a `*`, as in
    NMEA 0183; else as bytes, which `length` and the length of a `prefix` count. `$` or `!` at the beginning of a text
    is not in it.

    Raises: ValueError when this does not fit together.
    """

    kind: str = "line"
    terminator: bytes = b"\n"
    start: bytes = b"\x02"
    end: bytes = b"\x03"
    length: int = 0
    prefix: int = 1
    byte_order: str = "big"
    checksum: str = "none"
    most: int = MOST

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"framing {self.kind!r} is not known; known: {', '.join(KINDS)}")
        if self.checksum != "none" and self.checksum not in CHECKSUMS:
            raise ValueError(f"checksum {self.checksum!r} is not known; known: none, {', '.join(CHECKSUMS)}")
        if self.byte_order not in ("big", "little"):
            raise ValueError(f"byte_order is big or little, not {self.byte_order!r}")
        if not 1 <= self.most <= 1 << 20:
            raise ValueError(f"most is 1 to 1048576 bytes, not {self.most}")
        if self.kind == "line" and not self.terminator:
            raise ValueError("a line needs a terminator")
        if self.kind == "start_end" and not (self.start and self.end):
            raise ValueError("start_end needs both start and end")
        if self.kind == "length" and not self.check_size < self.length <= self.most:
            raise ValueError(f"length is {self.check_size + 1} to {self.most} bytes, not {self.length}")
        if self.kind == "prefix" and self.prefix not in (1, 2, 4):
            raise ValueError(f"prefix is 1, 2 or 4 bytes, not {self.prefix}")

    @property
    def check_size(self) -> int:
        """How many bytes the checksum has."""
        return CHECKSUMS[self.checksum].size if self.checksum != "none" else 0

    @property
    def is_text(self) -> bool:
        """Whether a frame is text, with the checksum in hex."""
        return self.kind in ("line", "start_end")

    def wrap(self, data: bytes) -> bytes:
        """Return what is sent for a frame. Raises: ValueError when it cannot be one."""
        body = data + self._check_of(data)
        if len(body) > self.most:
            raise ValueError(f"{len(body)} bytes are more than the {self.most} of a frame")
        if self.kind == "line":
            # Looked for in the whole, as who reads it does: `ab` and the terminator `bb` would end in the middle.
            if (body + self.terminator).find(self.terminator) < len(body):
                raise ValueError("there is a terminator in the middle of it")
            return body + self.terminator
        if self.kind == "start_end":
            if (body + self.end).find(self.end) < len(body):
                raise ValueError("there is an end in the middle of it")
            if self.start in body:
                raise ValueError("there is a start in the middle of it")
            return self.start + body + self.end
        if self.kind == "length" and len(body) != self.length:
            raise ValueError(f"it has {len(body)} bytes; a frame has {self.length}")
        if self.kind == "prefix":
            if len(body) >= 1 << 8 * self.prefix:
                raise ValueError(f"{len(body)} bytes are too many for a length of {8 * self.prefix} bits")
            return len(body).to_bytes(self.prefix, "little" if self.byte_order == "little" else "big") + body
        return body

    def unwrap(self, body: bytes) -> bytes | Bad:
        """Return what a frame holds, if its checksum says that it came through whole."""
        if self.checksum == "none":
            return body
        check = CHECKSUMS[self.checksum]
        if self.is_text:
            data, star, written = body.rpartition(b"*")
            wanted = b"%0*X" % (2 * check.size, check.of(_inner(data)))
            if not star:
                return Bad(f"there is no checksum in {shown(body)}")
            given = written.strip().upper()
            return data if given == wanted else Bad(_differs(body, wanted.decode(), given.decode(errors="replace")))
        data, sent = body[: -check.size], body[-check.size :]
        if len(body) < check.size:
            return Bad(f"there is no checksum in {shown(body)}")
        wanted = check.sent(data)
        return data if sent == wanted else Bad(_differs(body, wanted.hex().upper(), sent.hex().upper()))

    def _check_of(self, data: bytes) -> bytes:
        if self.checksum == "none":
            return b""
        check = CHECKSUMS[self.checksum]
        return b"*%0*X" % (2 * check.size, check.of(_inner(data))) if self.is_text else check.sent(data)


class Framer:
    """Takes the bytes of one line and gives its frames."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._held = bytearray()
        self._skipping = False
        """Whether what comes belongs to a frame that was too long."""

    @property
    def held(self) -> int:
        """How many bytes of a frame that is not whole yet are kept."""
        return len(self._held)

    @property
    def waits(self) -> bool:
        """Whether a pause is of any importance now: `idle` is to be called when the line is quiet."""
        return not self._framing.is_text and bool(self._held or self._skipping)

    def feed(self, data: bytes) -> list[bytes | Bad]:
        """Take bytes as they come and return the frames that are whole now."""
        found: list[bytes | Bad] = []
        most = self._framing.most
        # In pieces, so that a flood is never kept: a frame ends, or is given up, within each.
        for at in range(0, len(data), most):
            self._held += data[at : at + most]
            found += self._taken()
        return found

    def idle(self) -> list[bytes | Bad]:
        """Note that the line has been quiet; for framing by `gap` that is the end of a frame.

        For the other kinds with a length, half a frame is forgotten: what comes after a pause is a new one.
        """
        if self._framing.is_text:
            return []
        body, skipped = bytes(self._held), self._skipping
        self.clear()
        if self._framing.kind == "gap":
            return [self._framing.unwrap(body)] if body and not skipped else []
        return [Bad(f"half a frame: {shown(body)}")] if body else []

    def clear(self) -> None:
        """Forget what is kept."""
        self._held.clear()
        self._skipping = False

    def _taken(self) -> Iterator[bytes | Bad]:
        kind = self._framing.kind
        if kind == "line":
            return self._ended(self._framing.terminator)
        if kind == "start_end":
            return self._enclosed()
        if kind == "gap":
            return self._bounded(0)
        return self._counted()

    def _ended(self, end: bytes) -> Iterator[bytes | Bad]:
        held = self._held
        while (at := held.find(end)) >= 0:
            body, skipped = bytes(held[:at]), self._skipping
            del held[: at + len(end)]
            self._skipping = False
            if end == b"\n":
                body = body.removesuffix(b"\r")
            if skipped or not body:
                continue
            yield self._too_long(body) if len(body) > self._framing.most else self._framing.unwrap(body)
        yield from self._bounded(len(end) - 1)

    def _bounded(self, keep: int) -> Iterator[Bad]:
        """Give up a frame whose end has not come in time. `keep` bytes may be the beginning of its end."""
        held, most = self._held, self._framing.most
        if self._skipping or len(held) > most:
            if not self._skipping:
                yield self._too_long(bytes(held))
            self._skipping = True
            del held[: max(0, len(held) - keep)]

    def _enclosed(self) -> Iterator[bytes | Bad]:
        held, start, end = self._held, self._framing.start, self._framing.end
        while True:
            if self._skipping:
                at = held.find(end)
                if at < 0:
                    break
                del held[: at + len(end)]
                self._skipping = False
            at = held.find(start)
            if at < 0:
                del held[: max(0, len(held) - len(start) + 1)]  # what is between frames is noise
                return
            del held[:at]
            at = held.find(end, len(start))
            if at < 0:
                break
            body = bytes(held[len(start) : at])
            if not body and start == end:  # the end of a frame that began before this one was listened to
                del held[: len(start)]
                continue
            del held[: at + len(end)]
            if start != end and start in body:  # the end of the one before was lost
                yield Bad(f"half a frame: {shown(body[: body.rfind(start)])}")
                body = body[body.rfind(start) + len(start) :]
            if body:
                yield self._too_long(body) if len(body) > self._framing.most else self._framing.unwrap(body)
        yield from self._bounded(len(end) - 1)

    def _counted(self) -> Iterator[bytes | Bad]:
        held, framing = self._held, self._framing
        while True:
            head = framing.prefix if framing.kind == "prefix" else 0
            if len(held) < max(head, 1):
                return
            order: Literal["little", "big"] = "little" if framing.byte_order == "little" else "big"
            size = int.from_bytes(held[:head], order) if head else framing.length
            if size > framing.most:
                yield Bad(f"a length of {size} bytes; a frame has {framing.most} at most")
                held.clear()  # the line is out of step: what has come is thrown away, and a pause finds the next frame
                return
            if len(held) < head + size:
                return
            body = bytes(held[head : head + size])
            del held[: head + size]
            if body:
                yield framing.unwrap(body)

    def _too_long(self, body: bytes) -> Bad:
        return Bad(f"more than {self._framing.most} bytes without an end: {shown(body)}")


def shown(data: bytes) -> str:
    """Return bytes as they are shown to people, cut when they are many."""
    cut = data[:_MOST_SHOWN]
    text = repr(cut.decode()) if cut.isascii() and cut.decode().isprintable() else cut.hex(" ")
    return f"{text}..." if len(data) > _MOST_SHOWN else text


def _inner(data: bytes) -> bytes:
    return data[1:] if data.startswith(_MARKS) else data


def _differs(body: bytes, wanted: str, given: str) -> str:
    return f"wrong checksum {given!r} instead of {wanted!r} in {shown(body)}"
