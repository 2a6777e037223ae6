"""A watched bucket: each object that is put into it is fetched into a folder, and is a reading.

For what speaks like S3: a Snowball Edge, MinIO, a NAS, S3 itself.

    pictures:
      driver: s3_bucket
      endpoint: http://192.0.2.10:8080
      bucket: pictures
      folder: /var/lib/edge-runtime/pictures
      region: snow

A reading is as that of `folder`, of the copy: `{"path": "/var/lib/edge-runtime/pictures/in/a.jpg", "name": "in/a.jpg",
"bytes": 120, "modified": "2026-11-23T02:30:00.000000Z", "bucket": "pictures", "etag": "0f3a..."}`. `name` is the key,
`modified` when the object was written. Who reads it takes the copy away when it is done.

- `endpoint`, `bucket`: the server, `http://` or `https://` with its port, and the bucket. `wiring` shows both.
- `folder`: where copies go, in folders as the keys have them; it is made. It also has `.told`, where the driver keeps
  what it has told: an object is told once, also over restarts, and again when it is written anew. After a crash what
  was told in the last seconds is told once more.
- `prefix`: only keys that begin so. The driver knows each of them by heart: 10 MB for 50000.
- `region`: what requests are signed for: `snow` on a Snowball Edge, `us-east-1` without it.
- `interval`: so often the bucket is listed, 60 s without it. A server has no way to tell.
- `credentials`: a file as the AWS CLI has it, of which the section `default` is taken. Without it the environment of
  the host: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN.
- `ca`: the certificate of the server's authority, a PEM file, where it is not one that everybody trusts.

A key that is no path below the folder (`../x`, `/x`, `a//b`, `.x`) is left out, as is an object of more than 1 GiB; the
log says so. While the server cannot be reached that is a fault.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import threading
import time
from pathlib import Path, PurePosixPath
from typing import Any

from edge_runtime.devices import arguments, s3_client
from edge_runtime.devices.driver import SimulatedSource, Source
from edge_runtime.devices.s3_client import Object, S3Client
from edge_runtime.errors import DeviceError
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.events.iso import micros

MOST_BYTES = 1 << 30
_NOTHING = "no object has come yet"
_END_S = 2.0
_MOST_WAIT_S = 300.0
_NO_NAME = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
"""A bucket may have a key `a` and a key `a/b`, and longer names than a file system."""
_log = logging.getLogger(__name__)


class S3Bucket(Source):
    """A watched bucket. The module says what its arguments are."""

    settled_s = 5.0
    """After so long what was told is in the queues of whom it concerns, and is noted."""

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        folder: str,
        prefix: str = "",
        region: str = "us-east-1",
        interval: float | str = 60,
        credentials: str = "",
        ca: str = "",
    ) -> None:
        checked: dict[str, Any] = {"region": region, "interval": interval, "credentials": credentials, "ca": ca}
        self.wires(endpoint=endpoint, bucket=bucket, folder=folder, prefix=prefix, **checked)
        self._client = S3Client(endpoint, bucket, region, credentials, ca)
        super().__init__(self._client.name, _NOTHING)
        self._bucket, self._prefix = bucket, prefix
        self._folder = Path(folder).absolute()
        self._interval_s = arguments.seconds("interval", interval, 1.0)
        self._told = Told(self._folder / ".told", self.settled_s)
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"s3[{bucket}]", daemon=True)
        self._thread.start()

    @classmethod
    def wires(
        cls,
        *,
        endpoint: str,
        bucket: str,
        folder: str,
        prefix: str = "",
        region: str = "us-east-1",
        interval: object = 60,
        credentials: str = "",
        ca: str = "",
    ) -> list[str]:
        """Return the folder, which no other may fill. Raises: ConfigError for a wrong argument."""
        s3_client.check(arguments.text("endpoint", endpoint))
        arguments.text("bucket", bucket)
        arguments.text("region", region)
        arguments.seconds("interval", interval, 1.0)
        for name, value in (("prefix", prefix), ("credentials", credentials), ("ca", ca)):
            arguments.text(name, value, empty=True)
        return [arguments.text("folder", folder)]

    @classmethod
    def simulated(cls, *, endpoint: str, bucket: str, **others: object) -> SimulatedSource:
        """Return one that holds nothing until it is told of an object."""
        cls.wires(endpoint=endpoint, bucket=bucket, **others)  # type: ignore[arg-type]  # it checks them itself
        name = f"{endpoint.rstrip('/')}/{bucket}"
        return SimulatedSource(DeviceError(f"{name}: {_NOTHING}"), wiring=name)

    def taken(self) -> None:
        """Look at once: nothing is fetched while nobody takes."""
        self._wake.set()

    def close(self) -> None:
        """Watch nothing more. Safe to call twice."""
        self._ended.set()
        self._wake.set()
        self._thread.join(_END_S)
        if self._thread.is_alive():  # it waits for the server, and ends with the answer
            _log.info("%s: an answer is still awaited", self.wiring)

    # -- on the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff(1.0, _MOST_WAIT_S)
        while not self._ended.is_set():
            wait_s = self._interval_s
            if self.when_read is not None:
                try:
                    self._look()
                except (OSError, DeviceError) as error:
                    self.lost(str(error))
                    wait_s = backoff.next()
                else:
                    self.well()
                    backoff.reset()
            self._wait(wait_s)
        self._told.close()

    def _wait(self, wait_s: float) -> None:
        """Wait, and note meanwhile what was told; whoever begins to take ends it."""
        end_s = time.monotonic() + wait_s
        while not self._ended.is_set() and (left_s := end_s - time.monotonic()) > 0:
            due_s = self._told.settle()
            if self._wake.wait(left_s if due_s is None else min(left_s, due_s)):
                self._wake.clear()
                return

    def _look(self) -> None:
        """Tell of all objects that were not told yet, the oldest first. Raises: DeviceError, OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._told.load()
        found = {item.key: item for item in self._client.objects(self._prefix) if not item.key.endswith("/")}
        self._told.forget_all_but(found)
        new = [item for item in found.values() if not self._told.has(item)]
        for item in sorted(new, key=lambda item: (item.modified_ns, item.key)):
            if self._ended.is_set() or self.when_read is None:
                return
            path = self._place(item)
            if path is None or not self._fetch(item, path):
                self._told.add(item)
                continue
            self._tell(item, path)
            self._told.settle()

    def _place(self, item: Object) -> Path | None:
        """Return where the copy goes; None for an object that is left out."""
        parts = item.key.split("/")
        if any(part == "" or part.startswith(".") or "\0" in part for part in parts):
            _log.warning("%s: the key %r is no path below the folder; the object is left out", self.wiring, item.key)
            return None
        if item.size > MOST_BYTES:
            _log.warning("%s: %r has more than %d bytes; the object is left out", self.wiring, item.key, MOST_BYTES)
            return None
        return self._folder / PurePosixPath(item.key)

    def _fetch(self, item: Object, path: Path) -> bool:
        """Fetch a copy; tell whether it could be given its name. Raises: DeviceError, OSError."""
        part = self._folder / f".{hashlib.sha256(item.key.encode()).hexdigest()[:16]}.part"
        try:
            self._client.fetch(item, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
        except OSError as error:
            if error.errno not in _NO_NAME:
                raise
            _log.warning("%s: the key %r is no name here, and the object is left out: %s", self.wiring, item.key, error)
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def _tell(self, item: Object, path: Path) -> None:
        with self.turn:
            reading = {
                "path": str(path),
                "name": item.key,
                "bytes": item.size,
                "modified": micros(item.modified_ns),
                "bucket": self._bucket,
                "etag": item.etag,
            }
            if self.hand_over(reading):
                self._told.add(item)


class Told:
    """Which objects were told, by key and content, in a file to which lines are added. Of one thread."""

    def __init__(self, path: Path, settled_s: float) -> None:
        self._path, self._settled_s = path, settled_s
        self._etags: dict[str, str] | None = None
        """None: not read yet."""
        self._waiting: list[tuple[float, str, str]] = []
        """What was told too short a time ago to be noted: when, key, content."""
        self._lines = 0

    def load(self) -> None:
        """Read the file, once. A line that a power cut has left half is the last one, and counts for nothing."""
        if self._etags is not None:
            return
        self._etags = {}
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                key, etag = json.loads(line)
            except ValueError:
                continue
            self._etags[key] = etag
        self._etags = {key: etag for key, etag in self._etags.items() if etag is not None}
        self._lines = len(lines)
        self._write_anew()

    def has(self, item: Object) -> bool:
        """Tell whether an object was told, with this content."""
        return (self._etags or {}).get(item.key) == _content(item)

    def add(self, item: Object) -> None:
        """Remember an object that was just told."""
        if self._etags is not None:
            self._etags[item.key] = _content(item)
            self._waiting.append((time.monotonic(), item.key, _content(item)))

    def forget_all_but(self, found: dict[str, Object]) -> None:
        """Forget the objects that are gone: when they come again they are new."""
        gone = [key for key in self._etags or {} if key not in found]
        if gone and self._etags is not None:
            for key in gone:
                del self._etags[key]
            self._waiting = [entry for entry in self._waiting if entry[1] in found]
            self._append([json.dumps([key, None]) for key in gone])

    def settle(self) -> float | None:
        """Note on disk what was told long enough ago. Return in how many seconds there is more; None: no more."""
        now_s = time.monotonic()
        ready = [entry for entry in self._waiting if now_s - entry[0] >= self._settled_s]
        if ready:
            self._waiting = self._waiting[len(ready) :]
            self._append([json.dumps([key, etag]) for _, key, etag in ready])
        return self._waiting[0][0] + self._settled_s - now_s if self._waiting else None

    def close(self) -> None:
        """Note what is due; the rest is told again."""
        self.settle()

    def _append(self, lines: list[str]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        self._lines += len(lines)
        if self._lines > 2 * len(self._etags or {}) + 1000:
            self._write_anew()

    def _write_anew(self) -> None:
        """Replace the file by one without what no longer counts, and whose last line is whole."""
        waiting = {key for _, key, _ in self._waiting}
        lines = [json.dumps([key, etag]) for key, etag in (self._etags or {}).items() if key not in waiting]
        fresh = self._path.with_name(f"{self._path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._lines = len(lines)


def _content(item: Object) -> str:
    return item.etag or f"{item.size} {item.modified_ns}"
