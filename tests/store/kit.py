"""What the tests of the store share: short ways to make events and writers, and a disk that fails when told to."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from edge_runtime.app import QueueLimits, StoreLimits
from edge_runtime.clock import Clock, FakeClock, make_event
from edge_runtime.model import NO_HEADERS, Event, Feed, Message
from edge_runtime.store import schema
from edge_runtime.store.counters import seal
from edge_runtime.store.jobs import Change, Entry, Work
from edge_runtime.store.writer import Page, Writer

FREE = StoreLimits(limit_bytes=64 << 20, keep_free=0.0)
"""Whatever the disk of the machine that runs the tests has left."""
A = {"a": QueueLimits()}


def open_writer(
    folder: Path,
    queues: Mapping[str, QueueLimits] = A,
    *,
    clock: Clock | None = None,
    limits: StoreLimits = FREE,
) -> Writer:
    """Return a writer, to be closed."""
    return Writer(folder, limits, queues, clock or FakeClock())


def event(payload: bytes = b"x", topic: str = "t", headers: Mapping[str, str] = NO_HEADERS) -> Event:
    """Return an event of its own id."""
    return make_event(FakeClock(), topic, payload, "test", headers)


def entry(payload: bytes = b"x", *targets: str, topic: str = "t", priority: int = 5) -> Entry:
    """Return an event and what it feeds: queue `a` unless told otherwise."""
    return event(payload, topic), [Feed(target, priority) for target in targets or ("a",)]


def do(writer: Writer, change: Change) -> list[Message]:
    """Carry out a change and return what it accepted; raise what it failed with."""
    writer.process([change])
    if change.error is not None:
        raise change.error
    return change.accepted


def accept(writer: Writer, *entries: Entry) -> list[Message]:
    """Accept events in one transaction."""
    return do(writer, Change(entries))


def work(writer: Writer, run: Callable[[Writer], object], *, writes: bool = True) -> object:
    """Let `run` work with the writer in a transaction; raise what it failed with."""
    job = Work(run, writes=writes)
    writer.process([job])
    if job.error is not None:
        raise job.error
    return job.result


def rows(db: sqlite3.Connection, target: int) -> dict[tuple[int, int], schema.Row]:
    """Return all rows of a target by (lane, sequence number)."""
    span = schema.pack_id(target, 0, 0), schema.pack_id(target + 1, 0, 0) - 1
    found = db.execute("SELECT * FROM message WHERE id BETWEEN ? AND ?", span).fetchall()
    return {schema.unpack_id(row[0])[1:]: cast("schema.Row", row) for row in found}


def read_lane(writer: Writer, name: str = "a", lane: int = 5) -> list[Message]:
    """Return all messages of a lane as a consumer would get them; the damaged ones are set aside."""
    found: list[Message] = []
    page = Page([], [], 0, more=True)
    while page.more:
        page = _read_page(writer, name, lane, page.upto)
        found += page.messages
    return found


def _read_page(writer: Writer, name: str, lane: int, after: int) -> Page:
    page = cast("Page", work(writer, lambda w: w.page(name, lane, after, 256), writes=False))
    if page.damaged:
        work(writer, lambda w: w.set_aside(name, page.damaged))
    return page


def seqs(messages: Sequence[Message]) -> list[int]:
    """Return the sequence numbers of messages."""
    return [message.seq for message in messages]


def sqlite_error(code: int, text: str = "injected") -> sqlite3.Error:
    """Return an error as SQLite would raise it."""
    kind = (
        sqlite3.DatabaseError if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} else sqlite3.OperationalError
    )
    error = kind(text)
    error.sqlite_errorcode = code
    return error


class FaultyConnection:
    """A connection that fails some statements: `faults` is asked about each, and returns an error or None.

    With `late`, the statement is carried out and fails all the same, as a commit does whose flush fails.
    """

    def __init__(
        self, db: sqlite3.Connection, faults: Callable[[str], sqlite3.Error | None], *, late: bool = False
    ) -> None:
        self._db = db
        self._faults = faults
        self._late = late

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # noqa: ANN401 - what sqlite3 takes
        """Execute, or fail."""
        return self._guard(sql, lambda: self._db.execute(sql, parameters))

    def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - what sqlite3 takes
        """Execute, or fail."""
        return self._guard(sql, lambda: self._db.executemany(sql, parameters))

    def _guard(self, sql: str, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        error = self._faults(sql)
        if error is not None and not self._late:
            raise error
        cursor = run()
        if error is not None:
            raise error
        return cursor

    def executescript(self, sql: str) -> sqlite3.Cursor:
        """Execute, or fail."""
        return self._guard(sql, lambda: self._db.executescript(sql))

    def rollback(self) -> None:
        """Roll back."""
        self._db.rollback()

    def close(self) -> None:
        """Close."""
        self._db.close()


def inject(writer: Writer, faults: Callable[[str], sqlite3.Error | None], *, late: bool = False) -> None:
    """Put a faulty connection before the one that a writer has; a reopening takes it away."""
    writer._db = cast("sqlite3.Connection", FaultyConnection(writer.db, faults, late=late))


def once(statement: str, error: sqlite3.Error) -> Callable[[str], sqlite3.Error | None]:
    """Return faults that fail the first statement that begins so."""
    errors = iter([error])
    return lambda sql: next(errors, None) if sql.startswith(statement) else None


class Opened:
    """`with Opened(folder) as writer`: closed at the end, whatever happens."""

    def __init__(
        self,
        folder: Path,
        queues: Mapping[str, QueueLimits] = A,
        *,
        clock: Clock | None = None,
        limits: StoreLimits = FREE,
    ) -> None:
        self._arguments = folder, queues, clock, limits
        self._writer: Writer | None = None

    def __enter__(self) -> Writer:
        folder, queues, clock, limits = self._arguments
        self._writer = open_writer(folder, queues, clock=clock, limits=limits)
        return self._writer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def make_old(path: Path) -> None:
    """Make a database that nobody has open one of format 1, as the first releases wrote it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("ALTER TABLE target DROP COLUMN thinned")
        for row_id, name, *values, _ in db.execute("SELECT * FROM target").fetchall():
            db.execute("UPDATE target SET checksum = ? WHERE id = ?", (seal(row_id, name, values), row_id))
        db.execute("INSERT OR REPLACE INTO memo VALUES (?, ?, ?)", schema.memo_row("format", "1"))
        db.execute("PRAGMA user_version = 1")
        db.execute("COMMIT")


def flips(data: bytes) -> Iterator[bytes]:
    """Yield copies of `data`, each with one bit flipped."""
    for at in range(8 * len(data)):
        copy = bytearray(data)
        copy[at // 8] ^= 1 << at % 8
        yield bytes(copy)
