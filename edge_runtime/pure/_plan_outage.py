"""What an outage of the link does to a queue: when it is full, what is lost then, and what waits in the end."""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_runtime.app import Overflow
from edge_runtime.pure._plan_stream import Stream

PAGE_BYTES = 4096
_LEAF_BYTES = PAGE_BYTES - 8
_MOST_LOCAL = PAGE_BYTES - 35
_LEAST_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
_OVERFLOW_BYTES = PAGE_BYTES - 4


def on_disk(size: float) -> float:
    """Return how many bytes of a file of SQLite a row takes whose columns have so many, overhead included.

    A page holds whole rows only, and of a longer one only the end. Source: SQLite file format, section 1.6.
    """
    local, pages = size, 0
    if size > _MOST_LOCAL:
        local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % _OVERFLOW_BYTES
        local = local if local <= _MOST_LOCAL else _LEAST_LOCAL
        pages = math.ceil((size - local) / _OVERFLOW_BYTES)
    return PAGE_BYTES / (_LEAF_BYTES // max(local, 1.0)) + pages * PAGE_BYTES


class Room(NamedTuple):
    """How a queue stands, and the bounds that it has."""

    waiting: int = 0
    """Messages that wait already."""
    waiting_bytes: int = 0
    """What the queue takes, by its own books."""
    queue_limit: int = 0
    """What it may take, by the same; 0: as much as there is."""
    store_used: int = 0
    """What the file holds, all queues together,"""
    store_limit: int = 1 << 62
    """and what it may hold."""
    disk_left: int = 1 << 62
    """By so much more may it hold, by the disk and the share of it that stays free."""
    ttl_s: float = 0.0
    when_full: Overflow = Overflow.DROP_OLDEST


class Outage(NamedTuple):
    """What becomes of a queue while nothing leaves it."""

    seconds: float
    arrived: int
    """Messages that came meanwhile."""
    full_s: float | None
    """When it is full for the first time; None: not within this time."""
    bound: str
    """What is full then, or would be with more: `queue`, `store` or `disk`; empty when there is no bound."""
    most: int | None
    """So many messages fit; None: there is no bound."""
    waiting: int
    """In the end."""
    dropped: int
    """The oldest, for newer ones."""
    thinned: int
    """Readings that others carry as their mean; what is no reading is dropped."""
    superseded: int
    """Replaced by a newer message of their topic."""
    refused: int
    """Never accepted."""
    expired: int
    waiting_bytes: int
    """What waits takes in the end, by the books of the queue."""
    needed_bytes: int
    """What everything would take that a time to live leaves, by the books of the queue,"""
    needed_disk: int
    """and by how much what the store holds would grow."""

    @property
    def lost(self) -> int:
        """Messages that are not there in the end, of all that were to be."""
        return self.dropped + self.thinned + self.superseded + self.refused + self.expired


def outage(stream: Stream, room: Room, seconds: float) -> Outage:
    """Return what becomes of a queue whose consumer is away for so long."""
    rate, before = stream.per_s, float(room.waiting)
    if room.when_full is Overflow.KEEP_LATEST:
        return _latest(stream, room, seconds)
    bound, most = _most(stream, room)
    total = before + rate * seconds
    lives = min(seconds, room.ttl_s) if room.ttl_s else seconds
    expires = 0 < room.ttl_s <= seconds
    kept = rate * lives + (0.0 if expires else before)
    """What would wait if there were room for all."""
    peak = before + rate * lives
    full_s = max(0.0, (most - before) / rate) if rate and peak > most else None
    if full_s is not None and room.when_full is Overflow.REJECT_NEW:
        waiting, refused, expired, dropped = _refusing(rate, room, seconds, most)
    else:
        waiting, refused = min(kept, most), 0.0
        gone = total - waiting
        dropped = 0.0 if full_s is None else gone if kept >= most else min(gone, peak - most)
        expired = gone - dropped
    thins = room.when_full is Overflow.DOWNSAMPLE
    numbers = _whole(total, waiting, dropped, refused, expired)
    return Outage(
        seconds=seconds,
        arrived=numbers[0] - room.waiting,
        full_s=full_s,
        bound=bound,
        most=None if math.isinf(most) else int(most),
        waiting=numbers[1],
        dropped=0 if thins else numbers[2],
        thinned=numbers[2] if thins else 0,
        superseded=0,
        refused=numbers[3],
        expired=numbers[4],
        waiting_bytes=_bytes(stream, room, numbers[1]),
        needed_bytes=_bytes(stream, room, math.ceil(peak)),
        needed_disk=math.ceil(rate * lives * on_disk(stream.disk)),
    )


def _most(stream: Stream, room: Room) -> tuple[str, float]:
    """Return what is full first, and how many messages fit until then."""
    row = on_disk(stream.disk)
    fits = {"store": (room.store_limit - room.store_used) / row, "disk": room.disk_left / row}
    if room.queue_limit:
        fits["queue"] = (room.queue_limit - room.waiting_bytes) / stream.disk
    bound = min(fits, key=lambda name: fits[name])
    if fits[bound] * row >= 1 << 60:
        return "", math.inf
    return bound, max(0.0, room.waiting + fits[bound])


def _refusing(rate: float, room: Room, seconds: float, most: float) -> tuple[float, float, float, float]:
    """Return what waits, was refused, has expired and was dropped with a queue that refuses what is new.

    What it holds expires together, as it came together; then it takes as much again.
    """
    before = float(room.waiting)
    first = min(rate * seconds, max(0.0, most - before))
    if not room.ttl_s or seconds < room.ttl_s:
        return before + first, rate * seconds - first, 0.0, 0.0
    rounds, rest = divmod(seconds, room.ttl_s)
    lasting = min(rate * rest, most)
    accepted = min(rate * room.ttl_s, max(0.0, most - before)) + (rounds - 1) * min(rate * room.ttl_s, most) + lasting
    waiting = min(most, rate * room.ttl_s, before + accepted)
    return waiting, max(0.0, rate * seconds - accepted), max(0.0, before + accepted - waiting), 0.0


def _latest(stream: Stream, room: Room, seconds: float) -> Outage:
    """Return what becomes of a queue that keeps one message of each topic; more than that it never holds."""
    topics = max(1, stream.topics)
    arrived = math.floor(stream.per_s * seconds)
    most = max(topics, room.waiting)
    waiting = min(most, room.waiting + arrived)
    expired = 0 if not room.ttl_s or stream.per_s * room.ttl_s >= topics else waiting
    size = _bytes(stream, room, waiting)
    disk = math.ceil(max(0, waiting - room.waiting) * on_disk(stream.disk))
    return Outage(
        seconds, arrived, None, "", most, waiting - expired, 0, 0, room.waiting + arrived - waiting, 0, expired,
        size if not expired else 0, size, disk,
    )  # fmt: skip


def _whole(total: float, *parts: float) -> list[int]:
    """Return all as whole numbers, of which the parts make up the total."""
    whole = [math.floor(part + 1e-6) for part in parts]
    missing = math.floor(total + 1e-6) - sum(whole)
    # What is left over goes to the greatest part: nobody counts it.
    greatest = max(range(len(parts)), key=lambda place: parts[place])
    whole[greatest] += missing
    return [sum(whole), *whole]


def _bytes(stream: Stream, room: Room, messages: int) -> int:
    """Return what so many messages take: those that wait as they are, the others as they come."""
    mean = room.waiting_bytes / room.waiting if room.waiting else stream.disk
    old = min(messages, room.waiting)
    return round(old * mean + (messages - old) * stream.disk)
