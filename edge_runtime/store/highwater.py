"""The high-water mark outside the database: what had been committed, so that a database that lost rows is caught.

A flipped bit in the write-ahead log silently cuts its tail, and a card may lie about a flush: SQLite then opens an
older state without a word. This small file is written after every commit, so it is never ahead of a disk that keeps its
promises; a database that is behind it has lost what lies between.

Two slots are written in turn, each with a checksum: a torn write leaves the other one.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

_SLOT = 65536  # room for every target there can be
_HEAD = struct.Struct("<4sIQI")  # magic, checksum of what follows it, number of the mark, count of targets
_ITEM = struct.Struct("<IQ")
_MAGIC = b"EDG1"
_SYNC_S = 5.0
"""The page cache outlives the process; a flush every few seconds bounds what a power cut takes, and spares the card."""


class HighWater:
    """The file. Not thread-safe; one writer."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises: OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._synced_s = 0.0
        self._number, self._produced = max(self._slot(0), self._slot(1), key=lambda slot: slot[0])

    def read(self) -> Mapping[int, int]:
        """Return the last sequence number by target id; empty when there is no intact mark."""
        return self._produced

    def write(self, produced: Mapping[int, int], now_s: float) -> None:
        """Write a mark, if it is news; flushed to the disk every few seconds. Raises: OSError."""
        if produced == self._produced:
            return
        self._number, self._produced = self._number + 1, dict(produced)
        items = b"".join([_ITEM.pack(*pair) for pair in produced.items()])
        checksum = zlib.crc32(items, self._number & 0xFFFFFFFF)
        data = _HEAD.pack(_MAGIC, checksum, self._number, len(produced)) + items
        os.pwrite(self._fd, data, (self._number & 1) * _SLOT)
        if now_s - self._synced_s >= _SYNC_S:
            self._synced_s = now_s
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Flush and close. Raises: OSError."""
        try:
            os.fdatasync(self._fd)
        finally:
            os.close(self._fd)

    def _slot(self, which: int) -> tuple[int, Mapping[int, int]]:
        """Return the number and the content of a slot, or zero and nothing when it is not intact."""
        data = os.pread(self._fd, _SLOT, which * _SLOT)
        if len(data) < _HEAD.size:
            return 0, {}
        magic, checksum, number, count = _HEAD.unpack_from(data)
        items = data[_HEAD.size : _HEAD.size + count * _ITEM.size]
        if magic != _MAGIC or len(items) != count * _ITEM.size or zlib.crc32(items, number & 0xFFFFFFFF) != checksum:
            return 0, {}
        return number, dict(_ITEM.iter_unpack(items))
