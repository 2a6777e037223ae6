"""paho's client, brought down to one connection to a local broker and driven by the event loop.

Imported when the `mqtt` trigger connects.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_runtime.errors import LinkError
from edge_runtime.paho_loop import PahoLoop, no_delay
from edge_runtime.pure.permissions import OURS
from edge_runtime.threads import in_thread
from edge_runtime.triggers._mqtt_options import Address

_A = TypeVar("_A")

RECEIVE_MAXIMUM = 100
"""Messages that the broker may send before the first of them is acknowledged (MQTT 5)."""
_DIAL_S = 10.0
_ANSWER_S = 10.0
_FAILURE = 0x80
_WRONG_VERSION = 0x84


class WrongVersionError(LinkError):
    """The broker does not speak MQTT 5."""


@dataclass(slots=True)
class Message:
    """What a broker sent."""

    topic: str
    payload: bytes
    headers: dict[str, str]
    qos: int
    ack: Callable[[], None]
    """Tells the broker that the message is safe. Once the connection is gone it does nothing: the broker repeats."""


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho forgets to."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of ssl
        try:
            super().do_handshake(block)
        except Exception:
            self.close()
            raise


class Connection:
    """One connection, from `open` to `lost`. Everything happens on the loop; `received` is called for each message."""

    def __init__(self, address: Address, received: Callable[[Message], None], *, v5: bool) -> None:
        self._address, self._received, self._v5 = address, received, v5
        self._loop = asyncio.get_running_loop()
        self._where = f"the broker {address.host}:{address.port}"
        self._up: asyncio.Future[bool] = self._loop.create_future()
        self._granted: asyncio.Future[list[int]] = self._loop.create_future()
        self.lost: asyncio.Future[LinkError] = self._loop.create_future()
        """Resolves with the reason when the connection has gone."""
        self._timer: asyncio.TimerHandle | None = None
        client = self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=address.client_id,
            clean_session=None if v5 else False,
            protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = _DIAL_S
        if address.username:
            client.username_pw_set(address.username, address.password or None)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = lambda _client, _data, sock: no_delay(sock)
        self._socket = PahoLoop(client, broken=self._broken)

    async def open(self) -> bool:
        """Connect and return at the CONNACK, True when the broker kept the session.

        Raises: LinkError; WrongVersionError when the broker speaks another version of MQTT.
        """
        try:
            await in_thread(f"mqtt[{self._address.host}].dial", self._dial, lambda _: self.close())
        except (OSError, ValueError) as error:
            raise LinkError(f"{self._where} cannot be reached: {error}", hint="check host, port and TLS") from error
        if not self._socket.attach():
            raise LinkError(f"{self._where} closed the connection at once")
        return await self._answer(self._up, "the CONNECT")

    async def subscribe(self, filters: Sequence[str]) -> list[tuple[str, int]]:
        """Subscribe with QoS 1 and return the filters that the broker refused, with its reason codes.

        Raises: LinkError when there is no answer.
        """
        if self._v5:
            # Retained messages are wanted once, not again at each reconnection.
            options = [(f, SubscribeOptions(qos=1, retainHandling=1)) for f in filters]
            self._client.subscribe(options)
        else:
            self._client.subscribe([(f, 1) for f in filters])
        self._socket.wrote()
        codes = await self._answer(self._granted, "the SUBSCRIBE")
        if len(codes) != len(filters):
            raise LinkError(f"{self._where} answered {len(codes)} of {len(filters)} subscriptions")
        return [(f, code) for f, code in zip(filters, codes, strict=True) if code >= _FAILURE]

    def pause(self) -> None:
        """Read no more for now: TCP makes the broker wait."""
        self._socket.pause()

    def resume(self) -> None:
        """Read again."""
        self._socket.resume()

    def close(self) -> None:
        """Disconnect; the broker keeps the session. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
        self._socket.hang_up()
        self._end(LinkError(f"the connection to {self._where} was closed here"))

    async def _answer(self, wanted: asyncio.Future[_A], what: str) -> _A:
        try:
            async with asyncio.timeout(_ANSWER_S):
                either: list[asyncio.Future[Any]] = [wanted, self.lost]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise LinkError(f"{self._where} did not answer {what} within {_ANSWER_S:g} s") from None
        if wanted.done():
            return wanted.result()
        raise self.lost.result()

    def _dial(self) -> None:
        address, client = self._address, self._client
        if address.tls:
            context = ssl.create_default_context(cafile=str(Path(address.ca).expanduser()) if address.ca else None)
            context.sslsocket_class = _TidySocket
            if address.certificate:
                context.load_cert_chain(Path(address.certificate).expanduser(), Path(address.key).expanduser())
            client.tls_set_context(context)
        if self._v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's, untyped
            properties.SessionExpiryInterval = address.session_expiry_s
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            client.connect(address.host, address.port, address.keep_alive_s, clean_start=False, properties=properties)
        else:
            client.connect(address.host, address.port, address.keep_alive_s)

    def _broken(self, error: Exception) -> None:
        self._end(LinkError(f"{self._where} sent what is not MQTT: {str(error) or type(error).__name__}"))

    def _keep_alive(self) -> None:
        # paho pings, or gives the connection up, when it is due; twice in a keep-alive is often enough to look.
        self._client.loop_misc()
        self._socket.wrote()
        if self._socket.attached:
            self._timer = self._loop.call_later(self._address.keep_alive_s / 2, self._keep_alive)

    def _end(self, error: LinkError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)

    def _on_connect(
        self, _client: mqtt.Client, _data: object, flags: mqtt.ConnectFlags, code: ReasonCode, _: Properties | None
    ) -> None:
        if not code.is_failure:
            if not self._up.done():
                self._up.set_result(flags.session_present)
            self._keep_alive()
        elif code.value == _WRONG_VERSION:
            self._end(WrongVersionError(f"{self._where} does not speak this version of MQTT"))
        else:
            self._end(LinkError(f"{self._where} refused the connection: {code}", hint="check username and password"))

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, _flags: mqtt.DisconnectFlags, code: ReasonCode, _: Properties | None
    ) -> None:
        self._end(LinkError(f"the connection to {self._where} has gone: {code}"))

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, _mid: int, codes: list[ReasonCode], _: Properties | None
    ) -> None:
        if not self._granted.done():
            self._granted.set_result([code.value for code in codes])

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        mid, qos = message.mid, message.qos
        # Properties of ours come from us alone: nobody outside says when an event is due or how deep a chain is.
        given = dict(getattr(message.properties, "UserProperty", ()))
        headers = {key: value for key, value in given.items() if not key.startswith(OURS)}
        self._received(
            Message(message.topic, bytes(message.payload), headers, qos, lambda: self._acknowledge(mid, qos))
        )

    def _acknowledge(self, mid: int, qos: int) -> None:
        if qos and self._socket.attached:
            self._client.ack(mid, qos)
            self._socket.wrote()
