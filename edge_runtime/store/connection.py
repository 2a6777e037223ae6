"""One connection that writes and checkpoints, how it is opened, and what its errors mean.

Exactly one connection may write or checkpoint: SQLite up to 3.51.2 has a race when two do
(https://sqlite.org/wal.html, "The WAL-reset bug"). A lock on the state folder sees to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import time
from enum import Enum, auto
from pathlib import Path

from edge_runtime import failpoint
from edge_runtime.errors import HostError, StoreError
from edge_runtime.store import formats, schema

BALLAST_BYTES = 1 << 20
"""Room that is given back when the disk is full: a delete needs log space before it can free any."""
WAL_PAGES = 1000
"""After about so many pages the log is written back (`Writer.checkpoint`)."""


class Trouble(Enum):
    """What an error of SQLite asks for."""

    FULL = auto()
    """The disk or the file's own limit: free space, try again."""
    BROKEN = auto()
    """An I/O error, a lock or a read-only disk: reopen, try again."""
    CORRUPT = auto()
    """SQLite says the file is damaged, which is not proof that it is: reopen, check, and only then salvage."""
    ODD = auto()
    """A statement does not fit the tables: they are not the ones that were made, or the statement is wrong."""


class DamagedError(sqlite3.DatabaseError):
    """The file can be read, but it is not what was written."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def diagnose(error: sqlite3.Error) -> Trouble:
    """Return what an error asks for."""
    if str(error).startswith("Could not decode"):
        return Trouble.CORRUPT
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return Trouble.FULL
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Trouble.CORRUPT
    if code == sqlite3.SQLITE_ERROR:
        return Trouble.ODD
    return Trouble.BROKEN


class Lock:
    """The state folder belongs to one process."""

    def __init__(self, folder: Path) -> None:
        """Take it. Raises: HostError when another process has it, StoreError when the folder cannot be made."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"the state folder {folder} cannot be used: {error.strerror}", hint="edge run --state DIR"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise HostError(
                f"another process has the state folder {folder}", hint="edge status, or choose another with --state DIR"
            ) from None

    def release(self) -> None:
        """Give it back. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Ballast:
    """A file that is there to be given up."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"
        self.held = False

    def hold(self) -> None:
        """Allocate it if there is room; without, the store works all the same."""
        with contextlib.suppress(OSError):
            self._allocate()

    def _allocate(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_blocks * 512 < BALLAST_BYTES:
                os.posix_fallocate(fd, 0, BALLAST_BYTES)
            self.held = True
        except OSError:
            self._path.unlink()  # no room for it is why it exists: half of one would only mislead
            raise
        finally:
            os.close(fd)

    def release(self) -> bool:
        """Give its space back; True if there was any."""
        self.held = False
        try:
            self._path.unlink()
        except OSError:
            return False
        failpoint.reach("ballast.released")
        return True


class KeptLog:
    """A second name for the write-ahead log while it is in danger.

    SQLite deletes the log when the last connection closes, also one whose end it could not read, or that it copied
    wrongly into the database because a read brought garbage. The file goes on under this name, and can be put back.
    """

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(path.name + "-wal")
        self._kept = path.with_name(path.name + "-wal.kept")

    def keep(self) -> bool:
        """Give the log its second name, if there is a log. What an earlier process left is put back before."""
        with contextlib.suppress(OSError):
            self.restore()
            if self._log.exists() and self._log.stat().st_size > 0:
                self._kept.hardlink_to(self._log)
        return self._kept.exists()

    def restore(self) -> None:
        """Put the log back under its own name, if it has gone from there. Raises: OSError."""
        if not self._kept.exists():
            return
        if self._log.exists() and self._log.samefile(self._kept):
            self._kept.unlink()
        else:
            self._kept.replace(self._log)

    def drop(self) -> None:
        """Take the second name away: the log is in use. Raises: OSError."""
        self._kept.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Copy the log, so that it can be read when SQLite has written over it. Return the copy. Raises: OSError."""
        stem = f"{self._log.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        aside, count = self._log.with_name(stem), 1
        while aside.exists():  # a clock that begins in 1970 at every boot says the same time again
            aside, count = self._log.with_name(f"{stem}-{count}"), count + 1
        aside.touch(mode=0o600)
        shutil.copyfile(self._kept if self._kept.exists() else self._log, aside)
        return aside


def connect(path: Path, ballast: Ballast, *, max_bytes: int, known: bool = False) -> sqlite3.Connection:
    """Open the database for writing, creating it and its tables, on a full disk too.

    Args:
        path: the database file.
        ballast: given up when the disk has no room to open the file.
        max_bytes: the bound of the file.
        known: it has held something before, so that an empty file is a damaged one.

    Raises: sqlite3.Error (DamagedError for one that is not what was written), StoreError for a file of a newer version.
    """
    try:
        return _open(path, max_bytes=max_bytes, known=known)
    except sqlite3.OperationalError as error:
        if diagnose(error) in (Trouble.CORRUPT, Trouble.ODD):
            raise
        # A full disk has no room for the shared-memory file: give up the ballast, then do without that file.
        ballast.release()
    with contextlib.suppress(sqlite3.OperationalError):
        return _open(path, max_bytes=max_bytes, known=known)
    return _open(path, max_bytes=max_bytes, known=known, alone=True)


def _open(path: Path, *, max_bytes: int, known: bool, alone: bool = False) -> sqlite3.Connection:
    new = _make(path, known=known)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        _configure(db, max_pages=max_bytes // schema.PAGE_SIZE, new=new, alone=alone)
        _create(db, path, known=known)
    except BaseException:
        db.close()
        raise
    return db


def _make(path: Path, *, known: bool) -> bool:
    """Create the file if there is none, for this user only. Return whether it is new.

    SQLite takes a database of no bytes for new, and throws its log away: whatever is in that has to be saved first.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        size = path.stat().st_size
    except OSError as error:
        raise sqlite3.OperationalError(f"the file cannot be made: {error.strerror}") from error
    else:
        size = 0
    log = path.with_name(path.name + "-wal")
    if size == 0 and (known or (log.exists() and log.stat().st_size > 0)):
        raise DamagedError("the file is empty, and it should not be")
    return size == 0


def _configure(db: sqlite3.Connection, *, max_pages: int, new: bool, alone: bool) -> None:
    if alone:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
    if new:  # else these would write, before anybody has looked whether the log was read rightly
        db.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that the file shrinks after a drain
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"the file system offers no write-ahead log (journal mode {mode})", hint="edge run --state DIR"
        )
    # Only FULL may say "accepted": NORMAL loses what was committed since the last checkpoint when the power goes.
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {4 * WAL_PAGES}")  # should the estimate of the writer ever be off
    db.execute(f"PRAGMA journal_size_limit = {WAL_PAGES * schema.PAGE_SIZE}")
    db.execute(f"PRAGMA max_page_count = {max_pages}")
    db.execute("PRAGMA cache_size = -2000")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA busy_timeout = 5000")
    db.execute("PRAGMA mmap_size = 0")


def _create(db: sqlite3.Connection, path: Path, *, known: bool) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = formats.tables(db)
    if formats.is_known(db):
        return
    if version > schema.VERSION and formats.noted(db) not in formats.KNOWN:
        raise StoreError(
            f"{path} has format {version}, this runtime knows {schema.VERSION}",
            hint="install the newer runtime again, or keep the file and start with another --state DIR",
        )
    if version or tables or known:
        raise DamagedError(f"the file says it has format {version}, and has the tables {sorted(tables)}")
    note = schema.memo_row(formats.FORMAT, str(schema.VERSION))
    db.executescript(f"BEGIN IMMEDIATE; {schema.TABLES} PRAGMA user_version = {schema.VERSION};")
    db.execute("INSERT INTO memo VALUES (?, ?, ?)", note)
    db.execute("COMMIT")
    failpoint.reach("open.created")


def is_sound(path: Path) -> bool:
    """Return True when a full check of the file finds nothing wrong. Reads the whole file."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.text_factory = lenient
            return check(db)
    except sqlite3.DatabaseError as error:
        return diagnose(error) not in (Trouble.CORRUPT, Trouble.ODD)


def lenient(raw: bytes) -> str:
    """Decode text that may be damaged: a checksum will say so, an error would hide the rows beside it."""
    return raw.decode("utf-8", "replace")


def check(db: sqlite3.Connection) -> bool:
    """Return True when a full check finds nothing wrong. Raises: sqlite3.Error."""
    if not formats.is_known(db):
        return False
    # Not quick_check, which passes over the indices; those here are small.
    return bool(db.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
