"""Credentials of a function, as the container credential provider of the AWS SDKs asks for them.

`GET /credentials/<function>` with the worker's token as `Authorization`. Whoever may ask is always answered with 200:
a failure here lets `boto3.client` itself fail, and with it the import of most handlers. Source: AWS SDKs and Tools
reference guide, "Container credential provider".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_runtime.endpoints._aws import JSON, ApiError, backend_of, who_asks

SIGNING_NAME = ""
"""Nobody signs for it."""


def routes() -> list[Route]:
    """Return the routes of this service."""
    return [Route("/credentials/{name}", _get, methods=["GET"])]


async def _get(request: Request) -> Response:
    who, name = who_asks(request), request.path_params["name"]
    if who.function is not None and who.function.name != name:
        raise ApiError(403, "AccessDeniedException", f"the token is not that of function {name!r}")
    keys = await backend_of(request).keys(who, request.scope["edge.token"])
    body = {
        "AccessKeyId": keys.access_key,
        "SecretAccessKey": keys.secret_key,
        "Token": keys.token,
        "Expiration": datetime.fromtimestamp(keys.expires_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return Response(json.dumps(body), 200, {"cache-control": "no-store"}, JSON)
