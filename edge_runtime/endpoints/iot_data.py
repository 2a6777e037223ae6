"""AWS IoT data plane: `Publish` emits on the local bus, with AWS's limits; the shadows have their place.

A published event is durable when the call returns, whatever its QoS. It is not retained: `retain` only means something
to a broker. MQTT 5 user properties become headers of the event. Source: AWS IoT data plane API reference, and "AWS IoT
Core endpoints and quotas".
"""

from __future__ import annotations

import base64
import binascii
import json
import logging

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_runtime.endpoints._aws import JSON, ApiError, backend_of, body_of, raw_segment, refuse, request_id, who_asks
from edge_runtime.errors import EdgeError
from edge_runtime.pure.quotas import PAYLOAD_BYTES, check_publish

SIGNING_NAME = "iotdata"
SHADOW_BYTES = 8 << 10
_PROPERTIES_BYTES = 8 << 10
_INVALID = "InvalidRequestException"
_log = logging.getLogger(__name__)


def routes() -> list[Route]:
    """Return the routes of this service."""
    return [
        Route("/topics/{topic:path}", _publish, methods=["POST"]),
        Route("/things/{thing}/shadow", _shadow, methods=["GET", "POST", "DELETE"]),
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
    """Refuse: there are no shadows."""
    if request.method == "POST":
        limit = f"a shadow document has at most {SHADOW_BYTES} bytes"
        await body_of(request, SHADOW_BYTES, ApiError(413, "RequestEntityTooLargeException", limit))
    thing = request.path_params["thing"]
    if request.method == "POST":
        raise ApiError(501, "NotImplemented", f"shadows are not kept here: that of thing {thing!r} cannot be updated")
    # What code meets in AWS before a shadow was first written, and so is prepared for.
    raise ApiError(404, "ResourceNotFoundException", f"No shadow exists with name: '{thing}'")
