"""Serial lines without hardware: a pseudo-terminal, whose name stays when it is unplugged and plugged in again."""

from __future__ import annotations

import os
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any


class Plug:
    """The far end of a line. `port` is the near end's name."""

    def __init__(self, folder: Path) -> None:
        self.port = str(folder / "ttyUSB0")
        self._far = -1
        self._near = -1
        self.plug()

    def plug(self) -> None:
        """Plug it in, as another terminal under the same name."""
        self._far, self._near = os.openpty()
        tty.setraw(self._near)
        Path(self.port).symlink_to(os.ttyname(self._near))

    def unplug(self) -> None:
        """Pull it out. Safe to do twice."""
        if self._far >= 0:
            Path(self.port).unlink()
            os.close(self._far)
            os.close(self._near)
            self._far = -1

    def say(self, data: bytes) -> None:
        """Send bytes to the near end."""
        while data:
            data = data[os.write(self._far, data) :]

    def hear(self, count: int) -> bytes:
        """Return so many bytes that the near end sent, as they come."""
        data = b""
        while len(data) < count:
            data += os.read(self._far, count - len(data))
        return data


class Heard:
    """Takes what a device hands over, for `when_read`."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()

    def __call__(self, value: object) -> None:
        """Take a reading, or an error."""
        self._queue.put(value)

    def next(self) -> Any:  # noqa: ANN401 - whatever a driver hands over
        """Return the next value, or error; wait for it."""
        return self._queue.get(timeout=20)

    def until(self, wanted: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - as above
        """Return the next one that is wanted."""
        while not wanted(found := self.next()):
            pass
        return found

    def reading_after(self, again: Callable[[], object]) -> Any:  # noqa: ANN401 - as above
        """Return the next reading. `again` is done again and again until it comes: nobody tells when a port is open."""
        for _ in range(400):
            again()
            with suppress(Empty):
                while isinstance(found := self._queue.get(timeout=0.05), Exception):
                    pass
                return found
        raise TimeoutError

    @property
    def waiting(self) -> int:
        """How many have come that nobody asked for."""
        return self._queue.qsize()
