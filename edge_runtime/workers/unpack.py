"""A function's code as a folder to run from: a folder as it is, a .zip extracted once, safely, by its content."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from edge_runtime import disk
from edge_runtime.errors import ConfigError, StoreError

MAX_BYTES = 250 * 1024 * 1024
"""Unzipped; AWS Lambda's own limit."""
MAX_FILES = 20_000
MAX_RATIO = 100
_RATIO_FREE_BYTES = 10 * 1024 * 1024  # a small archive may be as repetitive as it likes
_MAX_NAME = 1024
_ENCRYPTED = 0x1
_MANY = 64


def is_archive(code: Path) -> bool:
    """Whether code is to be extracted before it can run."""
    return code.suffix.lower() == ".zip" and not code.is_dir()


def digest(archive: Path) -> str:
    """Return the SHA-256 of an archive, in hex.

    Raises: ConfigError when it cannot be read.
    """
    try:
        with archive.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read the code {archive}: {error.strerror}", hint="check `code:`") from error


def task_root(code: Path, folder: Path) -> Path:
    """Return the folder that holds the code: `code` itself, or `folder/<sha-256>` with what the .zip holds.

    An archive is extracted once: to a temporary folder that is renamed when it is complete and on disk.

    Raises: ConfigError when there is no code or the archive is not safe; StoreError when the disk fails.
    """
    if code.is_dir():
        return code
    if not is_archive(code):
        what = "is neither a folder nor a .zip" if code.exists() else "does not exist"
        raise ConfigError(f"the code {code} {what}", hint="`code:` names a folder or a .zip with the handler in it")
    target = folder / digest(code)
    if target.is_dir():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder, ignore_cleanup_errors=True) as part:
            fresh = Path(part) / "code"
            _extract(code, fresh)
            _sync(fresh)
            if not target.is_dir():
                fresh.rename(target)
            disk.sync(folder)
    except OSError as error:
        raise StoreError(f"cannot extract {code} to {folder}: {error.strerror or error}") from error
    return target


def prune(folder: Path, keep: Collection[str]) -> None:
    """Remove what was extracted earlier and is not among the digests to keep, and what a crash left half done."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)


def _extract(archive: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as bundle:
            entries = bundle.infolist()
            _check(archive, entries)
            target.mkdir(mode=0o755)
            for entry in entries:
                _write(bundle, entry, target.joinpath(*PurePosixPath(entry.filename).parts))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        # An offset that lies makes zipfile seek where no file can be.
        if isinstance(error, ConfigError) or (isinstance(error, OSError) and error.errno != errno.EINVAL):
            raise
        raise ConfigError(f"{archive} is not a sound .zip: {error}", hint="pack it again") from error


def _write(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    if entry.is_dir():
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    mode = 0o755 if entry.external_attr >> 16 & 0o111 else 0o644
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    # zipfile never gives more than the size that _check has counted.
    with bundle.open(entry) as source, os.fdopen(os.open(path, flags, mode), "wb") as file:
        shutil.copyfileobj(source, file)


def _check(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    def refuse(what: str) -> ConfigError:
        return ConfigError(f"{archive}: {what}", hint="pack it again from a clean folder")

    if len(entries) > MAX_FILES:
        raise refuse(f"holds {len(entries)} files, more than {MAX_FILES}")
    size, packed = sum(e.file_size for e in entries), sum(e.compress_size for e in entries)
    if size > MAX_BYTES:
        raise refuse(f"holds {size} bytes unpacked, more than {MAX_BYTES}")
    if size > _RATIO_FREE_BYTES and size > MAX_RATIO * packed:
        raise refuse(f"unpacks to more than {MAX_RATIO} times its size")
    files: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        fault = _fault(entry)
        if fault:
            raise refuse(f"{entry.filename[:100]!r} {fault}")
        # Names that a file system may take for the same one.
        path = PurePosixPath(unicodedata.normalize("NFC", entry.filename).casefold())
        folders.update(str(parent) for parent in path.parents)
        if entry.is_dir():
            folders.add(str(path))
        elif str(path) in files:
            raise refuse(f"{entry.filename[:100]!r} is in it twice")
        else:
            files.add(str(path))
    if clash := files & folders:
        raise refuse(f"{min(clash)[:100]!r} is both a file and a folder")


def _fault(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    if name != entry.orig_filename.replace(os.sep, "/") or not name.isprintable() or len(name) > _MAX_NAME:
        return "is not a sound name"
    if "\\" in name or name.startswith("/") or ".." in name.split("/") or not PurePosixPath(name).parts:
        return "leads out of the folder"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    return "is encrypted" if entry.flag_bits & _ENCRYPTED else ""


def _sync(root: Path) -> None:
    paths = [root, *root.rglob("*")]
    if len(paths) > _MANY:
        os.sync()  # of each file by itself it takes minutes on an SD card
        return
    for path in paths:
        disk.sync(path)
