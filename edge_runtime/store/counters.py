"""The ledger of one target: how many messages it was given, and what became of each."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from edge_runtime.app import QueueLimits
from edge_runtime.model import Reason

FIELDS = (
    "produced", "delivered", "expired", "overflow", "superseded", "purged", "corrupted", "dead", "rejected", "bytes",
)  # fmt: skip
SAVE = f"UPDATE target SET {', '.join(f'{name} = ?' for name in FIELDS)}, checksum = ? WHERE id = ?"  # noqa: S608 - ours
LOAD = f"SELECT id, name, {', '.join(FIELDS)}, checksum FROM target"  # noqa: S608 - our own constants
ADD = f"INSERT INTO target VALUES ({', '.join('?' * (len(FIELDS) + 3))})"  # noqa: S608 - our own constants
_SETTLED = ("delivered", "expired", "overflow", "superseded", "purged", "corrupted")


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
    saved: int = 0
    """What `produced` was when the row was last written."""
    limits: QueueLimits = field(default_factory=QueueLimits)
    floors: list[int] = field(default_factory=lambda: [0] * 16)
    """By lane: up to this sequence number, messages were dropped or expired since the start."""
    spared: set[tuple[int, int]] = field(default_factory=set)
    """(lane, sequence number) of replayed letters, which wait although they are below the floor."""

    @property
    def dropped(self) -> int:
        """Messages given up, for whatever reason."""
        return self.overflow + self.superseded + self.purged + self.corrupted

    @property
    def queued(self) -> int:
        """Messages that wait or are on their way, by the books."""
        return self.produced - self.delivered - self.expired - self.dropped - self.dead

    @property
    def reasons(self) -> dict[str, int]:
        """The drops by reason, those that happened."""
        drops = (Reason.OVERFLOW, Reason.SUPERSEDED, Reason.PURGED, Reason.CORRUPTED)
        return {str(r): getattr(self, r) for r in drops if getattr(self, r)}

    def gone(self, reason: Reason, count: int, size: int) -> None:
        """Count messages that leave without having been delivered."""
        setattr(self, reason, getattr(self, reason) + count)
        self.bytes = max(0, self.bytes - size)

    def values(self) -> tuple[int, ...]:
        """Return the columns that are saved, in the order of FIELDS."""
        return (
            self.produced, self.delivered, self.expired, self.overflow, self.superseded, self.purged, self.corrupted,
            self.dead, self.rejected, self.bytes,
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
    """Tell whether a row that LOAD returned is what was written."""
    row_id, name, *values, checksum = row
    return checksum == seal(cast("int", row_id), str(name), cast("list[int]", values))
