"""Where a connection comes in: MQTT, or HTTP that may turn into MQTT over WebSocket, on one port as AWS has it on 443.

TLS says by ALPN what is spoken: `x-amzn-mqtt-ca` (or `mqtt`) is MQTT with a client certificate, `http/1.1` is HTTP.
Without ALPN the first byte tells: that of a CONNECT is no letter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from edge_runtime.clock import Clock
from edge_runtime.standin import websocket
from edge_runtime.standin.web import Request, Response, Site, WebConnection, failure
from edge_runtime.standin.websocket import Close, Opcode, WebSocketError
from edge_runtime.standin.wire import Brake, Wire, caller_behind

MQTT_ALPN: Final = ("x-amzn-mqtt-ca", "mqtt")
HTTP_ALPN: Final = "http/1.1"
PATH: Final = "/mqtt"
_log = logging.getLogger(__name__)
QUIET_S: Final = 20.0
"""A connection that has sent nothing by then is closed."""
_CONNECT: Final = 0x10

MakeWire = Callable[[str], Wire]
"""Makes the MQTT end of a connection; the text is the name of the IAM credentials that came with it, or empty."""


class Door(asyncio.Protocol):
    """A connection that has not said what it speaks. It is in `guests` until it has, and while it speaks HTTP.

    Without `make_wire` it is HTTP whatever it says. MQTT over TLS needs a client certificate.
    """

    def __init__(
        self,
        make_wire: MakeWire | None,
        site: Site,
        brake: Brake,
        *,
        clock: Clock,
        guests: set[asyncio.Transport],
    ) -> None:
        self._make_wire = make_wire
        self._site = site
        self._brake = brake
        self._clock = clock
        self._guests = guests
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self._waiting: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type; create_server makes no other
        self._transport = transport
        self._guests.add(transport)
        self._watch = asyncio.get_running_loop().create_task(self._quiet(), name="standin.door.quiet")

    def data_received(self, data: bytes) -> None:
        """Look at the first bytes, when nothing is frozen."""
        self._held += data
        if not self._brake.frozen:
            self._open()
        elif self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_task(self._thaw(), name="standin.door.frozen")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget it."""
        if self._transport is not None:
            self._guests.discard(self._transport)
        self._transport = None
        self._rest()

    def _rest(self) -> None:
        for task in (self._waiting, self._watch):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    async def _quiet(self) -> None:
        await self._clock.sleep(QUIET_S)
        if self._transport is not None:
            self._transport.abort()

    async def _thaw(self) -> None:
        await self._brake.thawed()
        self._open()

    def _open(self) -> None:
        transport = self._transport
        if transport is None:
            return
        self._transport = None
        self._rest()
        caller = caller_behind(transport)
        tls = transport.get_extra_info("ssl_object")
        chosen = None if tls is None else tls.selected_alpn_protocol()
        speaks_mqtt = chosen in MQTT_ALPN or (chosen is None and self._held[0] == _CONNECT)
        if self._make_wire is None or not speaks_mqtt:
            _hand_over(transport, WebConnection(self._site, caller, self._clock, self._guests), bytes(self._held))
            return
        self._guests.discard(transport)
        if tls is not None and not caller.certificate_id:
            _log.info("MQTT without a client certificate from %s: closed", caller.ip)
            transport.abort()
            return
        _hand_over(transport, self._make_wire(""), bytes(self._held))


def _hand_over(transport: asyncio.Transport, protocol: asyncio.Protocol, data: bytes) -> None:
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if data:
        protocol.data_received(data)


def upgrade(request: Request, make_wire: MakeWire, *, most: int) -> Response:
    """Answer a request for `/mqtt`: 101 and a WebSocket whose frames may have `most` bytes, or why not.

    The signature of SigV4 and the answer of a custom authorizer are not looked at, only that they are there.
    """
    try:
        headers = websocket.accept(request.headers)
    except WebSocketError as error:
        return failure(HTTPStatus.BAD_REQUEST, "BadRequestException", str(error))

    def take(transport: asyncio.Transport, data: bytes) -> None:
        _hand_over(transport, WebSocketLine(make_wire(credentials_in(request)), most), data)

    return Response(HTTPStatus.SWITCHING_PROTOCOLS, headers=headers, takeover=take)


def credentials_in(request: Request) -> str:
    """Return whose SigV4 credentials or which custom authorizer a request names; an empty text: neither."""
    authorization = request.headers.get("authorization", "")
    claimed = request.query.get("X-Amz-Credential", "")
    if authorization.startswith("AWS4-HMAC-SHA256 "):
        claimed = authorization.partition("Credential=")[2]
    authorizer = "x-amz-customauthorizer-name"
    return claimed.partition("/")[0] or request.query.get(authorizer, "") or request.headers.get(authorizer, "")


class WebSocketLine(asyncio.Protocol):
    """The end of a WebSocket: between the socket and a `Wire`, which takes it for a socket."""

    def __init__(self, wire: Wire, most: int) -> None:
        self._wire = wire
        self._frames = websocket.Frames(most=most)
        self._transport: asyncio.Transport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type; create_server makes no other
        self._transport = transport
        self._wire.connection_made(_Framed(transport, self.say_goodbye))

    def data_received(self, data: bytes) -> None:
        """Unpack frames; answer a ping, and a Close with a Close."""
        try:
            for event in self._frames.feed(data):
                self._take(event)
        except WebSocketError as error:
            self._wire.peer.hung_up(str(error))
            self.say_goodbye(error.code)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._transport = None
        self._wire.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._wire.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._wire.resume_writing()

    def say_goodbye(self, code: Close = Close.NORMAL) -> None:
        """Send a Close frame and close the socket. Safe to call twice."""
        if self._transport is not None and not self._ended:
            self._ended = True
            self._transport.write(websocket.close_frame(code))
            self._transport.close()

    def _take(self, event: websocket.Event) -> None:
        if event.kind is Opcode.BINARY:
            self._wire.data_received(event.data)
        elif event.kind is Opcode.PING and self._transport is not None:
            self._transport.write(websocket.frame(Opcode.PONG, event.data))
        elif event.kind is Opcode.CLOSE:
            self._wire.peer.hung_up("")
            self.say_goodbye()


class _Framed(asyncio.Transport):
    """A socket that puts what is written into frames."""

    def __init__(self, inner: asyncio.Transport, goodbye: Callable[[], None]) -> None:
        super().__init__()
        self._inner = inner
        self._goodbye = goodbye

    def get_extra_info(self, name: str, default: object = None) -> Any:  # noqa: ANN401 - asyncio's signature
        return self._inner.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._inner.write(websocket.frame(Opcode.BINARY, bytes(data)))

    def close(self) -> None:
        self._goodbye()

    def abort(self) -> None:
        self._inner.abort()

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def pause_reading(self) -> None:
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._inner.resume_reading()
