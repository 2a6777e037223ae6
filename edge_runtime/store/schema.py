"""The tables, and how a message becomes a row.

The row id says where a message waits: target, lane and sequence number in one 64-bit integer. So the table itself is
the index: every lane is one contiguous range in delivery order, an insert touches one page, and the head of a lane
is found without scanning.

    63  62..51   50..47  46..0
    0   target   lane    seq

Lanes 0 to 9 are the priorities. Lane 15 holds the dead letters of the target.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import cast

from edge_runtime.errors import StoreError
from edge_runtime.model import NO_HEADERS, Event, Message, Stamp

VERSION = 2
PAGE_SIZE = 4096
LANES = 10
DEAD = 15
SEQ_BITS = 47
LANE_BITS = 4
TARGET_SHIFT = SEQ_BITS + LANE_BITS
MAX_TARGETS = 1 << 12
ROW_OVERHEAD = 24
"""Bytes on disk of a row besides its topic, payload and meta."""
UNSAVED = 256
"""A target's row is rewritten at least every so many accepted messages. Between, `produced` and `bytes` are told from
the messages themselves, and a commit that only accepts touches one page and not two."""
PRIORITY = "edge-priority"
REASON = "edge-reason"
"""Headers that a dead letter has more than its event: where it came from, and why."""

# TEXT and not STRING: a column declared STRING has numeric affinity and turns the topic `007` into 7.
TABLES = """
CREATE TABLE target (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  produced INTEGER NOT NULL DEFAULT 0,
  delivered INTEGER NOT NULL DEFAULT 0,
  expired INTEGER NOT NULL DEFAULT 0,
  overflow INTEGER NOT NULL DEFAULT 0,
  superseded INTEGER NOT NULL DEFAULT 0,
  purged INTEGER NOT NULL DEFAULT 0,
  corrupted INTEGER NOT NULL DEFAULT 0,
  dead INTEGER NOT NULL DEFAULT 0,
  rejected INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  checksum INTEGER NOT NULL DEFAULT 0,
  thinned INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  meta TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE latest (key TEXT PRIMARY KEY, message INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE memo (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT;
"""
NAMES = frozenset({"target", "message", "latest", "memo"})

COLUMNS = 5
"""Of table `message`. `meta` is the JSON array [source, event id, wall ns, mono ns, boot, age ns, tries, headers]:
few columns are what makes an insert fast."""
AGE = 5
"""Where `meta` holds the age."""
INSERT = "INSERT INTO message VALUES "
SELECT = "SELECT * FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
SIZE = "coalesce(length(topic) + length(payload) + length(meta), 0)"
"""SQL for `size_of`, less ROW_OVERHEAD. A flipped bit can make a column NULL, whatever the table says."""

Row = tuple[int, str, bytes, str, int]
"""A row of table `message`, in the order of its columns."""


def pack_id(target: int, lane: int, seq: int) -> int:
    """Return the row id of a message."""
    return target << TARGET_SHIFT | lane << SEQ_BITS | seq


def unpack_id(row_id: int) -> tuple[int, int, int]:
    """Return target, lane and sequence number of a row id."""
    return row_id >> TARGET_SHIFT, row_id >> SEQ_BITS & 0xF, row_id & ((1 << SEQ_BITS) - 1)


def lane_range(target: int, lane: int, after: int = 0) -> tuple[int, int]:
    """Return the first and last row id that a lane can hold, from the message after sequence number `after` on."""
    return pack_id(target, lane, after + 1), pack_id(target, lane, (1 << SEQ_BITS) - 1)


def to_row(row_id: int, message: Message) -> Row:
    """Return the row of a message.

    The last column is a CRC-32 of all others, which finds every error burst of up to 32 bits: SQLite itself does not
    see a flipped bit in a value.
    """
    (topic, payload, source, (wall_ns, mono_ns, boot), event_id, headers), _, _, _, tries, age_ns = message
    more = json.dumps(dict(headers), ensure_ascii=False, separators=(",", ":")) if headers else "{}"
    # By hand: json.dumps would cost more than all the rest. Ids and boots are hex; a source is checked when emitted.
    meta = f'["{source}","{event_id}",{wall_ns},{mono_ns},"{boot}",{age_ns},{tries},{more}]'
    return row_id, topic, payload, meta, checksum(row_id, topic, payload, meta)


def checksum(row_id: int, topic: str, payload: bytes, meta: str) -> int:
    """Return the CRC-32 over a row."""
    return zlib.crc32(payload, zlib.crc32(f"{row_id}\0{topic}\0{meta}".encode()))


def memo_row(key: str, value: str) -> tuple[str, str, int]:
    """Return the row of table `memo`."""
    return key, value, zlib.crc32(f"{key}\0{value}".encode())


def size_of(row: Row) -> int:
    """Return about how many bytes on disk a row takes."""
    return len(row[1]) + len(row[2]) + len(row[3]) + ROW_OVERHEAD


def is_intact(row: tuple[object, ...]) -> bool:
    """Tell whether a row is what was written."""
    try:
        row_id, topic, payload, meta, stored = cast("Row", row)
        return stored == checksum(row_id, topic, payload, meta)
    except (ValueError, TypeError, AttributeError):
        return False


def from_row(target: str, row: tuple[object, ...]) -> Message:
    """Return the message of a row of `target`.

    Raises: StoreError when a column is not what was written.
    """
    try:
        row_id, topic, payload, meta, stored = cast("Row", row)
        if stored != checksum(row_id, topic, payload, meta):
            raise ValueError("checksum")  # noqa: TRY301 - one way out for every kind of damage
        source, event_id, wall_ns, mono_ns, boot, age_ns, tries, headers = json.loads(meta)
        event = Event(topic, payload, source, Stamp(wall_ns, mono_ns, boot), event_id, headers or NO_HEADERS)
        _, lane, seq = unpack_id(row_id)
        priority = int(headers.get(PRIORITY, "5")) if lane == DEAD else lane
    except (ValueError, TypeError, AttributeError):
        raise StoreError(f"row {row[0]} of queue {target!r} is damaged: its checksum does not match") from None
    return Message(event, target, priority, seq, tries, age_ns)


def runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
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
