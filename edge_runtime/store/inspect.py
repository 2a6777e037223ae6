"""Look into a database from outside, while a host runs or not; and put things right in one whose host is down.

Reading opens the file read-only and for moments: a long read would keep the host's log from being written back.
"""

from __future__ import annotations

import contextlib
import heapq
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edge_runtime.app import StoreLimits
from edge_runtime.clock import SystemClock
from edge_runtime.errors import NotFoundError, StoreError
from edge_runtime.plugin import nearest
from edge_runtime.pure.timeline import MEMO, Timeline
from edge_runtime.store import letters, schema
from edge_runtime.store.connection import lenient
from edge_runtime.store.counters import Counters, Loaded, load
from edge_runtime.store.jobs import Work
from edge_runtime.store.keeper import tally
from edge_runtime.store.salvage import count_rows
from edge_runtime.store.writer import Writer

if TYPE_CHECKING:
    from sqlite_utils import Database

_PAGE = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAMAGED = "damaged: its checksum does not match"


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The books of one queue, beside the rows that were counted."""

    target: str
    produced: int
    """Messages it was given."""
    delivered: int
    queued: int
    """Messages that wait or are on their way: counted."""
    expired: int
    dropped: int
    """The sum of `reasons`."""
    dead: int
    """Dead letters: counted."""
    reasons: Mapping[str, int]
    """Drops by reason, those that happened."""
    bytes: int
    """About what its messages take on disk: counted."""

    @property
    def missing(self) -> int:
        """Messages that nobody can account for."""
        return self.produced - self.delivered - self.queued - self.expired - self.dropped - self.dead

    @property
    def balanced(self) -> bool:
        """Whether every message is accounted for."""
        return self.missing == 0


def ledger(path: Path) -> list[LedgerRow]:
    """Return the ledger of every queue of the database `path` (`queue.db` in the state folder).

    Raises: NotFoundError when there is no such file, StoreError when it cannot be read.
    """
    with _reading(path) as db:
        db.execute("BEGIN")
        rows = [_ledger_row(db.conn, row) for row in load(db.conn)]
        db.execute("COMMIT")
    return rows


@dataclass(frozen=True, slots=True)
class Standing:
    """How a queue stands by the books, without its rows having been counted."""

    target: str
    queued: int
    bytes: int
    """About what its messages take on disk, dead letters included."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A quick look, whose time does not depend on what waits."""

    queues: Sequence[Standing]
    used_bytes: int
    """What of the file holds something."""
    free_bytes: int
    """What of it holds nothing, and can be used again."""
    memos: Mapping[str, str]
    """What is remembered under the keys that were asked for, where there is something intact."""


def survey(path: Path, memos: Sequence[str]) -> Survey:
    """Look how the queues of the database `path` stand, and what is remembered under these keys.

    Raises: as `ledger`.
    """
    with _reading(path) as db:
        db.execute("BEGIN")
        queues = [_standing(db.conn, row) for row in load(db.conn)]
        pages, free = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count"))
        found = {key: text for key in memos if (text := _memo(db, key)) is not None}
        db.execute("COMMIT")
    return Survey(queues, (pages - free) * schema.PAGE_SIZE, free * schema.PAGE_SIZE, found)


def messages(
    path: Path, target: str, *, dead: bool = False, after: int = 0, limit: int = 50
) -> Iterator[dict[str, object]]:
    """Yield what waits in a queue, or its dead letters, in the order of their numbers.

    Each is a dict of `seq`, `topic`, `payload` (bytes), `source`, `time` (ISO 8601, UTC), `clock`, `id`, `priority`,
    `tries`, `headers` (dict) and `reason` (of a dead letter; else empty). `clock` tells what the time is worth:
    `synced`, `corrected`, or `unsynced` for an estimate. Of a damaged row only what may be read is there.

    Args:
        path: `queue.db` in the state folder.
        target: the name of the queue.
        dead: yield dead letters.
        after: begin after this number.
        limit: how many at most.

    Raises: NotFoundError when there is no such file or queue, StoreError when it cannot be read.
    """
    while limit > 0:
        with _reading(path) as db:
            page = _page(db, target, [schema.DEAD] if dead else list(range(schema.LANES)), after, min(limit, _PAGE))
        yield from page
        limit -= _PAGE
        if len(page) < _PAGE:
            return
        after = cast("int", page[-1]["seq"])


def replay(path: Path, target: str, seqs: Sequence[int] | None) -> int:
    """Put dead letters back into their queue while no host runs, see `letters.replay`. Return how many.

    Raises: HostError when a host runs, NotFoundError for a file, queue or letter there is not, StoreError.
    """
    total = 0
    while True:
        count = cast("int", _write(path, lambda writer: len(letters.replay(writer, target, seqs))))
        total += count
        if seqs is not None or not count:
            return total


def purge(path: Path, target: str, *, dead: bool) -> int:
    """Drop what waits, or the dead letters, while no host runs; counted as purged. Return how many.

    Raises: HostError when a host runs, NotFoundError for a file or queue there is not, StoreError.
    """
    return cast("int", _write(path, lambda writer: letters.purge(writer, target, dead=dead)))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Database]:
    from sqlite_utils import Database  # noqa: PLC0415 - heavy, and only these tools need it

    if not path.is_file():
        raise NotFoundError(f"there is no database {path}", hint="edge run makes it; or name another with --state DIR")
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)) as connection:
            connection.text_factory = lenient
            yield Database(connection)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}", hint="edge doctor") from error


def _ledger_row(db: sqlite3.Connection, row: Loaded) -> LedgerRow:
    books = Counters(row.id, row.name)
    books.restore(tally(db, row.id, row.values))
    waiting, dead, size, _ = count_rows(db, row.id)
    return LedgerRow(
        row.name, books.produced, books.delivered, waiting, books.expired, books.dropped, dead, books.reasons, size
    )


def _page(db: Database, target: str, lanes: Sequence[int], after: int, limit: int) -> list[dict[str, object]]:
    known = {str(row["name"]): int(row["id"]) for row in db.query("SELECT id, name FROM target")}
    if target not in known:
        raise NotFoundError(
            f"there is no queue named {target!r}{nearest(target, known)}", hint=f"known: {', '.join(known) or 'none'}"
        )
    spans = [(*schema.lane_range(known[target], lane, after), limit) for lane in lanes]
    rows = [row for span in spans for row in db.execute(schema.SELECT, span).fetchall()]
    first = heapq.nsmallest(limit, rows, key=lambda row: schema.unpack_id(row[0])[2])
    timeline = _timeline(db)
    return [_message(target, row, timeline) for row in first]


def _timeline(db: Database) -> Timeline:
    """Return what is known of the clocks by which messages were stamped."""
    text = _memo(db, MEMO)
    if text is not None:
        with contextlib.suppress(ValueError):  # a later version's: then nothing is known
            return Timeline.from_text(text)
    return Timeline()


def _memo(db: Database, key: str) -> str | None:
    row = db.execute("SELECT * FROM memo WHERE key = ?", (key,)).fetchone()
    return str(row[1]) if row is not None and row == schema.memo_row(row[0], row[1]) else None


def _standing(db: sqlite3.Connection, row: Loaded) -> Standing:
    books = Counters(row.id, row.name)
    books.restore(tally(db, row.id, row.values))
    return Standing(row.name, max(0, books.queued), books.bytes)


def _message(target: str, row: tuple[object, ...], timeline: Timeline) -> dict[str, object]:
    row_id, topic, payload, *_ = cast("schema.Row", row)
    _, lane, seq = schema.unpack_id(row_id)
    try:
        message = schema.from_row(target, row)
    except StoreError:
        return {
            "seq": seq, "topic": topic, "payload": payload, "source": "", "time": "", "clock": "", "id": "",
            "priority": lane, "tries": 0, "headers": {}, "reason": _DAMAGED,
        }  # fmt: skip
    event = letters.without_marks(message).event
    wall_ns, mark = timeline.of(event.time)
    at = _EPOCH + timedelta(milliseconds=wall_ns // 1_000_000)
    return {
        "seq": seq, "topic": topic, "payload": payload, "source": event.source,
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "clock": mark,
        "id": event.id, "priority": message.priority, "tries": message.tries, "headers": dict(event.headers),
        "reason": message.event.headers.get(schema.REASON, "") if lane == schema.DEAD else "",
    }  # fmt: skip


def _write(path: Path, run: Callable[[Writer], object]) -> object:
    if not path.is_file():
        raise NotFoundError(f"there is no database {path}", hint="edge run makes it; or name another with --state DIR")
    writer = Writer(path.parent, StoreLimits(), {}, SystemClock())
    try:
        job = Work(run, writes=True)
        writer.process([job])
    finally:
        writer.close()
    if job.error is not None:
        raise job.error
    return job.result
