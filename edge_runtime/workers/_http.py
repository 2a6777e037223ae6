"""HTTP/1.1 requests as they come in pieces, and the bytes of replies. No I/O. Source: RFC 9112."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import NamedTuple

MOST_HEAD = 1_100_000
"""Bytes of a head. AWS's clients put up to 1 MB of an X-Ray cause into one header of an error report."""
MOST_LINES = 100
MOST_WASTE = 64 * 1024 * 1024
"""What is read and thrown away of a body that is too large, so that its sender comes to read why it is refused."""

_MOST_CHUNK_LINE = 1024
_MOST_KNOWN = 8
_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*)")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t -~\x80-\xff]*)?")
_LENGTH = re.compile(r"[0-9]{1,15}")
_ONCE = frozenset({"content-length", "transfer-encoding", "host"})


class Malformed(Exception):  # noqa: N818 - it is the request that is
    """A request that cannot be understood, or is too large: nothing that follows it can be either."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class Request(NamedTuple):
    """A whole request."""

    method: str
    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    """Empty when it was larger than allowed: see `size`."""
    size: int
    """Of the body as it came."""
    keep: bool
    """The connection may be used again."""


class Parser:
    """Makes requests of bytes: `feed` it, then `take` until there is none. `limit` bounds a body, in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._searched = 0
        self._known: dict[bytes, dict[str, str]] = {}
        """Header fields as they came, and what they say: a client sends mostly the same ones."""
        self._head: tuple[str, str, dict[str, str], bool] | None = None
        self._body = bytearray()
        self._size = 0
        self._left = 0
        """Bytes of the body, or of a chunk, that are still to come."""
        self._chunked = False
        self._in_trailers = False
        self.expects = False
        """The client waits for `CONTINUE` before it sends the body. To be cleared by who sends it."""

    @property
    def waiting(self) -> int:
        """How many bytes are held that are no request yet."""
        return len(self._data)

    @property
    def amid(self) -> bool:
        """Whether a request has begun and not ended."""
        return self._head is not None or bool(self._data)

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        self._data += data

    def take(self) -> Request | None:
        """Return the next request when it is complete.

        Raises: Malformed.
        """
        if self._head is None and not (self._data and self._take_head()):
            return None
        if not (self._take_chunks() if self._chunked else self._take_body()):
            return None
        assert self._head is not None  # noqa: S101 - for the type checker
        method, path, headers, keep = self._head
        request = Request(method, path, headers, bytes(self._body), self._size, keep)
        self._head, self._body, self._size = None, bytearray(), 0
        self._chunked = self._in_trailers = self.expects = False
        return request

    def _take_head(self) -> bool:
        while self._data.startswith(b"\r\n") and not self._searched:  # before a request line: RFC 9112, 2.2
            del self._data[:2]
        end = self._data.find(b"\r\n\r\n", max(0, self._searched - 3))
        if max(end, len(self._data) if end < 0 else 0) > MOST_HEAD:
            raise Malformed(431, "RequestHeaderFieldsTooLarge", f"a head may have {MOST_HEAD} bytes")
        if end < 0:
            self._searched = len(self._data)
            return False
        first, _, rest = bytes(self._data[:end]).partition(b"\r\n")
        del self._data[: end + 4]
        self._searched = 0
        line = _LINE.fullmatch(first)
        if line is None:
            raise Malformed(400, "InvalidRequest", "not a request line of HTTP/1.1")
        headers = self._known.get(rest)
        if headers is None:
            headers = {}
            _read_fields(rest, headers)
            if len(self._known) < _MOST_KNOWN and len(rest) < _MOST_CHUNK_LINE:
                self._known[rest] = headers
        self._begin_body(headers)
        if self._chunked:  # trailers are added to them
            headers = dict(headers)
        words = headers.get("connection", "").lower()
        keep = "keep-alive" in words if line[3] == b"0" else "close" not in words
        self._head = line[1].decode(), line[2].decode(), headers, keep
        return True

    def _begin_body(self, headers: dict[str, str]) -> None:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length", "0")
        if coding is not None:
            if coding.lower() != "chunked" or "content-length" in headers:
                raise Malformed(400, "InvalidRequest", "the length of the body is not clear")
            self._chunked, self._left = True, 0
        elif not _LENGTH.fullmatch(length):
            raise Malformed(400, "InvalidRequest", "Content-Length is no number")
        else:
            self._left = int(length)
            if self._left > self._limit + MOST_WASTE:
                raise self._too_large()
        self.expects = headers.get("expect", "").lower() == "100-continue"

    def _too_large(self) -> Malformed:
        return Malformed(413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({self._limit} bytes).")

    def _take_body(self) -> bool:
        if self._left and self._data:
            piece = bytes(self._data[: self._left])
            del self._data[: len(piece)]
            self._left -= len(piece)
            self._size += len(piece)
            if self._size > self._limit + MOST_WASTE:
                raise self._too_large()
            if self._size + self._left > self._limit:
                self._body.clear()
            else:
                self._body += piece
        return not self._left

    def _take_chunks(self) -> bool:
        while not self._in_trailers:
            if self._left > 2:  # noqa: PLR2004 - the line end after a chunk is counted with it
                self._left -= 2
                whole = self._take_body()
                self._left += 2
                if not whole:
                    return False
            if self._left:
                if len(self._data) < self._left:
                    return False
                if not self._data.startswith(b"\r\n"):
                    raise Malformed(400, "InvalidRequest", "a chunk has no end")
                del self._data[:2]
                self._left = 0
            line = self._take_line(_MOST_CHUNK_LINE)
            if line is None:
                return False
            size = _SIZE.fullmatch(line)
            if size is None:
                raise Malformed(400, "InvalidRequest", "the size of a chunk is no number")
            self._left = int(size[1], 16)
            if self._left:
                self._left += 2
            else:
                self._in_trailers = True
        return self._take_trailers()

    def _take_trailers(self) -> bool:
        assert self._head is not None  # noqa: S101 - for the type checker
        fields = self._head[2]
        while (line := self._take_line(MOST_HEAD)) is not None:
            if not line:
                return True
            _read_fields(line, fields)
        return False

    def _take_line(self, limit: int) -> bytes | None:
        end = self._data.find(b"\r\n", max(0, self._searched - 1))
        if max(end, len(self._data) if end < 0 else 0) > limit:
            raise Malformed(431, "RequestHeaderFieldsTooLarge", "a line of a chunked body is too long")
        if end < 0:
            self._searched = len(self._data)
            return None
        self._searched = 0
        line = bytes(self._data[:end])
        del self._data[: end + 2]
        return line


def _read_fields(block: bytes, fields: dict[str, str]) -> None:
    lines = block.split(b"\r\n") if block else []
    if len(lines) + len(fields) > MOST_LINES:
        raise Malformed(431, "RequestHeaderFieldsTooLarge", f"a request may have {MOST_LINES} header fields")
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Malformed(400, "InvalidRequest", "not a header field")
        name, value = match[1].decode().lower(), match[2].decode("latin-1").strip(" \t")
        if name in fields:
            if name in _ONCE:
                raise Malformed(400, "InvalidRequest", f"{name} is there twice")
            value = f"{fields[name]}, {value}"
        fields[name] = value


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def reply(status: int, body: bytes, *, fields: bytes = b"", keep: bool = True) -> bytes:
    """Return the bytes of a reply. `fields` are whole further lines of its head; unless they say else it is JSON."""
    kind = b"" if b"Content-Type:" in fields else b"Content-Type: application/json\r\n"
    end = b"" if keep else b"Connection: close\r\n"
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Length: {len(body)}\r\n"
    return b"".join((head.encode(), kind, fields, end, b"\r\n", body))


def refusal(status: int, kind: str, message: str, *, keep: bool = True) -> bytes:
    """Return the bytes of an error reply, in the shape of AWS's Runtime API."""
    return reply(status, json.dumps({"errorMessage": message, "errorType": kind}).encode(), keep=keep)
