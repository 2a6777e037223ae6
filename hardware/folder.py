"""A watched folder: each file that is put into it is a reading. A scanner, a camera or a colleague puts files there.

    inbox:
      driver: folder
      path: /srv/inbox
      pattern: "*.csv"

A reading is `{"path": "/srv/inbox/a.csv", "name": "a.csv", "bytes": 120, "modified": "2026-11-23T02:30:00.000000Z"}`. A
file is told when whoever writes it closes it, or moves it here; never while it is being written. Who reads it takes it
away when it is done. A file that is written anew is told again, one that is only read or renamed from within is told by
its new name.

- `path`: the folder. It must be there when the host starts; if it goes away that is a fault until it is back.
- `pattern`: which names, as in a shell: `*.jpg`. Without one all but those that begin with a dot or end with `.tmp`,
  `.part` or `~`: a program that writes under such a name and renames it is told once.
- `recursive`: with all folders below. `name` is then the way from the folder, `2026/11/a.csv`.
- `existing`: whether files that are there when the host starts are told, too: yes without it. With `existing: false` a
  file that comes while the host is down is never told.

The kernel tells of changes (inotify), nothing is asked again and again. When it has more to tell than it keeps, all is
looked through: no file is told twice, none is forgotten. Shares on a network (NFS, SMB) tell only what this machine
does. The user needs the right to read the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import logging
import os
import selectors
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

from edge_runtime import inotify
from edge_runtime.devices import arguments
from edge_runtime.devices.driver import SimulatedSource, Source
from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.events.iso import micros

_UNFINISHED = (".tmp", ".part", "~")
_PUT = inotify.CLOSE_WRITE | inotify.MOVED_TO | inotify.CREATE
_TAKEN = inotify.DELETE | inotify.MOVED_FROM
_NOTHING = "no file has come yet"
_END_S = 2.0
_MOST_WAIT_S = 30.0
_log = logging.getLogger(__name__)

_Mark = tuple[int, int, int]
"""What tells whether a file is still the same: inode, size, time of its last change."""


class Folder(Source):
    """A watched folder. The module says what its arguments are."""

    def __init__(self, *, path: str, pattern: str = "", recursive: bool = False, existing: bool = True) -> None:
        self.wires(path=path, pattern=pattern, recursive=recursive, existing=existing)
        super().__init__(path, _NOTHING)
        self._root = Path(path).absolute()
        self._pattern = pattern
        self._recursive = recursive
        self._seen: dict[Path, _Mark] = {}
        """The files that are there and were told, or are not to be."""
        self._writing: set[Path] = set()
        """The files that were made and are still being written."""
        self._waiting = False
        """Whether there are files that nobody took: they go first."""
        self._folders: dict[int, Path] = {}
        self._ended = threading.Event()
        self._inotify = self._watch()
        if not existing:
            marks = {path: _mark(path) for path in self._files(self._root)}
            self._seen = {path: mark for path, mark in marks.items() if mark is not None}
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"folder[{path}]", daemon=True)
        self._thread.start()

    @classmethod
    def wires(cls, *, path: str, pattern: str = "", recursive: bool = False, existing: bool = True) -> list[str]:
        """Return nothing: a folder has room for many. Raises: ConfigError for a wrong argument."""
        arguments.text("path", path)
        arguments.text("pattern", pattern, empty=True)
        arguments.switch("recursive", recursive)
        arguments.switch("existing", existing)
        if "/" in pattern:
            raise ConfigError(f"pattern {pattern!r} is no pattern of a name", hint="write it without folders: *.jpg")
        return []

    @classmethod
    def simulated(cls, *, path: str, **others: object) -> SimulatedSource:
        """Return one that holds nothing until it is told of a file."""
        cls.wires(path=path, **others)  # type: ignore[arg-type]  # it checks them itself
        return SimulatedSource(DeviceError(f"{path}: {_NOTHING}"), wiring=path)

    def taken(self) -> None:
        """Look for the files that came while nobody took them: they wait."""
        if self.when_read is not None and not self._ended.is_set():
            os.write(self._waker, b"look")

    def close(self) -> None:
        """Watch nothing more. Safe to call twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        os.write(self._waker, b"end")
        self._thread.join(_END_S)
        if self._thread.is_alive():  # somebody does not take a file: the rest is left to it
            _log.warning("%s: whoever takes its files does not come back", self._root)
            return
        self._inotify.close()
        os.close(self._wake)
        os.close(self._waker)

    # -- on the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff(0.5, _MOST_WAIT_S)
        while not self._ended.is_set():
            try:
                self._follow()
            except OSError as error:
                self.lost(f"{self._root}: {_why(error)}")
            if self._ended.wait(backoff.next()):
                return
            try:
                again = self._watch()
            except DeviceError as error:
                self.lost(str(error))
                continue
            self._inotify.close()
            self._inotify = again
            self.well()
            backoff.reset()

    def _follow(self) -> None:
        """Tell of files until the end. Raises: OSError when the folder is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._inotify.fd, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            self._look()
            while not self._ended.is_set():
                for key, _ in selector.select():
                    if key.fd == self._wake:
                        os.read(self._wake, 4096)
                        self._look()
                        continue
                    whole, put = self._changes()
                    if not whole:
                        self._writing.clear()  # whose end may be among what was lost
                    if not whole or self._waiting:
                        self._look()
                    else:
                        self._tell_all(put)

    def _changes(self) -> tuple[bool, list[Path]]:
        """Return whether the kernel told all that happened, and the files that were put here."""
        whole, put = True, list[Path]()
        for change in self._inotify.read():
            folder = self._folders.get(change.watch)
            if change.mask & inotify.OVERFLOW:
                whole = False
            elif change.mask & (inotify.IGNORED | inotify.MOVE_SELF):
                if folder == self._root:
                    raise OSError("the folder is gone")
                if change.mask & inotify.IGNORED:
                    self._folders.pop(change.watch, None)
            elif folder is not None and change.name:
                put += self._change(change.mask, folder / change.name)
        return whole, put

    def _change(self, mask: int, path: Path) -> list[Path]:
        if mask & inotify.IS_FOLDER:
            if self._recursive and mask & _PUT:
                self._add(path)
                return self._files(path)
            if mask & _TAKEN:
                self._seen = {known: mark for known, mark in self._seen.items() if path not in known.parents}
            return []
        # Who makes a file writes it then, and it is told when it is closed; but nobody writes a link.
        if mask & inotify.CREATE and not _is_link(path):
            self._writing.add(path)
            return []
        self._writing.discard(path)
        if mask & _TAKEN:
            self._seen.pop(path, None)
            return []
        return [path] if self._wanted(path) else []

    def _look(self) -> None:
        """Tell of all files that were not told yet; forget those that are gone."""
        if not self._root.is_dir():
            raise OSError("the folder is gone")
        if self._recursive:
            self._add(self._root)
        self._seen = {path: mark for path, mark in self._seen.items() if os.path.lexists(path)}
        found = self._files(self._root)
        whole, put = self._changes()  # which of them are being written
        if not whole:
            self._writing.clear()
            found = self._files(self._root)
        self._waiting = False
        self._tell_all([*found, *put])

    def _tell_all(self, paths: Iterable[Path]) -> None:
        if self.when_read is None:
            self._waiting = True
            return
        for path in dict.fromkeys(paths):
            if self._ended.is_set():
                return
            if path not in self._writing:
                self._tell(path)

    def _tell(self, path: Path) -> None:
        with self.turn:
            mark = _mark(path)
            if self.when_read is None or mark is None or self._seen.get(path) == mark:
                return
            self._seen[path] = mark
            self.hand_over(
                {
                    "path": str(path),
                    "name": str(path.relative_to(self._root)),
                    "bytes": mark[1],
                    "modified": micros(mark[2]),
                }
            )

    # -- files and folders -------------------------------------------------------------------------------------------

    def _watch(self) -> inotify.Inotify:
        """Return what tells of the folder from now on. Raises: DeviceError when it cannot."""
        told = inotify.Inotify()
        try:
            self._folders = {told.add(str(self._root)): self._root}
        except OSError as error:
            told.close()
            raise DeviceError(
                f"{self._root} cannot be watched: {error.strerror}", hint="make the folder, or correct `path`"
            ) from error
        return told

    def _add(self, top: Path) -> None:
        """Watch a folder and those below it, again or anew; not one that is gone meanwhile, or is not ours to see."""
        for place, _, _ in os.walk(top, onerror=_cannot_see):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                self._folders[self._inotify.add(place)] = Path(place)

    def _files(self, top: Path) -> list[Path]:
        """Return the files in a folder that are wanted, the oldest first."""
        found: list[tuple[int, Path]] = []
        for place, names, files in os.walk(top, onerror=_cannot_see):
            names[:] = names if self._recursive else []
            wanted = (path for name in files if self._wanted(path := Path(place, name)))
            found += [(mark[2], path) for path in wanted if (mark := _mark(path)) is not None]
        return [path for _, path in sorted(found)]

    def _wanted(self, path: Path) -> bool:
        if self._pattern:
            return fnmatch.fnmatchcase(path.name, self._pattern)
        return not path.name.startswith(".") and not path.name.endswith(_UNFINISHED)


def _cannot_see(error: OSError) -> None:
    _log.warning("%s is left out: %s", error.filename, error.strerror)


def _why(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "this user may watch no more folders; raise fs.inotify.max_user_watches by sysctl"
    return error.strerror or str(error)


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink() or path.stat().st_nlink > 1
    except OSError:
        return False


def _mark(path: Path) -> _Mark | None:
    """Return what tells whether it is the same file; None when it is gone, or is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return (about.st_ino, about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else None
