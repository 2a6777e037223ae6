"""An output whose wire is a file: what is on it survives the process that put it there, as on a real one."""

from __future__ import annotations

from pathlib import Path

DRIVER = '''
import os
import threading
import time
from pathlib import Path

class Wire:
    """A relay; `path` holds what it does. What begins with FAIL in the file beside it is what is wrong with it."""

    def __init__(self, path: str):
        self._path = Path(path)
        self._wrong("open")

    @classmethod
    def wires(cls, path: str):
        return [path]

    def _wrong(self, what):
        mark = self._path.with_suffix("." + what)
        if mark.exists():
            time.sleep(float(mark.read_text() or 0))
            raise OSError(f"the relay does not {what}")

    @property
    def value(self):
        return float(self._path.read_text()) if self._path.exists() else 0.0

    @value.setter
    def value(self, value):
        self._wrong("set")
        new = self._path.with_suffix(f".{threading.get_ident()}")  # the watchdog may come at the same time
        new.write_text(str(float(value)))
        os.replace(new, self._path)
'''


class Wire:
    """The other end of the wire."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def value(self) -> float:
        """What is on it."""
        return float(self.path.read_text(encoding="utf-8")) if self.path.exists() else 0.0

    def put(self, value: float) -> None:
        """Leave something on it, as a host that was killed does."""
        self.path.write_text(str(value), encoding="utf-8")

    def spoil(self, what: str, seconds: float = 0) -> None:
        """Let it fail from now on to `open` or to `set`, after a while each time."""
        self.path.with_suffix(f".{what}").write_text(str(seconds), encoding="utf-8")

    def mend(self, what: str) -> None:
        """Let it work again."""
        self.path.with_suffix(f".{what}").unlink()


def install(folder: Path) -> None:
    """Put the driver `wire` into the `hardware` folder of an app."""
    (folder / "hardware").mkdir(exist_ok=True)
    (folder / "hardware" / "wire.py").write_text(DRIVER, encoding="utf-8")
