"""The host's side of the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from edge_runtime.control.wire import LINE_LIMIT, address, decode, encode, error_to_json
from edge_runtime.errors import EdgeError, HostError, LimitError, NotFoundError
from edge_runtime.plugin import nearest

Verb = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]] | AsyncIterator[Mapping[str, Any]]]
"""What answers a verb: an async function whose result is the end, or an async generator of items.

It gets the request without its `verb`. It is cancelled (a generator is closed) when the client goes away or the
server closes. An EdgeError reaches the client as it is; anything else is logged and reaches it as an EdgeError.
"""

MAX_CLIENTS = 32
PATIENCE_S = 30.0
"""How long a client may take to send its request, and to take what it was sent."""

_log = logging.getLogger(__name__)


async def serve(path: Path, verbs: Mapping[str, Verb], *, patience_s: float = PATIENCE_S) -> Server:
    """Listen on the socket `path`, which replaces one that nobody listens on any more, and answer until closed.

    Raises: HostError when somebody listens there already or the socket cannot be made.
    """
    server = Server(path, verbs, patience_s)
    await server._start()  # noqa: SLF001 - `serve` is the constructor of a Server
    return server


class _GoneError(Exception):
    """The client does not take what it is sent."""


class Server:
    """A listening control socket. Every client has a task of its own; a slow one holds up nobody else."""

    def __init__(self, path: Path, verbs: Mapping[str, Verb], patience_s: float) -> None:
        self.path = path
        self._verbs = verbs
        self._patience_s = patience_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = itertools.count(1)
        self._listener: socket.socket | None = None
        self._inode = 0

    async def _start(self) -> None:
        try:
            self._listener, self._inode = _listen(self.path)
        except OSError as error:
            if isinstance(error, HostError):
                raise
            raise HostError(f"the control socket {self.path} cannot be made: {error.strerror or error}") from error
        self._wait_for_clients()

    async def close(self) -> None:
        """Stop listening, cancel what is being answered and remove the socket. Safe to call twice."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        asyncio.get_running_loop().remove_reader(listener)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:  # another host may have taken the name by now
                self.path.unlink()

    def _wait_for_clients(self) -> None:
        # Neither asyncio's server nor `sock_accept`: both leak a client that connects just before the end.
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return  # it went away at once
        except OSError as error:  # no file descriptor is left: somebody must close one first
            _log.warning("a control client could not be accepted: %s", error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(1, self._wait_for_clients)
            return
        client.setblocking(False)
        task = asyncio.create_task(self._talk(client), name=f"control.client-{next(self._count)}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            client.close()  # also when the task was cancelled before its first step

        task.add_done_callback(ended)

    async def _talk(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=client, limit=LINE_LIMIT)
        try:
            await self._request(reader, writer)
            writer.close()
            async with asyncio.timeout(self._patience_s):
                await writer.wait_closed()
        except (_GoneError, ConnectionError, TimeoutError) as error:
            _log.debug("a control client went away: %r", error)
        finally:
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) > MAX_CLIENTS:
            await self._refuse(HostError(f"more than {MAX_CLIENTS} clients at once"), reader, writer)
            return
        async with asyncio.timeout(self._patience_s):
            try:
                line: bytes | None = await reader.readline()
            except ValueError:
                line = None
        if line is None:
            await self._refuse(LimitError(f"the request has more than {LINE_LIMIT} bytes"), reader, writer)
            return
        if not line.endswith(b"\n"):
            return  # gone before it asked
        answer = asyncio.create_task(self._answer(line, writer), name="control.answer")
        gone = asyncio.create_task(reader.read(1), name="control.gone")
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answer, gone):
                task.cancel()
            results = await asyncio.gather(answer, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _refuse(self, error: EdgeError, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, {"error": error_to_json(error)})
        writer.write_eof()
        # Closing a Unix socket with bytes unread resets it, and the client would lose the answer.
        async with asyncio.timeout(self._patience_s):
            while await reader.read(1 << 16):
                pass

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        name: object = None
        try:
            request = decode(line)
            name = request.pop("verb", None)
            await self._run(self._find(name), request, writer)
        except EdgeError as error:
            await self._send(writer, {"error": error_to_json(error)})
        except _GoneError:
            raise
        except Exception as error:  # noqa: BLE001 - a mistake in one verb must not end the host, and its client must hear
            _log.exception("the control verb %r failed", name)
            wrapped = EdgeError(f"the host failed: {type(error).__name__}: {error}", hint="see the host's log")
            await self._send(writer, {"error": error_to_json(wrapped)})

    def _find(self, name: object) -> Verb:
        verb = self._verbs.get(str(name))
        if verb is None:
            raise NotFoundError(
                f"the host has no verb {name!r}{nearest(str(name), self._verbs)}",
                hint=f"known: {', '.join(sorted(self._verbs))}",
            )
        return verb

    async def _run(self, verb: Verb, request: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        result = verb(request)
        if not isinstance(result, AsyncIterator):
            await self._send(writer, {"done": await result})
            return
        try:
            async for item in result:
                await self._send(writer, {"item": item})
        finally:
            close = getattr(result, "aclose", None)
            if close is not None:
                await close()
        await self._send(writer, {"done": {}})

    async def _send(self, writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
        line = encode(message)
        if len(line) > LINE_LIMIT:
            raise LimitError(f"the answer has {len(line)} bytes; a control line has at most {LINE_LIMIT}")
        writer.write(line)
        try:
            async with asyncio.timeout(self._patience_s):
                await writer.drain()
        except TimeoutError as error:
            raise _GoneError(f"it took nothing for {self._patience_s:g} s") from error
        except ConnectionError as error:
            raise _GoneError(str(error)) from error


def _listen(path: Path) -> tuple[socket.socket, int]:
    """Return a listening socket that nobody else could open at any moment, and its inode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_second(path)
    # Bound in a folder of its own that only this user can enter, then moved: the name never stands for less.
    private = Path(tempfile.mkdtemp(prefix=".control-", dir=path.parent))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound = private / "s"
        with address(bound) as name:
            listener.bind(name)
        bound.chmod(0o600)
        inode = bound.stat().st_ino
        listener.listen(MAX_CLIENTS)
        listener.setblocking(False)
        os.replace(bound, path)  # noqa: PTH105 - Path.replace would return a path that nobody needs
    except BaseException:
        listener.close()
        raise
    finally:
        shutil.rmtree(private)
    return listener, inode


def _refuse_second(path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe,
        contextlib.suppress(FileNotFoundError, ConnectionRefusedError),
    ):
        with address(path) as name:
            probe.connect(name)
        raise HostError(f"a host is running already with the state folder {path.parent}", hint="see it: edge status")
