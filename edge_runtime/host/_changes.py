"""What has changed on disk: as the kernel tells it (inotify), or by comparing where it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Collection, Iterator
from pathlib import Path
from time import monotonic

from edge_runtime import inotify
from edge_runtime.inotify import Inotify
from edge_runtime.pure.code_files import is_code

_log = logging.getLogger(__name__)
_QUIET_S = 0.05
"""An editor saves in several steps, and a build writes many files: what is quiet for so long is done."""
_MOST_S = 0.4
"""What never becomes quiet is reloaded all the same after this time."""
_COMPARE_S = 0.5


class Places:
    """What is watched: `roots` are files and folders, each folder with all below it, but for what lies in `without`."""

    def __init__(self, roots: Collection[Path], without: Path | None = None) -> None:
        self.roots = sorted({root.absolute() for root in roots})
        self.without = without.absolute() if without is not None else None

    def folders(self, root: Path) -> Iterator[Path]:
        """Yield a root, if it is a folder, and the folders below it."""
        for place, names, _ in os.walk(root):
            names[:] = [name for name in names if is_code(name) and Path(place, name) != self.without]
            yield Path(place)

    def of(self, path: Path) -> list[Path]:
        """Return the roots that a path is, or lies in."""
        return [root for root in self.roots if path == root or root in path.parents]

    def seen(self) -> dict[Path, dict[Path, tuple[int, int, int]]]:
        """Return what tells whether a file is still the same, for all files of each root."""
        return {root: dict(self._marks(root)) for root in self.roots}

    def _marks(self, root: Path) -> Iterator[tuple[Path, tuple[int, int, int]]]:
        files = [f for folder in self.folders(root) for f in folder.iterdir()] if root.is_dir() else [root]
        for file in files:
            with contextlib.suppress(OSError):
                if file == root or (is_code(file.name) and not file.is_dir()):
                    about = file.stat()
                    yield file, (about.st_ino, about.st_size, about.st_mtime_ns)


class Told:
    """Changes as the kernel tells them."""

    def __init__(self, places: Places) -> None:
        """Begin to watch; changes from here on are told.

        Raises: OSError when the kernel does not help.
        """
        self._places = places
        self._inotify = Inotify()
        self._by_watch: dict[int, Path] = {}
        self._above: set[Path] = set()
        """The folders of the roots, where only the root itself is of interest: it may be replaced as a whole."""
        try:
            for root in places.roots:
                self._above.add(root.parent)
                self._add(root.parent)
                self._add_tree(root)
        except BaseException:
            self._inotify.close()
            raise

    async def changed(self) -> set[Path]:
        """Return when something has changed, with the roots it belongs to."""
        loop = asyncio.get_running_loop()
        while True:
            ready = loop.create_future()
            loop.add_reader(self._inotify.fd, _settle, ready)
            try:
                await ready
            finally:
                loop.remove_reader(self._inotify.fd)
            if found := self._take():
                return found

    def close(self) -> None:
        """Watch nothing more."""
        self._inotify.close()

    def _take(self) -> set[Path]:
        found: set[Path] = set()
        for change in self._inotify.read():
            if change.mask & inotify.OVERFLOW:
                return set(self._places.roots)  # more than the kernel keeps: anything may have changed
            if change.mask & inotify.IGNORED:
                self._by_watch.pop(change.watch, None)
                continue
            folder = self._by_watch.get(change.watch)
            if folder is None or not change.name:
                continue
            path = folder / change.name
            roots = [root for root in self._places.of(path) if path == root or self._counts(path, root)]
            if roots and self._is_done(change.mask, path):
                found.update(roots)
                if change.mask & inotify.IS_FOLDER and change.mask & (inotify.CREATE | inotify.MOVED_TO):
                    self._add_tree(path)
        return found

    def _counts(self, path: Path, root: Path) -> bool:
        inner = path.relative_to(root).parts
        return all(is_code(part) for part in inner) and self._places.without not in (path, *path.parents)

    @staticmethod
    def _is_done(mask: int, path: Path) -> bool:
        """Tell whether a change is whole: a file that was just made is told of again when it has been written."""
        if mask & inotify.CREATE and not mask & inotify.IS_FOLDER:
            with contextlib.suppress(OSError):
                return path.is_symlink() or path.stat().st_nlink > 1
            return False
        return True

    def _add_tree(self, top: Path) -> None:
        for folder in self._places.folders(top):
            self._add(folder)

    def _add(self, folder: Path) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # gone, or not ours to see
            self._by_watch[self._inotify.add(str(folder))] = folder


class Compared:
    """Changes as they are seen from time to time: where the kernel does not tell."""

    def __init__(self, places: Places, every_s: float = _COMPARE_S) -> None:
        """Take a first look."""
        self._places = places
        self._every_s = every_s
        self._last = places.seen()

    async def changed(self) -> set[Path]:
        """Return when something has changed, with the roots it belongs to."""
        while True:
            await asyncio.sleep(self._every_s)
            before, self._last = self._last, await asyncio.to_thread(self._places.seen)
            if found := {root for root in self._places.roots if before[root] != self._last[root]}:
                return found

    def close(self) -> None:
        """Do nothing: nothing is held."""


def watch(places: Places, compare_s: float = _COMPARE_S) -> Told | Compared:
    """Return what tells of changes from here on; may take a moment where there are many folders.

    Where the kernel does not tell, files are compared every `compare_s`.
    """
    try:
        return Told(places)
    except OSError as error:
        _log.warning(
            "the kernel does not tell of changes (%s): files are compared every %g s; with many folders it helps to "
            "raise fs.inotify.max_user_watches",
            error.strerror or error,
            compare_s,
        )
        return Compared(places, compare_s)


async def bursts(watched: Told | Compared, *, quiet_s: float = _QUIET_S) -> AsyncGenerator[set[Path], None]:
    """Yield the roots that have changed, those of one burst together, for ever."""
    while True:
        found = await watched.changed()
        end = monotonic() + _MOST_S
        with contextlib.suppress(TimeoutError):
            while (left := end - monotonic()) > 0:
                async with asyncio.timeout(min(quiet_s, left)):
                    found |= await watched.changed()
        yield found


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
