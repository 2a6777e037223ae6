"""Bundles as files: written, signed, proved and unpacked. What they say of themselves is in `pure.bundle`.

Keys and signatures are Ed25519 by the `openssl` command: Python has none of its own, and a package for it is compiled
code that not every Pi has a wheel of.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from edge_runtime import disk
from edge_runtime.pure.bundle import (
    MANIFEST,
    MOST_BYTES,
    MOST_FILES,
    MOST_MANIFEST_BYTES,
    SIGNATURE,
    BundleError,
    File,
    Manifest,
    read,
    to_bytes,
)
from edge_runtime.signatures import is_signed

_CHUNK = 1 << 20
_THEN = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a bundle, so that the same content is the same bundle."""
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_PACKED = frozenset({".zip", ".whl", ".gz", ".jpg", ".jpeg", ".png", ".xz", ".zst"})
_MOST_SIGNATURE_BYTES = 1024

_NOTHING: Mapping[str, Path] = {}
_AGAIN = "copy it once more, or make a new one: edge build bundle"

Sign = Callable[[bytes], bytes]
Progress = Callable[[int], object]
"""Told how many more bytes are done."""


def write(path: Path, manifest: Manifest, sources: Mapping[str, Path], sign: Sign | None = None) -> None:
    """Write a bundle of these files, by their path in it; `sign` returns the signature of the manifest's bytes.

    A file of the manifest that is not among the sources is left out: whoever unpacks it must have it already.
    The file is whole or not there. Without `sign` it is not signed, which no device takes from elsewhere.

    Raises: OSError; BundleError when a file is not what the manifest says.
    """
    body = to_bytes(manifest)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two builds may run at once
    try:
        with part.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
                out.writestr(_info(MANIFEST), body)
                if sign is not None:
                    out.writestr(_info(SIGNATURE), base64.b64encode(sign(body)) + b"\n")
                packed = (entry for entry in manifest.files if entry.path in sources)
                for entry in sorted(packed, key=lambda entry: entry.path):
                    with sources[entry.path].open("rb") as source, out.open(_info(entry.path, entry), "w") as target:
                        _copy(source, target, entry)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def describe(sources: Mapping[str, Path]) -> tuple[File, ...]:
    """Return what a manifest says of these files, by their path in the bundle. Raises: OSError."""
    found = []
    for name, path in sorted(sources.items()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        about = path.stat()
        found.append(File(name, about.st_size, digest, bool(about.st_mode & stat.S_IXUSR)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose manifest has been read."""

    path: Path
    manifest: Manifest
    is_proved: bool
    """Whether one of the given keys has signed it."""
    body: bytes
    """The manifest as it stands in the bundle."""
    have: Mapping[str, Path] = field(default_factory=dict)
    """By their SHA-256, files from elsewhere in place of those that are not in the bundle itself."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the manifest in hex: it names the content."""
        return hashlib.sha256(self.body).hexdigest()

    def unpack(self, folder: Path, progress: Progress = lambda _: None) -> None:
        """Write all files and the manifest into a folder that is not there yet, and see that they reach the disk.

        What was written when it fails is removed.

        Raises: BundleError when a file is not what the manifest says, OSError.
        """
        folder.mkdir(mode=0o755, parents=True)
        try:
            with _readable(self.path) as zipped:
                for entry in self.manifest.files:
                    target = folder.joinpath(*entry.path.split("/"))
                    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                    with self._source(zipped, entry) as source:
                        _unpack(source, target, entry, progress)
            with (folder / MANIFEST).open("xb") as kept:
                kept.write(self.body)
                kept.flush()
                os.fsync(kept.fileno())
            for place in sorted({folder, *(path for path in folder.rglob("*") if path.is_dir())}):
                disk.sync(place)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _source(self, zipped: zipfile.ZipFile, entry: File) -> IO[bytes]:
        try:
            return zipped.open(entry.path)
        except KeyError:
            return self.have[entry.sha256].open("rb")


def open_bundle(path: Path, keys: Sequence[bytes], work: Path, have: Mapping[str, Path] = _NOTHING) -> Bundle:
    """Read what a bundle says of itself, and see whether one of these keys (32 bytes each) has signed it. Blocks.

    No file in it has been looked at afterwards but these two; `Bundle.unpack` holds each to the manifest. `work` is a
    folder for temporary files. `have` are files that are here already, by their SHA-256: they may be left out of it.

    Raises: BundleError when it is no bundle; ConfigError when openssl is missing; OSError.
    """
    with _readable(path) as zipped:
        _check_members(zipped, path.name)
        body = _small(zipped, MANIFEST, MOST_MANIFEST_BYTES)
        manifest = read(body)
        _check_agreement(zipped, manifest, path.name, have)
        proof = _signature(zipped) if SIGNATURE in zipped.namelist() else b""
    proved = bool(proof and keys) and is_signed(body, proof, keys, work)
    return Bundle(path, manifest, proved, body, have)


@contextmanager
def _readable(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip, and say of whatever it breaks that it is damaged. Raises: BundleError, OSError."""
    try:
        with zipfile.ZipFile(path) as zipped:
            yield zipped
    except BundleError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OverflowError, ValueError, zlib.error) as error:
        raise BundleError(f"{path.name} is no bundle, or damaged: {error}", hint=_AGAIN) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A place in the file that is none, from a damaged list of contents.
        raise BundleError(f"{path.name} is damaged", hint=_AGAIN) from error


def _check_members(zipped: zipfile.ZipFile, name: str) -> None:
    members = zipped.infolist()
    if len(members) > MOST_FILES + 2:
        raise BundleError(f"{name} has {len(members)} files; {MOST_FILES} may be")
    if sum(member.file_size for member in members) > MOST_BYTES + MOST_MANIFEST_BYTES:
        raise BundleError(f"{name} says that it has more than {MOST_BYTES} bytes unpacked")
    seen = set()
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.is_dir() or kind not in {0, stat.S_IFREG}:
            raise BundleError(f"{name}: {member.filename!r} is no plain file")
        if member.flag_bits & 0x1 or member.compress_type not in _METHODS:
            raise BundleError(f"{name}: {member.filename!r} is encrypted, or compressed in an unknown way")
        if member.filename in seen:
            raise BundleError(f"{name}: {member.filename!r} is in it twice")
        seen.add(member.filename)


def _check_agreement(zipped: zipfile.ZipFile, manifest: Manifest, name: str, have: Mapping[str, Path]) -> None:
    named, there = {file.path for file in manifest.files}, set(zipped.namelist()) - {MANIFEST, SIGNATURE}
    if there - named:
        raise BundleError(f"{name}: the file {min(there - named)!r} is not in its manifest")
    for file in manifest.files:
        if file.path not in there and file.sha256 not in have:
            raise BundleError(f"{name}: the file {file.path!r} is in its manifest and not in it")
        if file.path in there and zipped.getinfo(file.path).file_size != file.size:
            raise BundleError(f"{name}: the file {file.path!r} has not the size that the manifest says")


def _small(zipped: zipfile.ZipFile, name: str, most: int) -> bytes:
    if name not in zipped.namelist():
        raise BundleError(f"it has no {name}", hint="make a bundle: edge build bundle")
    with zipped.open(name) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise BundleError(f"{name} has more than {most} bytes")
    return data


def _signature(zipped: zipfile.ZipFile) -> bytes:
    try:
        return base64.b64decode(_small(zipped, SIGNATURE, _MOST_SIGNATURE_BYTES).strip(), validate=True)
    except binascii.Error as error:
        raise BundleError(f"{SIGNATURE} is no base64") from error


def _info(name: str, entry: File | None = None) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _THEN)
    info.compress_type = zipfile.ZIP_STORED if Path(name).suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | (0o755 if entry is not None and entry.executable else 0o644)) << 16
    info.create_system = 3  # Unix: without, the same content would be another file on another system
    return info


def _copy(source: IO[bytes], target: IO[bytes], entry: File) -> None:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(source):
        target.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    if (size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise BundleError(f"{entry.path!r} has changed since the manifest was made", hint="build the bundle again")


def _unpack(source: IO[bytes], target: Path, entry: File, progress: Progress) -> None:
    digest, left = hashlib.sha256(), entry.size
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if entry.executable else 0o644)
    with os.fdopen(handle, "wb") as out:
        for chunk in _chunks(source):
            left -= len(chunk)
            if left < 0:
                break
            out.write(chunk)
            digest.update(chunk)
            progress(len(chunk))
        out.flush()
        os.fsync(out.fileno())
    if left or digest.hexdigest() != entry.sha256:
        raise BundleError(f"the file {entry.path!r} is not the one that the manifest names")


def _chunks(source: IO[bytes]) -> Iterable[bytes]:
    while chunk := source.read(_CHUNK):
        yield chunk
