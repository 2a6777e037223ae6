"""What would be on the disk if the power went now: crash images out of the notes of `faultio.c`.

Every write, truncation and flush of a process was noted, with the marks it made in between: what it had promised. For
a cut after any record, an image holds what was flushed, and of what was not: nothing (`drop`), the oldest (`prefix`),
any of it (`subset`), or any of it with one write torn at a sector (`torn`).

The model of a file system: a flush of a file makes its content durable, and its name; a flush of a folder makes all
changes of names durable; they become durable in order. After a flush that failed, what it should have written counts as
clean: no later flush writes it, unless its page is written again.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

OPEN, WRITE, TRUNCATE, SYNC, SYNC_FAILED, UNLINK, RENAME, MARK, SYNC_FOLDER, LINK = range(1, 11)
MODES = ("drop", "prefix", "subset", "torn")
SECTOR = 512
PAGE = 4096
_HEAD = struct.Struct("<BIQI")


class Record(NamedTuple):
    """One note."""

    op: int
    file: int
    offset: int
    data: bytes


class Change(NamedTuple):
    """A write or a truncation that was not flushed yet."""

    number: int
    offset: int
    data: bytes | None
    """None: the file was cut to `offset` bytes."""


@dataclass(eq=False)
class File:
    """A file, as the process sees it and as it surely is on the disk."""

    visible: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)
    doomed: list[Change] = field(default_factory=list)
    """Lost by a flush that failed, unless their page is written again."""

    def flush(self) -> None:
        """Make what is pending durable, by the page."""
        for change in self.pending:
            if change.data is None:
                _apply(self.durable, change)
                self.doomed = [lost for lost in self.doomed if lost.offset < change.offset]
                continue
            for piece in _by_page(change):
                start = piece.offset // PAGE * PAGE
                part = self.visible[start : start + PAGE]
                if len(self.durable) < start:
                    self.durable.extend(bytes(start - len(self.durable)))
                self.durable[start : start + len(part)] = part
                self.doomed = [lost for lost in self.doomed if lost.offset // PAGE * PAGE != start]
        self.pending.clear()

    def fail_to_flush(self) -> None:
        """Count what is pending as clean although it is not on the disk."""
        self.doomed += [piece for change in self.pending if change.data is not None for piece in _by_page(change)]
        self.pending.clear()


class Name(NamedTuple):
    """A change of a folder: `path` is now `file`, or gone."""

    number: int
    path: str
    file: File | None


def records(path: Path) -> list[Record]:
    """Return the notes in order; one that was cut short by the end of the process is left out."""
    data, at, found = path.read_bytes(), 0, []
    while at + _HEAD.size <= len(data):
        op, file, offset, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + length > len(data):
            break
        found.append(Record(op, file, offset, data[at : at + length]))
        at += length
    return found


class Disk:
    """Takes the records one by one. `image` may be asked for at any time."""

    def __init__(self, folder: Path) -> None:
        """Begin with what `folder` holds now, all of it durable."""
        self._folder = str(folder)
        self._inodes: dict[int, File] = {}
        self._names: dict[str, File] = {}
        self._pending_names: list[Name] = []
        self._durable_names: dict[str, File] = {}
        self._number = 0
        self.marks = bytearray()
        """What the process had said so far."""
        for path in folder.iterdir() if folder.exists() else ():
            content = path.read_bytes()
            file = File(bytearray(content), bytearray(content))
            self._names[str(path)] = self._durable_names[str(path)] = file
            self._inodes[path.stat().st_ino] = file

    def take(self, record: Record) -> None:
        """Let one thing happen."""
        self._number += 1
        op = record.op
        if op == MARK:
            self.marks += record.data
        elif op == OPEN:
            self._open(record)
        elif op in {WRITE, TRUNCATE}:
            change = Change(self._number, record.offset, record.data if op == WRITE else None)
            file = self._inodes[record.file]
            file.pending.append(change)
            _apply(file.visible, change)
        elif op == SYNC:
            self._inodes[record.file].flush()
            self._commit_names(self._inodes[record.file])
        elif op == SYNC_FAILED:
            self._inodes[record.file].fail_to_flush()
        elif op == SYNC_FOLDER:
            self._commit_names(None)
        else:
            self._rename(record)

    def _open(self, record: Record) -> None:
        path = record.data.decode()
        if path not in self._names:
            self._names[path] = file = File()
            self._inodes[record.file] = file
            self._pending_names.append(Name(self._number, path, file))
        self._inodes[record.file] = file = self._names[path]
        if record.offset & os.O_TRUNC:
            change = Change(self._number, 0, None)
            file.pending.append(change)
            _apply(file.visible, change)

    def _rename(self, record: Record) -> None:
        path, _, to = record.data.decode().partition("\0")
        file = self._names[path]
        if record.op != LINK:
            del self._names[path]
            self._pending_names.append(Name(self._number, path, None))
        if record.op != UNLINK:
            self._names[to] = file
            self._pending_names.append(Name(self._number, to, file))

    def _commit_names(self, file: File | None) -> None:
        """Make changes of names durable, up to those of `file`, or all."""
        last = max((i for i, name in enumerate(self._pending_names) if file is None or name.file is file), default=-1)
        for name in self._pending_names[: last + 1]:
            _rename(self._durable_names, name)
        del self._pending_names[: last + 1]

    def image(self, to: Path, mode: str, rng: random.Random) -> None:
        """Write into the folder `to` what might be on the disk."""
        survivors, torn = self._survivors(mode, rng)
        names = dict(self._durable_names)
        for name in self._pending_names:
            if name.number in survivors:
                _rename(names, name)
        to.mkdir(parents=True, exist_ok=True)
        for path, file in names.items():
            content = bytearray(file.durable)
            for change in sorted([*file.doomed, *file.pending], key=lambda change: change.number):
                if change.number in survivors:
                    _apply(content, change if change.number != torn else _tear(change, rng))
            (to / os.path.relpath(path, self._folder)).write_bytes(content)

    def _survivors(self, mode: str, rng: random.Random) -> tuple[set[int], int]:
        """Return the numbers of the changes that are on the disk although nobody flushed them, and the torn one's."""
        numbers = sorted(
            {change.number for file in self._inodes.values() for change in (*file.pending, *file.doomed)}
            | {name.number for name in self._pending_names}
        )
        if mode == "drop" or not numbers:
            return set(), -1
        if mode == "prefix":
            return set(numbers[: rng.randint(0, len(numbers))]), -1
        names = sorted({name.number for name in self._pending_names})
        kept_names = names[: rng.randint(0, len(names))]  # a journal keeps their order
        survivors = {n for n in numbers if n not in names and rng.random() < 0.5}
        torn = rng.choice(numbers) if mode == "torn" else -1
        return {*survivors, *kept_names, torn}, torn


def cuts(notes: Sequence[Record], disk: Disk, count: int, rng: random.Random) -> Iterator[int]:
    """Let `disk` take the notes; yield `count` times on the way, at random places."""
    places = sorted(rng.randrange(len(notes)) for _ in range(count))
    taken = 0
    for place in places:
        while taken <= place:
            disk.take(notes[taken])
            taken += 1
        yield place


def _apply(content: bytearray, change: Change) -> None:
    if change.data is None:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    if len(content) < change.offset:
        content.extend(bytes(change.offset - len(content)))
    content[change.offset : change.offset + len(change.data)] = change.data


def _by_page(change: Change) -> Iterator[Change]:
    """Yield the parts of a write, none of which goes over the end of a page."""
    assert change.data is not None
    at = 0
    while at < len(change.data):
        length = PAGE - (change.offset + at) % PAGE
        yield Change(change.number, change.offset + at, change.data[at : at + length])
        at += length


def _tear(change: Change, rng: random.Random) -> Change:
    """Return the part of a write that reached the disk: some sectors from its start."""
    if change.data is None or len(change.data) <= SECTOR:
        return change
    whole = rng.randrange(1, (len(change.data) + SECTOR - 1) // SECTOR)
    return change._replace(data=change.data[: whole * SECTOR])


def _rename(names: dict[str, File], name: Name) -> None:
    if name.file is None:
        names.pop(name.path, None)
    else:
        names[name.path] = name.file
