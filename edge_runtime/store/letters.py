"""Dead letters go back to their queue, or away.

Functions of a `Writer`, to be run by `Store.work(..., writes=True)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from edge_runtime.app import Overflow
from edge_runtime.errors import NotFoundError
from edge_runtime.model import NO_HEADERS, Message, Reason
from edge_runtime.plugin import nearest
from edge_runtime.store import schema

if TYPE_CHECKING:
    from edge_runtime.store.counters import Counters
    from edge_runtime.store.writer import Writer

MOST = 10_000
MOST_BYTES = 16 << 20
"""What is replayed at once is held in memory."""
_PUT = f"{schema.INSERT}({', '.join('?' * schema.COLUMNS)})"
_FIND = "SELECT * FROM message WHERE id = ?"
_ALL = "SELECT * FROM message WHERE id BETWEEN ? AND ? ORDER BY id"
_DELETE = "DELETE FROM message WHERE id = ?"
_NEWER = "SELECT id FROM message WHERE id = (SELECT message FROM latest WHERE key = ?)"
_LATEST = "INSERT OR REPLACE INTO latest VALUES (?, ?)"
_COUNT = f"SELECT count(*), sum({schema.SIZE}), max(id) FROM message WHERE id BETWEEN ? AND ?"  # noqa: S608 - ours
_PURGE = "DELETE FROM message WHERE id BETWEEN ? AND ?"


def replay(writer: Writer, target: str, seqs: Sequence[int] | None = None) -> list[Message]:
    """Put dead letters of `target` back where they had waited, as if they had just been accepted and never tried.

    Without `seqs` it is all of them, but 10,000 or 16 MB at once; call again for the rest. The messages are returned
    in order; hand them to `Queue.give_back` once this is committed. A damaged one stays where it is. In a queue that
    keeps only the latest of a topic, a letter with a newer one waiting is dropped as superseded.

    Its time to live begins anew; until it is over, older messages behind it do not expire.

    Raises: NotFoundError when there is no such queue, or no dead letter of a number of `seqs`; nothing happened then.
    """
    counters = _counters(writer, target)
    found: list[Message] = []
    size = 0
    for row in list(_letters(writer, counters, seqs)):
        if schema.is_intact(row) and (message := _back(writer, counters, schema.from_row(target, row), row)):
            found.append(message)
            size += len(message.event.payload)
        if len(found) >= MOST or size >= MOST_BYTES:
            break
    return found


def purge(writer: Writer, target: str, *, dead: bool) -> int:
    """Drop everything that waits in the queue of `target`, or its dead letters. Return how many there were.

    They are counted as purged. What was already handed out may still be delivered.

    Raises: NotFoundError when there is no such queue.
    """
    counters = _counters(writer, target)
    total = 0
    for lane in (schema.DEAD,) if dead else range(schema.LANES):
        span = schema.lane_range(counters.id, lane)
        count, size, last = writer.db.execute(_COUNT, span).fetchone()
        if not count:
            continue
        writer.db.execute(_PURGE, span)
        counters.gone(Reason.PURGED, count, size + count * schema.ROW_OVERHEAD)
        writer.cut(counters, lane, last)
        total += count
    if dead:
        counters.dead -= total
    return total


def without_marks(message: Message) -> Message:
    """Return a dead letter without the headers that it has more than its event."""
    headers = {k: v for k, v in message.event.headers.items() if k not in {schema.PRIORITY, schema.REASON}}
    return message._replace(event=message.event._replace(headers=headers or NO_HEADERS))


def _counters(writer: Writer, target: str) -> Counters:
    if target not in writer.targets:
        raise NotFoundError(
            f"there is no queue named {target!r}{nearest(target, writer.targets)}",
            hint=f"known: {', '.join(writer.targets) or 'none'}",
        )
    return writer.target(target)


def _letters(writer: Writer, counters: Counters, seqs: Iterable[int] | None) -> Iterator[tuple[object, ...]]:
    if seqs is None:
        count = size = 0
        for row in writer.db.execute(_ALL, schema.lane_range(counters.id, schema.DEAD)):
            yield row
            count, size = count + 1, size + len(row[2])
            if count >= MOST or size >= MOST_BYTES:
                return
        return
    for seq in sorted(set(seqs)):
        row = writer.db.execute(_FIND, (schema.pack_id(counters.id, schema.DEAD, seq),)).fetchone()
        if row is None:
            raise NotFoundError(
                f"queue {counters.name!r} has no dead letter {seq}", hint=f"edge queue ls {counters.name} --dead"
            )
        yield row


def _back(writer: Writer, counters: Counters, letter: Message, old: tuple[object, ...]) -> Message | None:
    """Move one letter. Return it as it waits now, or None when it was superseded."""
    message = without_marks(letter)._replace(tries=0, age_ns=writer.age_ns())
    row = schema.to_row(schema.pack_id(counters.id, message.priority, message.seq), message)
    writer.db.execute(_DELETE, (old[0],))
    old_size = schema.size_of(cast("schema.Row", old))
    counters.dead -= 1
    if counters.limits.when_full is Overflow.KEEP_LATEST:
        key = f"{counters.id}:{message.event.topic}"
        newer = writer.db.execute(_NEWER, (key,)).fetchone()
        if newer is not None and schema.unpack_id(newer[0])[2] > message.seq:
            counters.gone(Reason.SUPERSEDED, 1, old_size)
            return None
        writer.db.execute(_LATEST, (key, row[0]))
    writer.db.execute(_PUT, row)
    counters.bytes += schema.size_of(row) - old_size
    writer.spare(counters, message)
    return message
