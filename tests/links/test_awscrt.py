"""What is awscrt's own: two ways to publish, TCP_NODELAY, and the way from its thread to the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import awscrt
import pytest

from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.links import _crt_publish
from edge_runtime.links._crt import Connection
from edge_runtime.links._crt_errors import explain
from edge_runtime.links._line import Line
from edge_runtime.links.awscrt import LINK, AwscrtLink
from tests.scripted import PUBLISH, puback, start_script

HEADERS = {"id": "7", "größe": "maß"}


async def nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Store nothing."""


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[AwscrtLink, Connection]]:
    link = LINK(endpoint="127.0.0.1", port=port, client_id="garden")
    await link.connect(down=[], received=nothing)
    connection = link._connection
    assert isinstance(connection, Connection)
    yield link, connection
    await link.close()


def test_the_installed_version_is_published_through_directly() -> None:
    assert awscrt.__version__ in _crt_publish.DIRECT


@pytest.mark.parametrize("way", [_crt_publish.direct, _crt_publish.public])
async def test_both_ways_to_publish_put_the_same_on_the_wire(way: Callable[..., _crt_publish.Publish]) -> None:
    async with start_script() as broker, connected(broker.port) as (link, connection):
        connection._publish = way(connection._client)
        await link.publish("up/soil", b"\x00\xff", HEADERS)
        packet = (await broker.until(PUBLISH))[0]
        properties = b"\x26\0\x02id\0\x017" + b"\x26\0\x07gr\xc3\xb6\xc3\x9fe\0\x04ma\xc3\x9f"
        assert packet.flags == 0b0010, "QoS 1, not retained, not a repeat"
        assert packet.body == b"\0\x07up/soil" + packet.id + bytes([len(properties)]) + properties + b"\x00\xff"


@pytest.mark.parametrize("way", [_crt_publish.direct, _crt_publish.public])
async def test_both_ways_to_publish_tell_of_refusals(way: Callable[..., _crt_publish.Publish]) -> None:
    async with start_script({PUBLISH: puback(0x99)}) as broker, connected(broker.port) as (link, connection):
        connection._publish = way(connection._client)
        with pytest.raises(RefusedError) as caught:
            await link.publish("up/soil", b"", {})
        assert caught.value.code == 0x99
        with pytest.raises(RefusedError) as caught:
            await link.publish("up/#", b"", {})
        assert caught.value.code == 0x90
        broker.hang_up()
        assert isinstance(await link.lost(), LinkError)


def no_delay_of(port: int) -> list[int]:
    """Return TCP_NODELAY of every connection of this process to that port."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(entry.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry.name))) as own:
                    if own.family == socket.AF_INET and own.getpeername()[1] == port:
                        found.append(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    return found


async def test_the_connection_does_not_wait_for_full_packets() -> None:
    async with start_script() as broker, connected(broker.port):
        assert no_delay_of(broker.port) == [1]


async def test_calls_from_another_thread_share_a_wake_up_and_keep_their_order() -> None:
    line, loop = Line("test", nothing), asyncio.get_running_loop()
    seen: list[int] = []
    done = asyncio.Event()

    def work() -> None:
        for n in range(1000):
            line.post(seen.append, n)
        line.post(done.set)

    drains = 0
    drain = line._drain

    def counted() -> None:
        nonlocal drains
        drains += 1
        drain()

    line._drain = counted  # type: ignore[method-assign]  # to count the turns
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # the loop cannot run meanwhile: all must come in one turn
    await done.wait()
    assert seen == list(range(1000))
    assert drains == 1
    assert loop is asyncio.get_running_loop()
    line.end(LinkError("over"))
    await line.at_rest()


async def test_a_call_that_raises_does_not_stop_the_others() -> None:
    line = Line("test", nothing)
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    done = asyncio.Event()
    line.post(int, "no number")
    line.post(done.set)
    await done.wait()
    assert [type(error) for error in errors] == [ValueError]
    line.end(LinkError("over"))
    await line.at_rest()


async def test_messages_without_qos_are_dropped_when_too_many_wait(caplog: pytest.LogCaptureFixture) -> None:
    stored: list[bytes] = []

    async def received(_topic: str, payload: bytes, _properties: Mapping[str, str]) -> None:
        stored.append(payload)

    line = Line("test", received)
    for n in range(1003):
        line.deliver("down/lamp", str(n).encode(), {}, None)
    assert [record.getMessage() for record in caplog.records] == [
        "test: dropped a QoS 0 message on 'down/lamp': 1000 wait to be stored"
    ] * 3
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(stored) == 1000
    line.end(LinkError("over"))
    line.deliver("down/lamp", b"late", {}, None)
    await line.at_rest()
    assert len(stored) == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "1029 (AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE): TLS failed",
            "TLS with broker.lan:8883 failed: the handshake did",
        ),
        ("1059 (AWS_IO_DNS_QUERY_FAILED): no", "the name 'broker.lan' cannot be resolved"),
        ("1048 (AWS_IO_SOCKET_TIMEOUT): slow", "broker.lan:8883 did not answer in time"),
        ("1 (AWS_ERROR_OOM): full", "broker.lan:8883: 1 (AWS_ERROR_OOM): full"),
    ],
)
def test_errors_in_plain_words(text: str, expected: str) -> None:
    assert str(explain("broker.lan:8883", RuntimeError(text))).startswith(expected)
