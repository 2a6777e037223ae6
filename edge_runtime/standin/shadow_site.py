"""Shadows over HTTP, as boto3's `iot-data` asks for them: AWS IoT data plane API Reference, `GetThingShadow` etc."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import Final

from edge_runtime.pure.shadow import Rejected
from edge_runtime.standin.data import DataPlane
from edge_runtime.standin.services.shadows import CLASSIC, Shadows
from edge_runtime.standin.web import Request, Response, failure, reply

_ONE: Final = re.compile(r"/things/([^/]+)/shadow", re.DOTALL)
_ALL: Final = re.compile(r"/api/things/shadow/ListNamedShadowsForThing/([^/]+)", re.DOTALL)
_METHODS: Final = {"GET": "get", "POST": "update", "DELETE": "delete"}
_ERRORS: Final = {
    403: "ForbiddenException",
    404: "ResourceNotFoundException",
    409: "ConflictException",
    413: "RequestEntityTooLargeException",
    415: "UnsupportedDocumentEncodingException",
    429: "ThrottlingException",
}


class ShadowSite:
    """One of the `DataPlane.sites`."""

    def __init__(self, data: DataPlane, shadows: Shadows) -> None:
        self._data = data
        self._shadows = shadows

    async def answer(self, request: Request) -> Response | None:
        """Answer a request about shadows; None: it is about something else."""
        if (found := _ONE.fullmatch(request.path)) is not None and request.method in _METHODS:
            return self._one(request, found[1])
        if (found := _ALL.fullmatch(request.path)) is not None and request.method == "GET":
            return self._all(request, found[1])
        return None

    def _one(self, request: Request, thing: str) -> Response:
        name, method = request.query.get("name", CLASSIC), _METHODS[request.method]
        resource = f"thing/{thing}/{name}" if name else f"thing/{thing}"
        if not self._data.may(request, f"iot:{method.capitalize()}ThingShadow", resource):
            return failure(HTTPStatus.FORBIDDEN, _ERRORS[403], "Forbidden")
        answer = self._shadows.ask(thing, name, method, request.body)
        if isinstance(answer, Rejected):
            return failure(answer.code, _ERRORS.get(answer.code, "InvalidRequestException"), answer.message)
        return Response(HTTPStatus.OK, answer.payload, {"Content-Type": "application/json"})

    def _all(self, request: Request, thing: str) -> Response:
        if not self._data.may(request, "iot:ListNamedShadowsForThing", f"thing/{thing}"):
            return failure(HTTPStatus.FORBIDDEN, _ERRORS[403], "Forbidden")
        names = [name for name in self._shadows.names(thing) if name != CLASSIC]
        return reply(HTTPStatus.OK, {"results": names, "timestamp": int(time.time())})
