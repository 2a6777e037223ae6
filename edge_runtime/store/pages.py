"""Read rows out of a damaged SQLite file, page by page, without SQLite.

Format: https://sqlite.org/fileformat2.html, sections 1.5 (freelist), 1.6 (b-tree pages), 1.8 (pointer map), 2.1
(record format) and 4.1 (write-ahead log). Anything that does not parse is passed over: what is read is proved by the
checksum of each row.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from edge_runtime.store.schema import PAGE_SIZE

Value = int | float | str | bytes | None
_LEAF = 0x0D
_INT_SIZES = (0, 1, 2, 3, 4, 6, 8)
_MAX_LOCAL = PAGE_SIZE - 35
_MIN_LOCAL = (PAGE_SIZE - 12) * 32 // 255 - 23
_HEADER = 32
_FRAME = 24 + PAGE_SIZE
_MAPPED = PAGE_SIZE // 5
_MAPPED_FREE = 2


def rows(database: Path) -> Iterator[tuple[int, list[Value]]]:
    """Yield (rowid, columns) of every table row found in the file and in what its log holds; stale copies too.

    One page at a time is in memory. A page that the disk cannot read is passed over. Raises: OSError on opening.
    """
    with _Image(database) as image:
        free = image.free_pages()
        for number in range(image.count):
            if number not in free:
                yield from _leaf(image, number)


def rows_in_log(database: Path, log: Path) -> Iterator[tuple[int, list[Value]]]:
    """Yield the table rows found in the newest copies of pages in a log, committed or not. Raises: OSError."""
    with _Image(database, log, lenient=True) as image:
        for number in image.logged():
            yield from _leaf(image, number)


class _Frame(NamedTuple):
    """A page in the log."""

    page: int
    at: int
    intact: bool
    commit: bool


class _Image:
    """The pages of a database, each from where its newest committed copy is.

    Read by `pread`: a bad block of a mapped file would kill the process.
    """

    def __init__(self, database: Path, log: Path | None = None, *, lenient: bool = False) -> None:
        self._file = os.open(database, os.O_RDONLY | os.O_CLOEXEC)
        self._log = -1
        self._logged: dict[int, int] = {}
        try:
            self.count = os.fstat(self._file).st_size // PAGE_SIZE
            log = log or database.with_name(database.name + "-wal")
            if log.exists():
                self._log = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
                frames = list(self._frames(os.fstat(self._log).st_size))
                self._logged = {frame.page: frame.at for frame in (frames if lenient else _committed(frames))}
                self.count = max([self.count, *(number + 1 for number in self._logged)])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for fd in (self._file, self._log):
            if fd >= 0:
                os.close(fd)

    def logged(self) -> Iterable[int]:
        """Return the numbers of the pages that the log holds."""
        return sorted(self._logged)

    def page(self, number: int) -> bytes:
        """Return a page. Raises: KeyError when there is none, or the disk cannot read it."""
        at = self._logged.get(number)
        try:
            data = (
                os.pread(self._file, PAGE_SIZE, number * PAGE_SIZE) if at is None else self._frame(at + 24, PAGE_SIZE)
            )
        except (OSError, OverflowError):
            raise KeyError(number) from None
        if len(data) < PAGE_SIZE:
            raise KeyError(number)
        return data

    def free_pages(self) -> set[int]:
        """Return the pages that are free: they may hold stale copies of rows.

        Two notes of it have to agree, the freelist and the pointer map: a flipped bit must not hide rows that count.
        """
        free: set[int] = set()
        try:
            trunk, total = struct.unpack_from(">II", self.page(0), 32)
            while trunk and trunk - 1 not in free:
                page = self.page(trunk - 1)
                free.add(trunk - 1)
                trunk, count = struct.unpack_from(">II", page)
                free.update(n - 1 for n in struct.unpack_from(f">{count}I", page, 8))
        except (KeyError, struct.error):
            return set()
        return {number for number in free if self._is_mapped_free(number)} if len(free) == total else set()

    def _is_mapped_free(self, number: int) -> bool:
        """Tell whether the pointer map says that a page is free. Pages count from 0 here, and from 1 in the format."""
        map_page = 1 + (number - 1) // (_MAPPED + 1) * (_MAPPED + 1)
        try:
            return self.page(map_page)[5 * (number - map_page - 1)] == _MAPPED_FREE
        except (KeyError, IndexError):
            return False

    def _frame(self, at: int, size: int) -> bytes:
        return os.pread(self._log, size, at)

    def _frames(self, size: int) -> Iterator[_Frame]:
        """Yield the frames of this round through the log; each is intact or not by the checksum of the one before."""
        header = self._frame(0, _HEADER)
        if len(header) < _HEADER:
            return
        order = ">" if header[3] & 1 else "<"
        sums = _log_sum(header[:24], (0, 0), order)
        # A header that was damaged does not know how this round is marked; its first frame does.
        proven = struct.unpack_from(">II", header, 24) == sums
        salts = header[16:24] if proven else self._frame(_HEADER + 8, 8)
        for at in range(_HEADER, size - _FRAME + 1, _FRAME):
            frame = self._frame(at, _FRAME)
            if len(frame) < _FRAME:
                return
            number, pages, *_, one, two = struct.unpack_from(">6I", frame)
            found = _log_sum(frame[24:], _log_sum(frame[:8], sums, order), order)
            sums = one, two
            if frame[8:16] == salts:
                yield _Frame(number - 1, at, found == sums, pages > 0)


def _committed(frames: Sequence[_Frame]) -> Sequence[_Frame]:
    """Return the frames up to the last commit that is whole.

    A damaged one before it does not end the log, as it does for SQLite: each row is proved by its own checksum. At the
    end it does: there it is a transaction that was being written when the power went, and must not count in part.
    """
    end, whole = 0, True
    for count, frame in enumerate(frames, start=1):
        whole = whole and frame.intact
        if frame.commit:
            end, whole = (count if whole else end), True
    return frames[:end]


def _log_sum(data: bytes, start: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two


def _leaf(image: _Image, number: int) -> Iterator[tuple[int, list[Value]]]:
    try:
        page = image.page(number)
    except KeyError:
        return
    head = 100 if number == 0 else 0
    if page[head] != _LEAF:
        return
    count = struct.unpack_from(">H", page, head + 3)[0]
    if count > PAGE_SIZE // 6:
        return
    for cell in range(count):
        try:
            yield _cell(image, page, struct.unpack_from(">H", page, head + 8 + 2 * cell)[0])
        except (IndexError, KeyError, struct.error, ValueError):
            continue  # a torn cell: the salvage report counts what is missing


def _cell(image: _Image, page: bytes, at: int) -> tuple[int, list[Value]]:
    size, at = _varint(page, at)
    rowid, at = _varint(page, at)
    if size <= _MAX_LOCAL:
        record = page[at : at + size]
    else:
        local = _MIN_LOCAL + (size - _MIN_LOCAL) % (PAGE_SIZE - 4)
        local = local if local <= _MAX_LOCAL else _MIN_LOCAL
        following = struct.unpack_from(">I", page, at + local)[0]
        record = page[at : at + local] + _overflow(image, following, size - local)
    if len(record) != size:
        raise ValueError("short record")
    return rowid, _columns(record)


def _overflow(image: _Image, following: int, size: int) -> bytes:
    """Return what a chain of overflow pages holds. Raises: KeyError or ValueError for a broken chain."""
    if size > image.count * PAGE_SIZE:
        raise ValueError("longer than the file")
    parts: list[bytes] = []
    seen: set[int] = set()
    while size > 0:
        if following in seen:
            raise ValueError("a chain that bites its tail")
        seen.add(following)
        page = image.page(following - 1)
        following = struct.unpack_from(">I", page)[0]
        parts.append(page[4 : 4 + size])
        size -= len(parts[-1])
    return b"".join(parts)


def _columns(record: bytes) -> list[Value]:
    head, at = _varint(record, 0)
    kinds = []
    while at < head:
        kind, at = _varint(record, at)
        kinds.append(kind)
    values: list[Value] = []
    at = head
    for kind in kinds:
        value, at = _value(record, kind, at)
        values.append(value)
    if at > len(record):
        raise ValueError("short record")
    return values


def _value(record: bytes, kind: int, at: int) -> tuple[Value, int]:
    """Return the value of a serial type (file format, section 2.1) and where the next one starts."""
    if kind < len(_INT_SIZES):
        size = _INT_SIZES[kind]
        return (int.from_bytes(record[at : at + size], "big", signed=True) if kind else None), at + size
    if kind == 7:  # noqa: PLR2004 - an IEEE float
        return struct.unpack_from(">d", record, at)[0], at + 8
    if kind in {8, 9}:
        return kind - 8, at
    if kind < 12:  # noqa: PLR2004 - 10 and 11 are reserved
        raise ValueError("reserved serial type")
    size = (kind - 12) // 2
    raw = record[at : at + size]
    return (raw.decode("utf-8") if kind % 2 else raw), at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at
    return value << 8 | data[at], at + 1
