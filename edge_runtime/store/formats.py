"""The formats that the file has had: which one it is, and how it becomes one of today.

Format 2 counts in table `target` what was thinned.
"""

from __future__ import annotations

import sqlite3

from edge_runtime import failpoint
from edge_runtime.store import schema
from edge_runtime.store.counters import FIELDS, load, seal

KNOWN = range(1, schema.VERSION + 1)
FORMAT = "format"
"""The memo that holds the version once more."""
_RESEAL = "UPDATE target SET checksum = ? WHERE id = ?"
_NOTE = "INSERT OR REPLACE INTO memo VALUES (?, ?, ?)"


def is_known(db: sqlite3.Connection) -> bool:
    """Tell whether a file is, by what it says of itself, of a format that is known, and has its tables."""
    version = _version(db)
    return version in KNOWN and tables(db) >= schema.NAMES and _counts_thinned(db) == (version > 1)


def tables(db: sqlite3.Connection) -> set[str]:
    """Return the names of the tables there are."""
    return {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def noted(db: sqlite3.Connection) -> int:
    """Return the version that the file's second note of it says, or 0: a flipped bit is no newer version."""
    try:
        row = db.execute("SELECT * FROM memo WHERE key = ?", (FORMAT,)).fetchone()
    except sqlite3.Error:
        return 0
    return int(row[1]) if row is not None and schema.memo_row(row[0], row[1]) == row else 0


def upgrade(db: sqlite3.Connection) -> None:
    """Make the file one of today's format: all of it in one transaction, or nothing. Raises: sqlite3.Error.

    What it holds is kept. A ledger that is damaged stays damaged, to be made anew from its messages.
    """
    if _version(db) == schema.VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        failpoint.reach("upgrade.begin")
        books = load(db)
        db.execute("ALTER TABLE target ADD COLUMN thinned INTEGER NOT NULL DEFAULT 0")
        db.executemany(_RESEAL, [(seal(row.id, row.name, row.values), row.id) for row in books if row.intact])
        db.execute(_NOTE, schema.memo_row(FORMAT, str(schema.VERSION)))
        db.execute(f"PRAGMA user_version = {schema.VERSION}")
        failpoint.reach("upgrade.before")
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise
    failpoint.reach("upgrade.done")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _counts_thinned(db: sqlite3.Connection) -> bool:
    return any(name == FIELDS[-1] for (name,) in db.execute("SELECT name FROM pragma_table_info('target')"))
