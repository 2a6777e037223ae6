"""Devices on a network: paho clients with TLS and the credentials that `edge broker add-device` has printed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge_runtime.triggers._mqtt import _TidySocket

PATIENCE_S = 20.0


class Came(NamedTuple):
    """A message that a device got."""

    topic: str
    payload: bytes
    retained: bool


class Gadget:
    """One device. What happens to it is told by its futures and its queue."""

    def __init__(self, found: Mapping[str, Any], **changed: Any) -> None:  # noqa: ANN401 - JSON
        """`found` are its credentials; `changed` replaces some of them, or the `address`."""
        self._found = {"address": "127.0.0.1", **found, **changed}
        self._loop = asyncio.get_running_loop()
        self.connected: asyncio.Future[str] = self._loop.create_future()
        """Resolves with the broker's answer to the CONNECT: `Success`, or why not."""
        self.cut: asyncio.Future[None] = self._loop.create_future()
        """Resolves when the broker has ended the connection."""
        self.inbox: asyncio.Queue[Came] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[str]] = {}
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="whatever", protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        if self._found.get("name"):
            client.username_pw_set(self._found["name"], self._found["password"])
        if self._found["port"] != self._found.get("plain_port"):
            context = ssl.create_default_context(cadata=self._found["ca_pem"])
            context.sslsocket_class = _TidySocket  # paho forgets one whose handshake fails
            client.tls_set_context(context)
        client.on_connect = lambda _c, _d, _f, code, _p: self._tell(self.connected, str(code))
        client.on_disconnect = lambda *_: self._tell(self.cut, None)
        client.on_message = lambda _c, _d, m: self._call(
            self.inbox.put_nowait, Came(m.topic, bytes(m.payload), m.retain)
        )
        client.on_publish = lambda _c, _d, mid, code, _p: self._call(self._answered, mid, str(code))
        client.on_subscribe = lambda _c, _d, mid, codes, _p: self._call(self._answered, mid, _words(codes))

    async def connect(self) -> str:
        """Connect and return the broker's answer."""
        await asyncio.to_thread(self._client.connect, self._found["address"], self._found["port"])
        self._client.loop_start()
        async with asyncio.timeout(PATIENCE_S):
            return await self.connected

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> str:
        """Publish with QoS 1 and return what the broker says of it."""
        return await self._answer(self._client.publish(topic, payload, 1, retain=retain).mid)

    async def subscribe(self, topic_filter: str) -> str:
        """Subscribe with QoS 1 and return what the broker says of it."""
        _, mid = self._client.subscribe(topic_filter, 1)
        assert mid is not None
        return await self._answer(mid)

    async def got(self) -> Came:
        """Return the next message."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.inbox.get()

    async def was_cut(self) -> None:
        """Return when the broker has ended the connection."""
        async with asyncio.timeout(PATIENCE_S):
            await self.cut

    def close(self) -> None:
        """Disconnect."""
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()
        self._client.loop_stop()

    async def _answer(self, mid: int) -> str:
        async with asyncio.timeout(PATIENCE_S):
            return await self._answers.setdefault(mid, self._loop.create_future())

    def _answered(self, mid: int, text: str) -> None:
        answer = self._answers.setdefault(mid, self._loop.create_future())
        if not answer.done():
            answer.set_result(text)

    def _tell(self, future: asyncio.Future[Any], value: object) -> None:
        self._call(lambda: None if future.done() else future.set_result(value))

    def _call(self, call: Any, *args: object) -> None:  # noqa: ANN401 - any callable
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *args)


def _words(codes: list[ReasonCode]) -> str:
    return ", ".join(str(code) for code in codes)


@contextlib.asynccontextmanager
async def gadget(found: Mapping[str, Any], **changed: Any) -> AsyncIterator[Gadget]:  # noqa: ANN401 - JSON
    """Connect a device for the length of a block."""
    one = Gadget(found, **changed)
    try:
        assert await one.connect() == "Success"
        yield one
    finally:
        one.close()
