"""Opening the file: whose it is, who may read it, and what it must be."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import HostError, StoreError
from edge_runtime.store import connection, formats, schema
from edge_runtime.store.connection import Ballast, DamagedError, Lock, Trouble
from tests.store.kit import Opened, accept, entry, sqlite_error

BYTES = 8 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def connect(path: Path, *, known: bool = False) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(connection.connect(path, Ballast(path.parent), max_bytes=BYTES, known=known))


def alter(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(statement)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_nobody_else_may_read_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with Opened(folder) as writer:
        accept(writer, entry())
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(["lock", "highwater", "ballast", "queue.db", "queue.db-wal", "queue.db-shm"], 0o600)


def test_the_folder_belongs_to_one_process(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    with pytest.raises(HostError, match="another process has the state folder") as caught:
        Lock(tmp_path)
    assert "edge status" in caught.value.hint
    lock.release()
    lock.release()
    Lock(tmp_path).release()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"the state folder .*file/state cannot be used: Not a directory"):
        Lock(tmp_path / "file" / "state")


def test_only_full_durability_is_good_enough(path: Path) -> None:
    with connect(path) as db:
        settings = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "auto_vacuum", "page_size", "mmap_size", "max_page_count")
        }
    assert settings == {
        "journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "page_size": 4096, "mmap_size": 0,
        "max_page_count": BYTES // 4096,
    }  # fmt: skip


def test_a_newer_file_is_left_alone(path: Path) -> None:
    with connect(path) as db:
        db.execute("PRAGMA user_version = 7")
        db.execute("INSERT OR REPLACE INTO memo VALUES (?, ?, ?)", schema.memo_row(formats.FORMAT, "7"))
    with pytest.raises(StoreError, match="has format 7, this runtime knows 2") as caught, connect(path):
        pass
    assert "install the newer runtime again" in caught.value.hint


def test_a_flipped_bit_in_the_version_is_no_newer_file(path: Path) -> None:
    with connect(path) as db:
        db.execute("PRAGMA user_version = 65537")
    with pytest.raises(DamagedError, match="says it has format 65537"), connect(path):
        pass


@pytest.mark.parametrize("version", [0, -3])
def test_tables_without_the_version_are_damage(path: Path, version: int) -> None:
    with connect(path) as db:
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(DamagedError), connect(path):
        pass


def test_a_missing_table_is_damage(path: Path) -> None:
    with connect(path):
        pass
    alter(path, "UPDATE sqlite_schema SET name = 'mesmage', tbl_name = 'mesmage' WHERE name = 'message'")
    with pytest.raises(sqlite3.DatabaseError) as caught, connect(path):
        pass
    assert connection.diagnose(caught.value) is Trouble.CORRUPT
    assert not connection.is_sound(path)


def test_an_empty_file_is_new_only_when_nothing_was_there(path: Path) -> None:
    path.touch()
    with connect(path) as db:
        assert connection.check(db)
    path.write_bytes(b"")
    with pytest.raises(DamagedError, match="empty, and it should not be"), connect(path, known=True):
        pass


def test_an_empty_file_does_not_cost_the_log(path: Path) -> None:
    """SQLite deletes the log of a database without bytes."""
    with connect(path) as db:
        db.execute("INSERT INTO latest VALUES ('k', 1)")
        log = path.with_name("queue.db-wal").read_bytes()
    path.write_bytes(b"")
    path.with_name("queue.db-wal").write_bytes(log)
    with pytest.raises(DamagedError), connect(path):
        pass
    assert path.with_name("queue.db-wal").read_bytes() == log


def test_a_sound_file_is_sound_and_a_mangled_one_is_not(path: Path) -> None:
    with connect(path):
        pass
    assert connection.is_sound(path)
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 2 + 100] = b"\xa5" * 100
    path.write_bytes(data)
    assert not connection.is_sound(path)
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    assert not connection.is_sound(path)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (sqlite3.SQLITE_FULL, Trouble.FULL),
        (sqlite3.SQLITE_CORRUPT, Trouble.CORRUPT),
        (sqlite3.SQLITE_NOTADB, Trouble.CORRUPT),
        (sqlite3.SQLITE_ERROR, Trouble.ODD),
        (sqlite3.SQLITE_IOERR_FSYNC, Trouble.BROKEN),
        (sqlite3.SQLITE_BUSY, Trouble.BROKEN),
        (sqlite3.SQLITE_READONLY, Trouble.BROKEN),
    ],
)
def test_an_error_says_what_it_asks_for(code: int, trouble: Trouble) -> None:
    assert connection.diagnose(sqlite_error(code)) is trouble
    assert connection.diagnose(sqlite3.OperationalError("without a code")) is Trouble.BROKEN


def test_the_ballast_takes_room_and_gives_it_back(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path)
    assert not ballast.release()
    ballast.hold()
    assert [ballast.held, (tmp_path / "ballast").stat().st_blocks * 512 >= connection.BALLAST_BYTES] == [True, True]
    assert ballast.release()
    assert [ballast.held, (tmp_path / "ballast").exists()] == [False, False]


def test_half_a_ballast_is_filled_up(tmp_path: Path) -> None:
    (tmp_path / "ballast").write_bytes(b"")
    Ballast(tmp_path).hold()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= connection.BALLAST_BYTES


def test_without_room_there_is_no_ballast_and_no_error(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "missing")
    ballast.hold()
    assert not ballast.held


def test_a_file_that_cannot_be_made_is_an_error_of_sqlite(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="cannot be made"), connect(tmp_path / "missing" / "queue.db"):
        pass


def test_what_is_set_aside_in_the_same_second_overwrites_nothing(path: Path) -> None:
    """The clock of a small computer may say the same second at every boot."""
    log = path.with_name("queue.db-wal")
    kept = connection.KeptLog(path)
    asides = []
    for number in range(4):
        log.write_bytes(b"%d" % number)
        asides.append(kept.set_aside())
    assert len(set(asides)) == 4
    assert [aside.read_bytes() for aside in asides] == [b"0", b"1", b"2", b"3"]
