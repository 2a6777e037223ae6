"""Set a damaged database aside, carry over every row that proves intact, and say what is missing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edge_runtime.errors import StoreError
from edge_runtime.model import Reason
from edge_runtime.store import pages, schema
from edge_runtime.store.counters import FIELDS, SAVE, Counters

if TYPE_CHECKING:
    from edge_runtime.store.writer import Writer

_TARGET_COLUMNS = 2 + len(FIELDS)


def quarantine(database: Path) -> Path:
    """Rename a database and its log. Return its new path. Nothing is ever deleted. Raises: OSError."""
    stem = f"{database.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside, count = database.with_name(stem), 1
    while aside.exists():
        aside, count = database.with_name(f"{stem}-{count}"), count + 1
    database.rename(aside)
    for suffix in ("-wal", "-shm"):
        companion = database.with_name(database.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside


def salvage(damaged: Path, writer: Writer) -> str:
    """Carry the intact rows of `damaged` over into the new, empty database of `writer`. Return a report.

    Raises: OSError, sqlite3.Error.
    """
    targets, messages = _intact(damaged)
    db = writer.db
    db.execute("BEGIN IMMEDIATE")
    for row_id in sorted({*targets, *(schema.unpack_id(m)[0] for m in messages)} - {0}):
        values = targets.get(row_id, (f"target-{row_id}", *[0] * len(FIELDS)))
        _adopt(writer, row_id, str(values[0]), cast("tuple[int, ...]", values[1:]))
    db.executemany(f"{schema.INSERT}({','.join('?' * schema.COLUMNS)})", list(messages.values()))
    lost = _balance(writer, messages)
    db.executemany(SAVE, [(*c.values(), c.id) for c in writer.by_id.values()])
    db.execute("COMMIT")
    total = sum(lost.values())
    detail = ", ".join(f"{count} of queue {name!r}" for name, count in lost.items() if count)
    return f"the database was damaged; it was kept as {damaged.name}. {len(messages)} messages were carried over; " + (
        f"{total} are missing ({detail}), counted as dropped: corrupted" if total else "none is missing"
    )


def _intact(damaged: Path) -> tuple[dict[int, tuple[object, ...]], dict[int, tuple[object, ...]]]:
    """Return the rows of table `target` by id, the newest copy of each, and the proven rows of `message` by id."""
    targets: dict[int, tuple[object, ...]] = {}
    messages: dict[int, tuple[object, ...]] = {}
    for rowid, columns in pages.rows(damaged):
        # The first column is the rowid itself, and SQLite stores it as NULL.
        row = (rowid, *columns[1:])
        if len(row) == schema.COLUMNS:
            try:
                schema.from_row("", row)
            except StoreError:
                continue
            messages[rowid] = row
        elif len(row) == _TARGET_COLUMNS and _plausible(row):
            known = targets.get(rowid)
            if known is None or cast("int", row[2]) >= cast("int", known[1]):
                targets[rowid] = row[1:]
    return targets, messages


def _plausible(row: tuple[object, ...]) -> bool:
    numbers = row[2:]
    return (
        0 < cast("int", row[0]) < schema.MAX_TARGETS
        and isinstance(row[1], str)
        and row[1].isprintable()
        and all(isinstance(n, int) and n >= 0 for n in numbers)
    )


def _adopt(writer: Writer, row_id: int, name: str, values: tuple[int, ...]) -> None:
    """Give a target its old id back: the ids of its messages hold it."""
    known = writer.targets.pop(name, None)
    if known is not None:
        writer.by_id.pop(known.id, None)
        writer.db.execute("DELETE FROM target WHERE id = ?", (known.id,))
    holder = writer.by_id.pop(row_id, None)
    if holder is not None:
        writer.targets.pop(holder.name, None)
        writer.db.execute("DELETE FROM target WHERE id = ?", (row_id,))
    writer.db.execute("INSERT INTO target (id, name) VALUES (?, ?)", (row_id, name))
    counters = Counters(row_id, name)
    writer.register(counters)
    counters.restore(values)
    if holder is not None and holder.name != name:
        writer.add_target(holder.name)


def _balance(writer: Writer, messages: dict[int, tuple[object, ...]]) -> dict[str, int]:
    """Make the books agree with the rows there are. Return how many messages are missing, by target."""
    mark = writer.mark()
    lost = {}
    for counters in writer.by_id.values():
        mine = [schema.unpack_id(row_id) for row_id in messages if schema.unpack_id(row_id)[0] == counters.id]
        marked = mark.get(counters.id, 0)
        counters.produced = max([counters.produced, marked, *(seq for _, _, seq in mine)])
        counters.dead = sum(1 for _, lane, _ in mine if lane == schema.DEAD)
        counters.bytes = sum(_size(messages[schema.pack_id(*key)]) for key in mine)
        waiting = len(mine) - counters.dead
        missing = counters.queued - waiting
        if missing < 0:
            # Rows that had been delivered came back: they are sent again, so they are not delivered yet.
            counters.delivered = max(0, counters.delivered + missing)
            missing = counters.queued - waiting
        counters.gone(Reason.CORRUPTED, max(0, missing), 0)
        if missing < 0:
            counters.produced -= missing
        lost[counters.name] = max(0, missing)
    return lost


def _size(row: tuple[object, ...]) -> int:
    return schema.size_of(cast("schema.Row", row))
