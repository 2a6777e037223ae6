"""The high-water mark outside the database: what had been committed, so that a database that lost rows is caught.

A flipped bit in the write-ahead log silently cuts its tail, and a card may lie about a flush: SQLite then opens an
older state without a word. This small file is written after every commit, so it is never ahead of a disk that keeps its
promises; a database that is behind it has lost what lies between.

Two slots are written in turn, each with a checksum: a torn write leaves the other one. Behind them are the names of
the targets, for a database that lost its own table of them.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_SLOT = 131072  # room for every target there can be
_HEAD = struct.Struct("<4sIQI")  # magic, checksum of what follows it, number of the mark, count of targets
_ITEM = struct.Struct("<IQQ")
_MAGIC = b"EDG1"
_NAMES = struct.Struct("<4sII")  # magic, checksum, length of the JSON object that follows
_NAMES_AT = 2 * _SLOT
_SYNC_S = 5.0
"""The page cache outlives the process; a flush every few seconds bounds what a power cut takes, and spares the card."""
_MOST_SKIPPED = 64


class Mark(NamedTuple):
    """What is known of one target."""

    produced: int
    """The last sequence number that was given out."""
    present: int
    """How many rows there were, dead letters included. May be some commits old: they only deleted."""


class HighWater:
    """The file. Not thread-safe; one writer."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises: OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._synced_s = 0.0
        self._skipped = 0
        try:
            self._number, self._marks = max(self._slot(0), self._slot(1), key=lambda slot: slot[0])
            self._names = self._read_names()
        except OSError:
            os.close(self._fd)
            raise

    def read(self) -> Mapping[int, Mark]:
        """Return the marks by target id; empty when there is no intact one."""
        return self._marks

    def names(self) -> Mapping[int, str]:
        """Return the names of the targets by their ids; empty when they are not known."""
        return self._names

    def write(self, changed: Iterable[tuple[int, Mark]], now_s: float) -> None:
        """Note what a commit changed; flushed to the disk every few seconds. Raises: OSError.

        Commits that only delete are not all worth a write.
        """
        news = False
        for target, mark in changed:
            known = self._marks.get(target)
            news = news or known is None or known[0] != mark[0]
            self._marks[target] = mark
        self._skipped += 1
        if not news and self._skipped < _MOST_SKIPPED:
            return
        self._skipped = 0
        self._put(now_s)

    def _put(self, now_s: float) -> None:
        self._number += 1
        items = b"".join([_ITEM.pack(target, *mark) for target, mark in self._marks.items()])
        checksum = zlib.crc32(items, self._number & 0xFFFFFFFF)
        data = _HEAD.pack(_MAGIC, checksum, self._number, len(self._marks)) + items
        os.pwrite(self._fd, data, (self._number & 1) * _SLOT)
        if now_s - self._synced_s >= _SYNC_S:
            self._synced_s = now_s
            os.fdatasync(self._fd)

    def remember(self, names: Mapping[int, str]) -> None:
        """Write down the names of the targets, if they are news. On the disk when it returns. Raises: OSError."""
        if dict(names) == self._names:
            return
        data = json.dumps({str(target): name for target, name in names.items()}).encode()
        os.pwrite(self._fd, _NAMES.pack(_MAGIC, zlib.crc32(data), len(data)) + data, _NAMES_AT)
        os.fdatasync(self._fd)
        self._names = dict(names)

    def close(self) -> None:
        """Flush and close. Raises: OSError."""
        try:
            if self._skipped:
                self._put(self._synced_s)
            os.fdatasync(self._fd)
        finally:
            os.close(self._fd)

    def _slot(self, which: int) -> tuple[int, dict[int, Mark]]:
        """Return the number and the content of a slot, or zero and nothing when it is not intact."""
        data = os.pread(self._fd, _SLOT, which * _SLOT)
        if len(data) < _HEAD.size:
            return 0, {}
        magic, checksum, number, count = _HEAD.unpack_from(data)
        items = data[_HEAD.size : _HEAD.size + count * _ITEM.size]
        if magic != _MAGIC or len(items) != count * _ITEM.size or zlib.crc32(items, number & 0xFFFFFFFF) != checksum:
            return 0, {}
        return number, {target: Mark(*rest) for target, *rest in _ITEM.iter_unpack(items)}

    def _read_names(self) -> dict[int, str]:
        head = os.pread(self._fd, _NAMES.size, _NAMES_AT)
        if len(head) < _NAMES.size:
            return {}
        magic, checksum, length = _NAMES.unpack(head)
        if magic != _MAGIC:
            return {}
        data = os.pread(self._fd, min(length, 1 << 20), _NAMES_AT + _NAMES.size)
        if zlib.crc32(data) != checksum:
            return {}
        return {int(target): str(name) for target, name in json.loads(data).items()}
