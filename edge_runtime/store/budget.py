"""How much room there is, and who has to go when there is none."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from edge_runtime import failpoint
from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.errors import QueueFullError
from edge_runtime.model import Reason
from edge_runtime.store import schema
from edge_runtime.store.counters import Counters

if TYPE_CHECKING:
    from edge_runtime.store.writer import Writer

DEFAULT_BYTES = 256_000_000
_LEAST_BYTES = 1 << 20
_SLACK_BYTES = 4 << 20
"""How far the file may outgrow its limit: SQLite frees whole pages only, and a delete needs room to give any."""
_EVICT_ROWS = 256
_DISK_EVERY_S = 1.0
_STEP_BYTES = 64 << 10
_SHRINK_PAGES = 256
_TIGHT_S = 2.0
_STEPS = 4
"""How often one commit thins at most, before it drops."""
_NEARLY_FULL = 16
"""Thinning begins when this part of the room is left, so that there is time for it before something is dropped."""
_PLENTY_BYTES = 16 << 20
"""More than the log and the ballast take."""


def limit_of(folder: Path, limits: StoreLimits) -> int:
    """Return the bound of a database file that is in this folder, or will be. Raises: OSError."""
    disk = os.statvfs(folder)
    return limits.limit_bytes or max(_LEAST_BYTES, min(DEFAULT_BYTES, disk.f_bavail * disk.f_frsize // 10))


def room_on_disk(folder: Path, limits: StoreLimits) -> int:
    """Return by how many bytes files may grow there until the share of the disk is reached that stays free.

    Raises: OSError.
    """
    disk = os.statvfs(folder)
    return max(0, int((disk.f_bavail - disk.f_blocks * limits.keep_free) * disk.f_frsize))


class Need(NamedTuple):
    """What a target is about to be given."""

    size: int
    lane: int
    """That of the most urgent of it."""


class Budget:
    """The bounds of the database file: its own limit, and the share of the disk that stays free."""

    def __init__(self, folder: Path, limits: StoreLimits, queues: Iterable[QueueLimits]) -> None:
        """Settle the limit. Raises: OSError when the folder cannot be looked at."""
        self._folder = folder
        self._keep_free = limits.keep_free
        self.limit_bytes = limit_of(folder, limits)
        self.file_bytes = self.limit_bytes + _SLACK_BYTES
        self._db: sqlite3.Connection | None = None
        self._left = 0
        bounds = list(queues)
        self._bounded = any(q.limit_bytes or q.when_full is Overflow.REJECT_NEW for q in bounds)
        self._step: Callable[[Writer, Counters, int], int | None] = lambda *_: None
        if any(q.when_full is Overflow.DOWNSAMPLE for q in bounds):
            # Only where an app asks for it; and now, for a full disk is no time to load a module.
            from edge_runtime.store import downsample  # noqa: PLC0415 - same

            self._step = downsample.step
        self._looked_s = 0.0
        self._tight_until_s = 0.0
        self.tight = False
        """The disk is nearly full: the file may not grow."""

    def attach(self, db: sqlite3.Connection) -> None:
        """Measure by this connection from now on."""
        self._db = db
        self._left = 0

    def tighten(self) -> None:
        """Take notice that the disk is full, whatever it says of itself."""
        self.tight = True
        self._left = 0
        self._tight_until_s = time.monotonic() + _TIGHT_S

    def disk_has_room(self) -> bool:
        """Tell whether the disk says that it is not full, as after an error that came once."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize > _PLENTY_BYTES

    def used_bytes(self) -> int:
        """Return the bytes of the file that hold something."""
        if self._db is None:
            return 0
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        return int(pages - free) * schema.PAGE_SIZE

    def room(self) -> int:
        """Return how many bytes may be added now, below zero when there are too many already."""
        self._look_at_disk()
        room = self.limit_bytes - self.used_bytes()
        if self.tight and self._db is not None:
            # Only what lies free inside the file may be used again.
            free = self._db.execute("PRAGMA freelist_count").fetchone()[0] * schema.PAGE_SIZE
            room = min(room, free - 4 * schema.PAGE_SIZE)
        return int(room)

    def tick(self) -> bool:
        """Take note that a batch begins: once a second the disk is looked at. Return True when it was."""
        if time.monotonic() - self._looked_s < _DISK_EVERY_S:
            return False
        self._left = 0
        self._look_at_disk()
        return True

    def shrink(self) -> None:
        """Give some of the file back to the disk, in this transaction, when most of it holds nothing."""
        if self._db is None:
            return
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        if free >= _SHRINK_PAGES and free > self._db.execute("PRAGMA page_count").fetchone()[0] // 2:
            for _ in range(_SHRINK_PAGES):
                # Python steps a statement without columns once only, which frees one page whatever the number says.
                self._db.execute("PRAGMA incremental_vacuum(1)")

    def grants(self, total: int) -> bool:
        """Tell whether so many bytes fit for certain, and take them. If not, `make_room` finds out more."""
        if total > self._left or self._bounded:
            return False
        self._left -= total
        return True

    def make_room(self, writer: Writer, needs: Mapping[str, Need]) -> list[tuple[Counters, int]]:
        """See to it that each target can take what it needs, by the policy of each.

        Nothing is dropped for something less urgent. Where that leaves too little room, the targets and bytes are
        returned that are to be dropped (`evict`) once the rows are there: the new ones are then the first to go.

        Raises: QueueFullError when a target that may not drop is full; nothing was dropped for it.
        """
        total = sum(need.size for need in needs.values())
        for name, need in needs.items():
            counters = writer.targets[name]
            limit = counters.limits.limit_bytes
            if _thins(counters) and need.size <= limit and _over(counters, need.size + limit // _NEARLY_FULL):
                self._thin(writer, counters, need)
        full = [t for name, need in needs.items() if _over(t := writer.targets[name], need.size)]
        if total > self._left:
            writer.flush()
            # What was counted as room is re-measured now and then only: a look costs as much as a row.
            room = self.room()
            if room - total < self.limit_bytes // _NEARLY_FULL and total <= self.limit_bytes:
                room += self._thin_all(writer, needs, total - room)
            self._left = min(room, max(_STEP_BYTES, total)) if room >= total else room
        self._check(writer, needs, full, total - self._left)
        debts = []
        for counters in full:
            need = needs[counters.name]
            wanted = counters.bytes + need.size - counters.limits.limit_bytes
            freed = self.evict(writer, counters, wanted, need.lane)
            self._left += freed
            if freed < wanted:
                debts.append((counters, wanted - freed))
        debts += self._evict_for(writer, needs, total - self._left)
        self._left -= total
        return debts

    def _check(self, writer: Writer, needs: Mapping[str, Need], full: Sequence[Counters], short: int) -> None:
        """Refuse what can have no room."""
        for name, need in needs.items():
            counters = writer.targets[name]
            if 0 < counters.limits.limit_bytes < need.size:
                self._refuse(
                    writer,
                    needs,
                    f"{need.size} bytes do not fit into queue {name!r}, which holds {counters.limits.limit_bytes} "
                    "at most",
                    hint=f"raise `queues: {{{name}: {{limit: ...}}}}`",
                )
            if _refuses(counters) and (short > 0 or counters in full):
                self._refuse(
                    writer,
                    needs,
                    f"queue {name!r} is full ({counters.queued} messages, {counters.bytes} bytes)",
                    hint=f"edge queue ls {name}; it empties as messages are delivered, or: edge queue purge {name}",
                )
        if short > sum(c.bytes for c in writer.targets.values() if not _refuses(c)):
            self._refuse(
                writer,
                needs,
                f"the store is full: {self.used_bytes()} of {self.limit_bytes} bytes"
                + (", and the disk has no room to grow" if self.tight else ""),
                hint="free some disk, or raise `queue: {limit: ...}`; see edge status",
            )

    @staticmethod
    def _refuse(writer: Writer, needs: Iterable[str], message: str, *, hint: str) -> NoReturn:
        for name in needs:
            writer.target(name).rejected += 1
        raise QueueFullError(message, hint=hint)

    def _evict_for(self, writer: Writer, needs: Mapping[str, Need], short: int) -> list[tuple[Counters, int]]:
        """Free `short` bytes of the file, from the targets that are being fed first, then from the biggest."""
        if short <= 0:
            return []
        lane = min(need.lane for need in needs.values())
        fed = sorted((writer.targets[name] for name in needs), key=lambda c: -c.bytes)
        others = sorted((c for c in writer.targets.values() if c not in fed), key=lambda c: -c.bytes)
        for counters in [*fed, *others]:
            if not _refuses(counters):
                freed = self.evict(writer, counters, short, lane)
                short -= freed
                self._left += freed
            if short <= 0:
                return []
        self._left += short
        return [(fed[0], short)]

    def _thin(self, writer: Writer, counters: Counters, need: Need) -> None:
        """Thin a queue that is nearly full; more than once if it is full."""
        for _ in range(_STEPS):
            if self._step(writer, counters, need.lane) is None or not _over(counters, need.size):
                return

    def _thin_all(self, writer: Writer, needs: Mapping[str, Need], short: int) -> int:
        """Thin the queues that may be, more than once if `short` bytes are missing. Return the bytes of pages freed."""
        thinned = [counters for counters in writer.targets.values() if _thins(counters)]
        if not thinned:
            return 0
        lane = min(need.lane for need in needs.values())
        before = self.used_bytes()
        steps = _STEPS
        for counters in sorted(thinned, key=lambda c: (c.name not in needs, -c.bytes)):
            while steps and self._step(writer, counters, lane) is not None:
                steps -= 1
                if before - self.used_bytes() >= short:
                    return before - self.used_bytes()
        return before - self.used_bytes()

    @staticmethod
    def evict(writer: Writer, counters: Counters, wanted: int, lane: int = 0) -> int:
        """Drop what matters least until `wanted` bytes are free, and nothing of a lane more urgent than `lane`.

        Dead letters go first, then the least urgent messages, of them the oldest first. Returns the bytes freed.
        """
        freed = 0
        writer.flush()
        for number in (schema.DEAD, *range(schema.LANES - 1, lane - 1, -1)):
            while freed < wanted:
                count, size = Budget._evict_some(writer, counters, number, wanted - freed)
                if not count:
                    break
                freed += size
        failpoint.reach("evict.done")
        return freed

    @staticmethod
    def _evict_some(writer: Writer, counters: Counters, lane: int, wanted: int) -> tuple[int, int]:
        first, last = schema.lane_range(counters.id, lane)
        rows = writer.db.execute(
            f"SELECT id, {schema.SIZE} FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",  # noqa: S608 - ours
            (first, last, _EVICT_ROWS),
        ).fetchall()
        freed = count = 0
        for row_id, size in rows:
            last, freed, count = row_id, freed + size + schema.ROW_OVERHEAD, count + 1
            if freed >= wanted:
                break
        if count:
            writer.db.execute("DELETE FROM message WHERE id BETWEEN ? AND ?", (first, last))
            writer.touch(counters)
            counters.gone(Reason.OVERFLOW, count, freed)
            writer.cut(counters, lane, last)
            if lane == schema.DEAD:
                counters.dead -= count
        return count, freed

    def _look_at_disk(self) -> None:
        self._looked_s = time.monotonic()
        disk = os.statvfs(self._folder)
        self.tight = disk.f_bavail < disk.f_blocks * self._keep_free or self._looked_s < self._tight_until_s


def _thins(counters: Counters) -> bool:
    return counters.limits.when_full is Overflow.DOWNSAMPLE


def _refuses(counters: Counters) -> bool:
    return counters.limits.when_full is Overflow.REJECT_NEW


def _over(counters: Counters, need: int) -> bool:
    limit = counters.limits.limit_bytes
    return limit > 0 and counters.bytes + need > limit
