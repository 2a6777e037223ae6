"""The releases of an app that lie on a device, and which of them runs. At every moment there is one that does.

    app/
      current -> releases/1.4.0-0f3a9c12       what a start of the host runs
      releases/1.4.0-0f3a9c12/edge.yaml ...    unpacked bundles, the newest three
      record.json                              what is on trial, what became of the last one, the highest release so far

A release that has just been put in place is on trial until somebody says that it is well. A host that starts counts
its starts (`begin`): one that does not live long enough to be found well is rolled back by the next start but one, so
that a device comes back even from a release that ends its process.

Each change is one rename; a power cut between two of them is found and mended by `begin`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime import disk, failpoint
from edge_runtime.bundles import Bundle, Progress
from edge_runtime.errors import ConfigError, EdgeError, HostError, NotFoundError, StoreError
from edge_runtime.pure.bundle import MANIFEST, BundleError, Manifest, read
from edge_runtime.pure.jobs import release_order

CURRENT, FOLDER, RECORD, APP_FILE = "current", "releases", "record.json", "edge.yaml"
_LOCK = "lock"
KEPT = 3
MOST_STARTS = 2
"""A release on trial that was started so often and not found well is given up at the next start."""
_DIGEST = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """A release that has to show that it is well."""

    new: str
    """The name of its folder."""
    old: str
    """That of the release before; empty for the first one."""
    health_s: float = 60.0
    """For how long it is watched."""
    starts: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """What is known beside the folders."""

    highest: str = ""
    """The highest release that was ever found well."""
    trial: Trial | None = None
    failed: str = ""
    """The folder name of the last release that was rolled back."""
    reason: str = ""
    """Why."""
    order: tuple[str, ...] = ()
    """Folder names of those found well, the newest first."""


def name_of(bundle: Bundle) -> str:
    """Return what the folder of a bundle's release is called: its number, and the start of what names its content."""
    return f"{bundle.manifest.release}-{bundle.digest[:_DIGEST]}"


class Releases:
    """The releases in one folder. Its methods block. Only the process that holds them (`held`) may change them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._one = threading.RLock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from changing the releases: a process that runs them does so for as long as it lives.

        Raises: HostError when another process holds them, StoreError.
        """
        with _mapped(self.root):
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            lock = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HostError(
                    f"another process has the releases in {self.root}", hint="see edge status, or its log"
                ) from None
            yield
        finally:
            os.close(lock)

    @property
    def current(self) -> str:
        """The folder name of the release that a start runs; empty when there is none."""
        try:
            name = (self.root / CURRENT).readlink().name
        except OSError:
            return ""
        return name if (self.root / FOLDER / name).is_dir() else ""

    @property
    def app_file(self) -> Path:
        """The app file of the release that runs, by its own path: it stays the same when another one takes over.

        Raises: NotFoundError when there is none.
        """
        if not (name := self.current):
            raise NotFoundError(
                f"no release of an app is in {self.root}", hint="send one: edge deploy, or edge install"
            )
        return self.app_file_of(name)

    def app_file_of(self, name: str) -> Path:
        """Return where the app file of a release is."""
        return self.root / FOLDER / name / APP_FILE

    def record(self) -> Record:
        """Return what is known. A record that cannot be read is as good as none: the folders tell the rest."""
        try:
            data = json.loads((self.root / RECORD).read_bytes())
            trial = data.get("trial")
            return Record(
                highest=str(data["highest"]),
                trial=Trial(**trial) if trial else None,
                failed=str(data["failed"]),
                reason=str(data["reason"]),
                order=tuple(str(name) for name in data["order"]),
            )
        except FileNotFoundError:
            return Record()
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            _log.error("%s cannot be read, it is begun anew: %s", self.root / RECORD, error)
            return Record(highest=self.current.rpartition("-")[0])

    def begin(self) -> str:
        """Say that a host is about to start; return why the release on trial was given up, or an empty text.

        Raises: StoreError when the disk fails.
        """
        with self._changing():
            self._sweep()
            record = self.record()
            trial = record.trial
            if trial is None:
                return ""
            if self.current != trial.new:  # it never got as far as running, or was rolled back already
                self._write(replace(record, trial=None))
                return ""
            if trial.starts >= MOST_STARTS:
                reason = f"it was started {trial.starts} times and never found well"
                return reason if self.give_up(reason) else ""
            self._write(replace(record, trial=replace(trial, starts=trial.starts + 1)))
            return ""

    def check(self, bundle: Bundle) -> None:
        """Return when this release may be put in place.

        Raises: BundleError when it is older than one that was well here.
        """
        highest = self.record().highest
        if highest and release_order(bundle.manifest.release) < release_order(highest):
            raise BundleError(
                f"release {bundle.manifest.release} is older than {highest}, which was installed before",
                hint="build it with a higher release number, or go back on the device: edge releases rollback",
            )

    def stage(self, bundle: Bundle, name: str, progress: Progress = lambda _: None) -> Path:
        """Unpack a bundle beside the others and return its folder; one that is there already is taken as it is.

        Raises: BundleError, StoreError.
        """
        target, fresh = self.root / FOLDER / name, self.root / FOLDER / f".{name}.new"
        with self._changing():
            if target.is_dir():
                return target
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            shutil.rmtree(fresh, ignore_errors=True)
            bundle.unpack(fresh, progress)
            failpoint.reach("release.unpacked")
            fresh.rename(target)
            disk.sync(target.parent)
        failpoint.reach("release.staged")
        return target

    def discard(self, name: str) -> None:
        """Remove a release that was staged and is not to run."""
        if name != self.current and name not in self.record().order:
            self._remove(self.root / FOLDER / name)

    def put_in_place(self, name: str, health_s: float) -> None:
        """Let the next start run this release, on trial for so long. Raises: StoreError."""
        with self._changing():
            record, old = self.record(), self.current
            if record.trial is not None and record.trial.new == old:
                old = record.trial.old  # what has not shown that it is well is nothing to go back to
            self._write(replace(record, trial=Trial(name, old, health_s), failed="", reason=""))
            failpoint.reach("release.recorded")
            self._point_to(name)
        failpoint.reach("release.switched")

    def confirm(self) -> None:
        """Say that the release on trial is well, and remove those that are no longer needed. Raises: StoreError."""
        with self._changing():
            record = self.record()
            if record.trial is None:
                return
            name = record.trial.new
            release = name.rpartition("-")[0]
            highest = record.highest
            if not highest or release_order(release) > release_order(highest):
                highest = release
            # The one before comes next, though somebody may have gone back to it from a newer one.
            order = tuple(dict.fromkeys(one for one in (name, record.trial.old, *record.order) if one))[:KEPT]
            self._write(Record(highest=highest, order=order))
            failpoint.reach("release.confirmed")
            self._prune(set(order))

    def give_up(self, reason: str) -> str:
        """Go back to the release before the one on trial; return its folder name, empty when there is none to go to.

        Raises: StoreError.
        """
        with self._changing():
            record = self.record()
            trial = record.trial
            if trial is None:
                return ""
            old = trial.old if (self.root / FOLDER / trial.old).is_dir() and trial.old else ""
            if old:
                self._point_to(old)
                failpoint.reach("release.returned")
            self._write(replace(record, trial=None, failed=trial.new, reason=reason))
            return old

    def stay(self, name: str, reason: str) -> None:
        """Put the release back that ran until now, because the one that was to take over cannot. Raises: StoreError."""
        if self.give_up(reason) or name == self.current or not (self.root / FOLDER / name).is_dir():
            return
        with self._changing():
            failed = self.current
            self._point_to(name)
            self._write(replace(self.record(), failed=failed, reason=reason))

    def told(self) -> None:
        """Forget that a release was rolled back: whoever wanted it has heard. Raises: StoreError."""
        with self._changing():
            self._write(replace(self.record(), failed="", reason=""))

    def manifest(self) -> Manifest | None:
        """Return what the bundle of the release that runs says of itself; None when there is none."""
        try:
            return read((self.root / FOLDER / self.current / MANIFEST).read_bytes())
        except (OSError, BundleError):
            return None

    def files(self) -> dict[str, Path]:
        """Return the files of the release that runs, by the SHA-256 that its manifest says of them."""
        manifest, folder = self.manifest(), self.root / FOLDER / self.current
        found = manifest.files if manifest is not None else ()
        return {file.sha256: folder.joinpath(*file.path.split("/")) for file in found}

    def facts(self, *, files: bool = False) -> dict[str, Any]:
        """Return all that is known, as JSON has it: the record and `current`.

        With `files` also `name`, what its bundle is called, `here`, the files of the release that runs which are still
        what its manifest says, by their SHA-256, and `content`, which is `Manifest.content` when all of them are, else
        empty. Reads them all.
        """
        found = {"current": self.current, **asdict(self.record())}
        if not files:
            return found
        named, manifest = self.files(), self.manifest()
        here = {digest: str(path) for digest, path in named.items() if _is(path, digest)}
        whole = manifest is not None and len(here) == len(named)
        name, content = (manifest.name, manifest.content) if manifest is not None else ("", "")
        return {**found, "name": name, "here": here, "content": content if whole else ""}

    def before(self) -> str:
        """Return the folder name of the release before the current one.

        Raises: NotFoundError when none is kept, ConfigError during a trial.
        """
        record, now = self.record(), self.current
        if record.trial is not None:
            raise ConfigError(f"release {record.trial.new} is on trial", hint="see edge releases")
        after = record.order[record.order.index(now) + 1 :] if now in record.order else record.order
        name = next((one for one in after if (self.root / FOLDER / one).is_dir()), "")
        if not name:
            raise NotFoundError(f"no release before {now or 'the first one'} is kept", hint="see edge releases")
        return name

    def back(self) -> str:
        """Put the release before the current one in place, for good, and return its folder name.

        Raises: as `before`; StoreError.
        """
        with self._changing():
            name = self.before()
            self._point_to(name)
            return name

    # -- the disk ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one thread at a time change something: one that nobody waits for any more may not have ended yet."""
        with self._one, _mapped(self.root):
            yield

    def _point_to(self, name: str) -> None:
        fresh = self.root / f".{CURRENT}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(f"{FOLDER}/{name}")
        fresh.replace(self.root / CURRENT)
        disk.sync(self.root)

    def _write(self, record: Record) -> None:
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = self.root / f".{RECORD}.new"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.root / RECORD)
        disk.sync(self.root)

    def _prune(self, kept: set[str]) -> None:
        for path in (self.root / FOLDER).iterdir():
            if path.name not in kept:
                self._remove(path)

    @staticmethod
    def _remove(path: Path) -> None:
        """Remove a release. Half of one never lies there under its name: it would be taken for the whole."""
        gone = path.with_name(f".{path.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(OSError):  # what cannot be removed is in nobody's way
            path.rename(gone)
            failpoint.reach("release.removing")
        shutil.rmtree(gone, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what was being unpacked or removed when the power went."""
        for path in (self.root / FOLDER).glob(".*"):
            shutil.rmtree(path, ignore_errors=True)


def _is(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


@contextlib.contextmanager
def _mapped(root: Path) -> Iterator[None]:
    try:
        yield
    except EdgeError:
        raise
    except OSError as error:
        raise StoreError(f"the releases in {root} cannot be changed: {error.strerror or error}") from error
