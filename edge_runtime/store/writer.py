"""The one that writes: carries out batches of jobs, each batch in one transaction, and survives what the disk does.

It knows nothing of threads or the event loop, so that the same code serves the host (on a thread of its own) and the
`edge queue` tools.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edge_runtime import failpoint
from edge_runtime.clock import Clock
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Event, Feed, Message, Overflow, QueueLimits, Reason, StoreLimits
from edge_runtime.store import connection, schema
from edge_runtime.store.budget import Budget
from edge_runtime.store.connection import Ballast, Trouble
from edge_runtime.store.counters import LOAD, SAVE, Counters
from edge_runtime.store.highwater import HighWater
from edge_runtime.store.jobs import Change, Job, Work
from edge_runtime.store.salvage import quarantine, salvage

_log = logging.getLogger(__name__)
_CHUNKS = (64, 16, 4, 1)
_VALUES = f"({','.join('?' * schema.COLUMNS)})"
_INSERTS = {n: schema.INSERT + ",".join([_VALUES] * n) for n in _CHUNKS}
_DELETE = "DELETE FROM message WHERE id BETWEEN ? AND ?"
_DELETE_SIZED = f"{_DELETE} RETURNING {schema.SIZE}"
_SIZES = f"SELECT id, {schema.SIZE} FROM message WHERE id BETWEEN ? AND ?"  # noqa: S608 - our own constants
_LATEST = "INSERT INTO latest VALUES (?, ?) ON CONFLICT DO UPDATE SET message = excluded.message"
_MEMO = "INSERT INTO memo VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_META_BYTES = 160
"""What a row takes beside topic and payload, for judging whether it fits."""
_TRIES = 4
_PAUSES_S = (0.0, 0.05, 0.25)
_AGE_SAVE_NS = 10_000_000_000
_UNSAVED = 256
"""A target's row is rewritten at least every so many accepted messages. Between, `produced` and `bytes` are told from
the messages themselves, and a commit that only accepts touches one page and not two."""


class Writer:
    """The database, open for writing. Every method is called from one thread at a time."""

    def __init__(self, folder: Path, limits: StoreLimits, queues: Mapping[str, QueueLimits], clock: Clock) -> None:
        """Open or create `queue.db` in `folder` with a queue for each target of `queues`; a damaged one is salvaged.

        Raises: HostError when another process has the folder, StoreError when the disk does not let it.
        """
        self._lock = connection.Lock(folder)
        self.path = folder / "queue.db"
        self.clock = clock
        self.budget = Budget(folder, limits, queues.values())
        self.ballast = Ballast(folder)
        self.targets: dict[str, Counters] = {}
        self.by_id: dict[int, Counters] = {}
        self.notes: list[str] = []
        """What happened to the data that a person should know."""
        self._declared = dict(queues)
        self._before: dict[Counters, tuple[int, ...]] = {}
        self._touched: set[Counters] = set()
        self._rows: list[schema.Row] = []
        self._age_base_ns = 0
        self._age_ns = 0
        self._age_saved_ns = 0
        self._db: sqlite3.Connection | None = None
        self._highwater: HighWater | None = None
        try:
            self._highwater = HighWater(folder / "highwater")
            self._start()
        except (sqlite3.Error, OSError) as error:
            self.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{self.path} cannot be opened: {error}", hint="edge doctor") from error

    # -- what the jobs see ---------------------------------------------------------------------------------------

    @property
    def db(self) -> sqlite3.Connection:
        """The connection. Raises: StoreError while the database is not open."""
        if self._db is None:
            raise StoreError(f"{self.path} is not open", hint="edge doctor")
        return self._db

    def age_ns(self) -> int:
        """Return how long the machine has run since the database was made, without the time the power was off."""
        return self._age_base_ns + self.clock.now().mono_ns

    def target(self, name: str) -> Counters:
        """Return the counters of a target, to be changed in this transaction. Raises: KeyError."""
        counters = self.targets[name]
        self.touch(counters)
        return counters

    def touch(self, counters: Counters) -> None:
        """Note that the counters change in this transaction, and are to be saved with it."""
        self._before.setdefault(counters, counters.values())
        self._touched.add(counters)

    def add_target(self, name: str) -> Counters:
        """Return the counters of a target, made now if there were none."""
        if name not in self.targets:
            if len(self.targets) + 1 >= schema.MAX_TARGETS:
                raise StoreError(f"there are {len(self.targets)} targets already; {name!r} cannot have a queue")
            row_id = self.db.execute("INSERT INTO target (name) VALUES (?) RETURNING id", (name,)).fetchone()[0]
            self.register(Counters(row_id, name))
        return self.targets[name]

    # -- a batch -------------------------------------------------------------------------------------------------

    def process(self, jobs: Sequence[Job]) -> None:
        """Carry out the jobs in one durable transaction. Never raises: a job that failed has its `error` set."""
        trouble: Exception = StoreError("not tried")
        for attempt in range(_TRIES):
            for job in jobs:
                job.error = None
            try:
                self._transact(jobs)
            except (sqlite3.Error, StoreError) as error:
                trouble = error
                if attempt < _TRIES - 1 and self._recover(error, attempt):
                    return
            except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for the job learns of it
                self._isolate(jobs, error)
                return
            else:
                return
        self._undo()
        _log.error("%d jobs of the store failed: %s", len(jobs), trouble)
        for job in jobs:
            job.error = StoreError(f"{self.path}: {trouble}; nothing of this call was accepted", hint="edge doctor")

    def _recover(self, error: Exception, attempt: int) -> bool:
        """Mend what failed. Return True if the transaction had been committed although it reported an error."""
        attempted = {c.name: c.values() for c in self._before}
        self._undo()
        try:
            self._mend(error, attempt)
        except (sqlite3.Error, OSError) as worse:
            _log.warning("the store could not be mended: %s", worse)
            self._disconnect()
            return False
        return bool(attempted) and all(self.targets[name].values() == v for name, v in attempted.items())

    def _isolate(self, jobs: Sequence[Job], error: Exception) -> None:
        """Let one faulty job take nobody with it."""
        self._undo()
        if len(jobs) > 1:
            for job in jobs:
                self.process([job])
            return
        _log.error("a job cannot be stored", exc_info=error)
        jobs[0].error = StoreError(f"this cannot be stored: {error}")

    def _transact(self, jobs: Sequence[Job]) -> None:
        if self._db is None:
            self._reopen()
        if all(isinstance(job, Work) and not job.writes for job in jobs):
            self._run(jobs)
            return
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        failpoint.reach("commit.begin")
        self._age_ns = self.age_ns()
        self.budget.tick()
        changes = [job for job in jobs if isinstance(job, Change)]
        for change in changes:
            self._admit(change)
        self._delete_done([change for change in changes if change.error is None])
        self.flush()
        failpoint.reach("commit.rows")
        self._run(jobs)
        self.flush()
        self._save_age()
        self._save()
        failpoint.reach("commit.before")
        db.execute("COMMIT")
        failpoint.reach("commit.done")
        self._forget()
        self._mark()

    def _save(self) -> None:
        if self._touched:
            self.db.executemany(SAVE, [(*c.values(), c.id) for c in self._touched])
            for counters in self._touched:
                counters.saved = counters.produced

    def _forget(self) -> None:
        self._touched.clear()
        self._before.clear()
        self._rows.clear()

    def _run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if isinstance(job, Work):
                try:
                    job.result = job.run(self)
                except (StoreError, QueueFullError, LookupError) as error:
                    job.error = error

    def _mark(self) -> None:
        try:
            if self._highwater is not None:
                self._highwater.write({c.id: c.produced for c in self.by_id.values()}, time.monotonic())
        except OSError as error:
            # The commit stands; only the watch over it is blind until the disk takes writes again.
            _log.warning("the high-water mark could not be written: %s", error)
        failpoint.reach("commit.marked")

    def _undo(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.rollback()
        for counters, values in self._before.items():
            counters.restore(values)
        self._forget()

    # -- changes -------------------------------------------------------------------------------------------------

    def _admit(self, change: Change) -> None:
        """Carry out all of a change but its deletes, or nothing of it when it would not fit."""
        change.accepted.clear()
        if change.entries:
            try:
                self._accept(change)
            except QueueFullError as error:
                change.error = error
                return
        for message, reason in change.dead:
            self._bury(message, reason)
        for message in change.retried:
            self._rewrite(message)
        if change.memo:
            self.db.executemany(_MEMO, list(change.memo.items()))

    def _accept(self, change: Change) -> None:
        """Make room and lay the rows ready. Raises: QueueFullError, and then none of them was."""
        needs: dict[str, int] = {}
        for event, feeds in change.entries:
            size = len(event.topic) + len(event.payload) + _META_BYTES
            for feed in feeds:
                needs[feed.target] = needs.get(feed.target, 0) + size
        self.budget.make_room(self, needs)
        for event, feeds in change.entries:
            for feed in feeds:
                change.accepted.append(self.append(event, feed))

    def append(self, event: Event, feed: Feed) -> Message:
        """Lay the row of one message ready; `flush` writes it."""
        target, priority = feed
        counters = self.targets[target]
        if counters not in self._before:
            self._before[counters] = counters.values()
        counters.produced = seq = counters.produced + 1
        if seq - counters.saved >= _UNSAVED:
            self._touched.add(counters)
        message = Message(event, target, priority, seq, 0, self._age_ns)
        row = schema.to_row(schema.pack_id(counters.id, priority, seq), message)
        if counters.limits.when_full is Overflow.KEEP_LATEST:
            self._supersede(counters, event.topic, row[0])
        self._rows.append(row)
        counters.bytes += schema.size_of(row)
        return message

    def _supersede(self, counters: Counters, topic: str, row_id: int) -> None:
        """Remove the waiting message of the same topic."""
        key = f"{counters.id}:{topic}"
        before = self.db.execute("SELECT message FROM latest WHERE key = ?", (key,)).fetchone()
        if before is not None:
            self.flush()  # it may be one of this batch
            count, size = self._delete_sized([before[0]])
            counters.gone(Reason.SUPERSEDED, count, size)
        self.db.execute(_LATEST, (key, row_id))

    def flush(self) -> None:
        """Write the rows that lie ready.

        Many rows go into one statement: each statement gives the interpreter lock away and has to win it back.
        """
        rows, start = self._rows, 0
        for chunk in _CHUNKS:
            while len(rows) - start >= chunk:
                flat = [value for row in rows[start : start + chunk] for value in row]
                self.db.execute(_INSERTS[chunk], flat)
                start += chunk
        rows.clear()

    def _delete_done(self, changes: Iterable[Change]) -> None:
        done: dict[str, list[Message]] = {}
        for change in changes:
            for message in change.done:
                done.setdefault(message.target, []).append(message)
        for name, messages in done.items():
            counters = self.target(name)
            ids = sorted(schema.pack_id(counters.id, m.priority, m.seq) for m in messages)
            count, size = self._delete_sized(ids)
            counters.delivered += count
            counters.bytes = max(0, counters.bytes - size)
        if done:
            failpoint.reach("commit.deletes")

    def _delete_sized(self, ids: Sequence[int]) -> tuple[int, int]:
        """Delete rows of which some may be gone already. Return how many there were, and their size."""
        sizes = [size for r in _ranges(ids) for (size,) in self.db.execute(_DELETE_SIZED, r).fetchall()]
        return len(sizes), sum(sizes) + schema.ROW_OVERHEAD * len(sizes)

    def _bury(self, message: Message, reason: str) -> None:
        counters = self.target(message.target)
        count, size = self._delete_sized([schema.pack_id(counters.id, message.priority, message.seq)])
        if not count:
            return  # dropped meanwhile, and counted as that
        headers = {**message.event.headers, schema.PRIORITY: str(message.priority), schema.REASON: reason}
        letter = message._replace(event=message.event._replace(headers=headers))
        row = schema.to_row(schema.pack_id(counters.id, schema.DEAD, message.seq), letter)
        self._rows.append(row)
        counters.dead += 1
        counters.bytes += schema.size_of(row) - size

    def _rewrite(self, message: Message) -> None:
        """Store the new count of tries of a message that failed."""
        counters = self.targets[message.target]
        row_id, _, _, meta, checksum = schema.to_row(
            schema.pack_id(counters.id, message.priority, message.seq), message
        )
        self.db.execute("UPDATE message SET meta = ?, checksum = ? WHERE id = ?", (meta, checksum, row_id))

    # -- reading -------------------------------------------------------------------------------------------------

    def page(self, name: str, lane: int, after: int, limit: int) -> tuple[list[Message], list[int]]:
        """Return the next messages of a lane in order, and the sequence numbers of damaged rows among them."""
        counters = self.targets[name]
        messages, damaged = [], []
        rows = self.db.execute(schema.SELECT, (*schema.lane_range(counters.id, lane, after), limit)).fetchall()
        for row in rows:
            try:
                messages.append(schema.from_row(name, row))
            except StoreError as error:
                self.note(f"{error}; it was set aside as a dead letter")
                damaged.append(schema.unpack_id(row[0])[2])
        return messages, damaged

    def set_aside(self, name: str, lane: int, seqs: Iterable[int]) -> None:
        """Make damaged rows dead letters as they are: not to be trusted, but a person may learn from them."""
        counters = self.target(name)
        for seq in seqs:
            ids = schema.pack_id(counters.id, schema.DEAD, seq), schema.pack_id(counters.id, lane, seq)
            counters.dead += self.db.execute("UPDATE message SET id = ? WHERE id = ?", ids).rowcount

    def heads(self) -> dict[str, dict[int, int]]:
        """Return, for every target, the first sequence number of each lane that is not empty."""
        found: dict[str, dict[int, int]] = {}
        for counters in self.targets.values():
            lanes = {}
            for lane in range(schema.LANES):
                span = schema.lane_range(counters.id, lane)
                (first,) = self.db.execute("SELECT min(id) FROM message WHERE id BETWEEN ? AND ?", span).fetchone()
                if first is not None:
                    lanes[lane] = schema.unpack_id(first)[2]
            found[counters.name] = lanes
        return found

    def memo(self, key: str) -> str | None:
        """Return what was remembered under a key."""
        row = self.db.execute("SELECT value FROM memo WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    # -- opening, failing, closing -------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Tell a person, and keep it for `edge status`."""
        _log.warning("%s", text)
        self.notes.append(text)

    def _start(self) -> None:
        try:
            self._reopen()
        except sqlite3.DatabaseError as error:
            if connection.diagnose(error) is not Trouble.CORRUPT:
                raise
            self._heal()
        self.ballast.hold()
        self._catch_up()

    def _reopen(self) -> None:
        db = connection.connect(self.path, max_bytes=self.budget.file_bytes)
        try:
            rows = [(row_id, name, _tally(db, row_id, values)) for row_id, name, *values in db.execute(LOAD).fetchall()]
            saved = db.execute("SELECT value FROM memo WHERE key = 'age'").fetchone()
        except BaseException:
            db.close()
            raise
        self._db = db
        self.budget.attach(db)
        for row_id, name, values in rows:
            if name not in self.targets:
                self.register(Counters(row_id, name))
            self.targets[name].restore(values)
        for name in self._declared:
            if name:
                self.add_target(name)
        self._load_age(saved[0] if saved else None)

    def register(self, counters: Counters) -> None:
        """Keep the counters of a target that has a row, and give them the declared bounds."""
        default = self._declared.get("", QueueLimits())
        counters.limits = self._declared.get(counters.name, default)
        self.targets[counters.name] = counters
        self.by_id[counters.id] = counters

    def mark(self) -> Mapping[int, int]:
        """Return the high-water mark: the last sequence number by target id, as far as it is known."""
        return self._highwater.read() if self._highwater is not None else {}

    def _mend(self, error: Exception, attempt: int) -> None:
        """Do what the error asks for."""
        trouble = connection.diagnose(error) if isinstance(error, sqlite3.Error) else Trouble.BROKEN
        _log.warning("the store reports %r (%s); mending", str(error), trouble.name)
        if trouble is Trouble.FULL and self._db is not None:
            self.ballast.release()
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.budget.tighten()
            return
        self._disconnect()
        time.sleep(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])
        if trouble is Trouble.CORRUPT and not connection.is_sound(self.path):
            self._heal()
        else:
            self._reopen()

    def _disconnect(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _heal(self) -> None:
        """Set a damaged database aside and carry over what can be read of it."""
        damaged = quarantine(self.path)
        self._reopen()
        report = salvage(damaged, self)
        self.note(report)

    def _catch_up(self) -> None:
        """Count what the high-water mark says was accepted and the database no longer knows."""
        mark = self.mark()
        behind = {c: n for i, n in mark.items() if (c := self.by_id.get(i)) is not None and n > c.produced}
        if not behind:
            return
        self.db.execute("BEGIN IMMEDIATE")
        for counters, produced in behind.items():
            missing = produced - counters.produced
            self.touch(counters)
            counters.produced = produced
            counters.corrupted += missing
            self.note(
                f"{self.path} lost the last {missing} messages of queue {counters.name!r} (numbers "
                f"{produced - missing + 1} to {produced}): the disk did not keep what it had acknowledged"
            )
        self._save()
        self.db.execute("COMMIT")
        self._forget()

    def _load_age(self, saved: str | None) -> None:
        now = self.clock.now()
        if saved is None:
            self._age_base_ns, self._age_saved_ns = -now.mono_ns, -_AGE_SAVE_NS
            return
        before = json.loads(saved)
        self._age_saved_ns = int(before["age_ns"])
        since = now.mono_ns - int(before["mono_ns"]) if before["boot"] == now.boot else now.mono_ns
        self._age_base_ns = self._age_saved_ns + max(0, since) - now.mono_ns

    def _save_age(self, *, now: bool = False) -> None:
        age_ns = self.age_ns()
        if now or age_ns - self._age_saved_ns >= _AGE_SAVE_NS:
            stamp = self.clock.now()
            text = json.dumps({"age_ns": age_ns, "boot": stamp.boot, "mono_ns": stamp.mono_ns})
            self.db.execute(_MEMO, ("age", text))
            self._age_saved_ns = age_ns

    def close(self) -> None:
        """Write everything back and let go of the folder. Safe to call twice."""
        if self._db is not None:
            try:
                self._save_age(now=True)
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                _log.warning("%s was not tidied at the end: %s; nothing is lost", self.path, error)
            self._db.close()
            self._db = None
        if self._highwater is not None:
            with contextlib.suppress(OSError):
                self._highwater.close()
            self._highwater = None
        self._lock.release()


def _tally(db: sqlite3.Connection, target: int, values: Sequence[int]) -> tuple[int, ...]:
    """Return a target's counters with what was accepted since they were saved: at most a few hundred messages."""
    produced, *others, size = values
    last = produced
    for lane in (*range(schema.LANES), schema.DEAD):
        span = schema.lane_range(target, lane, produced)
        for row_id, row_size in db.execute(_SIZES, span):
            last = max(last, schema.unpack_id(row_id)[2])
            size += row_size + schema.ROW_OVERHEAD
    return last, *others, size


def _ranges(ids: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Yield the runs of neighbouring numbers in a sorted list."""
    if not ids:
        return
    first = last = ids[0]
    for number in ids[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last
