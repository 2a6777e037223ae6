"""MQTT over WebSocket, the server's side: RFC 6455, and section 6 of MQTT 5.0.

    answer = accept(request_headers)
    for event in Frames(most=150_000).feed(data): ...
    transport.write(frame(Opcode.BINARY, data))

MQTT is a stream of bytes and does not care how it was cut into frames, so fragments are passed on one by one. The
codec is our own: the server has no WebSocket library as a dependency, and this is all it needs of one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from edge_runtime.errors import EdgeError

PROTOCOL: Final = "mqtt"
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16
_MOST_CONTROL: Final = 125
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_SMALLEST_OF_8: Final = 1 << 16
_LARGEST_OF_8: Final = 1 << 63
_MASKED: Final = 0x80
_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_OWN_CODES: Final = range(3000, 5000)


class Opcode(IntEnum):
    """What a frame is, RFC 6455 section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Close(IntEnum):
    """Why a connection is closed, RFC 6455 section 7.4.1."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    TOO_BIG = 1009


class WebSocketError(EdgeError, ValueError):
    """The client does not keep to the protocol. `code` is what the connection is closed with."""

    def __init__(self, message: str, *, code: Close = Close.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class Event(NamedTuple):
    """What came: the bytes of a data frame, a ping to answer, a pong, or the code of a Close frame (0: without one)."""

    kind: Opcode
    data: bytes = b""
    code: int = 0


def accept(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of the answer 101 to a request to upgrade. Names are in lower case.

    Raises: WebSocketError that says what is wrong with the request.
    """
    if "websocket" not in _words(headers.get("upgrade", "")) or "upgrade" not in _words(headers.get("connection", "")):
        raise WebSocketError("this path is for WebSocket: the request must say Connection: Upgrade, Upgrade: websocket")
    if headers.get("sec-websocket-version") != "13":
        raise WebSocketError("the version of WebSocket must be 13")
    key = headers.get("sec-websocket-key", "")
    try:
        valid = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        valid = False
    if not valid:
        raise WebSocketError("Sec-WebSocket-Key must be 16 bytes in base64")
    if PROTOCOL not in _words(headers.get("sec-websocket-protocol", "")):
        raise WebSocketError("the sub-protocol must be mqtt")
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": base64.b64encode(digest).decode(),
        "Sec-WebSocket-Protocol": PROTOCOL,
    }


def frame(kind: Opcode, data: bytes) -> bytes:
    """Return a whole, unmasked frame, as a server sends it."""
    size = len(data)
    if size < _TWO_BYTES:
        head = bytes((_FINAL | kind, size))
    elif size < _SMALLEST_OF_8:
        head = bytes((_FINAL | kind, _TWO_BYTES)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | kind, _EIGHT_BYTES)) + size.to_bytes(8, "big")
    return head + data


def close_frame(code: Close) -> bytes:
    """Return a Close frame."""
    return frame(Opcode.CLOSE, code.to_bytes(2, "big"))


class Frames:
    """Takes the frames of a client apart. A frame of more than `most` bytes is refused by its header."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self._in_message = False
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Return what came; how the stream is cut into calls makes no difference.

        After a Close frame nothing more comes. Raises: WebSocketError when the stream cannot be read on; what came
        before the fault in the same call is lost.
        """
        self._held += data
        events: list[Event] = []
        while not self._ended and (found := self._one()) is not None:
            events.append(found)
            self._ended = found.kind is Opcode.CLOSE
        return events

    def _one(self) -> Event | None:
        held = self._held
        if len(held) < 2:  # noqa: PLR2004 - the fixed part of a header
            return None
        first, second = held[0], held[1]
        kind = self._kind(first)
        if not second & _MASKED:
            raise WebSocketError("a frame without a mask")
        size, start = second & 0x7F, 2
        if kind >= Opcode.CLOSE and (size > _MOST_CONTROL or not first & _FINAL):
            raise WebSocketError("a control frame that is too long, or in pieces")
        if size >= _TWO_BYTES:
            start = 4 if size == _TWO_BYTES else 10
            if len(held) < start:
                return None
            size = _length(held, start)
        if size > self._most:
            raise WebSocketError(f"a frame of {size} bytes; {self._most} are allowed", code=Close.TOO_BIG)
        end = start + 4 + size
        if len(held) < end:
            return None
        payload = _unmask(bytes(held[start + 4 : end]), bytes(held[start : start + 4]))
        del held[:end]
        return self._event(kind, payload, last=bool(first & _FINAL))

    def _kind(self, first: int) -> Opcode:
        if first & _RESERVED:
            raise WebSocketError("a frame uses an extension that was not agreed on")
        try:
            return Opcode(first & 0x0F)
        except ValueError:
            raise WebSocketError(f"a frame of the unknown kind {first & 0x0F}") from None

    def _event(self, kind: Opcode, payload: bytes, *, last: bool) -> Event:
        if kind is Opcode.CLOSE:
            return Event(kind, code=_close_code(payload))
        if kind > Opcode.CLOSE:
            return Event(kind, payload)
        if kind is Opcode.TEXT:
            raise WebSocketError("a text frame; MQTT is binary", code=Close.UNSUPPORTED_DATA)
        if (kind is Opcode.CONTINUATION) is not self._in_message:
            raise WebSocketError("a fragment out of place")
        self._in_message = not last
        return Event(Opcode.BINARY, payload)


def _length(held: bytearray, start: int) -> int:
    size = int.from_bytes(held[2:start], "big")
    least = _TWO_BYTES if start == 4 else _SMALLEST_OF_8  # noqa: PLR2004 - header with a length of two bytes
    if not least <= size < _LARGEST_OF_8:
        raise WebSocketError("the length of a frame is not in its shortest form")
    return size


def _unmask(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    if not size:
        return data
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def _close_code(payload: bytes) -> int:
    if not payload:
        return 0
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or (code not in _CLOSE_CODES and code not in _OWN_CODES):
        raise WebSocketError("a Close frame with a code that may not be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise WebSocketError("a Close frame with a reason that is no UTF-8") from None
    return code


def _words(header: str) -> set[str]:
    return {word.strip().lower() for word in header.split(",")}
