"""A network between a client and a broker, in user space: slow, lossy, cut, silent, or somebody else's.

    async with start_chaos("127.0.0.1", 1883) as net:
        connect("127.0.0.1", net.port)
        net.weather = SATELLITE
        net.stall()
        net.clear()

It relays bytes, not packets. A lost packet is what TCP makes of it: it comes a retransmission later, and all behind it
waits. `stall` is a network that loses everything for a while, and sends again afterwards; a SYN that is lost cannot be
shown here (the kernel answers it), for that see the test with network namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

_SEGMENT = 1448
"""What one packet carries."""
_LEAST_RETRY_S = 0.2
"""TCP's least retransmission timeout on Linux."""
_MOST_BUFFERED = 256 * 1024
"""What the network holds of one direction before it takes no more."""
_RESET = struct.pack("ii", 1, 0)
_CONNECT = 0x10


class Weather(NamedTuple):
    """How a network is when it works."""

    one_way_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much more or less."""
    loss: float = 0.0
    """Which share of the packets is lost, each time it is sent."""
    bytes_per_s: float = 0.0
    """Each direction; 0: no bound."""


CLEAR = Weather()
SATELLITE = Weather(one_way_s=0.3, jitter_s=0.025, loss=0.02)
"""A round trip of 600 ms, 50 more or less, and 2 % loss."""
CELLULAR_3G = Weather(one_way_s=0.05, jitter_s=0.005, bytes_per_s=48_000)
"""A round trip of 100 ms, 10 more or less, at 384 kbit/s."""
HEAVY_LOSS = Weather(one_way_s=0.01, loss=0.3)


class _Pipe:
    """One direction of a connection: takes what the reader has, and gives it to the writer when it is due."""

    def __init__(self, net: Chaos, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._net, self._reader, self._writer = net, reader, writer
        self._due: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._last_s = self._busy_s = 0.0
        self._moved = asyncio.Event()

    async def run(self, first: Callable[[bytes], None]) -> None:
        """Relay until one side ends. `first` is told of the first bytes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(first), name="chaos.take")
            group.create_task(self._give(), name="chaos.give")

    async def _take(self, first: Callable[[bytes], None]) -> None:
        while data := await self._reader.read(_SEGMENT):
            first(data)
            first = _nothing
            self._due.append((self._arrival(len(data)), data))
            self._size += len(data)
            self._moved.set()
            while self._size > _MOST_BUFFERED:
                self._moved.clear()
                await self._moved.wait()
        self._due.append((self._last_s, b""))
        self._moved.set()

    def _arrival(self, size: int) -> float:
        weather, dice = self._net.weather, self._net.dice
        now_s = asyncio.get_running_loop().time()
        if weather.bytes_per_s:
            self._busy_s = max(self._busy_s, now_s) + size / weather.bytes_per_s
            now_s = self._busy_s
        late_s = weather.one_way_s + dice.uniform(-weather.jitter_s, weather.jitter_s)
        retry_s = max(_LEAST_RETRY_S, 2 * weather.one_way_s)
        while weather.loss and dice.random() < weather.loss:
            late_s += retry_s
            retry_s *= 2
        self._last_s = max(self._last_s, now_s + late_s)  # in order: what is behind a lost packet waits
        return self._last_s

    async def _give(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._due:
                self._moved.clear()
                await self._moved.wait()
            if (wait_s := self._due[0][0] - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            await self._net.moving.wait()
            _, data = self._due.popleft()
            self._size -= len(data)
            self._moved.set()
            if not data:
                raise ConnectionResetError
            self._writer.write(data)
            await self._writer.drain()


def _nothing(_: bytes) -> None:
    return


class Chaos:
    """The network. What is done to it takes effect before the call returns."""

    def __init__(self, host: str, port: int, own: str) -> None:
        self._own = own
        self._holder = socket.socket()  # nobody else gets the port while nothing listens
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind((own, 0))
        self.port: int = self._holder.getsockname()[1]
        self.weather = CLEAR
        self.dice = random.Random(7)  # noqa: S311 - to be repeatable is what a seed is for
        self.moving = asyncio.Event()
        self.moving.set()
        self.connects: list[float] = []
        """When each CONNECT came, by the loop's clock, whatever became of it."""
        self.attempts = 0
        """How many connections were opened, whatever was said on them."""
        self.betrayed = 0
        """How often somebody said CONNECT to another one than the broker."""
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._dead: set[asyncio.StreamWriter] = set()
        self._portal: bytes | ssl.SSLContext | None = None
        self._changed = asyncio.Event()

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, self._own, self.port, limit=_SEGMENT, reuse_port=True)

    def cut(self, *, reset: bool = True) -> None:
        """End all connections, with RST or in order (FIN), and go on taking new ones."""
        for task, writer in self._lines.items():
            if reset and (sock := writer.get_extra_info("socket")) is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
            task.cancel()

    def refuse(self) -> None:
        """End all connections with RST, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def stall(self) -> None:
        """Move no byte in any connection, new ones included, until `clear`; then all arrives."""
        self.moving.clear()

    def forget(self) -> None:
        """Let every connection that stands be dead for good, and say so to nobody; new ones work."""
        for task, writer in self._lines.items():
            self._dead.add(writer)
            task.cancel()

    def capture(self, portal: bytes | ssl.SSLContext) -> None:
        """Cut all, and answer in the broker's place: these bytes to whatever is said, or a TLS handshake."""
        self.cut()
        self._portal = portal

    async def clear(self) -> None:
        """Be a clean network again."""
        self.weather = CLEAR
        self._portal = None
        self.moving.set()
        if self._server is None:
            await self.listen()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; it is asked when a connection was opened or ended, or a CONNECT came."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._lines, return_exceptions=True)
        for writer in self._dead:
            writer.close()
        self._holder.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines[task] = writer
        self.attempts += 1
        self._changed.set()
        try:
            if self._portal is not None:
                await self._answer(self._portal, reader, writer)
            else:
                await self._relay(reader, writer)
        except* (OSError, asyncio.IncompleteReadError):
            pass  # one side has gone; the other follows
        except* asyncio.CancelledError:
            pass  # `cut`, `forget` or `close`
        finally:
            del self._lines[task]
            if writer not in self._dead:
                writer.close()
            self._changed.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.moving.wait()
        back_reader, back_writer = await asyncio.open_connection(*self._target, limit=_SEGMENT)
        try:
            async with asyncio.TaskGroup() as group:
                up, down = _Pipe(self, reader, back_writer), _Pipe(self, back_reader, writer)
                group.create_task(up.run(self._note), name="chaos.up")
                group.create_task(down.run(_nothing), name="chaos.down")
        finally:
            back_writer.close()

    async def _answer(
        self, portal: bytes | ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if isinstance(portal, ssl.SSLContext):
            await writer.start_tls(portal)
            portal = b""
        said = await reader.read(_SEGMENT)
        self._note(said)
        self.betrayed += said[:1] == bytes([_CONNECT])
        writer.write(portal)
        await writer.drain()

    def _note(self, data: bytes) -> None:
        if data[:1] == bytes([_CONNECT]):
            self.connects.append(asyncio.get_running_loop().time())
            self._changed.set()


@contextlib.asynccontextmanager
async def start_chaos(host: str, port: int, *, own: str = "127.0.0.1") -> AsyncIterator[Chaos]:
    """Run a network on a free port of the address `own` in front of a broker."""
    net = Chaos(host, port, own)
    await net.listen()
    try:
        yield net
    finally:
        await net.close()
