"""The one that writes: carries out batches of jobs, each batch in one transaction, and survives what the disk does.

It knows nothing of threads or the event loop, so that the same code serves the host (on a thread of its own) and the
`edge queue` tools.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_runtime import failpoint
from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.clock import Clock
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Event, Feed, Message, Reason
from edge_runtime.store import connection, schema
from edge_runtime.store.budget import Need
from edge_runtime.store.connection import Trouble
from edge_runtime.store.counters import SAVE, Counters
from edge_runtime.store.highwater import Mark
from edge_runtime.store.jobs import Change, Entry, Job, Work
from edge_runtime.store.keeper import Keeper

_log = logging.getLogger(__name__)
_CHUNKS = (64, 16, 4, 1)
_VALUES = f"({','.join('?' * schema.COLUMNS)})"
_INSERTS = {n: schema.INSERT + ",".join([_VALUES] * n) for n in _CHUNKS}
_NEXT = "SELECT * FROM message WHERE id >= ? ORDER BY id LIMIT ?"
_COUNT = "SELECT count(*) FROM message WHERE id BETWEEN ? AND ?"
_PAGE_BYTES = 1 << 20
_DELETE = "DELETE FROM message WHERE id BETWEEN ? AND ?"
_DELETE_SIZED = f"{_DELETE} RETURNING {schema.SIZE}"
_LATEST = "INSERT INTO latest VALUES (?, ?) ON CONFLICT DO UPDATE SET message = excluded.message"
_DELETE_LATEST = f"DELETE FROM message WHERE id = ? AND topic = ? RETURNING {schema.SIZE}"  # noqa: S608 - ours
_FORGET_LATEST = "DELETE FROM latest WHERE key = ? AND message = ?"
_META_BYTES = 160
"""What a row takes beside topic and payload, for judging whether it fits."""
_TRIES = 4
_RECOUNT = 4096
_new = tuple.__new__  # a named tuple's own constructor takes twice as long


class Page(NamedTuple):
    """Messages of one lane, as they are on the disk."""

    messages: list[Message]
    damaged: list[int]
    """The ids of rows among them whose checksum does not match."""
    upto: int
    """The lane has no others up to this sequence number."""
    more: bool
    """There are others after it."""


class Writer(Keeper):
    """The database, open for writing. Every method is called from one thread at a time."""

    def __init__(self, folder: Path, limits: StoreLimits, queues: Mapping[str, QueueLimits], clock: Clock) -> None:
        """Open or create `queue.db` in `folder` with a queue for each target of `queues`; a damaged one is salvaged.

        Raises: HostError when another process has the folder, StoreError when the disk does not let it.
        """
        self._before: dict[Counters, tuple[int, ...]] = {}
        self._touched: set[Counters] = set()
        self._rows: list[schema.Row] = []
        self._cuts: list[tuple[Counters, int, int, bool]] = []
        self._age_ns = 0
        self._suspects: set[int] = set()
        """Rows that were damaged when they were read."""
        super().__init__(folder, limits, queues, clock)

    def target(self, name: str) -> Counters:
        """Return the counters of a target, to be changed in this transaction. Raises: KeyError."""
        counters = self.targets[name]
        self.touch(counters)
        return counters

    def touch(self, counters: Counters) -> None:
        """Note that the counters change in this transaction, and are to be saved with it."""
        self._before.setdefault(counters, counters.values())
        self._touched.add(counters)

    # -- a batch -------------------------------------------------------------------------------------------------

    def process(self, jobs: Sequence[Job], *, at_leisure: bool = True) -> bool:
        """Carry out the jobs in one durable transaction. Never raises: a job that failed has its `error` set.

        Mending what the disk does takes its time. Unless `at_leisure`, it is left alone: False is returned, nothing
        has happened, and this is to be called again where there is time.
        """
        trouble: Exception | None = None
        for attempt in range(_TRIES):
            if trouble is not None:
                self._try_to_mend(trouble, attempt - 1)
            trouble = self._try(jobs, at_leisure=at_leisure)
            if trouble is None:
                return True
            if not at_leisure:
                return False
        if len(jobs) > 1 and isinstance(trouble, sqlite3.Error) and connection.diagnose(trouble) is Trouble.ODD:
            for job in jobs:  # one of them is wrong
                self.process([job])
            return True
        _log.error("%d jobs of the store failed: %s", len(jobs), trouble)
        for job in jobs:
            job.error = StoreError(f"{self.path}: {trouble}; nothing of this call was accepted", hint="edge doctor")
        return True

    def _try(self, jobs: Sequence[Job], *, at_leisure: bool) -> Exception | None:
        """Carry out the jobs once. Return the trouble that may be mended; nothing has happened then."""
        for job in jobs:
            job.error = None
        try:
            if not at_leisure and (self._db is None or self._unsafe):
                return StoreError("this takes its time")
            if self._db is None:
                self._reopen()
            if self._settled is None or not self._turned_out_committed(jobs):
                self._transact(jobs)
        except (sqlite3.Error, StoreError) as error:
            self._undo()
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for the job learns of it
            self._isolate(jobs, error)
        return None

    def _turned_out_committed(self, jobs: Sequence[Job]) -> bool:
        """Tell whether the commit that had failed and is on the disk all the same was that of these very jobs."""
        settled, self._settled = self._settled, None
        if settled is not jobs:
            self.resets += 1  # its rows are there, and nobody was told of them
        return settled is jobs

    def _try_to_mend(self, error: Exception, attempt: int) -> None:
        try:
            self._mend(error, attempt)
        except Exception as worse:  # noqa: BLE001 - whatever it is, the next attempt opens the database anew
            _log.warning("the store could not be mended: %s", worse)
            self._disconnect()

    def _isolate(self, jobs: Sequence[Job], error: Exception) -> None:
        """Let one faulty job take nobody with it."""
        self._undo()
        if len(jobs) > 1:
            for job in jobs:
                self.process([job])
            return
        _log.error("a job cannot be stored", exc_info=error)
        jobs[0].error = StoreError(f"this cannot be stored: {type(error).__name__}: {error}")

    def _transact(self, jobs: Sequence[Job]) -> None:
        if all(isinstance(job, Work) and not job.writes for job in jobs):
            self._run(jobs)
            return
        db = self.db
        if self._unsafe:
            self._write_back()
        db.execute("BEGIN IMMEDIATE")
        failpoint.reach("commit.begin")
        self._age_ns = self.age_ns()
        if self.budget.tick():
            self._tidy()
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
        try:
            db.execute("COMMIT")
        except sqlite3.Error:
            self._doubt = {c.id: after for c, before in self._before.items() if (after := c.values()) != before}
            self._doubter = jobs
            self._unsafe = True
            raise
        failpoint.reach("commit.done")
        self._logged_bytes += 2 * schema.PAGE_SIZE
        self._committed()

    def _save(self) -> None:
        if self._touched:
            self.db.executemany(SAVE, [c.sealed() for c in self._touched])
            for counters in self._touched:
                counters.saved = counters.produced

    @property
    def checkpoint_due(self) -> bool:
        """Whether the log has grown enough to be written back."""
        return self._logged_bytes >= connection.WAL_PAGES * schema.PAGE_SIZE

    def checkpoint(self) -> None:
        """Write the log back into the database. Takes its time; must not run inside a batch. Raises: sqlite3.Error."""
        self._logged_bytes = 0
        self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _forget(self) -> None:
        self._touched.clear()
        self._before.clear()
        self._rows.clear()
        self._cuts.clear()

    def _run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if isinstance(job, Work):
                try:
                    job.result = job.run(self)
                except (StoreError, QueueFullError, LookupError) as error:
                    job.error = error

    def _committed(self) -> None:
        """Draw the conclusions of a commit."""
        if self._doubt:
            self._doubt = {}
        for counters, lane, seq, spared in self._cuts:
            if spared:
                counters.spared.add((lane, seq))
            else:
                counters.floors[lane] = max(counters.floors[lane], seq)
                counters.spared = {(where, n) for where, n in counters.spared if where != lane or n > seq}
        marks = [(c.id, Mark(c.produced, max(0, c.queued + c.dead))) for c in self._before]
        self._forget()
        if marks and self._highwater is not None:
            try:
                self._highwater.write(marks, time.monotonic())
                self._blind = False
            except (OSError, struct.error) as error:
                # The commit stands; only the watch over it is blind until the disk takes writes again.
                if not self._blind:
                    _log.warning("the high-water mark could not be written: %s", error)
                self._blind = True
        failpoint.reach("commit.marked")

    def _undo(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.rollback()
        for counters, values in self._before.items():
            counters.restore(values)
        self._forget()

    def _tidy(self) -> None:
        """Once a second: hold what was given up for a full disk again, and give back what a backlog took."""
        if self.budget.tight:
            return
        if not self.ballast.held:
            self.ballast.hold()
        self.budget.shrink()

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
        if change.simple:
            return
        for message, reason in change.dead:
            self._bury(message, reason)
        for message in change.retried:
            self._rewrite(message)
        if change.memo:
            self.remember(change.memo)

    def _accept(self, change: Change) -> None:
        """Make room and lay the rows ready. Raises: QueueFullError, and then none of them was."""
        total = sum([(len(e.topic) + len(e.payload) + _META_BYTES) * len(feeds) for e, feeds in change.entries])
        debts = () if self.budget.grants(total) else self.budget.make_room(self, _needs(change.entries))
        for event, feeds in change.entries:
            for feed in feeds:
                change.accepted.append(self.append(event, feed))
        for counters, wanted in debts:
            self.budget.evict(self, counters, wanted)

    def append(self, event: Event, feed: Feed) -> Message:
        """Lay the row of one message ready; `flush` writes it."""
        target, priority = feed
        counters = self.targets[target]
        if counters not in self._before:
            self._before[counters] = counters.values()
        counters.produced = seq = counters.produced + 1
        if seq - counters.saved >= schema.UNSAVED:
            self._touched.add(counters)
        message = _new(Message, (event, target, priority, seq, 0, self._age_ns))
        row = schema.to_row(counters.id << schema.TARGET_SHIFT | priority << schema.SEQ_BITS | seq, message)
        if counters.limits.when_full is Overflow.KEEP_LATEST:
            self._supersede(counters, event.topic, row[0])
        self._rows.append(row)
        size = schema.size_of(row)
        counters.bytes += size
        self._logged_bytes += size
        return message

    def _supersede(self, counters: Counters, topic: str, row_id: int) -> None:
        """Remove the waiting message of the same topic."""
        key = f"{counters.id}:{topic}"
        before = self.db.execute("SELECT message FROM latest WHERE key = ?", (key,)).fetchone()
        if before is not None:
            self.flush()  # it may be one of this batch
            # The topic is compared because the note of it has no checksum.
            for (size,) in self.db.execute(_DELETE_LATEST, (before[0], topic)).fetchall():
                self.touch(counters)
                counters.gone(Reason.SUPERSEDED, 1, size + schema.ROW_OVERHEAD)
                counters.spared.discard(schema.unpack_id(before[0])[1:])
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
            if counters.limits.when_full is Overflow.KEEP_LATEST:
                self.db.executemany(_FORGET_LATEST, [_latest_row(counters, message) for message in messages])
        if done:
            failpoint.reach("commit.deletes")

    def _delete_sized(self, ids: Sequence[int]) -> tuple[int, int]:
        """Delete rows of which some may be gone already. Return how many there were, and their size."""
        sizes = [size for r in schema.runs(ids) for (size,) in self.db.execute(_DELETE_SIZED, r).fetchall()]
        size = sum(sizes) + schema.ROW_OVERHEAD * len(sizes)
        self._logged_bytes += size
        return len(sizes), size

    def _bury(self, message: Message, reason: str) -> None:
        counters = self.target(message.target)
        count, size = self._delete_sized([schema.pack_id(counters.id, message.priority, message.seq)])
        if not count:
            return  # dropped meanwhile, and counted as that
        if counters.limits.when_full is Overflow.KEEP_LATEST:
            self.db.execute(_FORGET_LATEST, _latest_row(counters, message))
        headers = {**message.event.headers, schema.PRIORITY: str(message.priority), schema.REASON: reason}
        letter = message._replace(event=message.event._replace(headers=headers))
        row = schema.to_row(schema.pack_id(counters.id, schema.DEAD, message.seq), letter)
        self._rows.append(row)
        counters.dead += 1
        counters.bytes += schema.size_of(row) - size

    def _rewrite(self, message: Message) -> None:
        """Store the new count of tries of a message that failed."""
        counters = self.targets[message.target]
        row = schema.to_row(schema.pack_id(counters.id, message.priority, message.seq), message)
        row_id, _, _, meta, checksum = row
        known = self.db.execute("SELECT length(meta) FROM message WHERE id = ?", (row_id,)).fetchone()
        if known is None:
            return  # dropped meanwhile
        self.db.execute("UPDATE message SET meta = ?, checksum = ? WHERE id = ?", (meta, checksum, row_id))
        if known[0] != len(meta):
            self.touch(counters)
            counters.bytes += len(meta) - known[0]

    def cut(self, counters: Counters, lane: int, last: int) -> None:
        """Note that a lane's messages up to row id `last` are gone: what is held of them must not be handed out."""
        self._cuts.append((counters, lane, schema.unpack_id(last)[2], False))
        if counters.limits.when_full is Overflow.KEEP_LATEST:
            span = schema.pack_id(counters.id, lane, 0), last
            self.db.execute("DELETE FROM latest WHERE message BETWEEN ? AND ?", span)

    def spare(self, counters: Counters, message: Message) -> None:
        """Note that a replayed letter waits again, although others of its age in its lane are gone."""
        keeps_latest = counters.limits.when_full is Overflow.KEEP_LATEST
        if keeps_latest or self._cuts or message.seq <= counters.floors[message.priority]:
            self._cuts.append((counters, message.priority, message.seq, True))

    # -- reading -------------------------------------------------------------------------------------------------

    def page(self, name: str, lane: int, after: int, limit: int) -> Page:
        """Return the next messages of a lane in order.

        Raises: DamagedError when a row is damaged that was not known to be, or when rows are not where they should be.
        """
        counters = self.targets[name]
        first, last = schema.lane_range(counters.id, lane, after)
        messages: list[Message] = []
        damaged: list[int] = []
        size, upto, more = 0, after, False
        # The row after the lane's last is looked at too: a row that strayed, by a flipped bit in its id, hides others.
        before = first - 1
        for row in self.db.execute(_NEXT, (first, limit + 1)):
            if row[0] <= before:  # a page of the file in the place of another one
                raise connection.DamagedError(f"row {row[0]} is not where it should be")
            before = row[0]
            if row[0] > last:
                if not schema.is_intact(row):
                    self.examine()
                break
            if len(messages) + len(damaged) == limit or size >= _PAGE_BYTES:
                more = True
                break
            upto = schema.unpack_id(row[0])[2]
            try:
                messages.append(schema.from_row(name, row))
            except StoreError:
                damaged.append(row[0])
            else:
                size += len(row[2])
        self._make_sure(name, damaged)
        if not more:
            self._recount(counters)
        upto = upto if more else counters.produced
        counters.read[lane] = max(counters.read[lane], upto)
        return Page(messages, damaged, upto, more)

    def _make_sure(self, name: str, damaged: Iterable[int]) -> None:
        """Look twice: what was read may be wrong, and right on the disk. Raises: DamagedError the first time."""
        fresh = set(damaged) - self._suspects
        if fresh:
            self._suspects |= fresh
            raise connection.DamagedError(f"{len(fresh)} rows of queue {name!r} do not match their checksums")

    def _recount(self, counters: Counters) -> None:
        """Count what waits when the end of a lane was reached, if it is little: nothing may hide behind damage."""
        if counters.queued > _RECOUNT:
            return
        # Lane by lane: a page in the place of another one holds as many rows, and ends the lane in which it is.
        spans = [schema.lane_range(counters.id, lane) for lane in range(schema.LANES)]
        if sum(self.db.execute(_COUNT, span).fetchone()[0] for span in spans) != counters.queued:
            self.examine()

    def set_aside(self, name: str, row_ids: Iterable[int]) -> None:
        """Make damaged rows dead letters as they are: not to be trusted, but a person may learn from them."""
        counters = self.target(name)
        for row_id in row_ids:
            row = self.db.execute("SELECT * FROM message WHERE id = ?", (row_id,)).fetchone()
            if row is None:
                continue
            try:
                schema.from_row(name, row)
            except StoreError as error:
                ids = schema.pack_id(counters.id, schema.DEAD, schema.unpack_id(row_id)[2]), row_id
                counters.dead += self.db.execute("UPDATE OR IGNORE message SET id = ? WHERE id = ?", ids).rowcount
                self.note(f"{error}; it was set aside as a dead letter")


def _latest_row(counters: Counters, message: Message) -> tuple[str, int]:
    return f"{counters.id}:{message.event.topic}", schema.pack_id(counters.id, message.priority, message.seq)


def _needs(entries: Iterable[Entry]) -> dict[str, Need]:
    """Return what each target will have to take."""
    needs: dict[str, Need] = {}
    for event, feeds in entries:
        size = len(event.topic) + len(event.payload) + _META_BYTES
        for target, priority in feeds:
            known, lane = needs.get(target, (0, priority))
            needs[target] = Need(known + size, min(lane, priority))
    return needs
