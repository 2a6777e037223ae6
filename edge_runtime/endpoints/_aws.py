"""What the services share: AWS's errors, and reading a request."""

from __future__ import annotations

import asyncio
import json
import re
from html import escape
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response

from edge_runtime.clock import SystemClock, new_id
from edge_runtime.endpoints._backend import Backend, Who
from edge_runtime.errors import DeniedError, EdgeError, LimitError, NotFoundError, QueueFullError

JSON = "application/json"
_CREDENTIAL = re.compile(r"^AWS4-[A-Z0-9-]+ .*?Credential=[^/,\s]+/\d{8}/([^/,\s]*)/([^/,\s]+)/aws4_request")
_DRAIN_BYTES = 16 << 20


class ApiError(Exception):
    """An error as AWS answers it. `more` are further fields of its body."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.more = more

    def response(self, service: str = "") -> Response:
        """Return the answer, in the language of the service that the client has signed for."""
        text, number = str(self), request_id()
        headers = {"x-amzn-errortype": self.code, "x-amzn-requestid": number}
        if service in _XML:
            inner = f"<Code>{escape(self.code)}</Code><Message>{escape(text)}</Message>"
            error = f"<Error>{inner}</Error>"
            body = (
                error if service == "s3" else f"<ErrorResponse>{error}<RequestId>{number}</RequestId></ErrorResponse>"
            )
            return Response(body, self.status, headers, "text/xml")
        kind = "User" if self.status < 500 else "Service"  # noqa: PLR2004 - HTTP's classes
        # SDKs read one or the other, by the service.
        fields = {"Type": kind, "__type": self.code, "message": text, "Message": text, **self.more}
        return Response(json.dumps(fields), self.status, headers, JSON)


_XML = {"s3", "sts", "iam", "sns", "ec2", "rds", "autoscaling", "cloudformation", "elasticloadbalancing", "ses"}
"""The services whose SDKs cannot read an error in JSON."""


def request_id() -> str:
    """Return an id for a request."""
    return new_id(SystemClock().now())


def signed_for(request: Request) -> tuple[str, str]:
    """Return the region and the service in the credential scope of a SigV4 signature, empty texts without one."""
    found = _CREDENTIAL.match(request.headers.get("authorization", ""))
    return (found[1], found[2]) if found else ("", "")


def backend_of(request: Request) -> Backend:
    """Return the host."""
    backend: Backend = request.scope["edge.backend"]
    return backend


def who_asks(request: Request) -> Who:
    """Return who asks: the application has looked it up by the token."""
    who: Who = request.scope["edge.who"]
    return who


def raw_segment(request: Request, before: str, after: str = "") -> str:
    """Return what stands between two parts of the path, decoded once from the bytes that came.

    Raises: ApiError when it is not UTF-8.
    """
    raw = bytes(request.scope["raw_path"])
    inner = raw[len(before) : len(raw) - len(after)]
    try:
        return unquote_to_bytes(inner).decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, "InvalidRequestException", "the path is not valid UTF-8") from None


async def body_of(request: Request, most: int, too_large: ApiError) -> bytes:
    """Return the body of a request.

    Raises: `too_large` for one of more than `most` bytes, before it is held in memory; ApiError for one that does not
    come in time or breaks off.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(request.scope["edge.patience_s"]):
            while (chunk := await _chunk(request)) is not None:
                body += chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise ApiError(408, "RequestTimeoutException", "the body did not come in time") from None
    return bytes(body)


async def drain(request: Request) -> None:
    """Let go of what is left of the body: a client that still sends may lose the answer otherwise."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(min(5.0, request.scope["edge.patience_s"])):
            while left > 0 and (chunk := await _chunk(request)) is not None:
                left -= len(chunk)
    except TimeoutError:
        return  # then it loses it


async def _chunk(request: Request) -> bytes | None:
    """Return a further part of the body, None after the last one. Raises: ApiError when the client goes away."""
    if request.scope.get("edge.whole"):
        return None
    message = await request.receive()
    if message["type"] != "http.request":
        request.scope["edge.whole"] = True
        raise ApiError(400, "InvalidRequestException", "the client went away within the body")
    request.scope["edge.whole"] = not message.get("more_body", False)
    return bytes(message.get("body", b""))


def refuse(error: EdgeError, *, denied: str, invalid: str, busy: str) -> NoReturn:
    """Raise an error of ours as AWS's; the names are those that the service uses.

    Raises: ApiError.
    """
    text = f"{error} ({error.hint})" if error.hint else str(error)
    if isinstance(error, DeniedError):
        raise ApiError(403, denied, text) from error
    if isinstance(error, NotFoundError):
        raise ApiError(404, "ResourceNotFoundException", text) from error
    if isinstance(error, LimitError):
        raise ApiError(400, invalid, text) from error
    if isinstance(error, QueueFullError):
        raise ApiError(429, busy, text) from error
    raise ApiError(503, "ServiceUnavailableException", text) from error
