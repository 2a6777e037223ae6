"""A TCP proxy that delays every byte by a fixed time each way: a model of latency, not of bandwidth.

Run it in a process of its own when figures matter: it then takes no turn of the measured program's loop.

    async with start_proxy("127.0.0.1", 1883, one_way_s=0.025) as port: ...
    python tests/latency.py HOST PORT SECONDS     prints the port it listens on; ends when its input ends
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path


class _Pipe(asyncio.Protocol):
    """One end of a relayed connection: what arrives here leaves at `peer` after the delay."""

    def __init__(self, one_way_s: float) -> None:
        self._delay = one_way_s
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, bytes | None]] = deque()
        self._transport: asyncio.Transport | None = None
        self.peer: _Pipe | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._later(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._later(None)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _later(self, data: bytes | None) -> None:
        self._due.append((self._loop.time() + self._delay, data))
        if len(self._due) == 1:
            self._loop.call_at(self._due[0][0], self._deliver)

    def _deliver(self) -> None:
        peer, due = self.peer, self._due
        now = self._loop.time()
        ready: list[bytes] = []
        over = False
        while due and due[0][0] <= now:
            _, data = due.popleft()
            if data is None:
                over = True
            else:
                ready.append(data)
        if peer is not None and ready:
            peer.write(b"".join(ready))
        if peer is not None and over:
            peer.close()
        if due:
            self._loop.call_at(due[0][0], self._deliver)


class _Front(_Pipe):
    """The client's side: dials the server, and holds back what the client says until that stands."""

    def __init__(self, host: str, port: int, one_way_s: float, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__(one_way_s)
        self._target = (host, port)
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        task = self._loop.create_task(self._dial(transport), name="latency.dial")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, transport: asyncio.Transport) -> None:
        try:
            _, back = await self._loop.create_connection(lambda: _Pipe(self._delay), *self._target)
        except OSError:
            transport.abort()
            return
        back.peer, self.peer = self, back
        transport.resume_reading()


@contextlib.asynccontextmanager
async def start_proxy(host: str, port: int, *, one_way_s: float) -> AsyncIterator[int]:
    """Relay connections to host:port, each direction `one_way_s` late; yields the port on 127.0.0.1."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    fronts: list[_Front] = []

    def front() -> _Front:
        fronts.append(_Front(host, port, one_way_s, tasks))
        return fronts[-1]

    server = await loop.create_server(front, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for pipe in fronts:
            pipe.close()
            if pipe.peer is not None:
                pipe.peer.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def start_proxy_process(host: str, port: int, *, one_way_s: float) -> AsyncIterator[int]:
    """Do as `start_proxy` does, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__)),
        host,
        str(port),
        str(one_way_s),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


async def _serve(host: str, port: int, one_way_s: float) -> None:
    async with start_proxy(host, port, one_way_s=one_way_s) as own:
        sys.stdout.write(f"{own}\n")
        sys.stdout.flush()
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        await ended.wait()


if __name__ == "__main__":
    # select() waits in microseconds where epoll rounds up to the next millisecond.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
