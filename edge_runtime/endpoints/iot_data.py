"""AWS IoT data plane: `Publish` emits on the local bus, with AWS's limits; the shadows of the host's thing.

A published event is durable when the call returns, whatever its QoS. It is not retained: `retain` only means something
to a broker. MQTT 5 user properties become headers of the event. Source: AWS IoT data plane API reference, and "AWS IoT
Core endpoints and quotas".
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_runtime.endpoints._aws import JSON, ApiError, backend_of, body_of, raw_segment, refuse, request_id, who_asks
from edge_runtime.errors import EdgeError
from edge_runtime.pure.quotas import PAYLOAD_BYTES, check_publish
from edge_runtime.pure.shadow import Rejected

SIGNING_NAME = "iotdata"
_METHODS = {"GET": "get", "POST": "update", "DELETE": "delete"}
_ERRORS = {
    403: "ForbiddenException",
    404: "ResourceNotFoundException",
    409: "ConflictException",
    413: "RequestEntityTooLargeException",
    415: "UnsupportedDocumentEncodingException",
}
"""AWS IoT data plane API reference, errors of UpdateThingShadow."""
_PROPERTIES_BYTES = 8 << 10
_INVALID = "InvalidRequestException"
_log = logging.getLogger(__name__)


def routes() -> list[Route]:
    """Return the routes of this service."""
    return [
        Route("/topics/{topic:path}", _publish, methods=["POST"]),
        Route("/things/{thing}/shadow", _shadow, methods=["GET", "POST", "DELETE"]),
        Route("/api/things/shadow/ListNamedShadowsForThing/{thing}", _names, methods=["GET"]),
    ]


async def _publish(request: Request) -> Response:
    topic = raw_segment(request, "/topics/")
    if request.query_params.get("qos", "0") not in ("0", "1"):
        raise ApiError(400, _INVALID, f"qos is 0 or 1, not {request.query_params['qos']!r}")
    limit = f"the payload for {topic!r} has too many bytes; AWS IoT Core allows {PAYLOAD_BYTES}"
    payload = await body_of(request, PAYLOAD_BYTES, ApiError(413, "RequestEntityTooLargeException", limit))
    properties = _properties(request.headers.get("x-amz-mqtt5-user-properties", ""))
    if request.query_params.get("retain") == "true":
        _log.debug("topic %r: nothing is retained here", topic)
    try:
        check_publish(topic, len(payload))
        await backend_of(request).publish(who_asks(request), topic, payload, properties)
    except EdgeError as error:
        refuse(error, denied="ForbiddenException", invalid=_INVALID, busy="ThrottlingException")
    # The service answers with these two fields, though its model knows no output.
    number = request_id()
    return Response(json.dumps({"message": "OK", "traceId": number}), 200, {"x-amzn-requestid": number}, JSON)


def _properties(header: str) -> dict[str, str]:
    """Return MQTT 5 user properties: base64 of a JSON list of objects with one text each."""
    if not header:
        return {}
    if len(header) > _PROPERTIES_BYTES:
        raise ApiError(400, _INVALID, f"userProperties has more than {_PROPERTIES_BYTES} bytes")
    try:
        found = json.loads(base64.b64decode(header, validate=True))
        if isinstance(found, str):  # the AWS SDK for Python encodes the text that it was given once more
            found = json.loads(found)
        pairs = [pair for one in found for pair in one.items()]
    except (ValueError, binascii.Error, TypeError, AttributeError, RecursionError):
        raise ApiError(400, _INVALID, "userProperties is no base64 of a JSON list of objects") from None
    if not all(isinstance(value, str) for _, value in pairs):
        raise ApiError(400, _INVALID, "userProperties holds a value that is no text")
    return {key: value for key, value in pairs if not key.startswith("edge-")}


async def _shadow(request: Request) -> Response:
    """GetThingShadow, UpdateThingShadow and DeleteThingShadow, with `?name=` of a named one."""
    _own_thing(request)
    body = b""
    if request.method == "POST":
        limit = f"a request about a shadow has at most {PAYLOAD_BYTES} bytes"
        body = await body_of(request, PAYLOAD_BYTES, ApiError(413, "RequestEntityTooLargeException", limit))
    name = request.query_params.get("name", "")
    try:
        answer = await backend_of(request).shadow(who_asks(request), _METHODS[request.method], name, body)
    except EdgeError as error:
        refuse(error, denied="UnauthorizedException", invalid=_INVALID, busy="ThrottlingException")
    if isinstance(answer, Rejected):
        raise ApiError(answer.code, _ERRORS.get(answer.code, _INVALID), answer.message)
    return Response(answer.payload, 200, {"x-amzn-requestid": request_id()}, JSON)


async def _names(request: Request) -> Response:
    """ListNamedShadowsForThing."""
    _own_thing(request)
    asked = request.query_params.get("pageSize", "25")
    if not asked.isdecimal():
        raise ApiError(400, _INVALID, f"pageSize is a number, not {asked!r}")
    try:
        after = request.query_params.get("nextToken", "")
        names, after = await backend_of(request).shadow_names(who_asks(request), after, int(asked))
    except EdgeError as error:
        refuse(error, denied="UnauthorizedException", invalid=_INVALID, busy="ThrottlingException")
    found = {"results": list(names), "timestamp": int(time.time()), **({"nextToken": after} if after else {})}
    return Response(json.dumps(found), 200, {"x-amzn-requestid": request_id()}, JSON)


def _own_thing(request: Request) -> None:
    thing, own = request.path_params["thing"], backend_of(request).thing
    if thing != own:
        text = f"No shadow exists with name: '{thing}': this host keeps the shadows of thing {own!r}"
        raise ApiError(404, "ResourceNotFoundException", text)
