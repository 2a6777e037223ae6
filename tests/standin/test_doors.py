"""One port for MQTT, WebSocket and HTTP, with the clients that people use."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from edge_runtime.clock import FakeClock
from edge_runtime.standin.access import Caller
from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.codec import Decoder, encode
from edge_runtime.standin.doors import QUIET_S, credentials_in
from edge_runtime.standin.packets import (
    MQTT_5,
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Publish,
    Subscribe,
    Subscription,
)
from edge_runtime.standin.server import Standin
from edge_runtime.standin.web import Request
from edge_runtime.standin.websocket import Opcode
from tests.mqtt import HOST, RawClient
from tests.standin.secure import ALLOW_ALL, context, fetch, register
from tests.standin.test_websocket import masked

PATIENCE_S = 20.0
UPGRADE = (
    b"GET /mqtt?X-Amz-Credential=AKIA%2F20261122%2Feu-west-1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)


class Socket:
    """A WebSocket client that can break every rule."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._decoder = Decoder(version=MQTT_5)

    @classmethod
    async def open(cls, port: int, more: bytes = b"", tls: ssl.SSLContext | None = None) -> Socket:
        """Upgrade, and send `more` right behind the request."""
        name = "localhost" if tls else None
        one = cls(*await asyncio.open_connection(HOST, port, ssl=tls, server_hostname=name))
        one.writer.write(UPGRADE + more)
        head = await one.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        return one

    def send(self, *packets: Packet) -> None:
        """Send packets, each in a frame."""
        for packet in packets:
            self.writer.write(masked(Opcode.BINARY, encode(packet, MQTT_5)))

    async def frame(self) -> tuple[int, bytes]:
        """Return the kind and the data of the next frame."""
        async with asyncio.timeout(PATIENCE_S):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            return first & 15, await self.reader.readexactly(size)

    async def packet(self) -> Packet:
        """Return the next packet."""
        while True:
            kind, data = await self.frame()
            assert kind == Opcode.BINARY
            if packets := self._decoder.feed(data):
                return packets[0]

    async def ended(self) -> None:
        """Return when the server has closed."""
        async with asyncio.timeout(PATIENCE_S):
            await self.reader.read()
        self.writer.close()


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    async with Standin(quotas="none") as one:
        await one.start_web()
        yield one


async def test_packets_in_frames_and_frames_in_pieces(standin: Standin) -> None:
    data = encode(Connect("ws"), MQTT_5)
    pieces = masked(Opcode.BINARY, data[:3], last=False) + masked(0, data[3:])
    one = await Socket.open(standin.web_port, pieces[:7])
    one.writer.write(pieces[7:])
    assert isinstance(await one.packet(), Connack)
    both = encode(Publish("a", b"1", 1, packet_id=1), MQTT_5) + encode(Publish("a", bytes(300), 1, packet_id=2), MQTT_5)
    one.writer.write(masked(Opcode.BINARY, both))
    assert isinstance(await one.packet(), Ack)
    await standin.recorded(2)
    one.send(Subscribe(3, (Subscription("a", 1),)), Publish("a", bytes(200)))
    one.writer.write(masked(Opcode.PING, b"beat"))
    while (found := await one.frame())[0] != Opcode.PONG:
        assert found[0] == Opcode.BINARY
    assert found == (Opcode.PONG, b"beat")
    one.writer.close()
    await standin.until(lambda: standin.counts["connections"] == 0)


@pytest.mark.parametrize(("sent", "code", "will"), [(b"\x88\x80\x00\x00\x00\x00", 1000, 0), (b"\x82\x01x", 1002, 0)])
async def test_a_close_is_answered_and_so_is_a_mistake(standin: Standin, sent: bytes, code: int, will: int) -> None:
    one = await Socket.open(standin.web_port)
    one.send(Connect("ws"))
    await one.packet()
    one.writer.write(sent)
    assert await one.frame() == (Opcode.CLOSE, code.to_bytes(2, "big"))
    await one.ended()
    assert standin.counts["wills"] == will
    await standin.until(lambda: standin.counts["connections"] == 0)


async def test_a_disconnect_ends_in_a_close_frame(standin: Standin) -> None:
    one = await Socket.open(standin.web_port)
    one.send(Connect("ws"))
    await one.packet()
    one.send(Disconnect())
    assert await one.frame() == (Opcode.CLOSE, b"\x03\xe8")
    await one.ended()


async def test_faults_reach_a_websocket(standin: Standin) -> None:
    one = await Socket.open(standin.web_port)
    one.send(Connect("ws"))
    await one.packet()
    standin.faults.freeze()
    one.send(Publish("a", b"", 1, packet_id=1))
    late = await RawClient.open(standin.web_port)
    late.send(Connect("late"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert list(standin.record) == []
    standin.faults.clear()
    assert isinstance(await one.packet(), Ack)
    assert isinstance(await late.next(), Connack)
    standin.faults.refuse()
    with pytest.raises(ConnectionRefusedError):
        await RawClient.open(standin.web_port)
    standin.faults.clear()
    (await Socket.open(standin.web_port)).writer.close()
    assert standin.faults.drop() >= 2
    await late.closed()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await one.frame()
    one.writer.close()


async def test_plain_mqtt_on_the_same_port(standin: Standin) -> None:
    client = await RawClient.connect(standin.web_port)
    await client.publish("a", b"mqtt")
    assert [one.payload for one in standin.record] == [b"mqtt"]
    await client.close()


async def test_requests_that_are_no_websocket(standin: Standin) -> None:
    assert (await fetch(f"http://{HOST}:{standin.web_port}/mqtt"))[0] == 400
    assert (await fetch(f"http://{HOST}:{standin.web_port}/elsewhere"))[0] == 404


async def test_a_connection_that_says_nothing_is_closed() -> None:
    clock = FakeClock()
    async with Standin(quotas="none", clock=clock) as standin:
        await standin.start_web()
        mute = await RawClient.open(standin.web_port)
        await (await RawClient.connect(standin.web_port)).close()  # the first one has been taken by then
        await clock.advance(QUIET_S + 1)
        await mute.closed()
        assert standin._guests == set()


def over_paho(port: int, tls: ssl.SSLContext | None) -> bytes:
    """Publish and receive over paho's WebSocket."""
    got: list[bytes] = []
    came, ready = threading.Event(), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, "paho", protocol=MQTTv5, transport="websockets")
    if tls is not None:
        client.tls_set_context(tls)

    def on_message(client: Client, data: object, message: MQTTMessage) -> None:
        del client, data
        got.append(bytes(message.payload))
        came.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect("localhost" if tls is not None else HOST, port)
    client.loop_start()
    try:
        client.subscribe("echo", 1)
        assert ready.wait(PATIENCE_S)
        client.publish("echo", bytes(100_000), 1)
        assert came.wait(PATIENCE_S)
    finally:
        client.disconnect()
        client.loop_stop()
    return got[0]


def over_awscrt(port: int, ca: str, *, secure: bool) -> int:
    """Publish over awscrt's WebSocket and return the reason code of the PUBACK."""
    from awscrt import io, mqtt5  # noqa: PLC0415 - it starts threads

    ready, stopped = threading.Event(), threading.Event()
    tls = None
    if secure:
        options = io.TlsContextOptions()
        options.override_default_trust_store_from_path(None, ca)
        tls = io.ClientTlsContext(options)
    client = mqtt5.Client(
        mqtt5.ClientOptions(
            host_name="localhost",
            port=port,
            tls_ctx=tls,
            websocket_handshake_transform=lambda transform_args: transform_args.set_done(),
            connect_options=mqtt5.ConnectPacket(client_id="crt"),
            on_lifecycle_event_connection_success_fn=lambda _: ready.set(),
            on_lifecycle_event_stopped_fn=lambda _: stopped.set(),
        )
    )
    client.start()
    assert ready.wait(PATIENCE_S)
    sent = client.publish(mqtt5.PublishPacket(topic="crt", payload=b"hello", qos=mqtt5.QoS.AT_LEAST_ONCE))
    code = int(sent.result(PATIENCE_S).puback.reason_code)
    client.stop()
    assert stopped.wait(PATIENCE_S)
    return code


@pytest.mark.parametrize("secure", [False, True])
async def test_paho_and_awscrt_over_websocket(certificates: Certificates, *, secure: bool) -> None:
    tls = context(certificates, own=False) if secure else None
    async with Standin() as standin:
        await standin.start_web(tls=certificates.server if secure else None)
        assert await asyncio.to_thread(over_paho, standin.web_port, tls) == bytes(100_000)
        pytest.importorskip("awscrt", reason="awscrt has no wheel here")
        code = await asyncio.to_thread(over_awscrt, standin.web_port, str(certificates.server.ca), secure=secure)
        assert code == 16
        assert [(one.topic, one.client_id) for one in standin.record] == [("echo", "paho"), ("crt", "crt")]


async def test_alpn_says_what_is_spoken(certificates: Certificates) -> None:
    async with Standin(quotas="none", policies=True) as standin:
        await standin.start_web(tls=certificates.server)
        register(standin, certificates, ALLOW_ALL)
        for alpn in ("x-amzn-mqtt-ca", "mqtt", ""):
            client = await RawClient.open(standin.web_port, tls=context(certificates, alpn=alpn))
            client.send(Connect("device"))
            assert (await client.expect(Connack)).code == 0
            await client.close()
        bare = await RawClient.open(standin.web_port, tls=context(certificates, own=False, alpn="x-amzn-mqtt-ca"))
        bare.send(Connect("bare"))
        await bare.closed()
        assert bare.bytes_in == 0
        one = await Socket.open(standin.web_port, tls=context(certificates, own=False, alpn="http/1.1"))
        one.send(Connect("signed"))
        answer = await one.packet()
        assert isinstance(answer, Connack)
        assert answer.code == 0
        one.writer.close()


@pytest.mark.parametrize(
    ("query", "headers", "name"),
    [
        ({}, {}, ""),
        ({"X-Amz-Credential": "AKIA/20261122/eu-west-1/iotdevicegateway/aws4_request"}, {}, "AKIA"),
        ({}, {"authorization": "AWS4-HMAC-SHA256 Credential=ASIA/x, SignedHeaders=host, Signature=0"}, "ASIA"),
        ({}, {"authorization": "Basic Credential=ASIA/x"}, ""),
        ({"x-amz-customauthorizer-name": "mine"}, {}, "mine"),
        ({}, {"x-amz-customauthorizer-name": "mine"}, "mine"),
    ],
)
def test_whose_credentials_a_request_names(query: dict[str, str], headers: dict[str, str], name: str) -> None:
    assert credentials_in(Request("GET", "/mqtt", query, headers, b"", Caller())) == name
