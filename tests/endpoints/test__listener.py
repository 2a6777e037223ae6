"""The socket: nothing until somebody comes, and no trouble from clients that are slow, rude or many."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys

import pytest

from edge_runtime.endpoints import Listener
from edge_runtime.endpoints._serving import MOST_CLIENTS
from tests.endpoints.serving import TOKEN, FakeBackend, endpoint

HEAD = "POST /topics/a HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nx-amz-security-token: {token}\r\n"


def head(port: int, *more: str) -> bytes:
    return (HEAD.format(port=port, token=TOKEN) + "".join(f"{line}\r\n" for line in more) + "\r\n").encode()


def test_the_libraries_are_not_imported_before_somebody_comes() -> None:
    code = (
        "import asyncio, sys\n"
        "from edge_runtime.endpoints import Listener\n"
        "async def main():\n"
        "    one = Listener(None)\n"
        "    one.open()\n"
        "    assert one.port and not one.awake\n"
        "    print([name for name in ('starlette', 'uvicorn', 'h11', 'anyio') if name in sys.modules])\n"
        "    reader, writer = await asyncio.open_connection('127.0.0.1', one.port)\n"
        "    writer.write(b'nonsense\\r\\n\\r\\n')\n"
        "    assert (await reader.read()).startswith(b'HTTP/1.1 400 ')\n"
        "    print('uvicorn' in sys.modules, 'uvloop' in sys.modules)\n"
        "    writer.close()\n"
        "    await one.close()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "True False"]


async def test_it_can_be_closed_twice_and_unopened() -> None:
    listener = Listener(FakeBackend())
    await listener.close()
    listener.open()
    assert listener.url == f"http://127.0.0.1:{listener.port}"
    await listener.close()
    await listener.close()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", listener.port)


async def test_several_requests_share_a_connection() -> None:
    async with endpoint(patience_s=0.5) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        for _ in range(3):
            writer.write(head(it.port, "Content-Length: 0"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await reader.readuntil(b"}")
        # Those that come together are answered in order.
        writer.write(head(it.port, "Content-Length: 0") + head(it.port, "Content-Length: 0", "Connection: close"))
        rest = await reader.read()
        assert rest.count(b"HTTP/1.1 200 ") == 2
        writer.close()
    assert len(it.backend.asked) == 5


async def test_a_head_that_does_not_come_ends_the_connection() -> None:
    async with endpoint(patience_s=0.2) as it:
        assert await it.raw(b"") == b""
        assert await it.raw(head(it.port)[:-2]) == b""
        # Of a second request as well.
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(head(it.port, "Content-Length: 0"))
        await reader.readuntil(b"}")
        writer.write(b"POST ")
        assert await reader.read() == b""
        writer.close()
        assert (await it.http("POST", "/topics/a"))[0] == 200


async def test_a_body_that_does_not_come_is_answered() -> None:
    async with endpoint(patience_s=0.2) as it:
        got = await it.raw(head(it.port, "Content-Length: 5", "Connection: close") + b"abc")
    assert got.startswith(b"HTTP/1.1 408 ")
    assert it.backend.asked == []


async def test_a_client_that_breaks_off_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    async with endpoint() as it:
        _, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(head(it.port, "Content-Length: 5") + b"abc")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await it.http("POST", "/topics/a"))[0] == 200
    assert len(it.backend.asked) == 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_chunks_without_end_are_cut_off() -> None:
    async with endpoint(patience_s=2.0) as it:
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        got = await it.raw(head(it.port, "Transfer-Encoding: chunked", "Connection: close") + chunk * 4 + b"0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 413 ")
    assert it.backend.asked == []


@pytest.mark.parametrize("sent", [b"\x00\xff" * 50 + b"\r\n\r\n", b"GET /\r\nx: y\r\n\r\n"])
async def test_nonsense_is_refused(sent: bytes) -> None:
    async with endpoint() as it:
        assert (await it.raw(sent)).startswith(b"HTTP/1.1 400 ")


async def test_a_head_has_a_limit() -> None:
    async with endpoint() as it:
        assert (await it.raw(b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000)).startswith((b"HTTP/1.1 4", b""))
        assert (await it.http("POST", "/topics/a"))[0] == 200


async def test_too_many_clients_do_not_keep_out_those_that_are_there() -> None:
    async with endpoint() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        others = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(MOST_CLIENTS)]
        with contextlib.suppress(ConnectionResetError):  # the last one finds no room
            assert await others[-1][0].read() == b""
        writer.write(head(it.port, "Content-Length: 0"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        for _, one in [(reader, writer), *others]:
            one.close()


async def test_closing_lets_a_request_end() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    class Slow(FakeBackend):
        async def publish(self, *_: object) -> None:
            began.set()
            await go_on.wait()

    listener = Listener(Slow())
    listener.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(head(listener.port, "Content-Length: 0"))
    await began.wait()
    closing = asyncio.ensure_future(listener.close())
    go_on.set()
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    await closing
    writer.close()


async def test_closing_does_not_wait_for_ever() -> None:
    began = asyncio.Event()

    class Stuck(FakeBackend):
        async def publish(self, *_: object) -> None:
            began.set()
            await asyncio.get_running_loop().create_future()

    listener = Listener(Stuck())
    listener.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(head(listener.port, "Content-Length: 0"))
    await began.wait()
    async with asyncio.timeout(10):
        await listener.close()
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    writer.close()
