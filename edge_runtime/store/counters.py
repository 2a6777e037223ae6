"""The ledger of one target: how many messages it was given, and what became of each."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from edge_runtime.app import QueueLimits
from edge_runtime.model import Reason
from edge_runtime.store.lane import Backlog

FIELDS = (
    "produced", "delivered", "expired", "overflow", "superseded", "purged", "corrupted", "dead", "rejected", "bytes",
    "thinned",
)  # fmt: skip
_FIRST = 10
"""So many of them format 1 of the file had."""
_BYTES = FIELDS.index("bytes")
SAVE = f"UPDATE target SET {', '.join(f'{name} = ?' for name in FIELDS)}, checksum = ? WHERE id = ?"  # noqa: S608 - ours
_COLUMNS = "SELECT name FROM pragma_table_info('target')"
_SEALED = (*FIELDS, "checksum")
ADD = f"INSERT INTO target (id, name, {', '.join(_SEALED)}) VALUES ({', '.join('?' * (len(_SEALED) + 2))})"  # noqa: S608 - our own constants
_DROPS = (Reason.OVERFLOW, Reason.SUPERSEDED, Reason.PURGED, Reason.CORRUPTED, Reason.THINNED)
_SETTLED = ("delivered", "expired", *_DROPS)


@dataclass(slots=True, eq=False)
class Counters:
    """The row of table `target`, and the bounds that the app declares for it.

    Always: produced = delivered + queued + expired + dropped + dead, where dropped is the sum over its reasons.
    """

    id: int
    name: str
    produced: int = 0
    """The last sequence number given out."""
    delivered: int = 0
    expired: int = 0
    overflow: int = 0
    superseded: int = 0
    purged: int = 0
    corrupted: int = 0
    dead: int = 0
    """Dead letters there are now."""
    rejected: int = 0
    """Events refused because the queue was full: never accepted, so no part of `produced`."""
    bytes: int = 0
    """About what its messages take on disk, dead letters included."""
    thinned: int = 0
    """Messages whose readings another one carries now."""
    saved: int = 0
    """What `produced` was when the row was last written."""
    limits: QueueLimits = field(default_factory=QueueLimits)
    floors: list[int] = field(default_factory=lambda: [0] * 16)
    """By lane: up to this sequence number, messages were dropped or expired since the start."""
    spared: set[tuple[int, int]] = field(default_factory=set)
    """(lane, sequence number) of replayed letters, which wait although they are below the floor."""
    read: list[int] = field(default_factory=lambda: [0] * 16)
    """By lane: up to this sequence number, messages were read for the consumer since the start."""
    backlog: Mapping[int, Backlog] | None = None
    """By lane: which rows nobody holds, as of the beginning of the batch. None: nobody holds any."""

    @property
    def dropped(self) -> int:
        """Messages given up, for whatever reason."""
        return self.overflow + self.superseded + self.purged + self.corrupted + self.thinned

    @property
    def queued(self) -> int:
        """Messages that wait or are on their way, by the books."""
        return self.produced - self.delivered - self.expired - self.dropped - self.dead

    @property
    def reasons(self) -> dict[str, int]:
        """The drops by reason, those that happened."""
        return {str(r): getattr(self, r) for r in _DROPS if getattr(self, r)}

    def gone(self, reason: Reason, count: int, size: int) -> None:
        """Count messages that leave without having been delivered."""
        setattr(self, reason, getattr(self, reason) + count)
        self.bytes = max(0, self.bytes - size)

    def values(self) -> tuple[int, ...]:
        """Return the columns that are saved, in the order of FIELDS."""
        return (
            self.produced, self.delivered, self.expired, self.overflow, self.superseded, self.purged, self.corrupted,
            self.dead, self.rejected, self.bytes, self.thinned,
        )  # fmt: skip

    def row(self) -> tuple[int | str, ...]:
        """Return the parameters of ADD."""
        *values, row_id = self.sealed()
        return row_id, self.name, *values

    def sealed(self) -> tuple[int, ...]:
        """Return the parameters of SAVE."""
        values = self.values()
        return (*values, seal(self.id, self.name, values), self.id)

    def restore(self, values: tuple[int, ...]) -> None:
        """Set what `values` returned earlier, or what the database holds."""
        for name, value in zip(FIELDS, values, strict=True):
            setattr(self, name, value)
        self.saved = min(self.saved, self.produced)

    def balance(self, waiting: int, dead: int, size: int) -> int:
        """Make the books agree with the rows there are. Return how many messages are missing.

        What is missing is counted as corrupted. What is there although it was settled is unsettled again.
        """
        self.dead, self.bytes = dead, size
        missing = self.queued - waiting
        if missing >= 0:
            self.corrupted += missing
            return missing
        for name in _SETTLED:
            back = min(getattr(self, name), waiting - self.queued)
            setattr(self, name, getattr(self, name) - back)
        return 0


def seal(row_id: int, name: str, values: Sequence[int]) -> int:
    """Return the checksum of a row of table `target`."""
    return zlib.crc32(f"{row_id}\0{name}\0{tuple(values)}".encode())


def is_intact(row: Sequence[object]) -> bool:
    """Tell whether a row of table `target`, with the checksum at its end, is what was written; of any format."""
    row_id, name, *values, checksum = row
    return checksum == seal(cast("int", row_id), str(name), cast("list[int]", values))


class Loaded(NamedTuple):
    """A row of table `target`, as it was read."""

    id: int
    name: str
    values: tuple[int, ...]
    """In the order of FIELDS."""
    intact: bool


def load(db: sqlite3.Connection) -> list[Loaded]:
    """Return the ledgers that a database holds, of any format that is known. Raises: sqlite3.Error."""
    there = {name for (name,) in db.execute(_COLUMNS)}
    fields = ", ".join(name for name in FIELDS if name in there or name in FIELDS[:_FIRST])
    return [_loaded(row) for row in db.execute(f"SELECT id, name, {fields}, checksum FROM target").fetchall()]  # noqa: S608 - ours


def from_columns(columns: Sequence[object]) -> Loaded | None:
    """Return the ledger of a row as it lies in the file, of any format; None for what is no row of the table.

    The column that format 2 brought is behind the checksum there.
    """
    row_id, name, *values = columns
    if len(values) not in {_FIRST + 1, len(FIELDS) + 1}:
        return None
    first, checksum, added = values[:_FIRST], values[_FIRST], values[_FIRST + 1 :]
    loaded = _loaded((row_id, name, *first, *added, checksum))
    return loaded if loaded.intact else None


def with_bytes(values: tuple[int, ...], produced: int, size: int) -> tuple[int, ...]:
    """Return counters with another `produced` and so many more bytes."""
    return (produced, *values[1:_BYTES], values[_BYTES] + size, *values[_BYTES + 1 :])


def _loaded(row: Sequence[object]) -> Loaded:
    row_id, name, *values, _ = row
    missing = [0] * (len(FIELDS) - len(values))
    return Loaded(cast("int", row_id), str(name), cast("tuple[int, ...]", (*values, *missing)), is_intact(row))
