"""HTTP/1.1 for the stand-in: requests in, responses out, one after the other on a connection; h11 reads and writes.

What is behind a request is a `Site`: an awaitable answer, or the wish to go on as something else (a WebSocket).
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from edge_runtime.clock import Clock
from edge_runtime.standin.access import Caller

if TYPE_CHECKING:
    import h11

_log = logging.getLogger(__name__)
MOST_BODY: Final = 256 * 1024
"""Bytes of a request's body."""
MOST_HEAD: Final = 32 * 1024
"""Bytes of a request's head; the query of a SigV4 request has about 2 KB."""
QUIET_S: Final = 20.0
"""A connection that has not sent a whole request by then is closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Names of headers are in lower case; of several values the last counts."""

    method: str
    path: str
    """With its percent signs resolved, without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: Caller


Takeover = Callable[[asyncio.Transport, bytes], None]
"""Takes a connection after the response was written, with the bytes that came behind the request."""


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    takeover: Takeover | None = None
    """For status 101: what the connection is from now on."""


Site = Callable[[Request], Awaitable[Response]]


def reply(status: int, document: object) -> Response:
    """Return a response with a JSON body, as AWS's services answer."""
    body = json.dumps(document, separators=(",", ":")).encode()
    return Response(status, body, {"Content-Type": "application/json"})


def failure(status: int, kind: str, message: str) -> Response:
    """Return an error in AWS's shape: the name of the exception in a header, the message in the body."""
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    return Response(status, body, {"Content-Type": "application/json", "x-amzn-ErrorType": kind})


class WebConnection(asyncio.Protocol):
    """One connection. It is in `guests` for as long as it is connected and nobody took it over."""

    def __init__(self, site: Site, caller: Caller, clock: Clock, guests: set[asyncio.Transport]) -> None:
        import h11  # noqa: PLC0415 - only where somebody comes by HTTP

        self._h11 = h11
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
        self._site = site
        self._caller = caller
        self._clock = clock
        self._guests = guests
        self._transport: asyncio.Transport | None = None
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type; create_server makes no other
        self._transport = transport
        self._guests.add(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._advance(data)

    def eof_received(self) -> bool:
        """Answer what was asked before the client stopped sending."""
        self._eof = True
        return self._task is not None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop what is under way."""
        if self._transport is not None:
            self._guests.discard(self._transport)
        self._transport = None
        for task in (self._task, self._watch):
            if task is not None:
                task.cancel()

    # --- inside ---

    def _expect(self) -> None:
        """Close the connection if no whole request comes."""

        async def wait() -> None:
            await self._clock.sleep(QUIET_S)
            if self._transport is not None:
                self._transport.abort()

        self._watch = asyncio.get_running_loop().create_task(wait(), name="standin.web.quiet")

    def _advance(self, data: bytes | None) -> None:
        try:
            if data is not None:
                self._conn.receive_data(data)
            self._read()
        except self._h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))

    def _read(self) -> None:
        while self._task is None:
            event = self._conn.next_event()
            if isinstance(event, self._h11.Request):
                self._head = event
                self._body.clear()
                if self._conn.they_are_waiting_for_100_continue:
                    self._write(self._conn.send(self._h11.InformationalResponse(status_code=100, headers=[])))
            elif isinstance(event, self._h11.Data):
                self._body += event.data
                if len(self._body) > MOST_BODY:
                    self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {MOST_BODY} bytes")
                    return
            elif isinstance(event, self._h11.EndOfMessage):
                self._begin()
            elif isinstance(event, self._h11.ConnectionClosed):
                self._close()
                return
            else:  # NEED_DATA, PAUSED
                return

    def _begin(self) -> None:
        assert self._head is not None  # noqa: S101 - narrows the type; h11 gives the head before the end
        if self._watch is not None:
            self._watch.cancel()
        request = _request(self._head, bytes(self._body), self._caller)
        self._task = asyncio.get_running_loop().create_task(self._answer(request), name="standin.web.answer")

    async def _answer(self, request: Request) -> None:
        try:
            response = await self._site(request)
        except Exception:  # noqa: BLE001 - whoever asked is to be told, whatever it was; it is logged
            _log.exception("%s %s failed", request.method, request.path)
            response = failure(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalFailureException", "Internal service failure")
        self._task = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._send(response, bare=request.method == "HEAD")
        if response.takeover is not None:
            self._guests.discard(transport)
            self._transport = None
            rest = bytes(self._conn.trailing_data[0])
            response.takeover(transport, rest)
        elif self._conn.our_state is self._h11.MUST_CLOSE or self._eof:
            self._close()
        else:
            self._conn.start_next_cycle()
            self._expect()
            self._advance(None)

    def _send(self, response: Response, *, bare: bool = False) -> None:
        headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
        headers.append((b"x-amzn-RequestId", str(uuid.uuid4()).encode()))
        if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
            self._write(self._conn.send(self._h11.InformationalResponse(status_code=response.status, headers=headers)))
            return
        headers.append((b"Content-Length", str(len(response.body)).encode()))
        data = self._conn.send(self._h11.Response(status_code=response.status, headers=headers))
        self._write(data)
        if not bare:
            self._write(self._conn.send(self._h11.Data(data=response.body)))
        self._write(self._conn.send(self._h11.EndOfMessage()))

    def _refuse(self, status: int, words: str) -> None:
        """Answer what cannot be read, if that is still possible, and close."""
        if self._conn.our_state in (self._h11.IDLE, self._h11.SEND_RESPONSE):
            self._send(failure(status, "BadRequestException", words))
        self._close()

    def _write(self, data: bytes | None) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _request(head: h11.Request, body: bytes, caller: Caller) -> Request:
    path, _, query = head.target.decode("latin-1").partition("?")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return Request(
        head.method.decode("latin-1"),
        unquote(path),
        dict(parse_qsl(query, keep_blank_values=True)),
        headers,
        body,
        caller,
    )
