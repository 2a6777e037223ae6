"""Who takes what the host publishes, and notes it: the stand-in, or a subscriber at a real mosquitto."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from edge_runtime.standin.server import Standin
from tests.brokers import Mosquitto
from tests.chaos import Chaos
from tests.system.oracle import Delivery


class Taker(Protocol):
    """The far end of the uplink."""

    @property
    def port(self) -> int:
        """Where the host connects to."""

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """What was taken so far, in order, repeats included."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; it is asked when something was taken."""


class Cloud:
    """The stand-in: what it took is noted before it is acknowledged."""

    def __init__(self, standin: Standin) -> None:
        self.standin = standin
        self._deliveries: list[Delivery] = []

    @property
    def port(self) -> int:
        """Where the host connects to."""
        return self.standin.port

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """What was taken so far."""
        for published in self.standin.record[len(self._deliveries) :]:
            self._deliveries.append(Delivery(published.topic, published.payload, dict(published.user)))
        return self._deliveries

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds."""
        await self.standin.until(condition)


class Behind:
    """Another taker, behind a network of its own."""

    def __init__(self, taker: Taker, net: Chaos) -> None:
        self._taker, self._net = taker, net

    @property
    def port(self) -> int:
        """Where the network takes connections."""
        return self._net.port

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """What was taken so far."""
        return self._taker.deliveries

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds."""
        await self._taker.until(condition)


class Subscriber:
    """A client of a mosquitto that notes what arrives. A mosquitto that is killed forgets it: `subscribe` again."""

    def __init__(self, broker: Mosquitto) -> None:
        self.broker = broker
        self.deliveries: list[Delivery] = []
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._client: Any = None
        self._markers: set[str] = set()

    @property
    def port(self) -> int:
        """Where the host connects to."""
        return self.broker.port

    async def subscribe(self) -> None:
        """Connect, and return when everything that is published from now on arrives."""
        from paho.mqtt import client as mqtt  # noqa: PLC0415 - only where there is a mosquitto
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion  # noqa: PLC0415 - same

        self.close()
        subscribed = self._loop.create_future()
        client: Any = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.on_connect = lambda *_: client.subscribe("#", qos=1)
        client.on_subscribe = lambda *_: self._loop.call_soon_threadsafe(_resolve, subscribed)
        client.on_message = lambda _client, _data, message: self._loop.call_soon_threadsafe(self._take, message)
        self._client = client
        client.connect(self.broker.host, self.broker.port)
        client.loop_start()
        async with asyncio.timeout(30):
            await subscribed

    async def mark(self, name: str) -> None:
        """Return when all that the broker has acknowledged to others before has arrived here."""
        self._client.publish(f"mark/{name}", b"", qos=1)
        async with asyncio.timeout(30):
            await self.until(lambda: f"mark/{name}" in self._markers)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _take(self, message: Any) -> None:  # noqa: ANN401 - paho's
        if message.topic.startswith("mark/"):
            self._markers.add(message.topic)
        else:
            user = dict(getattr(message.properties, "UserProperty", []))
            self.deliveries.append(Delivery(message.topic, bytes(message.payload), user))
        self._changed.set()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
