"""A client of Greengrass v2's IPC: event stream frames on the Unix socket of the nucleus, as a component speaks them.

A connection carries streams, numbered from 1: a request and its response, and for a subscription then its events. The
first frame says who we are: `{"authToken": ...}` with what the nucleus put into the environment as SVCUID, or, where
nothing but systemd vouches for the process and the nucleus is the lite one, `{"componentName": ...}`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any

from edge_runtime.errors import EdgeError, LimitError, LinkError, NotFoundError, RefusedError
from edge_runtime.links import _codes
from edge_runtime.pure.eventstream import Decoder, Frame, encode, number, text

Object = Mapping[str, Any]
OnEvent = Callable[[Object], None]
"""Called on the loop with each event of a subscription; may not wait."""

_NAMESPACE = "aws.greengrass#"
_VERSION = "0.1.0"
_MOST_RECEIVED = 16 * 1024 * 1024
_UNKNOWN_HINT = (
    "a token is void once the nucleus has restarted: end this process with an error, so that it is started again with "
    "a new one; on nucleus lite `component` does without"
)


class Type(IntEnum):
    """What a frame is: `:message-type`."""

    MESSAGE = 0
    ERROR = 1
    PING = 2
    PONG = 3
    CONNECT = 4
    CONNECT_ACK = 5
    PROTOCOL_ERROR = 6
    INTERNAL_ERROR = 7


class Flag(IntFlag):
    """What a frame adds: `:message-flags`."""

    ACCEPTED = 1
    TERMINATE = 2


class _Stream:
    """One operation under way."""

    def __init__(self, what: str, answer: asyncio.Future[Object], on_event: OnEvent | None) -> None:
        self.what, self.answer, self.on_event = what, answer, on_event


class UnknownComponentError(LinkError):
    """The nucleus does not know the token, as after a restart of its own."""


class Ipc(asyncio.Protocol):
    """One connection to the nucleus, made by `dial`. Everything belongs to the loop's thread."""

    def __init__(self, where: str, most_frame: int) -> None:
        self.error: LinkError | None = None
        """Why the connection ended; None while it stands."""
        self.svcuid = ""
        """The token that the nucleus handed out, when it was asked by `componentName`."""
        self._where, self._most = where, most_frame
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[LinkError] = self._loop.create_future()
        self._up: asyncio.Future[None] = self._loop.create_future()
        self._decoder = Decoder(_MOST_RECEIVED)
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        self._transport: asyncio.Transport | None = None

    async def request(self, operation: str, request: Object) -> Object:
        """Have the nucleus do one thing and return its response.

        Raises: LinkError (a ServiceError, which is also how the lite nucleus answers what it does not know, or the
        connection is gone), RefusedError (not authorised, or too large for one frame), NotFoundError.
        """
        return await self.begin(operation, request)

    def begin(self, operation: str, request: Object, on_event: OnEvent | None = None) -> asyncio.Future[Object]:
        """Send a request at once and return what will hold the response; the errors are those of `request`.

        With `on_event` the stream stays open after the response, and events go there until the connection ends.
        """
        what = f"{operation}{_subject(request)}"
        answer: asyncio.Future[Object] = self._loop.create_future()
        if self.error is not None:
            answer.set_exception(_copy(self.error))
            return answer
        self._last += 1
        name = _NAMESPACE + operation
        frame = Frame(
            (
                text(":content-type", "application/json"),
                text("service-model-type", f"{name}Request"),
                *_routing(Type.MESSAGE, 0, self._last),
                text("operation", name),
            ),
            json.dumps(request).encode(),
        )
        raw = encode(frame)
        if len(raw) > self._most:
            answer.set_exception(
                RefusedError(
                    f"{what} needs a frame of {len(raw)} bytes; the nucleus takes {self._most}",
                    code=_codes.TOO_LARGE,
                    hint="send less at a time",
                )
            )
            return answer
        self._streams[self._last] = _Stream(what, answer, on_event)
        self._write(raw)
        return answer

    async def gone(self) -> LinkError:
        """Return when the connection is over, with the reason."""
        return await asyncio.shield(self._gone)

    def pause(self) -> None:
        """Take nothing from the nucleus until `resume`: it then waits, and in the end so does the broker."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take again what the nucleus sends."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, error: LinkError | None = None) -> None:
        """Hang up: whatever waits for a response fails. Only the first call counts."""
        if self.error is not None:
            return
        self.error = error = error or LinkError(f"the connection to {self._where} was closed")
        for stream in self._streams.values():
            _fail(stream.answer, _copy(error))
        self._streams.clear()
        _fail(self._up, _copy(error))
        self._gone.set_result(error)
        if self._transport is not None:
            self._transport.abort()

    async def hello(self, who: Mapping[str, str]) -> None:
        """Introduce the component. Raises: LinkError when the nucleus does not know it."""
        headers = (text(":version", _VERSION), *_routing(Type.CONNECT, 0, 0))
        self._write(encode(Frame(headers, json.dumps(who).encode())))
        await self._up

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport (asyncio's call)."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's promise for a stream socket
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end (asyncio's call)."""
        if self._up.done():
            why = f": {exc}" if exc else ""
            self.close(LinkError(f"{self._where} closed the connection{why}", hint="the nucleus may be restarting"))
        else:
            self.close(UnknownComponentError(f"{self._where} does not accept this component", hint=_UNKNOWN_HINT))

    def data_received(self, data: bytes) -> None:
        """Take bytes (asyncio's call)."""
        try:
            for frame in self._decoder.feed(data):
                if self.error is not None:
                    return
                self._take(frame)
        except (LimitError, ValueError, TypeError) as error:
            lost = LinkError(f"{self._where} sent what is not Greengrass IPC: {error}")
            lost.__cause__ = error
            self.close(lost)

    def _take(self, frame: Frame) -> None:
        kind, flags, number_ = (frame.number(name, -1) for name in (":message-type", ":message-flags", ":stream-id"))
        if kind == Type.CONNECT_ACK and not self._up.done():
            if flags & Flag.ACCEPTED:
                self.svcuid = frame.text("svcuid")
                self._up.set_result(None)
            else:
                self.close(UnknownComponentError(f"{self._where} does not accept this component", hint=_UNKNOWN_HINT))
        elif kind == Type.PING:
            self._write(encode(Frame(_routing(Type.PONG, 0, number_), frame.payload)))
        elif kind in (Type.ERROR, Type.PROTOCOL_ERROR, Type.INTERNAL_ERROR):
            self._on_error(number_, frame)
        elif kind == Type.MESSAGE:
            self._on_message(number_, frame, over=bool(flags & Flag.TERMINATE))
        elif kind != Type.PONG:
            raise ValueError(f"a frame of type {kind}")

    def _on_message(self, number_: int, frame: Frame, *, over: bool) -> None:
        stream = self._streams.get(number_)
        if stream is None:
            return  # answered before, and nobody asks for more
        body = _object(frame.payload)
        if not stream.answer.done():
            stream.answer.set_result(body)
        elif stream.on_event is not None and frame.payload and not stream.answer.cancelled():
            stream.on_event(body)
        if stream.on_event is None:
            del self._streams[number_]
        elif stream.answer.cancelled():  # nobody wants the subscription any more
            del self._streams[number_]
            self._write(encode(Frame(_routing(Type.MESSAGE, Flag.TERMINATE, number_))))
        elif over:
            self.close(LinkError(f"{self._where} ended {stream.what}"))

    def _on_error(self, number_: int, frame: Frame) -> None:
        said: Object = {}
        with suppress(ValueError):  # the errors of the protocol itself carry a text or nothing
            said = _object(frame.payload)
        shape = frame.text("service-model-type").removeprefix(_NAMESPACE) or str(said.get("_errorCode", ""))
        message = str(said.get("_message") or said.get("message") or "")
        stream = self._streams.pop(number_, None)
        if stream is None:
            if number_ == 0:
                self.close(LinkError(f"{self._where} reports an error of the protocol: {message or shape or 'none'}"))
        elif not stream.answer.done():
            stream.answer.set_exception(_explained(stream.what, shape or "protocol error", message))
        elif not stream.answer.cancelled():
            self.close(LinkError(f"{self._where} ended {stream.what}: {shape} {message}".rstrip()))

    def _write(self, raw: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(raw)


async def dial(path: str | Path, who: Mapping[str, str], *, most_frame: int) -> Ipc:
    """Connect to the socket at `path` and introduce the component by `who`. Requests above `most_frame` are not sent.

    Raises: LinkError when nobody listens, or when the nucleus does not accept the component.
    """
    where = f"the nucleus at {path}"
    loop = asyncio.get_running_loop()
    try:
        _, ipc = await loop.create_unix_connection(lambda: Ipc(where, most_frame), str(path))
    except PermissionError as error:
        raise LinkError(f"this user may not connect to {where}", hint="run as a Greengrass component") from error
    except OSError as error:
        raise LinkError(f"cannot reach {where}: {error.strerror or error}", hint="does the nucleus run?") from error
    try:
        await ipc.hello(who)
    except BaseException:
        ipc.close()
        raise
    return ipc


def _routing(kind: Type, flags: int, stream: int) -> tuple[Any, ...]:
    return number(":message-type", kind), number(":message-flags", flags), number(":stream-id", stream)


def _object(payload: bytes) -> Object:
    body = json.loads(payload or b"{}")
    if not isinstance(body, dict):
        raise ValueError(f"a payload is not a JSON object but {type(body).__name__}")  # noqa: TRY004 - bad data
    return body


def _subject(request: Object) -> str:
    name = request.get("topicName") or request.get("topic") or "/".join(map(str, request.get("keyPath") or ()))
    return f" on {name!r}" if name else ""


def _explained(what: str, shape: str, message: str) -> EdgeError:
    """Return what an error of the nucleus means. Its text is for people only: the lite nucleus often leaves it out."""
    said = f"the nucleus refused {what}: {shape}{f' ({message})' if message else ''}"
    if shape == "UnauthorizedError":
        hint = "allow the operation and this topic in `accessControl` of the component's configuration"
        return RefusedError(said, code=_codes.NOT_AUTHORIZED, hint=hint)
    if shape == "ResourceNotFoundError":
        return NotFoundError(said)
    if shape in ("InvalidArgumentsError", "InvalidArgumentError"):
        return RefusedError(said, code=_codes.BAD_PAYLOAD)
    return LinkError(said, hint="without a network the nucleus answers so; see the log of the nucleus")


def _copy(error: LinkError) -> LinkError:
    return type(error)(str(error), hint=error.hint)


def _fail(future: asyncio.Future[Any], error: LinkError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # who waited may have left
