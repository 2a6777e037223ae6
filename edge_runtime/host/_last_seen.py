"""The last time that was seen, in a small file: what the clock may not go behind after a power cut.

It is written every few minutes and at the end, in place: one block of the card. Two slots are written in turn, each
with a checksum, so that a torn write leaves the other one.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

NAME = "last-seen"
_SLOT = 4096
_MAGIC = b"EDGT"
_HEAD = struct.Struct("<4sI")
_BODY = struct.Struct("<Qqqq16s")


class Seen(NamedTuple):
    """What was noted last."""

    sure_ns: int = 0
    """A time that has certainly been: by a clock that was right, in nanoseconds since the epoch."""
    seen_ns: int = 0
    """The latest time that was told, by whatever clock."""
    mono_ns: int = 0
    """The steady time of that moment, in the boot `boot`."""
    boot: str = ""


class LastSeen:
    """The file, in the folder `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._number = 0
        self._written = 0
        self._lock = threading.Lock()

    def read(self) -> Seen:
        """Return what was written last, or zeros when there is nothing intact. Raises: OSError."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return Seen()
        found = [self._slot(data[at : at + _SLOT]) for at in (0, _SLOT)]
        self._number, seen = max(found, key=lambda slot: slot[0])
        return seen

    def writing(self, seen: Seen) -> Callable[[], None]:
        """Return what writes it, on any thread; it is on the disk when that returns, unless a later one is already.

        What is returned raises: OSError.
        """
        self._number += 1
        return partial(self._write, self._number, seen)

    def _write(self, number: int, seen: Seen) -> None:
        body = _BODY.pack(number, *seen[:3], seen.boot.encode())
        with self._lock:
            if number < self._written:  # a slow disk: what is newer has overtaken it
                return
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.pwrite(handle, _HEAD.pack(_MAGIC, zlib.crc32(body)) + body, (number & 1) * _SLOT)
                os.fdatasync(handle)
            finally:
                os.close(handle)
            self._written = number

    @staticmethod
    def _slot(data: bytes) -> tuple[int, Seen]:
        if len(data) < _HEAD.size + _BODY.size:
            return 0, Seen()
        magic, checksum = _HEAD.unpack_from(data)
        body = data[_HEAD.size : _HEAD.size + _BODY.size]
        if magic != _MAGIC or checksum != zlib.crc32(body):
            return 0, Seen()
        number, sure_ns, seen_ns, mono_ns, boot = _BODY.unpack(body)
        return number, Seen(sure_ns, seen_ns, mono_ns, boot.rstrip(b"\0").decode("ascii", "replace"))
