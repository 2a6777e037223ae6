"""doctor goes the way to the broker: its name, its ports, TLS, and the time that it is there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest

from edge_runtime.app import App, LinkSpec
from edge_runtime.cli import _checks_link as link
from edge_runtime.cli._knock import Answer, End, knock, server_time
from edge_runtime.cli._x509 import Names
from edge_runtime.errors import ConfigError
from edge_runtime.links._settings import Settings
from edge_runtime.standin import certs
from edge_runtime.standin.certs import Certificates, TlsFiles
from edge_runtime.standin.server import Standin, server_context
from tests.brokers import free_port

HERE = "127.0.0.1"
PATIENCE_S = 20.0
SHORT_S = 0.2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(tmp_path_factory.mktemp("tls"), client="station")


def door(port: int, made: Certificates, **more: Any) -> Settings:  # noqa: ANN401 - any settings
    return Settings(**{"endpoint": "localhost", "client_id": "station", "port": port, "ca": made.client.ca, **more})


async def knocked(settings: Settings, within_s: float = PATIENCE_S, *, options: Any = None) -> Answer:  # noqa: ANN401 - as above
    pair = link.identity_of(options or {})
    return await asyncio.to_thread(knock, settings, (HERE,), pair, within_s)


def files(made: Certificates) -> dict[str, object]:
    return {"certificate": made.client.cert, "key": made.client.key, "ca": made.client.ca}


@contextlib.asynccontextmanager
async def answering(reply: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listen, and answer whatever comes with these bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(1000)
            writer.write(reply)
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(answer, HERE, 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Listen at a port whose queue is full: the kernel answers nobody else."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((HERE, 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def dated(made: Certificates, folder: Path, begin: str, end: str) -> TlsFiles:
    """Return a server's certificate for localhost that holds between two dates."""
    folder.mkdir()
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
        "x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost\n"
    )
    (folder / "index").write_text("")
    (folder / "serial").write_text("1001\n")
    ca = made.server.ca
    new = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out n.csr -subj /CN=broker"
    sign = f"openssl ca -batch -notext -config ca.cnf -in n.csr -out c.pem -startdate {begin} -enddate {end}"
    for command in (new, f"{sign} -cert {ca} -keyfile {ca.with_suffix('.key')}"):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return TlsFiles(ca, folder / "c.pem", folder / "k.pem")


# -- one door ----------------------------------------------------------------------------------------------------------


async def test_a_door_that_is_open_tells_how_long_it_took(made: Certificates) -> None:
    standin = Standin()
    await standin.start(tls=made.server)
    async with standin:
        answer = await knocked(door(standin.port, made), options=files(made))
    assert answer.end is End.OPEN
    assert 0 < answer.tcp_s < PATIENCE_S
    assert 0 < answer.tls_s < PATIENCE_S


async def test_plain_tcp_is_enough_without_tls(made: Certificates) -> None:
    async with Standin() as standin:
        settings = Settings(endpoint=HERE, client_id="station", port=standin.port)
        answer = await knocked(settings)
        assert (answer.end, answer.tls_s) == (End.OPEN, 0)
        assert (await knocked(door(standin.port, made), 2.0)).end in (End.NO_TLS, End.CLOSED)


async def test_a_port_where_nobody_listens(made: Certificates) -> None:
    assert (await knocked(door(free_port(), made))).end is End.REFUSED


async def test_a_port_that_a_firewall_swallows(made: Certificates) -> None:
    with black_hole() as port:
        answer = await knocked(door(port, made), SHORT_S)
    assert (answer.end, answer.detail) == (End.SILENT, "0.2 s")


async def test_a_broker_that_takes_a_connection_and_says_nothing(made: Certificates) -> None:
    with socket.socket() as server:
        server.bind((HERE, 0))
        server.listen()
        assert (await knocked(door(server.getsockname()[1], made), SHORT_S)).end is End.SILENT


async def test_no_way_there(made: Certificates) -> None:
    answer = await asyncio.to_thread(knock, door(1, made), (), None, SHORT_S)
    assert (answer.end, answer.detail) == (End.UNREACHABLE, "it has no address")


async def test_a_family_that_is_silent_is_named(made: Certificates) -> None:
    with socket.socket() as server, black_hole() as hole:
        server.bind((HERE, 0))
        server.listen()
        settings = Settings(endpoint=HERE, client_id="a", port=server.getsockname()[1])
        answer = await asyncio.to_thread(knock, settings, (HERE,), None, SHORT_S)
        assert answer.silent == ()
        assert hole
    doors = link.Doors(door(8883, made))
    found = list(link.told(doors, [Answer(End.OPEN, silent=("IPv6",))]))
    assert [(f.what, f.level) for f in found] == [("port 8883", "ok"), ("addresses", "warn")]
    assert found[1].text == "IPv6 does not answer at port 8883, and each connect may wait for that first"


async def test_another_ca_is_not_trusted(made: Certificates, tmp_path: Path) -> None:
    other = certs.make(tmp_path / "other")
    standin = Standin()
    await standin.start(tls=made.server)
    async with standin:
        settings = door(standin.port, other)
        answer = await knocked(settings)
    assert answer.end is End.DISTRUSTED
    assert answer.peer.issuer == "edge-runtime stand-in CA"
    [found] = link.told(link.Doors(settings), [answer])
    assert found.level == "fail"
    assert found.text.startswith(f"the certificate of localhost:{standin.port}, signed by edge-runtime stand-in CA, is")
    assert f"not trusted by ca ({other.client.ca})" in found.text
    assert found.fix == "write into `ca` the CA that has signed the broker's certificate"


async def test_a_certificate_of_another_host(tmp_path: Path) -> None:
    hotel = certs.make(tmp_path / "hotel", hosts=("login.hotel.example",))
    standin = Standin()
    await standin.start(tls=hotel.server)
    async with standin:
        settings = door(standin.port, hotel)
        answer = await knocked(settings)
    assert answer.end is End.STRANGER
    assert answer.peer.subject == ("edge-runtime stand-in", "login.hotel.example")
    [found] = link.told(link.Doors(settings), [answer])
    assert found.fix == "write into `endpoint` a name that is in the broker's certificate"
    aws = Settings(endpoint="x-ats.iot.eu-west-1.amazonaws.com", client_id="a", port=443)
    for end in (End.STRANGER, End.DISTRUSTED):  # a portal is rarely trusted at all
        [found] = link.told(link.Doors(aws), [Answer(end, peer=answer.peer)])
        assert "is that of edge-runtime stand-in, login.hotel.example, by edge-runtime stand-in CA" in found.text
        assert "a captive portal or a proxy" in found.text
        assert "open a browser on this network and sign in" in found.fix


async def test_plain_http_is_a_portal(made: Certificates) -> None:
    reply = b"HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\nConnection: close\r\n\r\n"
    async with answering(reply) as port:
        settings = door(port, made)
        answer = await knocked(settings)
    assert answer.end is End.HTTP
    assert answer.detail == "HTTP/1.1 302 Found, which leads to http://login.hotel.example/"
    [found] = link.told(link.Doors(settings), [answer])
    assert "a captive portal, or not the broker" in found.text
    assert "sign in" in found.fix


async def test_something_else_than_tls(made: Certificates) -> None:
    async with answering(b"220 mail.example ESMTP\r\n") as port:
        answer = await knocked(door(port, made), 2.0)
    assert answer.end is End.NO_TLS
    [found] = link.told(link.Doors(door(port, made)), [answer])
    assert found.fix == "check `port`; a broker without TLS has `tls: false`"


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        ("20200101000000Z", "20210101000000Z", "holds from 2020-01-01 to 2021-01-01"),
        ("20980101000000Z", "20990101000000Z", "holds from 2098-01-01 to 2099-01-01"),
    ],
)
async def test_a_certificate_that_does_not_hold_now(
    made: Certificates, tmp_path: Path, begin: str, end: str, words: str
) -> None:
    standin = Standin()
    await standin.start(tls=dated(made, tmp_path / "d", begin, end))
    async with standin:
        settings = door(standin.port, made)
        answer = await knocked(settings)
        assert answer.end is End.OUT_OF_DATE
        [found] = link.told(link.Doors(settings), [answer])
        assert words in found.text
        assert "timedatectl" in found.fix
        other = certs.make(tmp_path / "other")
        assert (await knocked(door(standin.port, other))).end is End.DISTRUSTED


async def test_a_certificate_of_ours_that_the_broker_does_not_take(made: Certificates, tmp_path: Path) -> None:
    stranger = certs.make(tmp_path / "stranger").client
    standin = Standin()
    await standin.start(tls=made.server)
    async with standin:
        settings = door(standin.port, made)
        options = {"certificate": stranger.cert, "key": stranger.key}
        answer = await knocked(settings, options=options)
        none = await knocked(settings)
    assert answer.end is End.TURNED_AWAY
    assert answer.detail == "it hung up without a word"
    [found] = link.told(link.Doors(settings), [answer])
    assert found.text == f"localhost:{standin.port} does not take our certificate: it hung up without a word"
    assert none.end is End.TURNED_AWAY


async def test_a_key_in_a_token_cannot_be_shown_and_is_not_missed(made: Certificates) -> None:
    standin = Standin()
    await standin.start(tls=made.server)
    async with standin:
        options = {"certificate": str(made.client.cert), "pkcs11": {"module": "m", "token": "t"}}
        app = App("station", Path("/"), link=LinkSpec("awscrt", options))
        way = link.Way(app, link.Doors(door(standin.port, made)), PATIENCE_S)
        found = await asyncio.to_thread(lambda: list(way.walk()))
    assert way.is_open
    assert [(f.what, f.level) for f in found][-1] == (f"port {standin.port}", "ok")


async def test_https_without_mqtt_is_told_from_aws(made: Certificates) -> None:
    context = server_context(made.server, web=True)
    context.set_alpn_protocols(["http/1.1"])
    async with answering(b"", context) as port:
        settings = AwsPort(endpoint="localhost", client_id="a", port=port, ca=made.client.ca)
        answer = await knocked(settings)
    assert answer.end is End.NO_MQTT
    [found] = link.told(link.Doors(settings), [answer])
    assert "offers no MQTT there (ALPN x-amzn-mqtt-ca)" in found.text


class AwsPort(Settings):
    """Settings for a port that asks by ALPN, wherever it is: the tests may not listen on 443."""

    @property
    def alpn(self) -> list[str]:
        """Ask for it on any port."""
        return ["x-amzn-mqtt-ca"]


async def test_the_port_shared_with_https_is_asked_for_mqtt(made: Certificates) -> None:
    async with Standin() as standin:
        await standin.start_web(tls=made.server)
        settings = AwsPort(endpoint="localhost", client_id="a", port=standin.web_port, ca=made.client.ca)
        assert (await knocked(settings, options=files(made))).end is End.OPEN


def test_a_ca_file_that_is_none(made: Certificates, tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    with socket.socket() as server:
        server.bind((HERE, 0))
        server.listen()
        answer = knock(door(server.getsockname()[1], made, ca=tmp_path / "junk"), (HERE,), None, PATIENCE_S)
    assert answer.end is End.BAD_FILES


# -- both doors --------------------------------------------------------------------------------------------------------

AWS = LinkSpec("paho", {"endpoint": "x-ats.iot.eu-west-1.amazonaws.com", "client_id": "a", "tls": True})


def test_aws_has_two_doors_and_tells_the_time_at_one() -> None:
    doors = link.doors_of(AWS)
    assert doors is not None
    assert (doors.main.use_port, doors.other and doors.other.use_port) == (8883, 443)
    assert doors.https is doors.other
    turned = link.doors_of(LinkSpec("paho", {**AWS.options, "port": 443}))
    assert turned is not None
    assert (turned.main.alpn, turned.other and turned.other.use_port) == (["x-amzn-mqtt-ca"], 8883)
    assert turned.https is turned.main


def test_another_broker_has_one_door(tmp_path: Path) -> None:
    doors = link.doors_of(LinkSpec("paho", {"endpoint": "broker.lan", "client_id": "a", "version": "3.1.1"}))
    assert doors is not None
    assert (doors.main.where, doors.main.use_tls, doors.other, doors.https) == ("broker.lan:1883", False, None, None)
    assert link.doors_of(LinkSpec("memory", {"broker": None})) is None
    gone = str(tmp_path / "gone")
    secure = link.doors_of(
        LinkSpec("paho", {"endpoint": "broker.lan", "client_id": "a", "certificate": gone, "key": gone})
    )
    assert secure is not None
    assert secure.main.where == "broker.lan:8883"
    with pytest.raises(ConfigError, match=r"ca '.*' does not exist"):
        link.doors_of(LinkSpec("paho", {"endpoint": "broker.lan", "client_id": "a", "ca": gone}))


def test_the_other_port_is_the_way_out() -> None:
    doors = link.doors_of(AWS)
    assert doors is not None
    blocked, open_ = Answer(End.SILENT, "5 s"), Answer(End.OPEN, tcp_s=0.02, tls_s=0.05)
    found = list(link.told(doors, [blocked, open_]))
    assert [(f.what, f.level) for f in found] == [("port 8883", "fail"), ("port 443", "ok")]
    assert found[0].text == "x-ats.iot.eu-west-1.amazonaws.com:8883 does not answer within 5 s"
    assert found[0].fix == "port 443 is open: write `port: 443` under link:"
    assert found[1].text.endswith("443 answers: TCP 20 ms, TLS 50 ms; the certificate is trusted")
    found = list(link.told(doors, [open_, blocked]))
    assert [f.level for f in found] == ["ok", "ok"]
    assert found[1].text.endswith(":443 does not answer within 5 s; the link does not use it")
    found = list(link.told(doors, [blocked, blocked]))
    assert [f.fix for f in found] == [f"have the firewall let TCP port {port} out" for port in (8883, 443)]


def test_every_end_has_words_and_a_fix() -> None:
    doors = link.doors_of(AWS)
    assert doors is not None
    for end in set(End) - {End.OPEN}:
        [found, *_] = link.told(doors, [Answer(end, "why"), Answer(end, "why")])
        assert found.level == "fail"
        assert found.text
        assert found.fix


def test_a_ca_that_is_not_amazons_is_told_where_to_get_it() -> None:
    doors = link.doors_of(AWS)
    assert doors is not None
    peer = Names(("*.iot.eu-west-1.amazonaws.com", "x-ats.iot.eu-west-1.amazonaws.com"), "Amazon, Amazon RSA 2048 M01")
    [found, _] = link.told(doors, [Answer(End.DISTRUSTED, "unable to get local issuer certificate", peer=peer)] * 2)
    assert found.fix.startswith("curl -o AmazonRootCA1.pem https://www.amazontrust.com/")
    inspected = Names(peer.subject, "Corp, Corp TLS Inspection")
    [found, _] = link.told(doors, [Answer(End.DISTRUSTED, "self-signed", peer=inspected)] * 2)
    assert "a proxy that looks into TLS does so" in found.text


def test_an_endpoint_of_the_old_kind() -> None:
    assert [f.level for f in link.legacy("x.iot.eu-west-1.amazonaws.com")] == ["warn"]
    for name in ("x-ats.iot.eu-west-1.amazonaws.com", "broker.lan", "x.amazonaws.com"):
        assert list(link.legacy(name)) == []


async def test_the_whole_way(made: Certificates) -> None:
    standin = Standin()
    await standin.start(tls=made.server)
    async with standin:
        options = {key: str(value) for key, value in files(made).items()}
        spec = LinkSpec("paho", {**options, "endpoint": "localhost", "client_id": "station", "port": standin.port})
        doors = link.doors_of(spec)
        assert doors is not None
        way = link.Way(App("station", Path("/"), link=spec), doors, PATIENCE_S)
        found = await asyncio.to_thread(lambda: list(way.walk()))
    assert way.is_open
    assert [(f.what, f.level) for f in found] == [("dns", "ok"), (f"port {standin.port}", "ok")]


# -- the time ----------------------------------------------------------------------------------------------------------


async def ahead(made: Certificates, tls: TlsFiles, reply: bytes) -> float | None:
    context = server_context(tls, web=True)
    async with answering(reply, context) as port:
        return await asyncio.to_thread(server_time, door(port, made), HERE, PATIENCE_S)


async def test_the_endpoint_tells_what_time_it_is(made: Certificates, tmp_path: Path) -> None:
    reply = f"HTTP/1.1 403 Forbidden\r\nDate: {formatdate(time() + 3600, usegmt=True)}\r\nContent-Length: 0\r\n\r\n"
    found = await ahead(made, made.server, reply.encode())
    assert found is not None
    assert abs(found - 3600) < PATIENCE_S
    # A clock that is wrong makes the certificate look wrong; the time is believed all the same.
    old = dated(made, tmp_path / "old", "20200101000000Z", "20210101000000Z")
    found = await ahead(made, old, reply.encode())
    assert found is not None
    assert abs(found - 3600) < PATIENCE_S


async def test_time_is_believed_of_those_alone_who_are_trusted(made: Certificates, tmp_path: Path) -> None:
    reply = f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nContent-Length: 0\r\n\r\n".encode()
    assert await ahead(made, certs.make(tmp_path / "other").server, reply) is None
    assert await ahead(made, certs.make(tmp_path / "host", hosts=("x.example",)).server, reply) is None
    assert await ahead(made, made.server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") is None
    assert await ahead(made, made.server, b"what?\r\n\r\n") is None


def test_clocks_that_agree_or_not() -> None:
    there = [Answer(End.OPEN)]
    assert [(f.level, f.text) for f in link.compared(-0.4, there)] == [
        ("ok", "the clock agrees with that of the endpoint to 1 s")
    ]
    [found] = link.compared(42, there)
    assert (found.level, found.text.startswith("the clock is 42 s behind that of the endpoint")) == ("warn", True)
    [found] = link.compared(-4000, there)
    assert (found.level, found.text.startswith("the clock is 4000 s ahead of that of the endpoint")) == ("fail", True)
    assert [f.level for f in link.compared(None, there)] == ["skip"]
    assert list(link.compared(None, [Answer(End.SILENT)])) == []
