"""paho's client, brought down to one connection and driven by the event loop. Imported when `paho.py` connects."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.links import _codes, _words
from edge_runtime.links._codes import FILTERS_PER_SUBSCRIBE
from edge_runtime.links._keep_alive import SILENCE_S, KeepAlive, bound_silence
from edge_runtime.links._line import MOST_UNSTORED, Line
from edge_runtime.links._settings import Settings
from edge_runtime.links._tls import explain, make_context
from edge_runtime.paho_loop import PahoLoop, no_delay
from edge_runtime.threads import in_thread

_MOST_RECEIVE = 65535
"""What a broker that names no Receive Maximum takes (MQTT 5.0 section 3.2.2.3.3)."""
_HEADER_BYTES = 16
"""More than what a PUBLISH has besides topic, properties and payload."""
_USER_PROPERTY = 0x26

_Publish = tuple[asyncio.Future[None], str, bytes, Mapping[str, str]]


class UserProperties(Properties):
    """The properties of a PUBLISH, packed here: paho's own class takes longer than all the rest of a publish."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        parts = []
        for pair in properties.items():
            parts.append(bytes([_USER_PROPERTY]))
            for text in pair:
                raw = text.encode()
                parts += (struct.pack("!H", len(raw)), raw)
        body = b"".join(parts)
        # Properties.__setattr__ admits only names of MQTT properties.
        object.__setattr__(self, "packed", _variable_length(len(body)) + body)

    packed: bytes

    def pack(self) -> bytes:
        """Return what goes on the wire."""
        return self.packed


def _variable_length(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


class Connection:
    """One connection of paho. paho's callbacks hold a lock of its own: they post to the line what would hang up."""

    def __init__(self, settings: Settings, line: Line, identity: Identity | None, *, v5: bool) -> None:
        self._settings, self._line, self._identity, self._v5 = settings, line, identity, v5
        self._loop = asyncio.get_running_loop()
        self._up = line.expect()
        self._resumed = False
        self._publishes: dict[int, tuple[asyncio.Future[None], str]] = {}
        self._subscribes: dict[int, tuple[asyncio.Future[None], Sequence[str]]] = {}
        self._held: deque[_Publish] = deque()
        self._most = _MOST_RECEIVE
        self._largest = 0
        self._dialing = False
        self._alive = KeepAlive(self._loop, settings.keep_alive_s, self._ping, self._dead)
        client = self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if v5 else False,
            protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = min(settings.connect_timeout_s, SILENCE_S)
        client.max_inflight_messages = 0  # paho does not heed the broker's Receive Maximum: `send` does
        if settings.username:
            client.username_pw_set(settings.username, settings.password or None)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket
        self._socket = PahoLoop(client, broken=self._broken, after_read=self._read)

    async def open(self) -> bool:
        """Return at the CONNACK, True when the session was resumed. Raises: LinkError."""
        self._dialing = True
        try:
            await in_thread("paho.connect", self._dial, undo=lambda _: self._dialed())
        except LinkError:
            raise
        except (OSError, ValueError) as error:
            raise explain(self._settings.where, error) from error
        self._dialed()
        await self._up
        return self._resumed

    def _dial(self) -> None:
        settings = self._settings
        if settings.use_tls:
            self._client.tls_set_context(make_context(settings, self._identity))
        if self._v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's, untyped
            properties.SessionExpiryInterval = settings.session_expiry_s
            properties.ReceiveMaximum = MOST_UNSTORED
            self._client.connect(
                settings.endpoint, settings.use_port, settings.keep_alive_s, clean_start=False, properties=properties
            )
        else:
            self._client.connect(settings.endpoint, settings.use_port, settings.keep_alive_s)

    def _on_socket(self, _client: mqtt.Client, _data: object, sock: mqtt.SocketLike) -> None:
        # The dialing thread, before CONNECT is sent. An attempt that was given up must not take the session over.
        if self._line.error is not None:
            sock.close()
            raise ConnectionAbortedError(str(self._line.error))
        no_delay(sock)
        bound_silence(sock)

    def _dialed(self) -> None:
        self._dialing = False
        if self._line.error is not None or not self._socket.attach():
            self.hang_up()
            return
        self._wrote()

    def _read(self) -> None:
        self._alive.heard()
        while self._held and len(self._publishes) < self._most and self._line.error is None:
            self._send(*self._held.popleft())

    def _broken(self, error: Exception) -> None:
        text = f"{self._settings.where} sent what is not MQTT: {error or type(error).__name__}"
        lost = LinkError(text, answered=True)
        lost.__cause__ = error
        self._line.end(lost)

    def _wrote(self) -> None:
        self._alive.spoke()
        self._socket.wrote()

    def _ping(self) -> None:
        self._client.loop_misc()
        self._wrote()

    def _dead(self) -> None:
        self._line.end(_words.stalled(self._settings.where))

    def _on_connect(
        self, _client: mqtt.Client, _data: object, flags: mqtt.ConnectFlags, code: ReasonCode, said: Properties | None
    ) -> None:
        if code.is_failure:
            error = _codes.connect_error(self._settings.where, code.value, _reason(said))
            self._line.post(self._line.end, error)
            return
        self._resumed = flags.session_present
        self._most = getattr(said, "ReceiveMaximum", _MOST_RECEIVE)
        self._largest = getattr(said, "MaximumPacketSize", 0)
        self._alive.start(getattr(said, "ServerKeepAlive", self._settings.keep_alive_s))
        self._line.settle(self._up, None)

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _data: object,
        flags: mqtt.DisconnectFlags,
        code: ReasonCode,
        said: Properties | None,
    ) -> None:
        where = self._settings.where
        if flags.is_disconnect_packet_from_server:
            error = _codes.end_error(where, code.value, _reason(said))
        elif code.value == _codes.FAILURE:  # paho's word for a connection that is simply gone
            error = _words.closed(where, begun=self._up.done())
        else:
            error = LinkError(f"the connection to {where} broke: {_codes.describe(code.value)}")
        self._line.post(self._line.end, error)

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe with QoS 1 and check every reason code. Raises: RefusedError, or LinkError with the line."""
        for first in range(0, len(filters), FILTERS_PER_SUBSCRIBE):
            part = filters[first : first + FILTERS_PER_SUBSCRIBE]
            code, mid = self._client.subscribe([(f, 1) for f in part])
            granted = self._line.expect()
            if code == mqtt.MQTT_ERR_SUCCESS and mid is not None:
                self._subscribes[mid] = granted, part
                self._wrote()
            else:
                self._line.settle(granted, LinkError(f"could not subscribe: {mqtt.error_string(code)}"))
            await granted

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, mid: int, codes: list[ReasonCode], said: Properties | None
    ) -> None:
        granted, part = self._subscribes.pop(mid)
        self._line.settle(granted, _codes.suback_error(part, [code.value for code in codes], _reason(said)))

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        properties = dict(getattr(message.properties, "UserProperty", ()))
        ack = partial(self._acknowledge, message.mid) if message.qos else None
        self._line.deliver(message.topic, bytes(message.payload), properties, ack)

    def _acknowledge(self, mid: int) -> None:
        self._client.ack(mid, 1)
        self._wrote()

    def send(self, future: asyncio.Future[None], topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Publish with QoS 1; settles the future on the line at the PUBACK, or at once when that cannot come."""
        if len(self._publishes) >= self._most:
            self._held.append((future, topic, payload, properties))
        else:
            self._send(future, topic, payload, properties)

    def _send(self, future: asyncio.Future[None], topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        if (bad := _codes.topic_error(topic)) is not None:
            self._line.settle(future, bad)
            return
        try:
            packed = UserProperties(properties) if properties and self._v5 else None
            size = _HEADER_BYTES + len(topic.encode()) + len(payload) + (len(packed.packed) if packed else 0)
            if 0 < self._largest < size:
                self._line.settle(future, _codes.too_large(topic, size, self._largest))
                return
            info = self._client.publish(topic, payload, 1, properties=packed)
        except (ValueError, struct.error) as error:  # more than 256 MB, or a property of more than 64 KB
            refused = RefusedError(f"the message on {topic!r} cannot be sent: {error}", code=_codes.TOO_LARGE)
            self._line.settle(future, refused)
            return
        if info.rc == mqtt.MQTT_ERR_SUCCESS:
            self._publishes[info.mid] = future, topic
        else:
            self._line.settle(future, LinkError(f"could not publish: {mqtt.error_string(info.rc)}"))
        self._wrote()

    def _on_publish(
        self, _client: mqtt.Client, _data: object, mid: int, code: ReasonCode, said: Properties | None
    ) -> None:
        future, topic = self._publishes.pop(mid)
        self._line.settle(future, _codes.puback_error(topic, code.value, _reason(said)) if code.value else None)

    def hang_up(self) -> None:
        """Disconnect without waiting: the line is over. Safe to call twice."""
        self._alive.stop()
        if self._dialing:
            return  # the socket belongs to the dialing thread; `_dialed` hangs up
        self._client.on_disconnect = None
        self._socket.hang_up()

    async def free(self) -> None:
        """Return: `hang_up` has closed everything. A dialing thread ends by itself, and sends nothing."""


def _reason(said: Properties | None) -> str:
    return str(getattr(said, "ReasonString", ""))
