"""A broker that answers as a test tells it to, right or wrong. It speaks just enough MQTT 5 for one client.

async with start_script({PUBLISH: puback(0x97)}) as broker:
    ... publish through broker.port ...
    assert broker.packets[-1].kind == PUBLISH
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


class Packet(NamedTuple):
    """One control packet: its type, the flags in its first byte, and all after the remaining length."""

    kind: int
    flags: int
    body: bytes

    @property
    def id(self) -> bytes:
        """The packet identifier of a SUBSCRIBE or of a QoS 1 PUBLISH."""
        start = 2 + int.from_bytes(self.body[:2], "big") if self.kind == PUBLISH else 0
        return self.body[start : start + 2]


Answer = Callable[[Packet], bytes]


def frame(kind: int, body: bytes = b"") -> bytes:
    """Return a control packet with up to 127 bytes of body."""
    return bytes([kind << 4, len(body)]) + body


def connack(code: int = 0, properties: bytes = b"") -> Answer:
    """Answer CONNECT with this reason code and these properties, packed."""
    return lambda _: frame(CONNACK, bytes([0, code, len(properties)]) + properties)


def suback(*codes: int) -> Answer:
    """Answer SUBSCRIBE with these reason codes."""
    return lambda packet: frame(SUBACK, packet.id + b"\0" + bytes(codes))


def puback(code: int = 0) -> Answer:
    """Answer PUBLISH with this reason code."""
    return lambda packet: frame(PUBACK, packet.id + (bytes([code, 0]) if code else b""))


def say(raw: bytes) -> Answer:
    """Answer with these bytes, whatever came."""
    return lambda _: raw


_DEFAULTS: dict[int, Answer] = {
    CONNECT: connack(),
    SUBSCRIBE: suback(1),
    PUBLISH: puback(),
    PINGREQ: say(frame(PINGRESP)),
}


class Script:
    """The running broker."""

    def __init__(self, answers: Mapping[int, Answer]) -> None:
        self.port = 0
        self.packets: list[Packet] = []
        """All that came, in order."""
        self.closed = asyncio.Event()
        """Set when a client has gone."""
        self._answers = {**_DEFAULTS, **answers}
        self._writer: asyncio.StreamWriter | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._news = asyncio.Event()

    async def until(self, kind: int, count: int = 1) -> list[Packet]:
        """Return the packets of a kind as soon as there are so many."""
        while len(found := [p for p in self.packets if p.kind == kind]) < count:
            self._news.clear()
            await self._news.wait()
        return found

    async def send(self, raw: bytes) -> None:
        """Send these bytes to the client."""
        assert self._writer is not None
        self._writer.write(raw)
        await self._writer.drain()

    def hang_up(self) -> None:
        """Close the connection."""
        assert self._writer is not None
        self._writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it goes."""
        self._writer = writer
        self._writers.add(writer)
        try:
            while True:
                packet = await _read(reader)
                self.packets.append(packet)
                self._news.set()
                if packet.kind in self._answers:
                    await self.send(self._answers[packet.kind](packet))
        except (asyncio.IncompleteReadError, OSError):
            self.closed.set()
        finally:
            writer.close()
            self._writers.discard(writer)
            self._news.set()

    async def end(self) -> None:
        """Close all connections and return when that is done."""
        for writer in self._writers:
            writer.close()
        while self._writers:
            self._news.clear()
            await self._news.wait()


async def _read(reader: asyncio.StreamReader) -> Packet:
    first = (await reader.readexactly(1))[0]
    length, shift = 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return Packet(first >> 4, first & 0x0F, await reader.readexactly(length))


@contextlib.asynccontextmanager
async def start_script(answers: Mapping[int, Answer] | None = None) -> AsyncIterator[Script]:
    """Run a broker with these answers by packet type; what is not named is answered as a good broker does."""
    script = Script(answers or {})
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        await script.end()
        await server.wait_closed()
