"""How much room there is, and who has to go when there is none."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import failpoint
from edge_runtime.errors import QueueFullError
from edge_runtime.model import Overflow, QueueLimits, Reason, StoreLimits
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
_TIGHT_S = 2.0


class Budget:
    """The bounds of the database file: its own limit, and the share of the disk that stays free."""

    def __init__(self, folder: Path, limits: StoreLimits, queues: Iterable[QueueLimits]) -> None:
        """Settle the limit. Raises: OSError when the folder cannot be looked at."""
        self._folder = folder
        self._keep_free = limits.keep_free
        disk = os.statvfs(folder)
        self.limit_bytes = limits.limit_bytes or max(
            _LEAST_BYTES, min(DEFAULT_BYTES, disk.f_bavail * disk.f_frsize // 10)
        )
        self.file_bytes = self.limit_bytes + _SLACK_BYTES
        self._db: sqlite3.Connection | None = None
        self._left = 0
        self._bounded = any(q.limit_bytes or q.when_full is Overflow.REJECT_NEW for q in queues)
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

    def tick(self) -> None:
        """Take note that a batch begins: once a second the disk is looked at."""
        if time.monotonic() - self._looked_s >= _DISK_EVERY_S:
            self._left = 0

    def make_room(self, writer: Writer, needs: Mapping[str, int]) -> None:
        """See to it that each target can take so many bytes, by the policy of each.

        Raises: QueueFullError when a target that may not drop is full; nothing was dropped for it.
        """
        total = sum(needs.values())
        if total <= self._left and not self._bounded:
            self._left -= total
            return
        full = [t for name, need in needs.items() if _over(t := writer.targets[name], need)]
        if total > self._left:
            writer.flush()
            # What was counted as room is re-measured now and then only: a look costs as much as a row.
            room = self.room()
            self._left = min(room, _STEP_BYTES) if room >= total else room
        refusing = [name for name in needs if writer.targets[name].limits.when_full is Overflow.REJECT_NEW]
        short = self._left < total
        for name in refusing:
            if short or writer.targets[name] in full:
                counters = writer.target(name)
                counters.rejected += 1
                raise QueueFullError(
                    f"queue {name!r} is full ({counters.queued} messages, {counters.bytes} bytes)",
                    hint=f"edge queue ls {name}; it empties as messages are delivered, or: edge queue purge {name}",
                )
        for counters in full:
            self._evict(writer, counters, counters.bytes + needs[counters.name] - counters.limits.limit_bytes)
        if short:
            self._evict_for(writer, needs, total - self._left)
        self._left -= total

    def _evict_for(self, writer: Writer, needs: Mapping[str, int], short: int) -> None:
        """Free `short` bytes of the file, from the targets that are being fed first, then from the biggest."""
        fed = sorted((writer.targets[name] for name in needs), key=lambda c: -c.bytes)
        others = sorted((c for c in writer.targets.values() if c not in fed), key=lambda c: -c.bytes)
        for counters in [*fed, *others]:
            if counters.limits.when_full is Overflow.REJECT_NEW:
                continue
            freed = self._evict(writer, counters, short)
            short -= freed
            self._left += freed
            if short <= 0:
                return
        raise QueueFullError(
            f"the store is full: {self.used_bytes()} of {self.limit_bytes} bytes"
            + (", and the disk has no room to grow" if self.tight else ""),
            hint="free some disk, or raise `queue: {limit: ...}`; see edge status",
        )

    def _evict(self, writer: Writer, counters: Counters, wanted: int) -> int:
        """Drop what matters least until `wanted` bytes are free: dead letters, then the least urgent, oldest first."""
        freed = 0
        writer.flush()
        for lane in (schema.DEAD, *range(schema.LANES - 1, -1, -1)):
            while freed < wanted:
                count, size = self._evict_some(writer, counters, lane, wanted - freed)
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
            counters.floors[lane] = schema.unpack_id(last)[2]
            if lane == schema.DEAD:
                counters.dead -= count
        return count, freed

    def _look_at_disk(self) -> None:
        self._looked_s = time.monotonic()
        disk = os.statvfs(self._folder)
        self.tight = disk.f_bavail < disk.f_blocks * self._keep_free or self._looked_s < self._tight_until_s


def _over(counters: Counters, need: int) -> bool:
    limit = counters.limits.limit_bytes
    return limit > 0 and counters.bytes + need > limit
