"""Pictures in a folder that never grows beyond its bounds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_runtime.errors import DeviceError

_OURS = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.[a-z]+")
"""The names of what is kept here: nothing else is ever removed."""
_TIME = "%Y%m%dT%H%M%S.%f"


class Frames:
    """A folder for pictures. Of those in it that were saved here, the newest `keep` and `keep_bytes` stay.

    The newest one stays always. `now` is for tests.
    """

    def __init__(
        self, folder: Path, keep: int, keep_bytes: int, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Make the folder if it is not there. Raises: DeviceError when that cannot be."""
        self._folder = folder
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._now = now
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".*.part"):
                if _OURS.fullmatch(left.name[1:].removesuffix(".part")):  # of a host that was killed
                    left.unlink()
        except OSError as error:
            raise DeviceError(f"{folder} cannot be made: {error.strerror}", hint="correct `folder`") from error

    def save(self, ending: str, write: Callable[[Path], object]) -> dict[str, object]:
        """Let `write` write a picture to the path that it is given; return its `path`, `bytes` and `sha256`.

        It has its name only when it is whole. Raises: DeviceError when the disk does not take it; what `write` raises.
        """
        try:
            name = self._name(ending)
            data = self._written(name, write)
            self._prune()
        except DeviceError:
            raise
        except OSError as error:
            raise DeviceError(f"{self._folder} does not take a picture: {error.strerror or error}") from error
        return {"path": str(self._folder / name), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def _written(self, name: str, write: Callable[[Path], object]) -> bytes:
        """Have a picture written, give it its name and return what it holds."""
        part = self._folder / f".{name}.part"
        try:
            write(part)
            data = part.read_bytes()
            if not data:
                raise DeviceError("the picture is empty")
            part.replace(self._folder / name)
        finally:
            part.unlink(missing_ok=True)
        return data

    def _name(self, ending: str) -> str:
        """Return a name that sorts by time, after those that are there even if the clock was set back."""
        newest = max(self._ours(), default="").partition("Z")[0]
        name = f"{self._now():{_TIME}}"
        if name <= newest:
            name = f"{datetime.strptime(newest, _TIME).replace(tzinfo=UTC) + timedelta(microseconds=1):{_TIME}}"
        return f"{name}Z.{ending}"

    def _ours(self) -> list[str]:
        return [path.name for path in self._folder.iterdir() if _OURS.fullmatch(path.name)]

    def _prune(self) -> None:
        kept, total = 0, 0
        for name in sorted(self._ours(), reverse=True):
            path = self._folder / name
            size = path.stat().st_size
            if kept and (kept >= self._keep or total + size > self._keep_bytes):
                path.unlink()
                continue
            kept, total = kept + 1, total + size
