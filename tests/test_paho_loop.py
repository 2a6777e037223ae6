"""A paho client on the event loop, against a socket whose other end is here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge_runtime.paho_loop import PahoLoop, no_delay


class Client:
    """What is used of a paho client: it reads and writes a socket when it is told to."""

    def __init__(self, sock: socket.socket | None) -> None:
        self.sock = sock
        self.on_socket_close: Any = None
        self.got = b""
        self.unsent = b""
        self.fails = ""

    def socket(self) -> socket.socket | None:
        """Return the socket."""
        return self.sock

    def loop_read(self) -> None:
        """Read what there is."""
        assert self.sock is not None
        if self.fails:
            raise ValueError(self.fails)
        self.got += self.sock.recv(4096)

    def send(self, data: bytes) -> None:
        """Send what the socket takes."""
        self.unsent += data
        self.loop_write()

    def loop_write(self) -> None:
        """Send the rest."""
        assert self.sock is not None
        with contextlib.suppress(BlockingIOError):
            while self.unsent:
                self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def want_write(self) -> bool:
        """Tell whether there is a rest."""
        return bool(self.unsent)

    def disconnect(self) -> None:
        """Say goodbye, when the socket takes it at once."""
        if self.sock is not None and not self.unsent:
            self.on_socket_close(self, None, self.sock)
            self.sock.close()
            self.sock = None


class Case:
    """A loop under test, the other end of its socket, and what it has told."""

    def __init__(self, mine: socket.socket, other: socket.socket) -> None:
        self.client = Client(mine)
        self.other = other
        self.broken: list[Exception] = []
        self.reads: asyncio.Queue[bytes] = asyncio.Queue()
        self.loop = PahoLoop(
            self.client,  # type: ignore[arg-type]  # what is used of a client
            broken=self.broken.append,
            after_read=lambda: self.reads.put_nowait(self.client.got),
        )

    async def read(self) -> bytes:
        """Return all that the client has got after its next read."""
        return await asyncio.wait_for(self.reads.get(), 10)


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    mine, other = socket.socketpair()
    mine.setblocking(False)
    other.setblocking(False)
    with mine, other:
        case = Case(mine, other)
        yield case
        case.loop.hang_up()


async def test_it_reads_when_there_is_something(case: Case) -> None:
    assert case.loop.attach()
    assert case.loop.attached
    case.other.send(b"a")
    assert await case.read() == b"a"
    case.other.send(b"b")
    assert await case.read() == b"ab"


async def test_what_the_socket_does_not_take_leaves_later(case: Case) -> None:
    case.loop.attach()
    big = b"x" * 4_000_000
    case.client.send(big)
    assert case.client.unsent
    case.loop.wrote()
    got = 0
    loop = asyncio.get_running_loop()
    while got < len(big):
        got += len(await asyncio.wait_for(loop.sock_recv(case.other, 1 << 20), 10))
    assert (got, case.client.unsent) == (len(big), b"")


async def test_it_pauses_and_goes_on(case: Case) -> None:
    case.loop.attach()
    case.loop.pause()
    case.other.send(b"a")
    for _ in range(5):
        await asyncio.sleep(0)
    assert case.client.got == b""
    case.loop.resume()
    assert await case.read() == b"a"


async def test_what_is_not_mqtt_is_told(case: Case) -> None:
    case.loop.attach()
    case.client.fails = "bad packet"
    case.other.send(b"a")
    await case.read()
    assert str(case.broken[0]) == "bad packet"


async def test_it_hangs_up_and_may_do_so_twice(case: Case) -> None:
    case.loop.attach()
    case.loop.hang_up()
    case.loop.hang_up()
    assert not case.loop.attached
    assert case.other.recv(1) == b""


async def test_it_hangs_up_with_something_unsaid(case: Case) -> None:
    case.loop.attach()
    case.client.send(b"x" * 4_000_000)
    case.loop.wrote()
    case.loop.hang_up()
    assert not case.loop.attached
    assert case.client.sock is not None
    assert case.client.sock.fileno() == -1


async def test_a_client_without_a_socket_cannot_be_attached(case: Case) -> None:
    sock, case.client.sock = case.client.sock, None
    assert not case.loop.attach()
    case.client.sock = sock


def test_small_packets_leave_at_once() -> None:
    with socket.socket() as sock:
        no_delay(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    no_delay(object())
