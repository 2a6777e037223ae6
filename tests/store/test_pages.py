"""Rows are read out of a file without SQLite: those it has, and none that were deleted."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import struct
from pathlib import Path

import pytest

from edge_runtime.store import pages

PAGE = 4096
Row = tuple[int, list[pages.Value]]


def make(path: Path, rows: list[tuple[object, ...]], *, log: bool = False) -> bytes:
    """Make a database of a table `t (a INTEGER PRIMARY KEY, b, c, d)`; return its log."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA page_size = {PAGE}")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b, c, d)")
    if log:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    content = path.with_name(path.name + "-wal").read_bytes()
    db.close()
    return content


def read(path: Path) -> dict[int, list[pages.Value]]:
    """Return the rows of table `t`: those of four columns. The table of tables has five."""
    return {rowid: columns[1:] for rowid, columns in pages.rows(path) if len(columns) == 4}


VALUES: list[object] = [
    None, 0, 1, 2, -1, 127, -128, 300, -40000, 1 << 20, -(1 << 30), 1 << 40, -(1 << 50), 2**63 - 1, 1.5, "", "text",
    "süß", b"", b"\0\1", b"x" * 4000, "y" * 4100, b"z" * 9000, b"w" * 100_000,
]  # fmt: skip


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    rng = random.Random(1)  # noqa: S311 - the same damage each time
    rows = [(n * 7919, *(rng.choice(VALUES) for _ in range(3))) for n in range(1, 300)]
    make(path, rows)
    assert read(path) == {row[0]: list(row[1:]) for row in rows}


def test_the_largest_rowid_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    make(path, [(2**63 - 1, 1, 2, 3)])
    assert read(path) == {2**63 - 1: [1, 2, 3]}


def test_what_is_in_the_log_only_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    log = make(path, [(n, n, "log", None) for n in range(1, 500)], log=True)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM t")
        db.commit()
        db.execute("VACUUM")
    path.with_name("t.db-wal").write_bytes(log)
    assert len(read(path)) == 499


@pytest.mark.parametrize("at", [2, 40, 32 + 24 + 100])
def test_the_log_counts_up_to_what_is_damaged(tmp_path: Path, at: int) -> None:
    path = tmp_path / "t.db"
    log = bytearray(make(path, [(1, 1, "log", None)], log=True))
    log[at] ^= 1
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM t")
        db.execute("VACUUM")
    path.with_name("t.db-wal").write_bytes(log)
    assert read(path) == {}


@pytest.mark.parametrize("log", [b"", b"short", b"\0" * 5000])
def test_what_is_no_log_is_passed_over(tmp_path: Path, log: bytes) -> None:
    path = tmp_path / "t.db"
    make(path, [(1, 1, "base", None)])
    path.with_name("t.db-wal").write_bytes(log)
    assert read(path) == {1: [1, "base", None]}


def delete_most(path: Path) -> bytearray:
    """Make 999 rows, delete 900 of them, and put what they were back into a page that is free now."""
    make(path, [(n, "x" * 100, None, None) for n in range(1, 1000)])
    before = path.read_bytes()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM t WHERE a <= 900")
        assert db.execute("PRAGMA freelist_count").fetchone()[0] > 10
    data = bytearray(path.read_bytes())
    for number in set(range(5, 15)) - {trunk(data) // PAGE}:
        data[number * PAGE : (number + 1) * PAGE] = before[number * PAGE : (number + 1) * PAGE]
    return data


def trunk(data: bytearray) -> int:
    return (int.from_bytes(data[32:36], "big") - 1) * PAGE


def test_deleted_rows_do_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.write_bytes(delete_most(path))
    assert sorted(read(path)) == list(range(901, 1000))


def test_a_freelist_that_does_not_add_up_frees_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    data = delete_most(path)
    data[39] ^= 1
    path.write_bytes(data)
    assert set(range(901, 1000)) < set(read(path))


def test_a_freelist_alone_does_not_hide_a_page(tmp_path: Path) -> None:
    """A flipped bit makes it name a page that is in use."""
    path = tmp_path / "t.db"
    data = delete_most(path)
    used = next(
        n
        for n in range(3, len(data) // PAGE)
        if data[n * PAGE] == 0x0D and b"x" * 100 in data[n * PAGE :][:PAGE] and n > 15
    )
    data[trunk(data) + 8 : trunk(data) + 12] = (used + 1).to_bytes(4, "big")
    path.write_bytes(data)
    assert set(range(901, 1000)) <= set(read(path))


def test_a_page_of_garbage_costs_its_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    make(path, [(n, "x" * 100, None, None) for n in range(1, 1000)])
    data = bytearray(path.read_bytes())
    rng = random.Random(2)  # noqa: S311 - as above
    data[PAGE * 5 : PAGE * 6] = rng.randbytes(PAGE)
    path.write_bytes(data)
    assert 950 <= len(read(path)) < 999


def test_a_zeroed_header_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    make(path, [(n, "x" * 100, None, None) for n in range(1, 1000)])
    path.write_bytes(b"\0" * PAGE + path.read_bytes()[PAGE:])
    assert len(read(path)) == 999


def test_a_chain_of_overflow_pages_that_bites_its_tail_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    make(path, [(1, b"w" * 100_000, None, None)])
    data = bytearray(path.read_bytes())
    for number in range(3, len(data) // PAGE):
        if data[number * PAGE + 4 : number * PAGE + 8] == b"wwww":
            data[number * PAGE : number * PAGE + 4] = struct.pack(">I", number + 1)
    path.write_bytes(data)
    assert read(path) == {}


def test_any_damage_is_survived(tmp_path: Path) -> None:
    """What is read may be wrong, and its checksum will say so; but reading ends, without an error."""
    path = tmp_path / "t.db"
    make(path, [(n, "x" * 50, b"y" * (n * 37 % 6000), n) for n in range(1, 60)])
    whole = path.read_bytes()
    rng = random.Random(3)  # noqa: S311 - as above
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 10, 300])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        list(pages.rows(path))
