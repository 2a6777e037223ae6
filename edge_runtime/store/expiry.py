"""Messages that waited too long leave, and are counted.

Age is running time: the monotonic clock, summed over boots. A wall clock that jumps expires nothing, and neither does a
night with the power off.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_runtime.model import Reason
from edge_runtime.store import schema

if TYPE_CHECKING:
    from edge_runtime.store.counters import Counters
    from edge_runtime.store.writer import Writer

_ROWS = 1000
_LATER_NS = 3_600_000_000_000
"""A crash may lose seconds of running time, never an hour: a message from later than that is damaged."""
_OLD = f"SELECT id, meta, {schema.SIZE} FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"  # noqa: S608 - ours


def sweep(writer: Writer) -> float | None:
    """Expire what is due, a bounded number of rows. Return the seconds until more will be, or None when nothing waits.

    Within a lane the oldest message is the first, so only heads are looked at.
    """
    age_ns = writer.age_ns()
    waits = [
        wait
        for counters in list(writer.targets.values())
        if counters.limits.ttl_s > 0
        for lane in range(schema.LANES)
        if (wait := _sweep_lane(writer, counters, lane, age_ns)) is not None
    ]
    return min(waits, default=None)


def _accepted_ns(meta: str) -> int:
    """Return when a row was accepted; 0 for a damaged row, which then goes with those that are too old."""
    try:
        return int(json.loads(meta)[schema.AGE])
    except (ValueError, LookupError, TypeError):
        return 0


def _sweep_lane(writer: Writer, counters: Counters, lane: int, age_ns: int) -> float | None:
    first, end = schema.lane_range(counters.id, lane)
    ttl_ns = int(counters.limits.ttl_s * 1e9)
    rows = writer.db.execute(_OLD, (first, end, _ROWS)).fetchall()
    count = size = last = 0
    wait: float | None = None
    for row_id, meta, row_size in rows:
        accepted_ns = _accepted_ns(meta)
        left_ns = accepted_ns + ttl_ns - age_ns
        if left_ns > 0 and accepted_ns < age_ns + _LATER_NS:
            wait = left_ns / 1e9
            break
        count, size, last = count + 1, size + row_size + schema.ROW_OVERHEAD, row_id
    if count:
        writer.db.execute("DELETE FROM message WHERE id BETWEEN ? AND ?", (first, last))
        writer.touch(counters)
        counters.gone(Reason.EXPIRED, count, size)
        writer.cut(counters, lane, last)
    if wait is None and len(rows) == _ROWS:
        return 0.0
    return wait
