"""One live worker process, seen from the host: its socket, its output, its temporary folder, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from os import sched_yield
from pathlib import Path
from time import monotonic, monotonic_ns

from edge_runtime.workers._output import Output, Publish
from edge_runtime.workers._zygote import Exit, Process, Zygote
from edge_runtime.workers.inside.frames import LIMIT, READY, REPLY

_CHUNK = 16384
_BIG_CHUNK = 1024 * 1024
_HEAD = REPLY.size
_unpack = REPLY.unpack_from
_GRACE_S = 0.5
"""What a worker that is told to end gets for its `atexit` functions, as AWS gives an extension."""


Reply = tuple[str, bytes, int]
"""What a worker answered: the error type, the payload, the ns it took. Bare, since one is made for every event."""


class Fate(Enum):
    """Why a worker did not answer."""

    EXPIRED = "expired"
    GONE = "gone"
    UNSEEN = "unseen"
    """It ended before it had the request: another worker may be given it."""


class Worker(ABC):
    """A worker process that is starting, or waits for a request, or works on one.

    It answers with its readiness first; then `send` a request and take the answer, in turn. When it does not answer,
    `kill` it. Everything of it is gone when `ended` is done, however it came to its end; `output.take` still works.

    Raises: OSError when the process cannot be had; then nothing is left. The zygote must have been started.
    """

    def __init__(self, zygote: Zygote, spec: Mapping[str, object], tmp: Path, publish: Publish) -> None:
        self.peak_kb = 0
        """The most memory it has used so far, in KiB."""
        self.serial = READY
        self.began_ns = 0
        self.request_id = ""
        """Of the invocation it was given last."""
        self.depth = 0
        """How many functions in a row have led to that invocation."""
        self.idle_since = 0.0
        self.gone = False
        """It cannot answer any more."""
        self.fault = ""
        """Why it could not begin, when that is not the handler's doing."""
        self._zygote = zygote
        self._tmp = tmp
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Reply | Fate] | None = None
        with contextlib.ExitStack() as undo:
            tmp.mkdir(mode=0o700)
            undo.callback(tmp.rmdir)
            self._sock, its = socket.socketpair()
            undo.callback(self._sock.close)
            read_end, write_end = os.pipe()
            undo.callback(os.close, read_end)
            try:
                self._process: Process = zygote.fork(spec, its.fileno(), write_end)
            finally:
                its.close()
                os.close(write_end)
            undo.pop_all()
        self.output = Output(read_end, publish)
        self._sock.setblocking(False)
        self._fd = self._sock.fileno()
        self._loop.add_reader(self._fd, self._on_readable)
        name = f"workers.{self._process.number}.watch"
        self.ended: asyncio.Task[Exit] = self._loop.create_task(self._watch(), name=name)

    @property
    def pid(self) -> int:
        """The process id, 0 while it is not known."""
        return self._process.pid

    def begin(self, request_id: str) -> None:
        """Say which invocation comes next. Its request must carry `serial`; the time runs from `began_ns`."""
        self.output.begin(request_id)
        self.request_id = request_id
        self.serial = self.serial % 0xFFFF_FFFF + 1
        self.began_ns = monotonic_ns()

    @abstractmethod
    def send(self, frame: bytes) -> bool:
        """Send a request; False when the worker has gone and has not got it."""

    @abstractmethod
    def wait(self, seconds: float) -> Reply | None:
        """Return the answer if it comes within so many seconds, in which the event loop stands still."""

    async def open(self) -> None:  # noqa: B027 - most have nothing left to do
        """Do what is left to do before the worker can be talked to. Call it once."""

    async def answer(self, deadline: float) -> Reply | Fate:
        """Return the answer, or why there is none at `deadline` (the loop's clock)."""
        if self.gone:
            return self._why_gone()
        future: asyncio.Future[Reply | Fate] = self._loop.create_future()
        self._answer = future
        timer = self._loop.call_at(deadline, settle, future, Fate.EXPIRED)
        try:
            return await future
        finally:
            timer.cancel()
            self._answer = None

    def kill(self) -> None:
        """Kill the process with all its descendants. `ended` says when they are gone."""
        self._zygote.kill(self._process)

    async def dismiss(self) -> Exit:
        """Kill the process with all its descendants, and return when they are gone."""
        self.kill()
        return await asyncio.shield(self.ended)

    async def end(self) -> Exit:
        """Let a worker that has nothing to do end by itself, kill it when it does not soon; return when it is gone."""
        if not self.gone:
            self._ask_to_end()
        return await self._until_gone()

    async def terminate(self) -> Exit:
        """Send SIGTERM, kill it when that does not help soon; return when it is gone."""
        if not self.gone:
            self._zygote.terminate(self._process)
        return await self._until_gone()

    async def _until_gone(self) -> Exit:
        timer = self._loop.call_later(_GRACE_S, self.kill)
        try:
            return await asyncio.shield(self.ended)
        finally:
            timer.cancel()

    async def _watch(self) -> Exit:
        left = await self._process.exited
        self._lose()
        self.peak_kb = max(self.peak_kb, left.peak_kb)
        self.output.close()
        try:
            self._tmp.rmdir()  # mostly empty: no thread for it
        except OSError:
            await asyncio.to_thread(remove_tree, self._tmp)
        return left

    @abstractmethod
    def _ask_to_end(self) -> None:
        """Tell a live worker that nothing more will come."""

    @abstractmethod
    def _on_readable(self) -> None:
        """Read what the process has sent on its socket."""

    def _on_gone(self) -> None:
        self._lose()
        self.kill()  # it may live on without its socket

    def _lose(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._disconnect()
        if self._answer is not None:
            settle(self._answer, self._why_gone())

    def _disconnect(self) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._sock.close()

    def _why_gone(self) -> Fate:
        return Fate.GONE


class PythonWorker(Worker):
    """A worker that was forked with the interpreter in it, and speaks the frames of `inside.frames`."""

    def __init__(self, zygote: Zygote, spec: Mapping[str, object], tmp: Path, publish: Publish) -> None:
        self._partial = bytearray()
        self._unsent = memoryview(b"")
        super().__init__(zygote, spec, tmp, publish)

    def send(self, frame: bytes) -> bool:
        """Send a request; False when the worker has gone and has not got it."""
        try:
            sent = self._sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._on_gone()
            return False
        if sent < len(frame):
            self._unsent = memoryview(frame)[sent:]
            self._loop.add_writer(self._fd, self._on_writable)
        return True

    def wait(self, seconds: float) -> Reply | None:
        """Return the answer if it comes within so many seconds, in which the event loop stands still.

        It asks again and again, and lets others run in between. Both ways to sleep cost more than a fast invocation as
        a whole: `select` programs the timer for a time so near; a socket's own timeout counts in ticks of the kernel,
        so that a late answer would hold up the loop for 8 ms, and waking up on a processor that dozed off takes long.
        """
        limit = 0.0
        while not (self.gone or self._unsent):
            sched_yield()
            try:
                return self._take(self._sock.recv(_CHUNK))
            except BlockingIOError:
                now = monotonic()
                limit = limit or now + seconds
                if now >= limit:
                    break
            except OSError:
                self._on_gone()
        return None

    def _ask_to_end(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def _on_readable(self) -> None:
        reply = self._receive(_BIG_CHUNK)
        if reply is None:
            return
        if self._answer is None:
            self._on_gone()  # it spoke without having been asked: not to be trusted any more
        else:
            settle(self._answer, reply)

    def _on_writable(self) -> None:
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._on_gone()
            return
        if not self._unsent:
            self._loop.remove_writer(self._fd)

    def _receive(self, size: int) -> Reply | None:
        """Read what is there; return the answer when it is complete."""
        try:
            return self._take(self._sock.recv(size))
        except BlockingIOError:
            return None
        except OSError:
            self._on_gone()
            return None

    def _take(self, data: bytes) -> Reply | None:
        have: bytes | bytearray = data
        if self._partial:
            self._partial += data
            have = self._partial
        if len(have) >= _HEAD:
            serial, payload, peak_kb, kind, busy_ns = _unpack(have)
            body = _HEAD + kind
            end = body + payload
            if len(have) == end and serial == self.serial:
                self.peak_kb = peak_kb
                if have is not data:
                    data, self._partial = bytes(have), bytearray()
                return data[_HEAD:body].decode(errors="replace") if kind else "", data[body:], busy_ns
            if len(have) > end or serial != self.serial or payload > LIMIT:
                data = b""  # a handler wrote to the socket itself
        if not data:
            self._on_gone()
        elif have is data:
            self._partial += data
        return None


def remove_tree(folder: Path) -> None:
    """Remove a folder that a handler filled, also what it made unreadable. Nothing may still write to it."""
    for place, names, _ in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():  # its target is not ours
                with contextlib.suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def settle(future: asyncio.Future[Reply | Fate], value: Reply | Fate) -> None:
    """Complete the future unless that was done."""
    if not future.done():
        future.set_result(value)
