"""The door to all services: who may come in, which of them is meant, and what becomes of errors.

The SigV4 signature itself is not verified: its secret is no secret between processes of one machine, and the token,
which only the asking worker (or the owner of the state folder) has, says more than a signature could.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from edge_runtime import plugin
from edge_runtime.endpoints._aws import ApiError, drain, signed_for
from edge_runtime.endpoints._backend import AS, Backend

_log = logging.getLogger(__name__)
_BARE = "/credentials/"
"""What is asked for with the token itself, and not with a signature."""


class Application:
    """An ASGI application of all services there are."""

    def __init__(self, backend: Backend, port: int, patience_s: float) -> None:
        self._backend = backend
        self._patience_s = patience_s
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        modules = [plugin.load("endpoints", name) for name in plugin.names("endpoints")]
        self._names = sorted({str(module.SIGNING_NAME) for module in modules if module.SIGNING_NAME})
        self._routes: list[Route] = [route for module in modules for route in module.routes()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["edge.backend"], scope["edge.patience_s"] = self._backend, self._patience_s
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ApiError as error:
            with contextlib.suppress(ApiError):  # it went away: nobody reads the answer
                await drain(request)
            response = error.response(signed_for(request)[1])
        except asyncio.CancelledError:  # the host ends, and with it this task
            response = ApiError(503, "ServiceUnavailableException", "the host is stopping").response()
        except Exception:  # noqa: BLE001 - one mistake must not end the host; it is logged, and the client hears of it
            _log.exception("%s %s failed", request.method, request.scope["path"])
            response = ApiError(500, "InternalFailureException", "the host failed; its log says why").response()
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        self._check_place(request.headers.getlist("host"), request.headers)
        self._check_token(request)
        _, service = signed_for(request)
        if service and service not in self._names:
            raise ApiError(
                501,
                "NotImplemented",
                f"service {service} is not served here: this is an edge host, which serves {', '.join(self._names)}; "
                "unset AWS_ENDPOINT_URL to reach AWS itself",
            )
        return await self._route(request)

    def _check_place(self, hosts: list[str], headers: Mapping[str, str]) -> None:
        # A name that somebody else's server resolves to loopback, or a page in a browser, must not get in.
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            raise ApiError(403, "ForbiddenException", f"the Host header is none of {', '.join(sorted(self._hosts))}")
        if "origin" in headers:
            raise ApiError(403, "ForbiddenException", "web pages may not use this endpoint")

    def _check_token(self, request: Request) -> None:
        token = _taken_off_path(request.scope)
        if not token:
            bare = request.scope["path"].startswith(_BARE)
            token = request.headers.get("authorization" if bare else "x-amz-security-token", "")
        if not token:
            raise ApiError(
                403,
                "MissingAuthenticationTokenException",
                "there is no session token: use the credentials of the host (outside of a function: edge token)",
            )
        who = self._backend.who(token)
        if who is None:
            raise ApiError(
                403,
                "UnrecognizedClientException",
                "The security token included in the request is invalid: it is none that this host gave (edge token)",
            )
        request.scope["edge.who"], request.scope["edge.token"] = who, token

    async def _route(self, request: Request) -> Response:
        partial = False
        for route in self._routes:
            match, more = route.matches(request.scope)
            if match is Match.FULL:
                request.scope.update(more)
                endpoint: Any = route.endpoint
                response: Response = await endpoint(request)
                return response
            partial = partial or match is Match.PARTIAL
        if partial:
            raise ApiError(405, "MethodNotAllowedException", f"{request.method} is not allowed there")
        raise ApiError(404, "UnknownOperationException", "this operation is not served here")


def _taken_off_path(scope: Scope) -> str:
    """Return the token at the beginning of the path, empty without one, and leave in the path what comes after it."""
    if not scope["path"].startswith(AS):
        return ""
    token, _, rest = scope["path"].removeprefix(AS).partition("/")
    raw = bytes(scope["raw_path"]).removeprefix(AS.encode())
    scope["path"], scope["raw_path"] = f"/{rest}", b"/" + raw.partition(b"/")[2]
    return str(token)
