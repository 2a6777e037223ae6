"""MQTT clients for tests: one made of the stand-in's own codec, and paho, which knows nothing of it.

The raw client shows every packet and can break every rule; paho shows that others understand us.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import TypeVar

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode

from edge_runtime.standin.codec import Decoder, encode
from edge_runtime.standin.packets import (
    MQTT_5,
    Ack,
    Connack,
    Connect,
    Disconnect,
    Kind,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from edge_runtime.standin.properties import NO_PROPERTIES, Properties

HOST = "127.0.0.1"
PATIENCE_S = 20.0
"""A packet that does not come in this time never comes. Nothing waits that long when all is well."""

P = TypeVar("P", bound=Packet)


class RawClient(asyncio.Protocol):
    """One connection. Packets come out of `next` in the order they came in; nothing is answered by itself."""

    def __init__(self, version: int = MQTT_5) -> None:
        self.version = version
        self.connack = Connack()
        self.disconnect: Disconnect | None = None
        """The DISCONNECT that came last."""
        self.bytes_in = 0
        self._decoder = Decoder(version=version)
        self._packets: asyncio.Queue[Packet | None] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._packet_id = 0

    @classmethod
    async def open(cls, port: int, version: int = MQTT_5, tls: ssl.SSLContext | None = None) -> RawClient:
        """Connect without saying anything."""
        loop = asyncio.get_running_loop()
        name = "localhost" if tls is not None else None
        _, client = await loop.create_connection(lambda: cls(version), HOST, port, ssl=tls, server_hostname=name)
        return client

    @classmethod
    async def connect(
        cls,
        port: int,
        client_id: str = "raw",
        version: int = MQTT_5,
        *,
        clean: bool = True,
        keep_alive: int = 60,
        will: Will | None = None,
        properties: Properties = NO_PROPERTIES,
    ) -> RawClient:
        """Connect and return after the CONNACK, whatever it says."""
        client = await cls.open(port, version)
        client.send(Connect(client_id, version, clean, keep_alive, will=will, properties=properties))
        client.connack = await client.expect(Connack)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Decode what came."""
        self.bytes_in += len(data)
        for packet in self._decoder.feed(data):
            self._packets.put_nowait(packet)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Take the end."""
        self._packets.put_nowait(None)
        self._closed.set_result(None)

    def send(self, *packets: Packet) -> None:
        """Send packets in one write."""
        self.send_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        assert self._transport is not None
        self._transport.write(data)

    async def next(self) -> Packet:
        """Return the next packet. Raises: ConnectionError when the connection ended instead."""
        async with asyncio.timeout(PATIENCE_S):
            packet = await self._packets.get()
        if packet is None:
            self._packets.put_nowait(None)
            raise ConnectionError("the connection ended")
        if isinstance(packet, Disconnect):
            self.disconnect = packet
        return packet

    async def expect(self, kind: type[P]) -> P:
        """Return the next packet, which must be of that kind."""
        packet = await self.next()
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet}"
        return packet

    async def rest(self) -> list[Packet]:
        """Return all that was on its way: what comes before the answer to a ping."""
        self.send(Pingreq())
        packets: list[Packet] = []
        while not isinstance(packet := await self.next(), Pingresp):
            packets.append(packet)
        return packets

    async def closed(self) -> None:
        """Return when the other side has closed; what it said before is kept in `disconnect`."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.next()
        async with asyncio.timeout(PATIENCE_S):
            await self._closed

    def packet_id(self) -> int:
        """Return a packet identifier that was not used."""
        self._packet_id += 1
        return self._packet_id

    async def publish(
        self, topic: str, payload: bytes = b"", *, retain: bool = False, properties: Properties = NO_PROPERTIES
    ) -> Ack:
        """Publish with QoS 1 and return the PUBACK, which must be the next packet."""
        packet_id = self.packet_id()
        self.send(Publish(topic, payload, 1, retain, packet_id=packet_id, properties=properties))
        ack = await self.expect(Ack)
        assert (ack.kind, ack.packet_id) == (Kind.PUBACK, packet_id)
        return ack

    async def subscribe(self, *filters: str | Subscription) -> tuple[int, ...]:
        """Subscribe with QoS 1 where nothing else is said, and return the codes; the SUBACK must come next."""
        wanted = tuple(Subscription(one, 1) if isinstance(one, str) else one for one in filters)
        self.send(Subscribe(self.packet_id(), wanted))
        return (await self.expect(Suback)).codes

    async def unsubscribe(self, *filters: str) -> tuple[int, ...]:
        """Unsubscribe and return the codes."""
        self.send(Unsubscribe(self.packet_id(), filters))
        return (await self.expect(Unsuback)).codes

    def puback(self, packet: Publish) -> None:
        """Acknowledge a message."""
        self.send(Ack(Kind.PUBACK, packet.packet_id))

    async def close(self, *, code: int = 0, properties: Properties = NO_PROPERTIES) -> None:
        """Say DISCONNECT and return when the connection is closed."""
        self.send(Disconnect(code, properties))
        await self.closed()

    async def abort(self) -> None:
        """Cut the connection without a word."""
        assert self._transport is not None
        self._transport.abort()
        await self.closed()


class Paho:
    """A paho client whose callbacks come to the event loop."""

    def __init__(self, client_id: str, version: int, *, clean: bool = True) -> None:
        self.messages: asyncio.Queue[MQTTMessage] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[tuple[str, int], asyncio.Future[object]] = {}
        new = version == MQTT_5
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if new else clean,
            protocol=MQTTv5 if new else MQTTv311,
        )
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_publish = self._on_publish
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message

    def _future(self, what: str, number: int = 0) -> asyncio.Future[object]:
        return self._waiters.setdefault((what, number), self._loop.create_future())

    def _done(self, what: str, number: int, value: object) -> None:
        def set_result() -> None:
            future = self._future(what, number)
            if not future.done():
                future.set_result(value)

        self._loop.call_soon_threadsafe(set_result)

    def _on_connect(
        self, client: Client, data: object, flags: ConnectFlags, reason: ReasonCode, properties: object
    ) -> None:
        del client, data, flags, properties
        self._done("connect", 0, reason.value)

    def _on_disconnect(
        self, client: Client, data: object, flags: DisconnectFlags, reason: ReasonCode, properties: object
    ) -> None:
        del client, data, flags, properties
        self._done("disconnect", 0, reason.value)

    def _on_publish(self, client: Client, data: object, number: int, reason: ReasonCode, properties: object) -> None:
        del client, data, properties
        self._done("publish", number, reason.value)

    def _on_subscribe(
        self, client: Client, data: object, number: int, reasons: list[ReasonCode], properties: object
    ) -> None:
        del client, data, properties
        self._done("subscribe", number, [reason.value for reason in reasons])

    def _on_message(self, client: Client, data: object, message: MQTTMessage) -> None:
        del client, data
        self._loop.call_soon_threadsafe(self.messages.put_nowait, message)

    async def _wait(self, what: str, number: int = 0) -> object:
        async with asyncio.timeout(PATIENCE_S):
            return await self._future(what, number)

    async def publish(self, topic: str, payload: bytes, qos: int, user: list[tuple[str, str]] | None = None) -> int:
        """Publish and return the reason code once paho is content."""
        properties = None
        if user is not None:
            properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho left it untyped
            properties.UserProperty = user
        sent = self.client.publish(topic, payload, qos, properties=properties)
        code = await self._wait("publish", sent.mid)
        assert isinstance(code, int)
        return code

    async def subscribe(self, topic_filter: str, qos: int) -> list[int]:
        """Subscribe and return the codes."""
        _, number = self.client.subscribe(topic_filter, qos)
        assert number is not None
        codes = await self._wait("subscribe", number)
        assert isinstance(codes, list)
        return codes

    async def message(self) -> MQTTMessage:
        """Return the next message."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.messages.get()

    async def connected(self) -> None:
        """Return once the broker has accepted the connection."""
        assert await self._wait("connect") == 0

    async def disconnected(self) -> None:
        """Return once the connection is gone."""
        await self._wait("disconnect")


@contextlib.asynccontextmanager
async def paho(
    port: int, client_id: str, version: int = MQTT_5, *, clean: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Paho]:
    """Connect a paho client, and end it afterwards. `clean` is for MQTT 3.1.1."""
    one = Paho(client_id, version, clean=clean)
    if tls is not None:
        one.client.tls_set_context(tls)
    # In a thread: it does the TLS handshake, with a server that may be in this event loop.
    await asyncio.to_thread(one.client.connect, "localhost" if tls is not None else HOST, port)
    one.client.loop_start()
    try:
        await one.connected()
        yield one
    finally:
        one.client.disconnect()
        await asyncio.to_thread(one.client.loop_stop)
