"""A file of the first format opens with all that it holds, whatever happens on the way; a newer one is left alone."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from edge_runtime.errors import StoreError
from edge_runtime.store import formats, inspect, schema
from edge_runtime.store.jobs import Change
from tests.store.kit import A, FaultyConnection, Opened, accept, do, entry, make_old, read_lane, seqs, sqlite_error

BOTH = {**A, "b": A["a"]}
FIRST_FORMAT = """CREATE TABLE target (
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
  checksum INTEGER NOT NULL DEFAULT 0
) STRICT"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a state folder of the first format with something of everything in it."""
    folder = tmp_path / "state"
    with Opened(folder, BOTH) as writer:
        messages = accept(writer, *[entry(b"x" * 50, "a", "b") for _ in range(20)])
        do(writer, Change(done=messages[:4], dead=[(messages[4], "no")], memo={"k": "v"}))
    make_old(folder / "queue.db")
    return folder


def books(folder: Path) -> list[inspect.LedgerRow]:
    return inspect.ledger(folder / "queue.db")


def version(folder: Path) -> tuple[int, int]:
    with contextlib.closing(sqlite3.connect(f"file:{folder}/queue.db?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0]), formats.noted(db)


def test_the_old_format_is_what_it_was(old: Path) -> None:
    with contextlib.closing(sqlite3.connect(old / "queue.db")) as db:
        (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'target'").fetchone()
    assert "".join(sql.split()) == "".join(FIRST_FORMAT.split())


def test_an_old_file_opens_with_all_that_it_holds(old: Path) -> None:
    before = books(old)
    assert version(old) == (1, 1)
    assert all(row.balanced for row in before)
    with Opened(old, BOTH) as writer:
        assert writer.notes == []
        assert seqs(read_lane(writer)) == list(range(4, 21))
        assert seqs(read_lane(writer, "b")) == list(range(3, 21))
        assert writer.memo("k") == "v"
        assert [row.produced for row in before] == [c.produced for c in writer.targets.values()]
        assert [c.thinned for c in writer.targets.values()] == [0, 0]
        accept(writer, entry(b"new"))
    assert version(old) == (2, 2)
    after = books(old)
    assert after[1] == before[1]
    assert (after[0].produced, after[0].queued) == (before[0].produced + 1, before[0].queued + 1)


def test_what_was_only_in_the_log_is_there_too(old: Path, tmp_path: Path) -> None:
    """The first release ended without closing: its last commits are in the log, and not all of them in its ledger."""
    copy = tmp_path / "copy"
    db = sqlite3.connect(old / "queue.db", isolation_level=None)
    (last,) = db.execute("SELECT max(id) FROM message WHERE id < ?", (schema.pack_id(1, schema.DEAD, 0),)).fetchone()
    row = db.execute("SELECT * FROM message WHERE id = ?", (last,)).fetchone()
    more = (last + 1, *row[1:4])
    db.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", (*more, schema.checksum(*more)))
    shutil.copytree(old, copy)
    db.close()
    with Opened(copy, BOTH) as writer:
        assert writer.notes == []
        assert writer.targets["a"].produced == 21
        assert seqs(read_lane(writer))[-1] == 21
    assert version(copy) == (2, 2)


def test_a_damaged_ledger_in_an_old_file_is_made_anew(old: Path) -> None:
    with contextlib.closing(sqlite3.connect(old / "queue.db", isolation_level=None)) as db:
        db.execute("UPDATE target SET delivered = delivered + 8 WHERE name = 'a'")
    with Opened(old, BOTH) as writer:
        assert "the ledger of queue 'a' was damaged and was made anew" in writer.notes[0]
        assert writer.targets["b"].delivered == 2
    assert all(row.balanced for row in books(old))


def test_a_damaged_old_file_is_salvaged_into_a_new_one(old: Path) -> None:
    before = books(old)
    data = bytearray((old / "queue.db").read_bytes())
    data[:100] = random.Random(1).randbytes(100)  # noqa: S311 - the same each time
    (old / "queue.db").write_bytes(data)
    with Opened(old, BOTH) as writer:
        assert "none is missing" in writer.notes[0]
    assert version(old) == (2, 2)
    assert books(old) == before


def test_every_statement_of_an_upgrade_may_fail(old: Path) -> None:
    for number in range(20):
        with contextlib.closing(sqlite3.connect(old / "queue.db", isolation_level=None)) as db:
            left = iter([None] * number)
            error = sqlite_error(sqlite3.SQLITE_IOERR)
            faulty = FaultyConnection(db, lambda _, left=left, error=error: next(left, error))  # type: ignore[misc]  # a lambda of its own
            try:
                formats.upgrade(faulty)  # type: ignore[arg-type]  # it is one, but for its type
            except sqlite3.Error:
                assert version(old) == (1, 1)
                assert formats.is_known(db)
            else:
                break
    else:
        pytest.fail("it never succeeded")
    assert number > 5
    assert version(old) == (2, 2)
    with Opened(old, BOTH) as writer:
        assert writer.notes == []


def test_somebody_who_reads_does_not_hinder_an_upgrade(old: Path) -> None:
    with contextlib.closing(sqlite3.connect(old / "queue.db", isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM message").fetchone()
        with Opened(old, BOTH) as writer:
            assert writer.notes == []
    assert version(old) == (2, 2)


@pytest.mark.parametrize("claims", [1, 2])
def test_a_file_that_is_not_what_it_says_is_damaged(old: Path, claims: int) -> None:
    if claims == 1:
        with Opened(old, BOTH):
            pass
    with contextlib.closing(sqlite3.connect(old / "queue.db", isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {claims}")
    with Opened(old, BOTH) as writer:
        assert "the database was damaged" in writer.notes[0]
        assert "none is missing" in writer.notes[0]
    assert version(old) == (2, 2)


def test_a_newer_file_is_not_touched(old: Path) -> None:
    with contextlib.closing(sqlite3.connect(old / "queue.db", isolation_level=None)) as db:
        db.execute("INSERT OR REPLACE INTO memo VALUES (?, ?, ?)", schema.memo_row(formats.FORMAT, "3"))
        db.execute("PRAGMA user_version = 3")
    before = (old / "queue.db").read_bytes()
    with pytest.raises(StoreError, match=r"queue.db has format 3, this runtime knows 2") as caught, Opened(old, BOTH):
        pass
    assert "install the newer runtime again, or keep the file" in caught.value.hint
    assert (old / "queue.db").read_bytes() == before
    assert [path.name for path in old.iterdir() if "corrupt" in path.name] == []


def test_a_flipped_bit_in_the_version_of_an_old_file_is_no_newer_one(old: Path) -> None:
    with contextlib.closing(sqlite3.connect(old / "queue.db", isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 3")
    before = books(old)
    with Opened(old, BOTH) as writer:
        assert "none is missing" in writer.notes[0]
    assert books(old) == before
