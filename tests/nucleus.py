"""A Greengrass nucleus as a component sees it: the IPC socket, and behind it a small AWS IoT Core.

async with start_nucleus(tmp_path) as nucleus:
    link = GreengrassLink(socket=nucleus.socket)

What it answers, and when it hangs up, follows recordings of nucleus lite 2.6.0.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.errors import LimitError
from edge_runtime.links._ipc import Flag, Type
from edge_runtime.pure.eventstream import Decoder, Frame, Header, encode, number, text
from edge_runtime.pure.topics import matches

COMPONENT = "com.example.EdgeRuntime"
TOKEN = "LEO/9TUvNA6Ejtqi"  # noqa: S105 - of a component that never was
_AWS = "aws.greengrass#"
_WINDOW = 10
_WINDOW_BYTES = 15_000
_MOST_DOWN = 5_000


class Published(NamedTuple):
    """A publish that reached the cloud."""

    topic: str
    payload: bytes
    qos: str
    properties: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):  # noqa: N818 - it becomes an error on the wire
    """What the nucleus answers instead of a response."""

    def __init__(self, shape: str, message: str = "") -> None:
        super().__init__(message)
        self.shape = shape


class Nucleus:
    """The server. `lite` is what differs between the two nuclei: limits, and whom it knows without a token."""

    def __init__(self, socket: Path, *, lite: bool = True) -> None:
        self.socket = socket
        self.lite = lite
        self.max_frame = 10_000 if lite else 16 * 1024 * 1024
        self.tokens = {TOKEN: COMPONENT}
        self.allow: Callable[[str, str], bool] = lambda _operation, _topic: True
        self.online = True
        """Off: publishes and subscriptions are refused, as without a network."""
        self.lossy = False
        """On: publishes are taken and never reach the cloud, as when the broker dies before its PUBACK."""
        self.silent = False
        """On: nothing is answered any more."""
        self.tap: Callable[[Frame], object] | None = None
        """When set, gets every frame, and nothing is answered."""
        self.copies = 1
        """How often the cloud sends each message down: QoS 1 allows more than once."""
        self.busy = 0
        """So many requests are refused with ServiceError before one is taken."""
        self.missing = ""
        """A topic that is answered with ResourceNotFoundError."""
        self.config: dict[str, Any] = {"limits": {"maxRows": 2000}}
        self.published: list[Published] = []
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        """Every request in its order, refused ones included."""
        self.hellos: list[Mapping[str, str]] = []
        self.on_published: Callable[[Published], None] = lambda _published: None
        """Called for each publish that reached the cloud: what a rule there would do."""
        self.peers: set[_Peer] = set()
        self.unacked: list[int] = []
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Peer(self), str(self.socket))

    def stop(self) -> None:
        """Listen no more, and cut every connection."""
        if self._server is not None:
            self._server.close()
            self.socket.unlink(missing_ok=True)
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Cut every connection."""
        for peer in list(self.peers):
            peer.transport.abort()

    def restart(self) -> str:
        """Begin anew, as its IPC daemon does: connections are cut and tokens void. Returns the new token."""
        token = f"token-{len(self.hellos)}"
        self.tokens = {token: COMPONENT}
        self.cut()
        return token

    def reconnect(self) -> None:
        """Have a new connection to the cloud: what was not acknowledged is forgotten."""
        self.unacked.clear()
        self.online, self.lossy = True, False

    def deliver(self, topic: str, payload: bytes, properties: Sequence[Mapping[str, str]] = ()) -> None:
        """Send a message down to every subscription that matches."""
        if self.lite and len(topic) + len(payload) + 10 > _MOST_DOWN:
            return  # it announced a maximum packet size: the broker drops the message without a word
        message: dict[str, object] = {"topicName": topic, "payload": base64.b64encode(payload).decode()}
        if properties and not self.lite:
            message["userProperties"] = properties
        body = {"message": message}
        for peer in list(self.peers):
            for stream, topic_filter in peer.subscriptions.items():
                if matches(topic_filter, topic):
                    peer.message(stream, "IoTCoreMessage", body)

    def configure(self, **config: Any) -> None:  # noqa: ANN401 - JSON
        """Change keys of the configuration, and tell everyone who wants to know."""
        self.config.update(config)
        for peer in list(self.peers):
            for stream in peer.followed:
                for key in config:
                    event = {"componentName": COMPONENT, "keyPath": [key]}
                    peer.message(stream, "ConfigurationUpdateEvents", {"configurationUpdateEvent": event})

    async def until(self, done: Callable[[], bool]) -> None:
        """Return as soon as `done()`, which is asked after all that happens here."""
        while not done():
            self._changed.clear()
            await self._changed.wait()

    def stir(self) -> None:
        """Have `until` look again."""
        self._changed.set()

    def handle(self, peer: _Peer, stream: int, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what was asked and return the response. Raises: Refusal."""
        self.requests.append((operation, request))
        self._changed.set()
        if self.busy:
            self.busy -= 1
            raise Refusal("ServiceError", "Failed to publish the message.")
        topic = request.get("topicName")
        if topic is not None and topic == self.missing:
            raise Refusal("ResourceNotFoundError", "Not found.")
        if topic is not None and not self.allow(operation, topic):
            raise Refusal("UnauthorizedError", "IPC Operation not authorized.")
        if operation == "PublishToIoTCore":
            self._publish(request)
            return {}
        if operation == "SubscribeToIoTCore":
            if not self.online:
                raise Refusal("ServiceError", "Failed to subscribe.")
            peer.subscriptions[stream] = request["topicName"]
            return {}
        if operation == "SubscribeToConfigurationUpdate":
            peer.followed.append(stream)
            return {}
        if operation == "GetConfiguration":
            return self._configuration(request.get("keyPath") or [])
        raise Refusal("ServiceError")

    def _publish(self, request: Mapping[str, Any]) -> None:
        payload = base64.b64decode(request.get("payload") or "")
        full = len(self.unacked) >= _WINDOW or sum(self.unacked) + len(payload) > _WINDOW_BYTES
        if not self.online or (self.lite and full):
            raise Refusal("ServiceError", "Failed to publish the message.")
        self.unacked.append(len(payload))
        if not self.lossy:
            given = () if self.lite else tuple((p["key"], p["value"]) for p in request.get("userProperties") or ())
            published = Published(request["topicName"], payload, request.get("qos", "0"), given)
            asyncio.get_running_loop().call_soon(self._arrive, published)

    def _arrive(self, published: Published) -> None:
        if self.unacked:
            self.unacked.pop(0)
        self.published.append(published)
        self._changed.set()
        self.on_published(published)
        for _ in range(self.copies):
            self.deliver(published.topic, published.payload, [{"key": k, "value": v} for k, v in published.properties])

    def _configuration(self, path: list[str]) -> Mapping[str, Any]:
        value: Any = self.config
        for key in path:
            if not isinstance(value, dict) or key not in value:
                raise Refusal("ResourceNotFoundError", "Key not found.")
            value = value[key]
        return {"componentName": COMPONENT, "value": value if isinstance(value, dict) else {path[-1]: value}}


class _Peer(asyncio.Protocol):
    """One connection of a component."""

    transport: asyncio.Transport

    def __init__(self, nucleus: Nucleus) -> None:
        self.subscriptions: dict[int, str] = {}
        self.followed: list[int] = []
        """The streams that want to hear of a new configuration."""
        self._nucleus = nucleus
        self._decoder = Decoder(nucleus.max_frame)
        self._known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._nucleus.peers.add(self)
        self._nucleus.stir()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._nucleus.peers.discard(self)
        self._nucleus.stir()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except LimitError:  # a frame above the limit costs the whole connection
            self.transport.abort()

    def _take(self, frame: Frame) -> None:
        stream = frame.number(":stream-id")
        if self._nucleus.tap is not None:
            self._nucleus.tap(frame)
            return
        if self._nucleus.silent:
            return
        if not self._known:
            self._greet(json.loads(frame.payload))
        elif frame.number(":message-flags") & Flag.TERMINATE:
            self.subscriptions.pop(stream, None)
        elif frame.number(":message-type") == Type.MESSAGE:
            operation = frame.text("operation").removeprefix(_AWS)
            try:
                response = self._nucleus.handle(self, stream, operation, json.loads(frame.payload))
            except Refusal as error:
                body = {"_message": str(error), "_errorCode": error.shape}
                self.send(Type.ERROR, Flag.TERMINATE, stream, error.shape, body)
            else:
                self.message(stream, f"{operation}Response", response)

    def _greet(self, who: Mapping[str, str]) -> None:
        nucleus = self._nucleus
        nucleus.hellos.append(who)
        by_name = nucleus.lite and who.get("componentName") == COMPONENT
        if not by_name and who.get("authToken") not in nucleus.tokens:
            self.transport.close()
            return
        self._known = True
        headers = [number(":message-type", Type.CONNECT_ACK), number(":message-flags", Flag.ACCEPTED)]
        headers.append(number(":stream-id", 0))
        if by_name:
            headers.append(text("svcuid", TOKEN))
        self.raw(tuple(headers))

    def message(self, stream: int, shape: str, body: Mapping[str, Any]) -> None:
        """Send a response or an event."""
        self.send(Type.MESSAGE, Flag(0), stream, shape, body)

    def send(self, kind: Type, flags: Flag, stream: int, shape: str, body: Mapping[str, Any]) -> None:
        """Send a frame with an object of this shape."""
        headers = (
            number(":message-type", kind),
            number(":message-flags", flags),
            number(":stream-id", stream),
            text(":content-type", "application/json"),
            text("service-model-type", _AWS + shape),
        )
        self.raw(headers, json.dumps(body, separators=(",", ":")).encode())

    def raw(self, headers: tuple[Header, ...], payload: bytes = b"") -> None:
        """Send a frame."""
        if not self.transport.is_closing():
            self.transport.write(encode(Frame(headers, payload)))


@contextlib.asynccontextmanager
async def start_nucleus(tmp_path: Path, *, lite: bool = True) -> AsyncIterator[Nucleus]:
    """Run a nucleus whose socket is in that folder."""
    nucleus = Nucleus(tmp_path / "ipc.socket", lite=lite)
    await nucleus.start()
    try:
        yield nucleus
    finally:
        nucleus.stop()
