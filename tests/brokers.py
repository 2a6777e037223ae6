"""A real mosquitto for tests: the peer that the stand-in and the links are held against.

    async with start_mosquitto(tmp_path) as broker:
        connect(broker.host, broker.port)
        broker.freeze()

It listens on 127.0.0.1, keeps nothing on disk, and is ended when the block is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_runtime.standin.certs import TlsFiles

HOST = "127.0.0.1"
START_TIMEOUT_S = 20.0


def mosquitto_path() -> str | None:
    """Return where the broker is installed, or None."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


class Mosquitto:
    """A running broker. It keeps its port over `kill` and `start`, and forgets everything else (no persistence)."""

    def __init__(self, program: str, config: Path, port: int) -> None:
        self.host = HOST
        self.port = port
        self.config = config
        self.log: deque[str] = deque(maxlen=500)
        """The broker's last words."""
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running broker.

        Raises: RuntimeError when it does not run.
        """
        if self._process is None:
            raise RuntimeError("mosquitto does not run")
        return self._process.pid

    async def start(self) -> None:
        """Start and return when it listens. Raises: RuntimeError with its log when it ended instead."""
        self._process = await asyncio.create_subprocess_exec(
            self._program, "-c", str(self.config), stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(self._process, ready), name=f"mosquitto[{self.port}].log")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await ready
                await self._greet()
        except (RuntimeError, OSError, TimeoutError):
            await self.kill()
            raise

    def freeze(self) -> None:
        """Stop the process where it is: connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """End it at once (SIGKILL), as a crash does, and return when it is gone. Safe to call twice."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End it in good order (SIGTERM): clients get their DISCONNECT. Safe to call twice."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
                os.kill(process.pid, signal.SIGCONT)  # a frozen process acts on nothing but SIGKILL
        await process.wait()
        if self._reader is not None:
            await self._reader

    async def _greet(self) -> None:
        # It says "running" before it enters its main loop, and forgets a SIGTERM that comes in between. Bytes that are
        # neither MQTT nor TLS make it hang up, from within that loop.
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(bytes(16))
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    async def _read(self, process: asyncio.subprocess.Process, ready: asyncio.Future[None]) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.log.append(line)
            if line.endswith(" running") and not ready.done():
                ready.set_result(None)
        if not ready.done():
            ready.set_exception(RuntimeError("mosquitto ended at start:\n" + "\n".join(self.log)))


def _configuration(port: int, tls: TlsFiles | None, extra: str) -> str:
    lines = [
        f"listener {port} {HOST}",
        f"user {getpass.getuser()}",  # started as root it would become user mosquitto, who may not read tmp_path
        "persistence false",
        "allow_anonymous true",
        "set_tcp_nodelay true",
        "max_queued_messages 0",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
    ]
    if tls is not None:
        lines += [f"cafile {tls.ca}", f"certfile {tls.cert}", f"keyfile {tls.key}", "require_certificate true"]
    return "\n".join([*lines, extra, ""])


@contextlib.asynccontextmanager
async def start_mosquitto(tmp_path: Path, *, tls: TlsFiles | None = None, extra: str = "") -> AsyncIterator[Mosquitto]:
    """Run a mosquitto on a free port and end it afterwards; skip the test where none is installed.

    `tls` are the server's files; clients then need a certificate of the same CA. `extra` is added to the
    configuration, and its last word counts (`persistence true` overrides).
    """
    program = mosquitto_path()
    if program is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    for attempt in range(3):
        port = free_port()
        config = tmp_path / f"mosquitto-{port}.conf"
        config.write_text(_configuration(port, tls, extra), encoding="utf-8")
        broker = Mosquitto(program, config, port)
        try:
            await broker.start()
        except RuntimeError as error:
            if attempt == 2 or "Address already in use" not in str(error):
                raise
            continue  # someone else was quicker to take the port
        break
    try:
        yield broker
    finally:
        await broker.kill()
