"""Keeps the database: opens it, mends what the disk does to it, closes it, and keeps the books in memory.

What goes on between is the business of `writer`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.clock import Clock
from edge_runtime.errors import EdgeError, StoreError
from edge_runtime.store import connection, formats, salvage, schema
from edge_runtime.store.budget import Budget
from edge_runtime.store.connection import Ballast, Trouble
from edge_runtime.store.counters import ADD, SAVE, Counters, load, with_bytes
from edge_runtime.store.highwater import HighWater, Mark

_log = logging.getLogger(__name__)
_SIZES = f"SELECT id, {schema.SIZE} FROM message WHERE id BETWEEN ? AND ?"  # noqa: S608 - our own constants
_NEWEST = "SELECT meta FROM message WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1"
_PUT_MEMO = (
    "INSERT INTO memo VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, checksum = excluded.checksum"
)
_ROW = "SELECT * FROM message WHERE id = ?"
_AGE = "age"
_AGE_SAVE_NS = 10_000_000_000
_PAUSES_S = (0.0, 0.05, 0.25)
_OPENINGS = 4
_BELIEVED = 2
_EXAMINE_EVERY_S = 600.0
_VACUUM_PAGES = 2048

Books = tuple[int, str, tuple[int, ...] | None]
"""Id, name and counters of a target."""


class Keeper:
    """The database, open for writing, and what is known of it. Every method is called from one thread at a time."""

    def __init__(self, folder: Path, limits: StoreLimits, queues: Mapping[str, QueueLimits], clock: Clock) -> None:
        """Open or create `queue.db` in `folder` with a queue for each target of `queues`; a damaged one is salvaged.

        Raises: HostError when another process has the folder, StoreError when the disk does not let it.
        """
        self._lock = connection.Lock(folder)
        self.path = folder / "queue.db"
        self.clock = clock
        self.ballast = Ballast(folder)
        self.targets: dict[str, Counters] = {}
        self.by_id: dict[int, Counters] = {}
        self.notes: list[str] = []
        """What happened to the data that a person should know."""
        self.resets = 0
        """How often the rows turned out to be others than were known: whoever holds messages has to read them again."""
        self._declared = dict(queues)
        self._logged_bytes = 0
        self._doubt: dict[int, tuple[int, ...]] = {}
        """The ledgers as a commit would have left them that reported an error, and may yet be on the disk."""
        self._doubter: object = None
        """The batch of that commit."""
        self._settled: object = None
        """The batch whose commit failed and turned out to be on the disk all the same."""
        self._unsafe = False
        """Something could not be flushed: see `_write_back`."""
        self._age_base_ns = 0
        self._age_saved_ns = 0
        self._examined_s = -_EXAMINE_EVERY_S
        self._blind = False
        self._lenient = False
        """Text was found that is none: it is read all the same."""
        self._disbelieved = False
        self._log = connection.KeptLog(self.path)
        self._db: sqlite3.Connection | None = None
        self._highwater: HighWater | None = None
        try:
            self.budget = Budget(folder, limits, queues.values())
            self._highwater = HighWater(folder / "highwater")
            self._start()
        except BaseException as error:
            self.close()
            if isinstance(error, EdgeError) or not isinstance(error, sqlite3.Error | OSError):
                raise
            raise StoreError(f"{self.path} cannot be opened: {error}", hint="edge doctor") from error

    # -- what everybody may see ----------------------------------------------------------------------------------

    @property
    def db(self) -> sqlite3.Connection:
        """The connection. Raises: StoreError while the database is not open."""
        if self._db is None:
            raise StoreError(f"{self.path} is not open", hint="edge doctor")
        return self._db

    def age_ns(self) -> int:
        """Return how long the machine has run since the database was made, without the time the power was off."""
        return self._age_base_ns + self.clock.now().mono_ns

    def note(self, text: str) -> None:
        """Tell a person, and keep it for `edge status`."""
        _log.warning("%s", text)
        self.notes.append(text)

    def memo(self, key: str) -> str | None:
        """Return what was remembered under a key; None also for a memo that is damaged."""
        row = self.db.execute("SELECT * FROM memo WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if row != schema.memo_row(row[0], row[1]):
            self.note(f"the memo {key!r} is damaged: its checksum does not match; it is ignored")
            return None
        return str(row[1])

    def remember(self, memo: Mapping[str, str]) -> None:
        """Write memos in this transaction."""
        self.db.executemany(_PUT_MEMO, [schema.memo_row(*pair) for pair in memo.items()])

    def logged(self, size: int) -> None:
        """Take note of bytes written to the log, so that it is written back in time."""
        self._logged_bytes += size

    def examine(self) -> None:
        """Check the file as a whole, not more often than every few minutes: one damaged row may not be the only thing.

        Raises: DamagedError, on which the database is set aside and salvaged.
        """
        if time.monotonic() - self._examined_s < _EXAMINE_EVERY_S:
            return
        self._examined_s = time.monotonic()
        if not connection.check(self.db):
            raise connection.DamagedError("a damaged row was found, and the file is damaged elsewhere too")

    # -- opening -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        salvage.finish(self.path)
        try:
            self._reopen()
        except sqlite3.Error as error:
            self._persist(error)
        self.ballast.hold()
        self.resets = 0

    def _persist(self, error: sqlite3.Error) -> None:
        """Open the database, which did not let itself be opened at once. Raises: OSError, sqlite3.Error."""
        for attempt in range(_OPENINGS):
            try:
                self._mend(error, attempt)
            except sqlite3.Error as again:
                error = again
            else:
                return
        raise error

    def _reopen(self) -> None:
        """Open the database and read the books."""
        kept = self._log.keep()
        try:
            self._db = connection.connect(
                self.path, self.ballast, max_bytes=self.budget.file_bytes, known=bool(self._marks())
            )
            if self._lenient:
                self._db.text_factory = connection.lenient
            self.budget.attach(self._db)
            books = self._read_books()
            aside = self._doubt_log() if kept and self._is_behind(books) else None
            self._log.drop()
            if kept:
                self._write_back()
            formats.upgrade(self._db)  # not before the log was believed: it is written over
            self._load(books)
            self._load_age()
            self._catch_up(aside)
            if self._was_committed():
                self._settled = self._doubter
        except BaseException:
            self._disconnect()
            raise
        self._disbelieved = False

    def _doubt_log(self) -> Path | None:
        """Look twice at a log that has lost its end: a read may have brought garbage.

        The second time it is believed, and copied: SQLite will write over it. Raises: sqlite3.OperationalError.
        """
        if not self._disbelieved:
            self._disbelieved = True
            raise sqlite3.OperationalError("the log seems to have lost its end: it is read once more")
        try:
            return self._log.set_aside()
        except OSError as error:
            _log.warning("the log could not be copied: %s", error)
            return None

    def _read_books(self) -> list[Books]:
        """Return id, name and counters of all targets; None for counters that are damaged."""
        names, books = self._names(), list[Books]()
        for row_id, name, values, intact in load(self.db):
            if intact:
                books.append((row_id, name, tally(self.db, row_id, values)))
            else:
                known = self.by_id.get(row_id)
                books.append((row_id, known.name if known else names.get(row_id, name), None))
        return books

    def _is_behind(self, books: Sequence[Books]) -> bool:
        produced = {row_id: values[0] for row_id, _, values in books if values is not None}
        return any(produced.get(row_id, mark.produced) < mark.produced for row_id, mark in self._marks().items())

    def _load(self, books: Sequence[Books]) -> None:
        """Take over the books, and make them anew where they are damaged or missing."""
        missing = {**self._names(), **{c.id: c.name for c in self.by_id.values()}}
        for row_id, name, values in books:
            missing.pop(row_id, None)
            if name not in self.targets:
                self._register(Counters(row_id, name))
            if values is not None:
                self.targets[name].restore(values)
            else:
                self._rebuild(self.targets[name])
        for row_id, name in missing.items():
            if row_id in self.by_id or name not in self.targets:
                counters = self.by_id.get(row_id) or Counters(row_id, name)
                self.db.execute(ADD, counters.row())
                self._register(counters)
                self._rebuild(counters)
        for name in self._declared:
            if name:
                self.add_target(name)
        if self._highwater is not None:
            with contextlib.suppress(OSError):  # only ever needed for a damaged database
                self._highwater.remember({c.id: c.name for c in self.by_id.values()})

    def _rebuild(self, counters: Counters) -> None:
        missing = salvage.rebuild(self.db, counters, self._marks().get(counters.id))
        self.db.execute("UPDATE target SET name = ? WHERE id = ?", (counters.name, counters.id))
        self.db.execute(SAVE, counters.sealed())
        self.note(
            f"the ledger of queue {counters.name!r} was damaged and was made anew from its messages: {missing} are "
            f"missing, {counters.queued} wait, {counters.dead} are dead letters; all others count as delivered"
        )

    def _register(self, counters: Counters) -> None:
        """Keep the counters of a target that has a row, and give them the declared bounds."""
        default = self._declared.get("", QueueLimits())
        counters.limits = self._declared.get(counters.name, default)
        self.targets[counters.name] = counters
        self.by_id[counters.id] = counters

    def add_target(self, name: str) -> Counters:
        """Return the counters of a target, made now if there were none."""
        if name not in self.targets:
            row_id = max(self.by_id, default=0) + 1
            if row_id >= schema.MAX_TARGETS:
                raise StoreError(f"there are {len(self.targets)} targets already; {name!r} cannot have a queue")
            counters = Counters(row_id, name)
            self.db.execute(ADD, counters.row())
            self._register(counters)
        return self.targets[name]

    def _marks(self) -> Mapping[int, Mark]:
        """Return the high-water marks by target id, as far as they are known."""
        return self._highwater.read() if self._highwater is not None else {}

    def _names(self) -> Mapping[int, str]:
        return self._highwater.names() if self._highwater is not None else {}

    def _catch_up(self, aside: Path | None) -> None:
        """Count what the high-water mark says was accepted and the database no longer knows.

        `aside` is a copy of a log whose end SQLite did not accept: what is intact in it is put back.
        """
        behind = {i: (c, m) for i, m in self._marks().items() if (c := self.by_id.get(i)) and m.produced > c.produced}
        if behind and aside is not None:
            wanted = {target: range(c.produced + 1, m.produced + 1) for target, (c, m) in behind.items()}
            salvage.put_back(self.path, aside, self.db, wanted)
        for counters, mark in behind.values():
            lost = range(counters.produced + 1, mark.produced + 1)
            waiting, dead, size, _ = salvage.count_rows(self.db, counters.id)
            counters.produced = mark.produced
            missing = counters.balance(waiting, dead, size)
            self.db.execute(SAVE, counters.sealed())
            self.note(
                f"{self.path} lost its last commits: of messages {lost[0]} to {lost[-1]} of queue {counters.name!r}, "
                f"{missing} are missing, counted as dropped: corrupted"
                + (f"; the log was kept as {aside.name}" if aside else "")
            )
        for counters in self.by_id.values():
            # What waits lies between the first row and the last number. A flipped bit in an id may hide rows.
            first = min(self._heads(counters).values(), default=0)
            possible = counters.produced - first + 1 if first else 0
            if counters.queued > possible and not connection.check(self.db):
                raise connection.DamagedError(f"queue {counters.name!r} is said to hold more than there is")
            if (first > 0) == (counters.queued > 0) and counters.queued <= possible:
                continue
            waiting, dead, size, _ = salvage.count_rows(self.db, counters.id)
            missing = counters.balance(waiting, dead, size)
            self.db.execute(SAVE, counters.sealed())
            self.note(
                f"the ledger of queue {counters.name!r} and its messages did not agree: {missing} are missing, "
                f"{waiting} wait"
            )
        if behind:
            self.resets += 1

    def heads(self) -> dict[str, dict[int, int]]:
        """Return, for every target, the first sequence number of each lane that is not empty."""
        return {counters.name: self._heads(counters) for counters in self.targets.values()}

    def _heads(self, counters: Counters) -> dict[int, int]:
        lanes = {}
        for lane in range(schema.LANES):
            span = schema.lane_range(counters.id, lane)
            (first,) = self.db.execute("SELECT min(id) FROM message WHERE id BETWEEN ? AND ?", span).fetchone()
            if first is not None:
                lanes[lane] = schema.unpack_id(first)[2]
        return lanes

    def _load_age(self) -> None:
        saved = self.memo(_AGE)
        now = self.clock.now()
        if saved is None:
            age_ns = max((_age_of(meta) for meta in self._newest()), default=0)
            self._age_base_ns, self._age_saved_ns = age_ns - now.mono_ns, age_ns - _AGE_SAVE_NS
            return
        before = json.loads(saved)
        self._age_saved_ns = int(before["age_ns"])
        since = now.mono_ns - int(before["mono_ns"]) if before["boot"] == now.boot else now.mono_ns
        self._age_base_ns = self._age_saved_ns + max(0, since) - now.mono_ns

    def _newest(self) -> Iterable[str]:
        for target in self.by_id:
            for lane in range(schema.LANES):
                for (meta,) in self.db.execute(_NEWEST, schema.lane_range(target, lane)):
                    yield meta

    def _save_age(self, *, now: bool = False) -> None:
        age_ns = self.age_ns()
        if now or age_ns - self._age_saved_ns >= _AGE_SAVE_NS:
            stamp = self.clock.now()
            self.remember({_AGE: json.dumps({"age_ns": age_ns, "boot": stamp.boot, "mono_ns": stamp.mono_ns})})
            self._age_saved_ns = age_ns

    # -- mending -------------------------------------------------------------------------------------------------

    def _mend(self, error: Exception, attempt: int) -> None:
        """Do what the error asks for."""
        trouble = connection.diagnose(error) if isinstance(error, sqlite3.Error) else Trouble.BROKEN
        _log.warning("the store reports %r (%s); mending", str(error), trouble.name)
        self._lenient = self._lenient or str(error).startswith("Could not decode")
        if trouble is Trouble.FULL:
            self.ballast.release()
            if attempt or not self.budget.disk_has_room():
                self.budget.tighten()
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return
        self._disconnect()
        time.sleep(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])
        # What is in order by all checks and yet cannot be used at the third time is not in order.
        believed = trouble is Trouble.CORRUPT and attempt >= _BELIEVED
        if believed or (trouble in (Trouble.CORRUPT, Trouble.ODD) and not connection.is_sound(self.path)):
            self._heal()
        self._reopen()

    def _heal(self) -> None:
        """Set a damaged database aside and carry over what can be read of it."""
        memory = salvage.Memory(
            marks=self._marks(),
            names=self._names(),
            counters=dict(self.by_id),
            latest=frozenset(name for name, bounds in self._declared.items() if _keeps_latest(bounds)),
        )
        report = salvage.heal(self.path, self.ballast, memory, max_bytes=self.budget.file_bytes)
        self.note(report)
        self.resets += 1

    def _was_committed(self) -> bool:
        """Tell, after a commit that failed and a fresh look at the file, whether it is there all the same."""
        doubt, self._doubt = self._doubt, {}
        return bool(doubt) and all(self.by_id[i].values() == values for i, values in doubt.items())

    def _write_back(self) -> None:
        """Write the whole log into the database and begin a new one.

        A page that could not be flushed counts as clean afterwards: it can be read, and a power cut takes it, and with
        it all that was logged behind it. Nothing may be logged behind it, and only writing it elsewhere makes it safe.

        Raises: sqlite3.Error when it did not succeed and a flush is known to have failed.
        """
        try:
            busy, *_ = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError("the log cannot be written back while somebody reads it")
        except sqlite3.Error:
            if self._unsafe:
                raise
        else:
            self._unsafe = False

    def _disconnect(self) -> None:
        """Let go of a database that is not as it should be, and keep its log."""
        if self._db is not None:
            self._log.keep()
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        with contextlib.suppress(OSError):
            self._log.restore()

    def close(self) -> None:
        """Write everything back and let go of the folder. Safe to call twice."""
        if self._db is not None:
            try:
                self._save_age(now=True)
                self._db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                _log.warning("%s was not tidied at the end: %s; nothing is lost", self.path, error)
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        if self._highwater is not None:
            with contextlib.suppress(OSError):
                self._highwater.close()
            self._highwater = None
        self._lock.release()


def _keeps_latest(bounds: QueueLimits) -> bool:
    return bounds.when_full is Overflow.KEEP_LATEST


def _age_of(meta: str) -> int:
    try:
        return int(json.loads(meta)[schema.AGE])
    except (ValueError, LookupError, TypeError):
        return 0


def tally(db: sqlite3.Connection, target: int, values: tuple[int, ...]) -> tuple[int, ...]:
    """Return a target's counters with what was accepted since they were saved: at most a few hundred messages."""
    last = produced = values[0]
    size = 0
    for lane in (*range(schema.LANES), schema.DEAD):
        span = schema.lane_range(target, lane, produced)
        for row_id, row_size in db.execute(_SIZES, span):
            seq = schema.unpack_id(row_id)[2]
            if seq <= produced + schema.UNSAVED or schema.is_intact(db.execute(_ROW, (row_id,)).fetchone()):
                last = max(last, seq)  # else a flipped bit in the id made it a number that was never given out
            size += row_size + schema.ROW_OVERHEAD
    return with_bytes(values, last, size)
