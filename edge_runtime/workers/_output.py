"""What a worker prints: read without ever waiting for it, capped, and given to the invocation it belongs to."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable
from typing import NamedTuple

KEEP_PER_INVOCATION = 256 * 1024
KEEP_PER_SECOND = 1024 * 1024
READ_PER_SECOND = 16 * 1024 * 1024
"""A flood is read and thrown away at this rate, under 1 % of a core, and then waits for the next second: the pipe
fills, and the handler is slowed but never stopped for good."""

_CHUNK = 65536
_LAST_READS = 16  # a pipe holds 64 KiB, 1 MiB when the handler has widened it


Publish = Callable[[str, str, bool], None]
"""Called with a request id, whole lines of its output, and whether they are the first of it."""


class Text(NamedTuple):
    """What an invocation printed."""

    whole: str
    rest: str
    """What was not published yet."""
    unseen: bool
    """Nothing of the invocation was published."""


class Output:
    """The host's end of a worker's standard output and error.

    `publish` gets each invocation's text as it comes while the loop is free to read it; `take` returns it all. What is
    printed outside of any invocation has the request id `""`: it is published and not kept.
    """

    def __init__(self, descriptor: int, publish: Publish) -> None:
        self._fd = descriptor
        os.set_blocking(descriptor, False)
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._on_readable)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        self._pending: Callable[[float | None], list[tuple[int, int]]] = (
            poller.poll
        )  # a third of what an attempt to read costs when there is nothing
        self._timer: asyncio.TimerHandle | None = None
        self._request_id = ""
        self._unseen = False
        self._taken = True
        self._texts: list[bytes] = []
        self._published = 0  # how many of _texts
        self._kept = self._dropped = 0
        self._second = 0.0
        self._kept_now = self._read_now = 0  # in this second

    def begin(self, request_id: str) -> None:
        """From now on what is read belongs to this invocation."""
        if self._taken or request_id != self._request_id:
            self._request_id = request_id
            self._unseen, self._taken = True, False

    def take(self) -> Text | None:
        """Return what the invocation printed before it answered, None for nothing at all. Begins anew."""
        self._taken = True
        if self._pending(0):
            self._read_last()
        if not self._texts and not self._dropped:
            return None
        self._close_text()
        whole = b"".join(self._texts).decode(errors="replace")
        rest = b"".join(self._texts[self._published :]).decode(errors="replace")
        self._forget()
        unseen, self._unseen = self._unseen, False
        return Text(whole, rest, unseen)

    def close(self) -> None:
        """Read what is left, for `take`, and close the pipe. Safe to call twice."""
        if self._fd < 0:
            return
        self._read_last()
        self._loop.remove_reader(self._fd)
        if self._timer:
            self._timer.cancel()
        os.close(self._fd)
        self._fd = -1
        self._pending = _nothing

    def _forget(self) -> None:
        self._texts = []
        self._published = self._kept = self._dropped = 0

    def _read_last(self) -> None:
        for _ in range(_LAST_READS):
            if not self._read():
                break

    def _close_text(self) -> None:
        if self._texts and not self._texts[-1].endswith(b"\n"):
            self._texts.append(b"\n")
        if self._dropped:
            self._texts.append(f"[{self._dropped} more bytes of output were dropped]\n".encode())

    def _read(self) -> bool:
        if self._fd < 0:
            return False
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:  # every writer has closed its end
            self._loop.remove_reader(self._fd)
            return False
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._second, self._kept_now, self._read_now = now, 0, 0
        self._read_now += len(data)
        room = max(0, min(KEEP_PER_INVOCATION - self._kept, KEEP_PER_SECOND - self._kept_now))
        kept = data[:room]
        if kept:
            self._texts.append(kept)
            self._kept += len(kept)
            self._kept_now += len(kept)
        self._dropped += len(data) - len(kept)
        return True

    def _on_readable(self) -> None:
        if not self._read():
            return
        last = len(self._texts) - 1
        if not self._request_id and self._kept >= KEEP_PER_INVOCATION:
            self._close_text()
            last = len(self._texts) - 1
        if last >= self._published and self._texts[last].endswith(b"\n"):
            fresh = b"".join(self._texts[self._published :]).decode(errors="replace")
            self._published = last + 1
            unseen, self._unseen = self._unseen, False
            self._publish(self._request_id, fresh, unseen)
            if not self._request_id:
                self._forget()
        if self._read_now > READ_PER_SECOND and self._timer is None:
            self._loop.remove_reader(self._fd)
            self._timer = self._loop.call_later(max(0.0, self._second + 1.0 - time.monotonic()), self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._fd, self._on_readable)


def _nothing(_timeout: float | None = None) -> list[tuple[int, int]]:
    return []
