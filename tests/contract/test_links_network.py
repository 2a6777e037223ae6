"""What every link over a network promises when the network, the broker or the certificates are bad."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_runtime import plugin
from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.model import Link
from edge_runtime.standin import certs
from tests.brokers import start_mosquitto
from tests.clouds import pairs
from tests.scripted import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBLISH,
    SUBSCRIBE,
    connack,
    frame,
    puback,
    say,
    start_script,
    suback,
)

Make = Callable[..., Link]
KINDS = [(link, more) for link, cloud, more in pairs() if cloud == "mosquitto"]
KINDS_5 = [(link, more) for link, more in KINDS if "version" not in more]


def ids(kinds: list[tuple[str, dict[str, object]]]) -> list[str]:
    return ["-".join((link, *map(str, more.values()))) for link, more in kinds]


@pytest.fixture(params=KINDS, ids=ids(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    found: tuple[str, dict[str, object]] = request.param
    return found


five = pytest.mark.parametrize("kind", KINDS_5, ids=ids(KINDS_5))
"""For tests of what only MQTT 5 has."""


@pytest.fixture
async def make(kind: tuple[str, dict[str, object]]) -> AsyncIterator[Make]:
    made: list[Link] = []

    def build(port: int, endpoint: str = "127.0.0.1", **more: object) -> Link:
        settings = {"client_id": "device", "endpoint": endpoint, "port": port, **kind[1], **more}
        link: Link = plugin.load("links", kind[0]).LINK(**settings)
        made.append(link)
        return link

    yield build
    for link in made:
        await link.close()


async def refusing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    raise AssertionError("nothing was to come down")


async def fails(link: Link) -> LinkError:
    """Connect, and return the error with which that must fail."""
    with pytest.raises(LinkError) as caught:
        await link.connect(down=["down/#"], received=refusing)
    assert type(caught.value) is LinkError, "a connection is always worth another try"
    assert isinstance(await link.lost(), LinkError)
    return caught.value


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def test_nothing_listens(make: Make) -> None:
    port = closed_port()
    error = await fails(make(port))
    assert str(error) == f"nothing listens at 127.0.0.1:{port}"
    assert error.hint == "check `endpoint` and `port`, and that the broker runs"


async def test_a_name_that_does_not_exist(make: Make) -> None:
    error = await fails(make(1883, "no-such-broker.invalid"))
    assert str(error) == "the name 'no-such-broker.invalid' cannot be resolved"


async def test_a_broker_that_accepts_and_says_nothing(make: Make) -> None:
    async with start_script({CONNECT: say(b"")}) as broker:
        begin = time.monotonic()
        error = await fails(make(broker.port, connect_timeout_s=0.4))
        assert 0.3 < time.monotonic() - begin < 3
        assert str(error) == f"127.0.0.1:{broker.port} did not answer in time"
        await broker.closed.wait()


async def test_a_server_that_speaks_something_else(make: Make) -> None:
    async with start_script({CONNECT: say(b"HTTP/1.1 400 Bad Request\r\n" * 10)}) as broker:
        assert f"127.0.0.1:{broker.port}" in str(await fails(make(broker.port, connect_timeout_s=2)))
        await broker.closed.wait()


async def test_a_broker_that_hangs_up_at_once(make: Make) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await fails(make(port))
        assert str(error) == f"127.0.0.1:{port} closed the connection"
        assert "iot:Connect" in error.hint


async def test_a_frozen_broker_is_noticed_within_one_and_a_half_keep_alives(make: Make, tmp_path: Path) -> None:
    async with start_mosquitto(tmp_path) as broker:
        link = make(broker.port, keep_alive_s=1)
        await link.connect(down=[], received=refusing)
        broker.freeze()
        begin = time.monotonic()
        waiting = asyncio.ensure_future(link.publish("up/soil", b"", {}))
        error = await link.lost()
        assert 0.9 < time.monotonic() - begin < 1.8
        assert str(error) == f"127.0.0.1:{broker.port} has stopped answering"
        with pytest.raises(LinkError, match="has stopped answering"):
            await waiting


@five
async def test_an_idle_connection_pings_and_lives(make: Make) -> None:
    async with start_script() as broker:
        link = make(broker.port, keep_alive_s=1)
        await link.connect(down=[], received=refusing)
        await broker.until(PINGREQ, 2)
        await link.publish("up/soil", b"", {})


async def test_a_wrong_password(make: Make, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "garden", "right"], check=True)  # noqa: S607, ASYNC221 - of the distribution; a moment
    extra = f"allow_anonymous false\npassword_file {passwords}"
    async with start_mosquitto(tmp_path, extra=extra) as broker:
        error = await fails(make(broker.port, username="garden", password="wrong"))  # noqa: S106 - a test's
        assert str(error) == f"127.0.0.1:{broker.port} refused the connection: not authorized (0x87)"
        assert "iot:Connect" in error.hint
        link = make(broker.port, username="garden", password="right")  # noqa: S106 - a test's
        assert await link.connect(down=[], received=refusing) is False


@five
@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        (0x85, "the client id is not valid (0x85)", "check `client_id`"),
        (0x86, "bad user name or password (0x86)", "check `username` and `password`"),
        (0x89, "server busy (0x89)", ""),
        (0x9F, "connection rate exceeded (0x9F)", ""),
    ],
)
async def test_a_refused_connection_says_why(make: Make, code: int, text: str, hint: str) -> None:
    async with start_script({CONNECT: connack(code)}) as broker:
        error = await fails(make(broker.port))
        assert str(error) == f"127.0.0.1:{broker.port} refused the connection: {text}"
        assert error.hint == hint


@five
async def test_what_the_connect_packet_asks_for(make: Make) -> None:
    async with start_script() as broker:
        await make(broker.port, keep_alive_s=60).connect(down=[], received=refusing)
        body = (await broker.until(CONNECT))[0].body
        assert body[:7] == b"\0\x04MQTT\x05"
        assert body[7] == 0, "no clean start, no will, no user name: nothing of the SDK is added"
        assert int.from_bytes(body[8:10], "big") == 60
        properties = body[11 : 11 + body[10]]
        assert b"\x11" + (604_800).to_bytes(4, "big") in properties, "session expiry"
        assert b"\x21" + (100).to_bytes(2, "big") in properties, "receive maximum"
        assert body.endswith(b"\0\x06device")


@five
@pytest.mark.parametrize("code", [0x80, 0x87, 0x97])
async def test_a_suback_that_refuses(make: Make, code: int) -> None:
    async with start_script({SUBSCRIBE: suback(code)}) as broker:
        with pytest.raises(RefusedError, match="refused the subscription to 'down/#'") as caught:
            await make(broker.port).connect(down=["down/#"], received=refusing)
        assert caught.value.code == code
        await broker.closed.wait()


@five
async def test_a_suback_with_too_many_codes(make: Make) -> None:
    async with start_script({SUBSCRIBE: suback(1, 1)}) as broker:
        assert str(await fails(make(broker.port))) == "the broker answered 2 of 1 subscriptions"


@five
async def test_a_code_that_nobody_knows_is_no_success(make: Make) -> None:
    async with start_script({SUBSCRIBE: suback(0xEE), PUBLISH: puback(0xEE)}) as broker:
        link = make(broker.port)
        with pytest.raises(LinkError):
            await link.connect(down=["down/#"], received=refusing)
        await link.connect(down=[], received=refusing)
        with pytest.raises(LinkError):
            await link.publish("up/soil", b"", {})


@five
@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0x10, None),
        (0x80, LinkError),
        (0x83, LinkError),
        (0x97, LinkError),
        (0x87, RefusedError),
        (0x90, RefusedError),
        (0x99, RefusedError),
    ],
)
async def test_what_a_puback_means(make: Make, code: int, outcome: type[LinkError] | None) -> None:
    async with start_script({PUBLISH: puback(code)}) as broker:
        link = make(broker.port)
        await link.connect(down=[], received=refusing)
        if outcome is None:
            await link.publish("up/soil", b"", {})
            return
        with pytest.raises(LinkError, match="the broker refused the publish on 'up/soil'") as caught:
            await link.publish("up/soil", b"", {})
        assert type(caught.value) is outcome


@five
async def test_the_broker_says_why_it_ends_the_connection(make: Make) -> None:
    async with start_script({PUBLISH: say(b"")}) as broker:
        link = make(broker.port)
        await link.connect(down=[], received=refusing)
        waiting = asyncio.ensure_future(link.publish("up/soil", b"", {}))
        await broker.until(PUBLISH)
        await broker.send(frame(DISCONNECT, b"\x8e\0"))
        broker.hang_up()
        error = await link.lost()
        assert str(error) == f"127.0.0.1:{broker.port} ended the connection: session taken over (0x8E)"
        assert error.hint == "another connection uses the same client_id; each device needs its own"
        with pytest.raises(LinkError, match="session taken over"):
            await waiting


async def test_what_a_stalled_broker_does_not_read_is_sent_when_it_reads_again(make: Make, tmp_path: Path) -> None:
    async with start_mosquitto(tmp_path, extra="max_inflight_messages 0") as broker:
        link = make(broker.port)
        await link.connect(down=[], received=refusing)
        broker.freeze()
        futures = [asyncio.ensure_future(link.publish("up/picture", bytes(2_000_000), {})) for _ in range(6)]
        await asyncio.sleep(0)
        assert not any(future.done() for future in futures)
        broker.thaw()
        await asyncio.gather(*futures)


@five
async def test_the_receive_maximum_of_the_broker_is_kept(make: Make) -> None:
    async with start_script({CONNECT: connack(0, b"\x21\0\x03"), PUBLISH: say(b"")}) as broker:
        link = make(broker.port)
        await link.connect(down=[], received=refusing)
        futures = [asyncio.ensure_future(link.publish("up/soil", str(n).encode(), {})) for n in range(7)]
        for n in range(7):
            packets = await broker.until(PUBLISH, min(n + 3, 7))
            assert len(packets) == min(n + 3, 7)
            await broker.send(puback()(packets[n]))
            await futures[n]
        assert [packet.body[-1:] for packet in packets] == [b"%d" % n for n in range(7)]


@five
async def test_a_message_larger_than_the_broker_takes_is_refused_here(make: Make) -> None:
    async with start_script({CONNECT: connack(0, b"\x27\0\0\x01\0")}) as broker:
        link = make(broker.port)
        await link.connect(down=[], received=refusing)
        with pytest.raises(RefusedError) as caught:
            await link.publish("up/soil", b"x" * 256, {})
        assert caught.value.code == 0x95
        await link.publish("up/soil", b"x" * 100, {})
        assert len(await broker.until(PUBLISH)) == 1


async def test_nothing_is_left_after_close(make: Make, tmp_path: Path) -> None:
    def held() -> set[str]:
        return {f"{kind} {entry}" for kind in ("task", "fd") for entry in os.listdir(f"/proc/self/{kind}")}  # noqa: PTH208 - only counted

    async with start_mosquitto(tmp_path) as broker:
        for attempt in range(3):
            before = held()
            link = make(broker.port)
            await link.connect(down=["down/#"], received=refusing)
            await link.publish("up/soil", b"", {})
            assert held() - before
            await link.close()
            if attempt == 0:
                continue  # the first of a process leaves what the library keeps for good
            for _ in range(200):  # a thread that has said its last word needs a moment to leave /proc
                if held() <= before:
                    break
                await asyncio.sleep(0.005)
            assert held() <= before


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> certs.Certificates:
    return certs.make(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def strange(tmp_path_factory: pytest.TempPathFactory) -> certs.Certificates:
    """Certificates of another CA, for another host."""
    return certs.make(tmp_path_factory.mktemp("strange"), hosts=["other.example"])


@pytest.fixture(scope="session")
def expired(good: certs.Certificates, tmp_path_factory: pytest.TempPathFactory) -> certs.TlsFiles:
    """A certificate of the good CA that ended in 2020."""
    folder = tmp_path_factory.mktemp("expired")
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
        "x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:localhost\n"
    )
    new = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out r.csr -subj /CN=localhost"
    sign = "openssl ca -batch -config ca.cnf -in r.csr -out c.pem -startdate 20200101000000Z -enddate 20200201000000Z"
    authority = ["-cert", str(good.server.ca), "-keyfile", str(good.server.ca.with_suffix(".key"))]
    for command in (new.split(), [*sign.split(), *authority]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return certs.TlsFiles(good.server.ca, folder / "c.pem", folder / "k.pem")


@dataclass(frozen=True)
class Server:
    """A server's certificate that a client should not accept, and why."""

    files: certs.TlsFiles
    trusted: Path
    """What the client takes for the CA."""
    reason: str


@pytest.fixture(params=["ca", "host", "expired"])
def dubious(
    request: pytest.FixtureRequest, good: certs.Certificates, strange: certs.Certificates, expired: certs.TlsFiles
) -> Server:
    return {
        "ca": Server(good.server, strange.server.ca, "certificate"),
        "host": Server(
            strange.server, strange.server.ca, "Hostname mismatch, certificate is not valid for 'localhost'"
        ),
        "expired": Server(expired, good.server.ca, "certificate has expired"),
    }[request.param]


def identity(files: certs.TlsFiles) -> dict[str, object]:
    return {"endpoint": "localhost", "certificate": files.cert, "key": str(files.key), "ca": files.ca}


async def test_mutual_tls(make: Make, good: certs.Certificates, tmp_path: Path) -> None:
    async with start_mosquitto(tmp_path, tls=good.server) as broker:
        link = make(broker.port, **identity(good.client))
        assert await link.connect(down=["down/#"], received=refusing) is False
        payload = os.urandom(300_000)
        await asyncio.gather(*[link.publish("up/picture", payload, {}) for _ in range(5)])
        await broker.kill()
        assert isinstance(await link.lost(), LinkError)


async def test_messages_come_down_through_tls(make: Make, good: certs.Certificates, tmp_path: Path) -> None:
    got: list[bytes] = []
    done = asyncio.Event()

    async def received(_topic: str, payload: bytes, _properties: Mapping[str, str]) -> None:
        got.append(payload)
        if len(got) == 200:
            done.set()

    async with start_mosquitto(tmp_path, tls=good.server) as broker:
        link = make(broker.port, **identity(good.client))
        await link.connect(down=["down/#"], received=received)
        await asyncio.gather(*[link.publish("down/lamp", str(n).encode(), {}) for n in range(200)])
        await done.wait()
    assert got == [str(n).encode() for n in range(200)]


async def test_a_broker_that_cannot_be_trusted(
    make: Make, good: certs.Certificates, dubious: Server, tmp_path: Path
) -> None:
    async with start_mosquitto(tmp_path, tls=dubious.files) as broker:
        begin = time.monotonic()
        error = await fails(make(broker.port, **{**identity(good.client), "ca": dubious.trusted}))
        assert time.monotonic() - begin < 8
        assert str(error).startswith(f"the certificate of localhost:{broker.port} is not trusted: ")
        assert dubious.reason in str(error)
        assert "timedatectl" in error.hint
        assert not any("device" in line for line in broker.log), "not a byte of MQTT was sent"


async def test_a_broker_that_does_not_know_our_ca(
    make: Make, good: certs.Certificates, strange: certs.Certificates, tmp_path: Path
) -> None:
    async with start_mosquitto(tmp_path, tls=good.server) as broker:
        mine = {**identity(strange.client), "ca": good.server.ca}
        assert f"localhost:{broker.port}" in str(await fails(make(broker.port, **mine)))


async def test_tls_with_a_broker_that_has_none(make: Make, good: certs.Certificates, tmp_path: Path) -> None:
    async with start_mosquitto(tmp_path) as broker:
        assert f"localhost:{broker.port}" in str(await fails(make(broker.port, **identity(good.client))))


async def test_a_key_that_is_not_that_of_the_certificate(
    make: Make, good: certs.Certificates, strange: certs.Certificates
) -> None:
    port = closed_port()
    error = await fails(make(port, **{**identity(good.client), "key": strange.client.key}))
    assert str(error).startswith(f"the TLS files for localhost:{port} cannot be used: ")
    assert "is not that of the certificate" in str(error)
    assert error.hint == "replace both; `edge provision` makes a new pair and switches both at once"


async def test_a_cancelled_connect_closes_its_socket(make: Make) -> None:
    async with start_script({CONNECT: say(b"")}) as broker:
        task = asyncio.create_task(make(broker.port).connect(down=[], received=refusing))
        await broker.until(CONNECT)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await broker.closed.wait()


async def test_close_ends_a_connect_under_way(make: Make) -> None:
    async with start_script({CONNECT: say(b"")}) as broker:
        link = make(broker.port)
        task = asyncio.create_task(link.connect(down=[], received=refusing))
        await broker.until(CONNECT)
        begin = time.monotonic()
        await link.close()
        with pytest.raises(LinkError, match="was closed"):
            await task
        assert time.monotonic() - begin < 3
        await broker.closed.wait()


async def test_close_does_not_wait_for_a_network_that_swallows_everything(make: Make) -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737): packets to it are dropped or refused, never answered.
    link = make(1883, "192.0.2.1")
    task = asyncio.create_task(link.connect(down=[], received=refusing))
    await asyncio.sleep(0)
    begin = time.monotonic()
    await link.close()
    with pytest.raises(LinkError):
        await task
    assert time.monotonic() - begin < 3
