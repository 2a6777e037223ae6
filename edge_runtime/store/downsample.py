"""Old readings make room: those of one topic in one interval become one message, see `pure.thinning`.

A lane is gone through from its oldest row on, a bounded number of rows a step. When that has come to the end and there
is need of more room, it begins anew with the next longer interval that puts anything together. So what is old has an
interval at most one round longer than what is newer, and how far it has come is remembered in the database.

Only rows are touched whose messages nobody holds and nobody was given. The new row takes the place of the last one of
those that it stands for: the order of the lane stays, and so does the order of ages that expiry relies on.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edge_runtime import failpoint
from edge_runtime.clock import new_id
from edge_runtime.errors import StoreError
from edge_runtime.model import Message, Reason
from edge_runtime.pure import thinning
from edge_runtime.store import connection, schema
from edge_runtime.store.ahead import Ahead
from edge_runtime.store.lane import Backlog

if TYPE_CHECKING:
    from edge_runtime.store.counters import Counters
    from edge_runtime.store.writer import Writer

ROWS = 256
"""Of a step."""
_AGAIN = ROWS // 2
"""So many of them at most are those of an interval that the step before did not see the end of."""
INTERVAL_NS = 60_000_000_000
"""The first interval; it doubles `LEVELS` times at most, to 17 hours."""
LEVELS = 10
_MEMO = "thinned"
_FIRST = "SELECT min(id) FROM message WHERE id BETWEEN ? AND ?"
# A payload that is too long for a reading is not read at all.
_NEXT = (
    f"SELECT id, topic, CASE WHEN length(payload) <= {thinning.MOST_BYTES} THEN payload END, meta, checksum "  # noqa: S608 - our own constants
    "FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
)
_DELETE = "DELETE FROM message WHERE id BETWEEN ? AND ?"
_PUT = f"{schema.INSERT}({', '.join('?' * schema.COLUMNS)})"


class _Place(NamedTuple):
    """How far the thinning of a lane has come."""

    level: int = 0
    """The interval is doubled so many times."""
    at: int = 0
    """Rows up to this sequence number were gone through in this round."""
    open: int = 0
    """Rows after this one are of intervals that may not have ended: they are looked at again with what follows."""
    most: int = 0
    """The furthest that any round came: when all of that has left, the next one begins with the first interval."""
    longer: int = 0
    """The level that would have put together more in this round; 0: none would."""


@dataclass(slots=True, eq=False)
class _Group:
    """Rows that become one."""

    bucket: int
    message: Message
    """The last one."""
    reading: thinning.Reading
    """Its shape, and the summary of all."""
    rows: list[int]
    """Their places in the step."""
    size: int


def step(writer: Writer, counters: Counters, lane: int) -> int | None:
    """Thin some rows of the least urgent lane that has any to thin, and of none more urgent than `lane`.

    Return the bytes that this freed, which may be none; or None when there is nothing left to be thinned.
    """
    writer.flush()
    for number in range(schema.LANES - 1, lane - 1, -1):
        freed = _step(writer, counters, number)
        if freed is not None:
            return freed
    return None


def _step(writer: Writer, counters: Counters, lane: int) -> int | None:
    free = counters.backlog.get(lane) if counters.backlog is not None else Backlog(0, counters.produced + 1, [])
    first = writer.db.execute(_FIRST, schema.lane_range(counters.id, lane)).fetchone()[0]
    if free is None or first is None:
        return None
    key = f"{_MEMO}:{counters.id}:{lane}"
    place = _load(writer.memo(key))
    if schema.unpack_id(first)[2] > place.most:
        place = _Place()
    after = max(free.after, counters.read[lane])
    if not _rows(writer, counters.id, lane, (max(place.at, after), free.before), 1):
        if not 0 < place.longer <= LEVELS:
            return None
        place = _Place(place.longer, most=place.most)
    rows = _rows(writer, counters.id, lane, (max(place.open, after), free.before), ROWS)
    if not rows:
        return None
    groups, longer = _gather(counters, rows, free, place.level)
    freed, left = _replace(writer, counters, rows, [group for group in groups if len(group.rows) > 1])
    levels = [level for level in (place.longer, longer) if level]
    at = schema.unpack_id(rows[-1][0])[2]
    place = place._replace(at=at, most=max(place.most, at), longer=min(levels, default=0))
    place = place._replace(open=_open(rows, groups, left, place))
    writer.remember({key: json.dumps(place)})
    return freed


def _load(memo: str | None) -> _Place:
    return _Place(*json.loads(memo)) if memo is not None else _Place()


def _rows(writer: Writer, target: int, lane: int, between: tuple[int, int], most: int) -> list[schema.Row]:
    """Return the first rows whose sequence numbers are between those two, the two left out."""
    span = schema.pack_id(target, lane, between[0] + 1), schema.pack_id(target, lane, between[1]) - 1
    rows = writer.db.execute(_NEXT, (*span, most)).fetchall() if span[0] <= span[1] else []
    if any(one[0] >= two[0] for one, two in itertools.pairwise(rows)):
        raise connection.DamagedError(f"rows of target {target} are not where they should be")
    return rows


def _gather(counters: Counters, rows: Sequence[schema.Row], free: Backlog, level: int) -> tuple[list[_Group], int]:
    """Return the groups that readings form at this level, and the next level that would join two of those."""
    groups: list[_Group] = []
    last: dict[tuple[str, ...], _Group] = {}
    longer = 0
    taken = Ahead(free.but)
    for place, row in enumerate(rows):
        if row[2] is None or schema.unpack_id(row[0])[2] in taken:
            continue
        found = _reading(counters.name, row)
        if found is None:
            continue
        message, reading = found
        event = message.event
        key = event.topic, event.source, reading.kind, *(text for pair in event.headers.items() for text in pair)
        bucket = message.age_ns // INTERVAL_NS
        group = last.get(key)
        needed = (group.bucket ^ bucket).bit_length() if group else 0
        if group is None or needed > level:
            longer = min(longer or needed, needed) if group else longer
            last[key] = group = _Group(bucket, message, reading, [place], schema.size_of(row))
            groups.append(group)
            continue
        group.message = message
        group.reading = reading._replace(summary=thinning.merge(group.reading.summary, reading.summary))
        group.rows.append(place)
        group.size += schema.size_of(row)
    return groups, longer


def _reading(name: str, row: schema.Row) -> tuple[Message, thinning.Reading] | None:
    try:
        message = schema.from_row(name, row)
    except StoreError:
        return None  # whoever reads it sets it aside
    if message.tries:
        return None
    reading = thinning.parse(message.event.payload, message.event.time.wall_ns, message.age_ns)
    return None if reading is None else (message, reading)


def _replace(
    writer: Writer, counters: Counters, rows: Sequence[schema.Row], groups: Sequence[_Group]
) -> tuple[int, list[int]]:
    """Put one row in the place of each group that this makes smaller. Return the bytes freed, and the places left."""
    gone: set[int] = set()
    new: list[schema.Row] = []
    freed = 0
    for group in groups:
        row = _row(writer, rows[group.rows[-1]][0], group)
        size = schema.size_of(row)
        if size < group.size:
            gone.update(group.rows)
            new.append(row)
            freed += group.size - size
    for first, last in schema.runs(sorted(gone)):
        writer.db.execute(_DELETE, (rows[first][0], rows[last][0]))
    if new:
        writer.db.executemany(_PUT, new)
        writer.logged(2 * sum(schema.size_of(row) for row in new) + freed)
        writer.touch(counters)
        counters.gone(Reason.THINNED, len(gone) - len(new), freed)
        failpoint.reach("thin.done")
    kept = {row[0] for row in new}
    return freed, [place for place, row in enumerate(rows) if place not in gone or row[0] in kept]


def _row(writer: Writer, row_id: int, group: _Group) -> schema.Row:
    message = group.message
    event_id = new_id(writer.clock.now())
    payload = thinning.build(group.reading.shape, group.reading.summary, event_id)
    return schema.to_row(row_id, message._replace(event=message.event._replace(payload=payload, id=event_id)))


def _open(rows: Sequence[schema.Row], groups: Sequence[_Group], left: Sequence[int], place: _Place) -> int:
    """Return the number after which the rows are of the interval that the last readings are of, if not too many."""
    if not groups:
        return place.at
    last = groups[-1].bucket >> place.level
    there = set(left)
    first = min(n for group in groups if group.bucket >> place.level == last for n in group.rows if n in there)
    again = [number for number in left if number >= first][-_AGAIN:]
    return schema.unpack_id(rows[again[0]][0])[2] - 1
