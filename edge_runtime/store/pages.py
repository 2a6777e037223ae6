"""Read rows out of a damaged SQLite file, page by page, without SQLite.

Format: https://sqlite.org/fileformat2.html, sections 1.5 (freelist), 1.6 (b-tree pages), 2.1 (record format) and
4.1 (write-ahead log). Anything that does not parse is passed over: what is read is proved by the checksum of each row.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_runtime.store.schema import PAGE_SIZE

Value = int | float | str | bytes | None
_LEAF = 0x0D
_INT_SIZES = (0, 1, 2, 3, 4, 6, 8)
_MAX_LOCAL = PAGE_SIZE - 35
_MIN_LOCAL = (PAGE_SIZE - 12) * 32 // 255 - 23
_FRAME = 24 + PAGE_SIZE
_WAL_MAGIC = 0x377F0682


def rows(database: Path) -> Iterator[tuple[int, list[Value]]]:
    """Yield (rowid, columns) of every table row found in the file and in what its log holds; stale copies too."""
    image = database.read_bytes()
    pages = {n: image[n * PAGE_SIZE : (n + 1) * PAGE_SIZE] for n in range(len(image) // PAGE_SIZE)}
    log = database.with_name(database.name + "-wal")
    if log.exists():
        pages.update(_log_pages(log.read_bytes()))
    free = _free_pages(pages)
    for number in sorted(pages):
        if number not in free:
            yield from _leaf(pages, number)


def _log_pages(log: bytes) -> Mapping[int, bytes]:
    """Return the newest committed copy of each page in the log, up to the first frame that does not belong."""
    if len(log) < 32:  # noqa: PLR2004 - the size of the header
        return {}
    magic = struct.unpack_from(">I", log)[0]
    if magic & ~1 != _WAL_MAGIC:
        return {}
    order = ">" if magic & 1 else "<"
    salts = log[16:24]
    sums = _log_sum(log[:24], (0, 0), order)
    committed: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for at in range(32, len(log) - _FRAME + 1, _FRAME):
        number, size = struct.unpack_from(">II", log, at)
        page = log[at + 24 : at + _FRAME]
        sums = _log_sum(page, _log_sum(log[at : at + 8], sums, order), order)
        if log[at + 8 : at + 16] != salts or struct.unpack_from(">II", log, at + 16) != sums:
            break
        pending[number - 1] = page
        if size:
            committed.update(pending)
            pending.clear()
    return committed


def _log_sum(data: bytes, start: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two


def _free_pages(pages: Mapping[int, bytes]) -> set[int]:
    """Return the pages on the freelist: they still hold rows that were deleted. Empty when the list is damaged."""
    free: set[int] = set()
    try:
        trunk = struct.unpack_from(">I", pages[0], 32)[0]
        while trunk and trunk - 1 not in free:
            page = pages[trunk - 1]
            free.add(trunk - 1)
            trunk, count = struct.unpack_from(">II", page)
            free.update(n - 1 for n in struct.unpack_from(f">{count}I", page, 8))
    except (KeyError, struct.error):
        return set()
    return free


def _leaf(pages: Mapping[int, bytes], number: int) -> Iterator[tuple[int, list[Value]]]:
    page = pages[number]
    head = 100 if number == 0 else 0
    if len(page) < PAGE_SIZE or page[head] != _LEAF:
        return
    count = struct.unpack_from(">H", page, head + 3)[0]
    if count > PAGE_SIZE // 6:
        return
    for cell in range(count):
        try:
            yield _cell(pages, page, struct.unpack_from(">H", page, head + 8 + 2 * cell)[0])
        except (IndexError, KeyError, struct.error, ValueError):
            continue  # a torn cell: the salvage report counts what is missing


def _cell(pages: Mapping[int, bytes], page: bytes, at: int) -> tuple[int, list[Value]]:
    size, at = _varint(page, at)
    rowid, at = _varint(page, at)
    if size <= _MAX_LOCAL:
        record = page[at : at + size]
    else:
        local = _MIN_LOCAL + (size - _MIN_LOCAL) % (PAGE_SIZE - 4)
        local = local if local <= _MAX_LOCAL else _MIN_LOCAL
        parts, have = [page[at : at + local]], local
        following = struct.unpack_from(">I", page, at + local)[0]
        while have < size:
            overflow = pages[following - 1]
            following = struct.unpack_from(">I", overflow)[0]
            part = overflow[4 : 4 + size - have]
            parts.append(part)
            have += len(part)
        record = b"".join(parts)
    if len(record) != size:
        raise ValueError("short record")
    return rowid, _columns(record)


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
