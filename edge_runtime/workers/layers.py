"""A function's layers as one folder, its `/opt`: folders and .zip files laid over one another, made once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_runtime import disk
from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.workers import unpack


def merged(layers: Sequence[Path], scratch: Path) -> Path | None:
    """Return the folder that holds all layers, None when there are none. Blocks: call it in a thread.

    Of files of one name the last layer's is kept. A lone folder is used as it is; all else is made once, under the name
    `key(layers)` in `scratch`: in a temporary folder that is renamed when it is complete and on disk.

    Raises: ConfigError when a layer is missing or not safe; StoreError when the disk fails.
    """
    _check(layers)
    if not layers:
        return None
    if len(layers) == 1 and layers[0].is_dir():
        return layers[0].absolute()
    target = scratch / key(layers)
    if target.is_dir():
        return target
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=scratch, ignore_cleanup_errors=True) as part:
            fresh = Path(part) / "opt"
            fresh.mkdir(mode=0o755)
            for number, layer in enumerate(layers):
                _lay_over(unpack.task_root(layer, Path(part) / str(number)), fresh)
            os.sync()  # of each file by itself it takes minutes on an SD card
            _put(fresh, target)
        disk.sync(scratch)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot lay the layers together in {scratch}: {error.strerror or error}") from error
    return target


def key(layers: Sequence[Path]) -> str:
    """Return the name of what these layers make: another when a .zip has other content or a file in a folder changed.

    Raises: ConfigError when a layer is missing or cannot be read.
    """
    _check(layers)
    sums = hashlib.sha256()
    for layer in layers:
        if layer.is_dir():
            for path in sorted(_below(layer)):
                seen = path.lstat()
                name = os.fsencode(path.relative_to(layer))
                sums.update(b"%s\0%o %d %d\0" % (name, seen.st_mode, seen.st_size, seen.st_mtime_ns))
            sums.update(b"folder\0")
        else:
            sums.update(unpack.digest(layer).encode())
    return sums.hexdigest()


def _check(layers: Sequence[Path]) -> None:
    for layer in layers:
        if not layer.is_dir() and not (unpack.is_archive(layer) and layer.is_file()):
            what = "is neither a folder nor a .zip" if layer.exists() else "does not exist"
            raise ConfigError(f"the layer {layer} {what}", hint="`layers:` names folders and .zip files of layers")


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(place, name)


def _lay_over(layer: Path, target: Path) -> None:
    """Put the entries of a layer into a folder. Never follows a link, so nothing outside of it is written to."""
    for entry in layer.iterdir():
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink():
            if place.is_symlink() or not place.is_dir():
                place.unlink(missing_ok=True)
                place.mkdir(mode=0o755)
            _lay_over(entry, place)
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        if entry.is_symlink() or entry.is_file():
            shutil.copy2(entry, place, follow_symlinks=False)
        else:
            raise ConfigError(f"the layer file {entry} is no ordinary file", hint="remove it from the layer")


def _put(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:
        if not target.is_dir():  # else another thread was faster with the same
            raise
