"""AWS Lambda's `Invoke`, `ListFunctions` and `GetFunction`. Source: AWS Lambda API reference.

A synchronous invocation is refused with 429 when all workers of the function are busy; an asynchronous one is on disk
when it is answered with 202.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_runtime.endpoints import _names as names
from edge_runtime.endpoints._aws import (
    JSON,
    ApiError,
    backend_of,
    body_of,
    raw_segment,
    refuse,
    request_id,
    signed_for,
    who_asks,
)
from edge_runtime.errors import EdgeError, LimitError
from edge_runtime.model import Result

SIGNING_NAME = "lambda"
SYNC_BYTES = 6_291_556
"""The most bytes of a synchronous invocation, as AWS counts them."""
CONTEXT_BYTES = 3583
"""The most bytes of a client context in base64."""
LOG_BYTES = 4096
_BASE = "/2015-03-31/functions"
_INVOCATIONS = "/invocations"
_IN_THREAD_BYTES = 256 << 10
_INVALID = "InvalidParameterValueException"
_BAD_BODY = "InvalidRequestContentException"
_THROTTLED = "TooManyRequestsException"


def routes() -> list[Route]:
    """Return the routes of this service."""
    return [
        Route(f"{_BASE}/{{name}}{_INVOCATIONS}", _invoke, methods=["POST"]),
        Route(_BASE, _list, methods=["GET"]),
        Route(f"{_BASE}/", _list, methods=["GET"]),
        Route(f"{_BASE}/{{name}}", _get, methods=["GET"]),
        Route(f"{_BASE}/{{name}}/configuration", _get_configuration, methods=["GET"]),
    ]


# -- Invoke --------------------------------------------------------------------------------------------------------


async def _invoke(request: Request) -> Response:
    name = _meant(request, _INVOCATIONS)
    kind = request.headers.get("x-amz-invocation-type", "RequestResponse")
    tail = request.headers.get("x-amz-log-type", "None")
    if kind not in ("RequestResponse", "Event", "DryRun"):
        raise ApiError(400, _INVALID, f"the invocation type is RequestResponse, Event or DryRun, not {kind!r}")
    if tail not in ("None", "Tail"):
        raise ApiError(400, _INVALID, f"the log type is None or Tail, not {tail!r}")
    client_context = _client_context(request.headers.get("x-amz-client-context", ""))
    payload = await _payload(request, name)
    if kind == "DryRun":
        return Response(status_code=204, headers=_headers(request_id()))
    if kind == "Event":
        return await _begin(request, name, payload, client_context)
    context: dict[str, object] = {"invoked_function_arn": names.arn(name, signed_for(request)[0])}
    if client_context:
        context["client_context"] = client_context
    try:
        number, result = await backend_of(request).call(who_asks(request), name, payload, context)
    except EdgeError as error:
        refuse(error, denied="AccessDeniedException", invalid="RecursiveInvocationException", busy=_THROTTLED)
    return _answer(number, result, tail=tail == "Tail")


async def _begin(request: Request, name: str, payload: bytes, client_context: str) -> Response:
    try:
        number = await backend_of(request).begin(who_asks(request), name, payload, client_context)
    except LimitError as error:
        raise ApiError(413, "RequestTooLargeException", str(error)) from error
    except EdgeError as error:
        refuse(error, denied="AccessDeniedException", invalid=_INVALID, busy=_THROTTLED)
    return Response(status_code=202, headers=_headers(number))


def _answer(number: str, result: Result, *, tail: bool) -> Response:
    if result.error == _THROTTLED and not result.log:  # no handler ran
        reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
        raise ApiError(429, _THROTTLED, "Rate Exceeded.", Reason=reason)
    headers = _headers(number)
    if result.error:
        headers["x-amz-function-error"] = "Unhandled"
    if tail:
        headers["x-amz-log-result"] = base64.b64encode(result.log.encode()[-LOG_BYTES:]).decode()
    return Response(result.payload, 200, headers, JSON)


def _headers(number: str) -> dict[str, str]:
    return {"x-amzn-requestid": number, "x-amz-executed-version": names.VERSION}


def _meant(request: Request, after: str = "") -> str:
    """Return the name of the function in the path, which exists and may be used by whoever asks."""
    try:
        name = names.parse(raw_segment(request, f"{_BASE}/", after), request.query_params.get("Qualifier"))
    except ValueError as error:
        raise ApiError(400, _INVALID, str(error)) from error
    backend, region = backend_of(request), signed_for(request)[0]
    # Who may not invoke it need not learn whether it exists.
    if not backend.may_invoke(who_asks(request), name):
        function = who_asks(request).function
        text = f"function {function.name if function else ''!r} may not invoke function {name!r}"
        raise ApiError(403, "AccessDeniedException", f"{text} (its allow: {{invoke: [...]}} in the app file does)")
    if name not in backend.functions:
        raise ApiError(404, "ResourceNotFoundException", f"Function not found: {names.arn(name, region)}")
    return name


def _client_context(header: str) -> str:
    """Return the client context as JSON, empty when there is none."""
    if not header:
        return ""
    if len(header) > CONTEXT_BYTES:
        raise ApiError(400, _BAD_BODY, f"the client context has {len(header)} bytes; AWS Lambda allows {CONTEXT_BYTES}")
    try:
        text = base64.b64decode(header, validate=True).decode("utf-8")
        sound = isinstance(json.loads(text), dict)
    except (ValueError, binascii.Error, RecursionError):
        sound = False
    if not sound:
        raise ApiError(400, _BAD_BODY, "Client context must be a valid Base64-encoded JSON object.")
    return text


async def _payload(request: Request, name: str) -> bytes:
    """Return the event: JSON unless the function takes bytes; nothing at all is an empty object, as in AWS."""
    limit = f"Request must be smaller than {SYNC_BYTES} bytes for the InvokeFunction operation"
    payload = await body_of(request, SYNC_BYTES, ApiError(413, "RequestTooLargeException", limit))
    if backend_of(request).functions[name].binary:
        return payload
    if not payload.strip():
        return b"{}"
    try:
        if len(payload) > _IN_THREAD_BYTES:
            await asyncio.to_thread(json.loads, payload)
        else:
            json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, _BAD_BODY, f"Could not parse request body into json: {error}") from error
    return payload


# -- what there is -------------------------------------------------------------------------------------------------


async def _list(request: Request) -> Response:
    backend, who, region = backend_of(request), who_asks(request), signed_for(request)[0]
    most, marker = request.query_params.get("MaxItems", "10000"), request.query_params.get("Marker", "")
    if not most.isascii() or not most.isdigit() or not 0 < int(most) <= 10_000:  # noqa: PLR2004 - AWS's limit
        raise ApiError(400, _INVALID, f"MaxItems is a number from 1 to 10000, not {most!r}")
    left = [name for name in sorted(backend.functions) if name > marker and backend.may_invoke(who, name)]
    shown = left[: int(most)]
    body: dict[str, object] = {
        "Functions": [names.configuration(backend.functions[name], region) for name in shown],
        "NextMarker": shown[-1] if len(shown) < len(left) else None,
    }
    return Response(json.dumps(body), 200, {"x-amzn-requestid": request_id()}, JSON)


async def _get(request: Request) -> Response:
    function = backend_of(request).functions[_meant(request)]
    body: dict[str, object] = {"Configuration": names.configuration(function, signed_for(request)[0])}
    body["Concurrency"] = {"ReservedConcurrentExecutions": function.concurrency}
    return Response(json.dumps(body), 200, {"x-amzn-requestid": request_id()}, JSON)


async def _get_configuration(request: Request) -> Response:
    function = backend_of(request).functions[_meant(request, "/configuration")]
    body = names.configuration(function, signed_for(request)[0])
    return Response(json.dumps(body), 200, {"x-amzn-requestid": request_id()}, JSON)
