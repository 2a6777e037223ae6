"""Debian packages, written without Debian's tools: on any machine, by any user, the same content the same bytes.

deb(5): an `ar` archive of `debian-binary`, the control files as a tar and the files as a tar. The latter is not
compressed: what is large in it is wheels, which are.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_CHUNK = 1 << 20
_HEADER = 60
"""Bytes, of each member of an `ar` archive."""
_THEN = 315_532_800
"""1980: the time of every file, as in a zip. Older ones make tar(1) complain."""
_SCRIPTS = frozenset({"preinst", "postinst", "prerm", "postrm"})


def write_deb(root: Path, control: Path, path: Path) -> None:
    """Write the package `path` of the files below `root` and the control files in the folder `control`.

    All belongs to root in it; folders have mode 0755, files 0755 or 0644, by whether their owner may execute them. The
    file `control` gets its `Installed-Size`, and `md5sums` is added. The package is whole or not there.

    Raises: OSError.
    """
    size_kb = sum(1 if file.is_dir() else 1 + file.stat().st_size // 1024 for file in _below(root))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two builds may run at once
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("w+b") as out:
            out.write(b"!<arch>\n")
            _member(out, "debian-binary", b"2.0\n")
            _member(out, "control.tar.gz", _control(root, control, size_kb))
            start = out.tell()
            _header(out, "data.tar", 0)
            with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
                for file in _below(root):
                    _add(tar, file, f"./{file.relative_to(root).as_posix()}")
            end = out.tell()
            out.seek(start)
            _header(out, "data.tar", end - out.tell() - _HEADER)
            out.seek(end)  # a tar is a multiple of 512 bytes, so that no padding follows
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _header(out: IO[bytes], name: str, size: int) -> None:
    out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{0o100644:<8o}{size:<10}`\n".encode())


def _member(out: IO[bytes], name: str, data: bytes) -> None:
    _header(out, name, len(data))
    out.write(data + b"\n" * (len(data) % 2))


def _control(root: Path, control: Path, size_kb: int) -> bytes:
    files = {file.name: file.read_bytes() for file in control.iterdir()}
    files["control"] = files["control"].rstrip(b"\n") + f"\nInstalled-Size: {size_kb}\n".encode()
    files["md5sums"] = "".join(_sum(file, root) for file in _below(root) if file.is_file()).encode()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode, info.mtime = len(data), 0o755 if name in _SCRIPTS else 0o644, _THEN
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def _sum(file: Path, root: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)  # what dpkg --verify compares; apt's signature proves more
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
    return f"{digest.hexdigest()}  {file.relative_to(root).as_posix()}\n"


def _below(root: Path) -> Iterator[Path]:
    return iter(sorted(root.rglob("*")))


def _add(tar: tarfile.TarFile, file: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = _THEN
    if file.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        return
    about = file.stat()
    info.size, info.mode = about.st_size, 0o755 if about.st_mode & stat.S_IXUSR else 0o644
    with file.open("rb") as source:
        tar.addfile(info, source)
