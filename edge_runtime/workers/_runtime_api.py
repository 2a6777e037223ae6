"""The Lambda Runtime API: what a program in any language asks for its events and gives its replies to.

Each worker has an endpoint of its own, at a random address of 127.0.0.0/8 and a port of its own: where it is, is the
worker's secret. A connection is taken only from a process of that worker, as far as /proc tells whose it is; where it
does not (a kernel without it, a process that may not be looked into), the address alone protects.

Source: "Using the Lambda runtime API for custom runtimes" in the AWS Lambda developer guide; the order of calls and the
errors as AWS's runtime interface emulator has them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import socket
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol, cast

from edge_runtime.workers._http import CONTINUE, Malformed, Parser, Request, refusal, reply
from edge_runtime.workers._peer import belongs
from edge_runtime.workers._report import failure
from edge_runtime.workers.inside.frames import LIMIT

VERSION = "2018-06-01"
MOST_CONNECTIONS = 16
_MOST_WAITING = LIMIT + 65536
"""Bytes of further requests that a connection may hold while one is being answered."""
_FAULT_TYPE = "lambda-runtime-function-error-type"
_FAULT_BODY = "lambda-runtime-function-error-body"
_MODE = "lambda-runtime-function-response-mode"
_MOST_KIND = 300
_RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"
_UNKNOWN = "Function.Unknown"
_ACCEPTED = reply(202, b'{"status":"OK"}\n')
_TRIES = 10

Invocations = f"/{VERSION}/runtime/invocation/"


class State(Enum):
    """Where the program is in its loop."""

    STARTING = "starting"
    FREE = "free"
    """It has not asked for its next event yet."""
    ASKING = "asking"
    WORKING = "working"
    FAILED = "failed"
    """It has said that it cannot start."""


class Owner(Protocol):
    """The worker that an endpoint belongs to."""

    def roots(self) -> list[int]:
        """Return its processes; their descendants count as its own."""

    def on_ready(self) -> None:
        """Take note that the program has asked for its first event."""

    def on_answer(self, error: str, payload: bytes) -> None:
        """Take what became of the invocation in hand, or of the start."""


class Given(NamedTuple):
    """An invocation for the program."""

    request_id: str
    answer: bytes
    """The whole reply to its request for the next event."""


class RuntimeApi:
    """The endpoint of one worker: `open` it, then `give` it invocations one at a time."""

    def __init__(self, owner: Owner, check: Callable[..., bool | None] = belongs) -> None:
        """Choose an address and listen there. Raises: OSError."""
        self._owner = owner
        self._check = check
        self._sock = _listen()
        self.address: tuple[str, int] = self._sock.getsockname()
        self.state = State.STARTING
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._asking: _Connection | None = None
        self._given: Given | None = None
        self._current = ""

    async def open(self) -> None:
        """Take connections. Raises: OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), sock=self._sock)

    def close(self) -> None:
        """Take no more, and cut those that are there. Safe to call twice."""
        if self._server is not None:
            self._server.close()
        self._sock.close()
        for connection in tuple(self._connections):
            connection.abort()

    def give(self, invocation: Given) -> None:
        """Give the program its next event, now or when it asks."""
        self._given = invocation
        if self._asking is not None and self.state is State.ASKING:
            self._hand_over(self._asking)

    @property
    def untouched(self) -> bool:
        """Whether there is an invocation that the program has not got yet."""
        return self._given is not None

    def joined(self, connection: _Connection, client: tuple[str, int]) -> bool:
        """Whether a connection may stay."""
        if len(self._connections) >= MOST_CONNECTIONS:
            return False
        if self._check(client, self.address, self._owner.roots()) is False:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: _Connection) -> None:
        """Take note that a connection is gone."""
        self._connections.discard(connection)
        if connection is self._asking:
            self._asking = None
            if self.state is State.ASKING:
                self.state = State.FREE

    def handle(self, connection: _Connection, request: Request) -> bytes | None:
        """Return the answer to a request, None when it comes later."""
        method, path = request.method, request.path.partition("?")[0]
        if path.startswith(Invocations):
            request_id, _, verb = path.removeprefix(Invocations).partition("/")
            if verb == "response":
                return self._checked(request, request_id, self._response) if method == "POST" else _wrong(method)
            if verb == "error":
                return self._checked(request, request_id, self._error) if method == "POST" else _wrong(method)
            if request_id == "next" and not verb:
                return self._next(connection) if method == "GET" else _wrong(method)
        route = _ROUTES.get(path)
        if route is None:
            return refusal(404, "NotFound", f"there is no {path[:200]}")
        wanted, answer = route
        return answer(self, request) if method == wanted else _wrong(method)

    def _next(self, connection: _Connection) -> bytes | None:
        if self.state in (State.ASKING, State.WORKING, State.FAILED):
            return self._out_of_order("next")
        first = self.state is State.STARTING
        self.state, self._asking = State.ASKING, connection
        if first:
            self._owner.on_ready()
        elif self._given is not None:
            self._hand_over(connection)
        return None

    def _hand_over(self, connection: _Connection) -> None:
        assert self._given is not None  # noqa: S101 - for the type checker
        if connection.closing:  # it will be told so: then the program has to ask again
            return
        (self._current, answer), self._given = self._given, None
        self.state, self._asking = State.WORKING, None
        connection.respond(answer)

    def _checked(self, request: Request, request_id: str, then: Callable[[Request], bytes]) -> bytes:
        if not self._current or not secrets.compare_digest(request_id.encode(), self._current.encode()):
            return refusal(400, "InvalidRequestID", "Invalid request ID")
        if self.state is not State.WORKING:
            return self._out_of_order("response")
        return then(request)

    def _response(self, request: Request) -> bytes:
        mode = request.headers.get(_MODE, "")
        if mode.lower() not in ("", "buffered", "streaming"):
            return refusal(400, "InvalidFunctionResponseMode", f"Invalid function response mode: {mode[:100]}")
        self.state = State.FREE
        if request.size > LIMIT:
            text = f"Response payload size exceeded maximum allowed payload size ({LIMIT} bytes)."
            self._owner.on_answer(_RESPONSE_TOO_LARGE, failure(_RESPONSE_TOO_LARGE, text))
            return _too_large()
        kind = request.headers.get(_FAULT_TYPE)
        if kind is not None:  # a stream that broke off says so in its trailers
            body = _decoded(request.headers.get(_FAULT_BODY, ""))
            self._owner.on_answer(*_fault(kind, body))
        else:
            self._owner.on_answer("", request.body)
        return _ACCEPTED

    def _error(self, request: Request) -> bytes:
        self.state = State.FREE
        self._owner.on_answer(*_fault(request.headers.get(_FAULT_TYPE, ""), request.body))
        return _too_large() if request.size > LIMIT else _ACCEPTED

    def _init_error(self, request: Request) -> bytes:
        if self.state is not State.STARTING:
            return self._out_of_order("init/error")
        self.state = State.FAILED
        self._owner.on_answer(*_fault(request.headers.get(_FAULT_TYPE, ""), request.body))
        return _ACCEPTED

    def _restored(self, _request: Request) -> bytes:
        # Nothing is ever snapshot here: a program that asks has been restored already.
        return reply(200, b"") if self.state is State.STARTING else self._out_of_order("restore/next")

    def _ping(self, _request: Request) -> bytes:
        return reply(200, b"pong", fields=b"Content-Type: text/plain\r\n")

    def _out_of_order(self, what: str) -> bytes:
        return refusal(403, "InvalidStateTransition", f"Transition from {self.state.value} to {what} is not allowed")


_ROUTES: dict[str, tuple[str, Callable[[RuntimeApi, Request], bytes]]] = {
    f"/{VERSION}/runtime/init/error": ("POST", RuntimeApi._init_error),  # noqa: SLF001 - of the class above
    f"/{VERSION}/runtime/restore/next": ("GET", RuntimeApi._restored),  # noqa: SLF001 - as above
    f"/{VERSION}/runtime/restore/error": ("POST", RuntimeApi._init_error),  # noqa: SLF001 - as above
    f"/{VERSION}/ping": ("GET", RuntimeApi._ping),  # noqa: SLF001 - as above
    "/ping": ("GET", RuntimeApi._ping),  # noqa: SLF001 - as above
}


class _Connection(asyncio.Protocol):
    """One connection. Requests on it are answered one after the other."""

    def __init__(self, api: RuntimeApi) -> None:
        self._api = api
        self._parser = Parser(LIMIT)
        self._busy = False
        self._keep = True
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._api.joined(self, transport.get_extra_info("peername")):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        self._api.left(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        if not self._busy:
            self._go_on()
        elif self._parser.waiting > _MOST_WAITING:
            self.abort()

    def eof_received(self) -> bool:
        if self._parser.amid and not self._busy:
            text = "HTTP request detected as truncated"
            self._transport.write(refusal(400, "TruncatedHTTPRequest", text, keep=False))
        return False  # then the transport closes itself, when all is written

    def respond(self, answer: bytes) -> None:
        """Send an answer that was to come later, and see what else has come meanwhile."""
        self._send(answer)
        if self._parser.waiting:
            self._go_on()

    @property
    def closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport.is_closing()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def _go_on(self) -> None:
        while not (self._busy or self._transport.is_closing()):
            try:
                request = self._parser.take()
            except Malformed as error:
                self._transport.write(refusal(error.status, error.kind, str(error), keep=False))
                self._transport.close()
                return
            if request is None:
                if self._parser.expects:
                    self._parser.expects = False
                    self._transport.write(CONTINUE)
                return
            self._keep, self._busy = request.keep, True
            answer = self._api.handle(self, request)
            if answer is not None:
                self._send(answer)

    def _send(self, answer: bytes) -> None:
        self._busy = False
        self._transport.write(answer)
        if not self._keep:
            self._transport.close()


def _listen() -> socket.socket:
    for left in reversed(range(_TRIES)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # Not 127.0.0.x: programs of other people listen there.
            host = f"127.{secrets.randbelow(255) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
            sock.bind((host, 0))
            sock.listen(MOST_CONNECTIONS)
            sock.setblocking(False)
        except OSError:
            sock.close()
            if not left:
                raise
        else:
            return sock
    raise AssertionError  # the last try has returned or raised


def _wrong(method: str) -> bytes:
    return refusal(405, "MethodNotAllowed", f"{method} is not for this path")


def _too_large() -> bytes:
    text = f"Exceeded maximum allowed payload size ({LIMIT} bytes)."
    return refusal(413, "RequestEntityTooLarge", text)


def _fault(kind: str, body: bytes) -> tuple[str, bytes]:
    """Return the type and the object of an error: as it came, when that is an error object."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    kind = kind[:_MOST_KIND] or _UNKNOWN
    if isinstance(given, dict):
        named = given.get("errorType")
        if isinstance(named, str) and named:
            return named[:_MOST_KIND], body
        if "errorMessage" in given:
            return kind, body
    return kind, failure(kind, body[:65536].decode(errors="replace"))


def _decoded(text: str) -> bytes:
    """Return what a trailer holds: base64, or plain text as it is."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
