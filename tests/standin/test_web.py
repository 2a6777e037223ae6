"""HTTP/1.1 on real sockets: several requests on a connection, and requests that are none."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.standin.access import Caller
from edge_runtime.standin.web import MOST_BODY, QUIET_S, Request, Response, WebConnection, failure, reply

PATIENCE_S = 20.0


class Served:
    """A server whose site keeps what it was asked."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.asked: list[Request] = []
        self.guests: set[asyncio.Transport] = set()
        self.port = 0
        self.gate: asyncio.Event | None = None
        self.called = asyncio.Event()
        self.connected = asyncio.Event()

    async def site(self, request: Request) -> Response:
        """Echo, or fail."""
        self.asked.append(request)
        self.called.set()
        if self.gate is not None:
            await self.gate.wait()
        if request.path == "/broken":
            raise RuntimeError("a mistake")
        return reply(200, {"path": request.path, "size": len(request.body)})

    def make(self) -> WebConnection:
        """Make a protocol."""
        self.connected.set()
        return WebConnection(self.site, Caller("here"), self.clock, self.guests)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    one = Served()
    server = await asyncio.get_running_loop().create_server(one.make, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    yield one
    server.close()
    for guest in list(one.guests):
        guest.abort()


async def talk(port: int, data: bytes, *, until: Callable[[bytes], bool] | None = None) -> bytes:
    """Send bytes; return what comes until the server closes, or enough came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    got = b""
    async with asyncio.timeout(PATIENCE_S):
        while (until is None or not until(got)) and (more := await reader.read(65536)):
            got += more
    writer.close()
    return got


async def test_requests_one_after_the_other_on_a_connection(served: Served) -> None:
    got = await talk(
        served.port,
        b"GET /a%20b?x=1&y=%2F&x=2 HTTP/1.1\r\nHost: h\r\nX-Thing: Edge\r\n\r\n"
        b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        b"HEAD /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    )
    first, second, third = served.asked
    assert (first.method, first.path, first.query, first.headers["x-thing"]) == (
        "GET",
        "/a b",
        {"x": "2", "y": "/"},
        "Edge",
    )
    assert (second.method, second.body, third.method) == ("POST", b"abc", "HEAD")
    assert first.caller == Caller("here")
    heads = [part.split(b"\r\n")[0] for part in got.split(b"HTTP/1.1 ")[1:]]
    assert heads == [b"200 "] * 3
    assert got.count(b'{"path":"/a b","size":0}') == 1
    assert got.endswith(b"\r\n\r\n")  # HEAD has no body
    assert got.count(b"x-amzn-RequestId: ") == 3


async def test_a_client_that_has_stopped_sending_gets_its_answer(served: Served) -> None:
    served.gate = asyncio.Event()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n")
    writer.write_eof()
    async with asyncio.timeout(PATIENCE_S):
        await served.called.wait()
    served.gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert b'{"path":"/late","size":0}' in await reader.read()
    writer.close()


async def test_a_client_waiting_to_be_told_to_go_on(served: Served) -> None:
    got = await talk(
        served.port,
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
        until=lambda got: b"\r\n\r\n" in got,
    )
    assert got.startswith(b"HTTP/1.1 100 ")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 10_000, 431),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n" + bytes(MOST_BODY + 1), 413),
    ],
)
async def test_what_cannot_be_taken(served: Served, data: bytes, status: int) -> None:
    got = await talk(served.port, data)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert b"x-amzn-ErrorType: BadRequestException" in got
    assert served.asked == []


async def test_a_mistake_of_ours_is_answered_and_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    got = await talk(served.port, b"GET /broken HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 500 ")
    assert b"a mistake" not in got
    assert "GET /broken failed" in caplog.text


async def test_a_connection_without_a_whole_request_is_closed(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET / HT")
    async with asyncio.timeout(PATIENCE_S):
        await served.connected.wait()
    await served.clock.advance(QUIET_S - 1)
    assert served.guests
    await served.clock.advance(2)
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    assert served.guests == set()
    writer.close()


def test_the_shape_of_an_error() -> None:
    one = failure(403, "ForbiddenException", "no")
    assert (one.status, json.loads(one.body), one.headers["x-amzn-ErrorType"]) == (
        403,
        {"message": "no"},
        "ForbiddenException",
    )
