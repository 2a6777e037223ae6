"""The ledger of one target: how many messages it was given, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_runtime.model import QueueLimits, Reason

FIELDS = (
    "produced", "delivered", "expired", "overflow", "superseded", "purged", "corrupted", "dead", "rejected", "bytes",
)  # fmt: skip
SAVE = f"UPDATE target SET {', '.join(f'{name} = ?' for name in FIELDS)} WHERE id = ?"  # noqa: S608 - our own constants
LOAD = f"SELECT id, name, {', '.join(FIELDS)} FROM target"  # noqa: S608 - our own constants


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

    def restore(self, values: tuple[int, ...]) -> None:
        """Set what `values` returned earlier, or what the database holds."""
        for name, value in zip(FIELDS, values, strict=True):
            setattr(self, name, value)
        self.saved = min(self.saved, self.produced)
