"""Make a sound database out of a damaged one, set the damaged one aside, and say what is missing.

Nothing is ever deleted, and the process may die at any moment: the sound copy is complete before the first file is
renamed, and `finish` completes the renaming.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import cast

from edge_runtime import disk
from edge_runtime.errors import StoreError
from edge_runtime.pure import thinning
from edge_runtime.store import formats, pages, schema
from edge_runtime.store.connection import Ballast, connect
from edge_runtime.store.counters import ADD, FIELDS, Counters, from_columns
from edge_runtime.store.highwater import Mark

_SUFFIXES = ("", "-wal", "-shm")
_MEMO_COLUMNS = 3
_CHUNK = 500
_INSERT_NEW = f"INSERT OR IGNORE INTO message VALUES ({', '.join('?' * schema.COLUMNS)})"  # noqa: S608 - ours
_REPLACE = _INSERT_NEW.replace("IGNORE", "REPLACE")
_COUNT = f"SELECT count(*), sum({schema.SIZE}) FROM message WHERE id BETWEEN ? AND ?"  # noqa: S608 - our own constants
_LAST_FIRST = "SELECT * FROM message WHERE id BETWEEN ? AND ? ORDER BY id DESC"


@dataclass(slots=True)
class Memory:
    """What is known from elsewhere about the content of a damaged database."""

    marks: Mapping[int, Mark]
    names: Mapping[int, str]
    counters: Mapping[int, Counters]
    """The ledgers of the running process, as of the last commit; empty when the damage was found at the start."""
    latest: frozenset[str] = field(default_factory=frozenset)
    """Targets that keep the latest message of each topic."""


def heal(path: Path, ballast: Ballast, memory: Memory, *, max_bytes: int) -> str:
    """Put a database in the place of a damaged one that holds all of its rows that are intact. Return a report.

    Raises: OSError, sqlite3.Error; the damaged one is then where it was.
    """
    fresh = _fresh(path)
    _remove(fresh)
    with closing(connect(fresh, ballast, max_bytes=max_bytes)) as db:
        db.execute("BEGIN IMMEDIATE")
        count, lost = _carry_over(path, db, memory)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    aside = _set_aside(path)
    _swap(path)
    total = sum(lost.values())
    detail = ", ".join(f"{number} of queue {name!r}" for name, number in lost.items() if number)
    return f"the database was damaged; it was kept as {aside.name}. {count} messages were carried over; " + (
        f"{total} are missing ({detail}), counted as dropped: corrupted" if total else "none is missing"
    )


def finish(path: Path) -> None:
    """Complete a `heal` that the process did not live to end. Raises: OSError."""
    fresh = _fresh(path)
    if not fresh.exists():
        return
    if path.exists():
        _remove(fresh)  # it may be incomplete, and what it was made from is still here
        return
    if any(_companion(path, suffix).exists() for suffix in _SUFFIXES):
        _set_aside(path)
    _swap(path)


def put_back(path: Path, log: Path, db: sqlite3.Connection, wanted: Mapping[int, range]) -> None:
    """Insert the intact rows of a log whose end SQLite did not accept. Raises: sqlite3.Error.

    `wanted` are the numbers by target id that the database does not know.
    """
    with contextlib.suppress(OSError):
        for rowid, columns in pages.rows_in_log(path, log):
            row = (rowid, *columns[1:])
            target, lane, seq = schema.unpack_id(rowid)
            if seq in wanted.get(target, ()) and lane < schema.LANES and schema.is_intact(row):
                db.execute(_INSERT_NEW, row)


def count_rows(db: sqlite3.Connection, target: int) -> tuple[int, int, int, int]:
    """Return how many messages of a target wait, how many are dead, their bytes, and the last sequence number."""
    waiting = dead = size = last = 0
    for lane in (*range(schema.LANES), schema.DEAD):
        span = schema.lane_range(target, lane)
        count, sizes = db.execute(_COUNT, span).fetchone()
        if not count:
            continue
        size += sizes + count * schema.ROW_OVERHEAD
        proven = (row[0] for row in db.execute(_LAST_FIRST, span) if schema.is_intact(row))
        last = max(last, schema.unpack_id(next(proven, 0))[2])
        if lane == schema.DEAD:
            dead = count
        else:
            waiting += count
    return waiting, dead, size, last


def rebuild(db: sqlite3.Connection, counters: Counters, mark: Mark | None) -> int:
    """Make the books of a target anew from its rows and its mark. Return how many messages are missing.

    What had become of the settled ones is not known any more: all that are not missing count as delivered.
    """
    waiting, dead, size, last = count_rows(db, counters.id)
    marked = mark or Mark(last, waiting + dead)
    counters.restore((max(last, marked.produced), *[0] * (len(FIELDS) - 1)))
    present = marked.present + counters.produced - marked.produced
    counters.delivered = max(0, counters.produced - max(present, waiting + dead))
    return counters.balance(waiting, dead, size)


def _fresh(path: Path) -> Path:
    return path.with_name(path.name + ".healed")


def _companion(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _remove(fresh: Path) -> None:
    for suffix in _SUFFIXES:
        _companion(fresh, suffix).unlink(missing_ok=True)


def _set_aside(path: Path) -> Path:
    """Rename a database and its log. Return its new path."""
    stem = f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside, count = path.with_name(stem), 1
    while any(_companion(aside, suffix).exists() for suffix in _SUFFIXES):
        aside, count = path.with_name(f"{stem}-{count}"), count + 1
    for suffix in _SUFFIXES:  # the database first: `finish` knows by its absence how far this came
        if _companion(path, suffix).exists():
            _companion(path, suffix).rename(_companion(aside, suffix))
    return aside


def _swap(path: Path) -> None:
    _fresh(path).rename(path)
    disk.sync(path.parent)


def _carry_over(damaged: Path, db: sqlite3.Connection, memory: Memory) -> tuple[int, dict[str, int]]:
    """Copy what is intact, and make the books agree with it. Return how many messages there are, and the missing."""
    targets: dict[int, Counters] = {}
    memos: dict[str, str] = {}
    messages = _intact(damaged, targets, memos)
    while chunk := list(islice(messages, _CHUNK)):
        if db.executemany(_INSERT_NEW, chunk).rowcount < len(chunk):
            _keep_the_thinner(db, chunk)
    db.executemany("INSERT OR REPLACE INTO memo VALUES (?, ?, ?)", [schema.memo_row(*pair) for pair in memos.items()])
    targets.update(memory.counters)
    ids = {row_id for (row_id,) in db.execute(f"SELECT DISTINCT id >> {schema.TARGET_SHIFT} FROM message")}  # noqa: S608 - ours
    total, lost, taken = 0, {}, set[str]()
    for row_id in sorted(ids | {*targets, *memory.names, *memory.marks}):
        name = targets[row_id].name if row_id in targets else memory.names.get(row_id, "")
        if not name or name in taken:
            name = f"target-{row_id}"
        taken.add(name)
        _drop_twins(db, row_id)
        counters, missing = _settle(db, targets.get(row_id), Counters(row_id, name), memory.marks.get(row_id))
        db.execute(ADD, counters.row())
        lost[name] = missing
        total += counters.queued + counters.dead
        if name in memory.latest:
            _index_latest(db, row_id)
    return total, lost


def _keep_the_thinner(db: sqlite3.Connection, rows: Iterable[tuple[object, ...]]) -> None:
    """Of two rows of one id, keep the one that stands for more readings: the other is a stale copy from before."""
    for row in rows:
        (known,) = db.execute("SELECT payload FROM message WHERE id = ?", row[:1]).fetchone()
        if _readings(row[2]) > _readings(known):
            db.execute(_REPLACE, row)


def _readings(payload: object) -> int:
    reading = thinning.parse(cast("bytes", payload), 0, 0)
    return reading.summary.readings if reading is not None else 1


def _settle(db: sqlite3.Connection, known: Counters | None, fresh: Counters, mark: Mark | None) -> tuple[Counters, int]:
    """Return the books of a target that agree with its rows, and how many messages are missing."""
    if known is None:
        return fresh, rebuild(db, fresh, mark)
    waiting, dead, size, last = count_rows(db, fresh.id)
    fresh.restore(known.values())
    fresh.produced = max(fresh.produced, last, mark.produced if mark else 0)
    return fresh, fresh.balance(waiting, dead, size)


def _intact(damaged: Path, targets: dict[int, Counters], memos: dict[str, str]) -> Iterator[tuple[object, ...]]:
    """Yield the proven rows of table `message`; fill in the newest proven ones of `target` and `memo` on the way."""
    for rowid, columns in pages.rows(damaged):
        # The first column of a table with an integer key is the rowid itself, and SQLite stores it as NULL.
        row = (rowid, *columns[1:])
        if len(row) == schema.COLUMNS:
            try:
                schema.from_row("", row)
            except StoreError:
                continue
            yield row
        elif len(row) == _MEMO_COLUMNS and schema.memo_row(str(columns[0]), str(columns[1])) == tuple(columns):
            key, value = str(columns[0]), str(columns[1])
            if key != formats.FORMAT:
                memos[key] = value
        elif len(row) > _MEMO_COLUMNS and (books := from_columns(row)) is not None:
            known = targets.get(rowid)
            if known is None or books.values[0] >= known.produced:
                targets[rowid] = Counters(rowid, books.name)
                targets[rowid].restore(books.values)


def _drop_twins(db: sqlite3.Connection, target: int) -> None:
    """Drop the waiting twin of a dead letter: it is the stale copy of a page that was given back."""
    for (row_id,) in db.execute(
        "SELECT id FROM message WHERE id BETWEEN ? AND ?", schema.lane_range(target, schema.DEAD)
    ):
        seq = schema.unpack_id(row_id)[2]
        db.executemany("DELETE FROM message WHERE id = ?", _lanes(target, seq))


def _lanes(target: int, seq: int) -> Iterable[Sequence[int]]:
    return [(schema.pack_id(target, lane, seq),) for lane in range(schema.LANES)]


def _index_latest(db: sqlite3.Connection, target: int) -> None:
    """Fill in, for each topic, which message waits."""
    first, last = schema.lane_range(target, 0)[0], schema.lane_range(target, schema.LANES - 1)[1]
    rows = db.execute("SELECT topic, id FROM message WHERE id BETWEEN ? AND ?", (first, last))
    latest: dict[str, int] = {}
    for topic, row_id in rows:
        known = latest.get(topic, 0)
        if schema.unpack_id(row_id)[2] > schema.unpack_id(known)[2]:
            latest[topic] = row_id
    db.executemany(
        "INSERT INTO latest VALUES (?, ?)", [(f"{target}:{topic}", row_id) for topic, row_id in latest.items()]
    )
