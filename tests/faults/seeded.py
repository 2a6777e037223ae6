"""Bugs on purpose, to see that the oracle finds them. Each is a few lines of what a careless change would do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_runtime.model import Reason
from edge_runtime.pure import thinning
from edge_runtime.store import connection, keeper, queue, salvage, schema, writer
from edge_runtime.store.counters import FIELDS, Counters
from edge_runtime.store.lane import Backlog

Patch = Callable[[Any], Callable[..., Any]]


def seed(bug: str) -> Callable[[], None]:
    """Put a bug into the code of this process. Return what takes it out again."""
    if not bug or bug in IN_THE_SUBJECT:
        return lambda: None
    owner, name, patch = _PATCHES[bug]
    before = getattr(owner, name)
    setattr(owner, name, patch(before))
    return lambda: setattr(owner, name, before)


IN_THE_SUBJECT = {"says-before-commit", "deletes-before-delivery"}
"""Bugs of who uses the store: see `subject`."""


def _less_durable(mode: str) -> Patch:
    def patch(configure: Callable[..., None]) -> Callable[..., None]:
        def patched(db: sqlite3.Connection, **settings: Any) -> None:  # noqa: ANN401 - handed through
            configure(db, **settings)
            db.execute(f"PRAGMA synchronous = {mode}")

        return patched

    return patch


def _drops_uncounted(gone: Callable[..., None]) -> Callable[..., None]:
    def patched(self: Counters, reason: Reason, count: int, size: int) -> None:
        gone(self, reason, 0 if reason is Reason.OVERFLOW else count, size)

    return patched


def _trusting_rows(from_row: Callable[..., Any]) -> Callable[..., Any]:
    def patched(target: str, row: tuple[Any, ...]) -> object:
        return from_row(target, (*row[:4], schema.checksum(row[0], row[1], row[2], row[3])))

    return patched


def _deletes_damaged(set_aside: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def patched(path: Path) -> Path:
        aside = set_aside(path)
        for suffix in ("", "-wal", "-shm"):
            aside.with_name(aside.name + suffix).unlink(missing_ok=True)
        return aside

    return patched


def _starts_empty(_: object) -> Callable[..., None]:
    """Throw everything away on the first word of corruption, as some spoolers do."""

    def patched(self: keeper.Keeper, error: Exception, _attempt: int) -> None:
        self._disconnect()
        if isinstance(error, sqlite3.Error) and connection.diagnose(error) is connection.Trouble.CORRUPT:
            for suffix in ("", "-wal", "-shm"):
                path = self.path.with_name(self.path.name + suffix)
                if path.exists():
                    path.rename(path.with_name(f"{path.name}.corrupt-{os.getpid()}"))
            self._highwater = None
            for counters in self.by_id.values():
                counters.restore(tuple([0] * len(FIELDS)))
        self._reopen()

    return patched


def _newest_first(put: Callable[..., None]) -> Callable[..., None]:
    def patched(self: queue.Queue, message: Any) -> None:  # noqa: ANN401 - handed through
        put(self, message)
        lane = self._lanes[message.priority]
        if lane.held and lane.held[-1] is message:
            lane.held.rotate(1)

    return patched


def _skips_the_first(point: Callable[..., None]) -> Callable[..., None]:
    return lambda self, heads: point(self, {lane: first + 1 for lane, first in heads.items()})


def _ignores_the_mark(_: object) -> Callable[..., None]:
    return lambda self, aside: None  # noqa: ARG005 - the signature of the real one


def _never_looks(_: object) -> Callable[..., bool]:
    return lambda self: False  # noqa: ARG005 - the signature of the real one


def _settles_too_much(delete: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, ids: delete(self, sorted({*ids, *(ids[-1] + more for more in range(1, 4))}))


def _thins_all(_: object) -> Callable[..., Any]:
    """Thin what the consumer holds, too."""
    return lambda self: [(lane, Backlog(0, self._store.counters(self.name).produced + 1, [])) for lane in range(10)]


def _forgets_a_reading(merge: Callable[..., Any]) -> Callable[..., Any]:
    def patched(one: Any, two: Any) -> object:  # noqa: ANN401 - handed through
        return merge(one, two)._replace(readings=max(one.readings, two.readings))

    return patched


_PATCHES: dict[str, tuple[Any, str, Patch]] = {
    "synchronous-normal": (connection, "_configure", _less_durable("NORMAL")),
    "synchronous-off": (connection, "_configure", _less_durable("OFF")),
    "drops-uncounted": (Counters, "gone", _drops_uncounted),
    "no-checksum": (schema, "from_row", _trusting_rows),
    "deletes-damaged": (salvage, "_set_aside", _deletes_damaged),
    "starts-empty": (keeper.Keeper, "_mend", _starts_empty),
    "newest-first": (queue.Queue, "put", _newest_first),
    "ignores-the-mark": (keeper.Keeper, "_catch_up", _ignores_the_mark),
    "repeats-a-commit": (keeper.Keeper, "_was_committed", _never_looks),
    "skips-the-first": (queue.Queue, "_point", _skips_the_first),
    "thins-what-is-held": (queue.Queue, "backlog", _thins_all),
    "forgets-a-reading": (thinning, "merge", _forgets_a_reading),
    "settles-too-much": (writer.Writer, "_delete_sized", _settles_too_much),
}
