"""The stand-in as a process of its own: `serve` for a command line, and for tests that need to kill it.

When it listens it prints one line, `{"ready":true,"port":N}` (with `web` and `credentials` where they were asked for),
and nothing else but answers to commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_runtime.errors import ConfigError
from edge_runtime.standin import MOST_LINE
from edge_runtime.standin.access import ACCOUNT, OnDenied
from edge_runtime.standin.certs import TlsFiles
from edge_runtime.standin.control import Control
from edge_runtime.standin.quotas import Mode
from edge_runtime.standin.registry import RoleAlias
from edge_runtime.standin.server import Standin

STDIN: Final = "stdin"


@dataclass(frozen=True, slots=True)
class Options:
    """What `serve` needs to know."""

    host: str = "127.0.0.1"
    port: int = 1883
    """0: a free one; the ready line tells which."""
    tls: TlsFiles | None = None
    quotas: Mode = "aws"
    record: Path | None = None
    """Where accepted publishes are appended as lines of JSON; see `record.read_record`."""
    control: str = ""
    """Where commands come from: `stdin` (its end ends the stand-in, so a parent cannot leave one behind), the path of a
    Unix socket (made here, 0600), or empty for none. See `control`."""
    registry: Path | None = None
    """The file of the account: things, certificates, policies, shadows, jobs. See `services.files`."""
    policies: bool = False
    """Whether a client needs a registered certificate and may do only what its policies say."""
    on_denied: OnDenied = "disconnect"
    web: int | None = None
    """The port for WebSocket, HTTP and MQTT; None: there is none."""
    credentials: int | None = None
    """The port of the credentials endpoint; None: there is none."""
    role_aliases: Mapping[str, int] = field(default_factory=dict)
    """Role aliases to add, and how long their credentials hold, in seconds."""


async def serve(options: Options) -> None:
    """Run a stand-in until SIGTERM, SIGINT, a `stop` command, or the end of a controlling standard input.

    It keeps no record in memory: `options.record` is the place for one. Call it from the main thread.

    Raises: ConfigError when an address or a file cannot be used.
    """
    if options.tls is None and (options.policies or options.credentials is not None):
        raise ConfigError("policies and credentials go by client certificates: they need TLS", hint="add --tls DIR")
    ended = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        standin = Standin(
            quotas=options.quotas,
            record_file=options.record,
            keep_record=False,
            policies=options.policies,
            on_denied=options.on_denied,
        )
        stack.push_async_callback(standin.close)
        if options.registry is not None:
            standin.account.keep_in(options.registry)
        for name, seconds in options.role_aliases.items():
            standin.registry.put_role_alias(RoleAlias(name, f"arn:aws:iam::{ACCOUNT}:role/{name}", seconds))
        ready = await _listen(standin, options)
        stack.enter_context(_signals(ended))
        control = Control(standin, ended.set)
        if options.control == STDIN:
            await stack.enter_async_context(_on_stdin(control, ended))
        elif options.control:
            await stack.enter_async_context(_on_socket(control, Path(options.control)))
        _print(json.dumps(ready, separators=(",", ":")).encode() + b"\n")
        await ended.wait()


async def _listen(standin: Standin, options: Options) -> dict[str, object]:
    """Open all ports and return the ready line."""
    await standin.start(options.host, options.port, options.tls)
    ready: dict[str, object] = {"ready": True, "port": standin.port}
    if options.web is not None:
        await standin.start_web(options.host, options.web, options.tls)
        ready["web"] = standin.web_port
    if options.credentials is not None and options.tls is not None:
        await standin.start_credentials(options.host, options.credentials, options.tls)
        ready["credentials"] = standin.credentials_port
    return ready


def run(options: Options) -> None:
    """Run `serve` in an event loop of its own."""
    asyncio.run(serve(options))


def _print(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _signals(ended: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, ended.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _task(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _answer(control: Control, reader: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
    """Answer commands in order until the input ends. A command that waits does not keep the end from being seen."""
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def work() -> None:
        while True:
            write(await control.line(await lines.get()))

    async with _task(work(), "standin.control.work"):
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                write(f'{{"ok":false,"error":"a command may have {MOST_LINE} bytes"}}\n'.encode())
                return
            except ConnectionError:
                return
            if not line:
                return
            lines.put_nowait(line)


@contextlib.asynccontextmanager
async def _on_stdin(control: Control, ended: asyncio.Event) -> AsyncIterator[None]:
    reader = asyncio.StreamReader(limit=MOST_LINE)
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"commands cannot be read from the standard input: {error}", hint="give it a pipe, or use a Unix socket"
        ) from error

    async def work() -> None:
        await _answer(control, reader, _print)
        ended.set()

    try:
        async with _task(work(), "standin.control"):
            yield
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def _on_socket(control: Control, path: Path) -> AsyncIterator[None]:
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows the type; asyncio calls this as a task
        tasks.add(task)
        writers.add(writer)
        try:
            await _answer(control, reader, writer.write)
        finally:
            writers.discard(writer)
            tasks.discard(task)
            writer.close()

    with _bound(path) as listener:
        server = await asyncio.start_unix_server(connected, sock=listener, limit=MOST_LINE)
        try:
            yield
        finally:
            server.close()
            for writer in writers:
                writer.close()  # their readers see the end, and the tasks end by themselves
            await asyncio.gather(*tasks)


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # commands can lose data: for the owner only, from the first moment
    try:
        if path.is_socket():
            path.unlink()  # left behind by one that was killed
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ConfigError(f"the control socket {path} cannot be made: {error.strerror or error}") from error
    finally:
        os.umask(mask)
    try:
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)
