"""The folder in which a device keeps who it is: a numbered slot for each identity, and a link to the one in use.

    certs/1/private.pem.key, device.pem.crt, thing.json ...
    certs/2/...
    certs/current -> 2

A slot is filled step by step, each file written whole or not at all, and used only when `current` is switched to it,
in one step. So at no moment does a reader find the certificate of one slot with the key of another. The slot before
the one in use is kept.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from edge_runtime import disk
from edge_runtime.errors import ConfigError, StoreError

CURRENT, LOCK = "current", ".lock"
CERTIFICATE, KEY = "device.pem.crt", "private.pem.key"
PLAN, REGISTRATION, THING, CONFIGURATION = "plan.json", "registration.json", "thing.json", "configuration.json"
CLAIM_CERTIFICATE, CLAIM_KEY = "claim.pem.crt", "claim.pem.key"
_NEW = ".new"
_MOST_BYTES = 1 << 20


class Slot:
    """One identity, or what there is of it so far. Its files are for their owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, name: str) -> bool:
        """Tell whether a file is there. What is there is whole. Raises: ConfigError when it is no plain file."""
        try:
            about = (self.path / name).lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError(
                f"{self.path / name} is no plain file; nothing was read or written through it",
                hint=f"look what it is: ls -l {self.path / name}; then remove it and run the command again",
            )
        if name in (KEY, CLAIM_KEY) and (about.st_mode & 0o077 or about.st_uid not in (0, os.geteuid())):
            raise ConfigError(
                f"{self.path / name} could have been read by other users ({about.st_mode & 0o777:03o})",
                hint="such a key is no secret: make another identity with --force, or remove one not in use yet",
            )
        return True

    def write(self, name: str, data: bytes) -> None:
        """Write a file: whole and on disk when this returns, else not there. Mode 0600 from the first byte on.

        Raises: StoreError.
        """
        target, new = self.path / name, self.path / f"{name}{_NEW}"
        with _storing(target):
            new.unlink(missing_ok=True)  # of a run that was cut off
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(new, target)  # noqa: PTH105 - a link in its place is replaced, not followed
            except BaseException:
                with contextlib.suppress(OSError):
                    new.unlink()
                raise
            disk.sync(self.path)

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises: StoreError."""
        with _storing(self.path / name):
            handle = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                return file.read(_MOST_BYTES)

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        """Write an object as JSON, as `write`."""
        self.write(name, json.dumps(value, indent=2).encode() + b"\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Return an object that was written, empty when it is not there. Raises: ConfigError, StoreError."""
        if not self.has(name):
            return {}
        try:
            value = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{self.path / name} is no JSON", hint=f"remove it and run the command again: rm {self.path / name}"
            ) from error
        return value if isinstance(value, dict) else {}

    def remove(self, *names: str) -> None:
        """Remove files, those that are there. Raises: StoreError."""
        with _storing(self.path):
            for name in names:
                (self.path / name).unlink(missing_ok=True)
            disk.sync(self.path)


class Slots:
    """The folder, held for oneself while the block lasts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = -1

    def __enter__(self) -> Self:
        """Make the folder if it is missing and lock it. Raises: ConfigError, StoreError."""
        with _storing(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            about = self.root.stat()
            if about.st_uid not in (0, os.geteuid()) or about.st_mode & 0o022:
                raise ConfigError(
                    f"other users may write into {self.root}: they could exchange the keys",
                    hint=f"sudo chown $USER {self.root} && chmod 700 {self.root}",
                )
            self._lock = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(
                f"somebody else is provisioning into {self.root} at this moment", hint="wait until that has ended"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the folder."""
        os.close(self._lock)

    @property
    def number(self) -> int:
        """The number of the slot in use, 0 for none. Raises: ConfigError when the link leads elsewhere."""
        return number_in(self.root)

    @property
    def current(self) -> Slot | None:
        """The slot in use."""
        return Slot(self.root / str(self.number)) if self.number else None

    @property
    def unfinished(self) -> Slot | None:
        """The slot that has been begun and is not in use."""
        path = self.root / str(self.number + 1)
        return Slot(path) if path.exists() or path.is_symlink() else None

    def begin(self) -> Slot:
        """Return the slot that is being filled; make it when there is none. Raises: ConfigError, StoreError."""
        path = self.root / str(self.number + 1)
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise ConfigError(f"{path} is in the way", hint="look what it is, remove it, and run the command again")
        with _storing(path):
            path.mkdir(mode=0o700, exist_ok=True)
            disk.sync(self.root)
        return Slot(path)

    def discard(self, slot: Slot) -> None:
        """Remove a slot with all that is in it. Raises: StoreError."""
        with _storing(slot.path):
            shutil.rmtree(slot.path)
            disk.sync(self.root)

    def switch(self, slot: Slot) -> None:
        """Put a slot into use, in one step; then remove those before the last one. Raises: StoreError."""
        new = self.root / f"{CURRENT}{_NEW}"
        with _storing(self.root):
            new.unlink(missing_ok=True)
            new.symlink_to(slot.path.name)
            os.replace(new, self.root / CURRENT)  # noqa: PTH105 - a link is to be replaced, not followed
            disk.sync(self.root)
            for path in self.root.iterdir():
                if path.name.isdecimal() and int(path.name) < int(slot.path.name) - 1 and not path.is_symlink():
                    shutil.rmtree(path)


def number_in(root: Path) -> int:
    """Return the number of the slot that is in use in a folder, 0 for none. Raises: ConfigError."""
    link = root / CURRENT
    if not link.exists() and not link.is_symlink():
        return 0
    name = os.readlink(link) if link.is_symlink() else ""  # noqa: PTH115 - as it is written
    if not name.isdecimal() or not (root / name).is_dir() or (root / name).is_symlink():
        raise ConfigError(
            f"{link} does not lead to a slot of {root}", hint=f"look what it is: ls -l {root}; or choose another --out"
        )
    return int(name)


@contextlib.contextmanager
def _storing(path: Path) -> Iterator[None]:
    """Map what the disk says."""
    try:
        yield
    except (ConfigError, StoreError):
        raise
    except OSError as error:
        hint = (
            "free some space and run the command again" if error.errno == errno.ENOSPC else "check who owns the folder"
        )
        if error.errno == errno.ELOOP:
            hint = "a symbolic link is in the way: remove it"
        raise StoreError(f"{path} cannot be used: {error.strerror or error}", hint=hint) from error
