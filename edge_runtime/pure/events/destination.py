"""The record that a function's failure destination gets, in the shape of AWS Lambda's."""

from __future__ import annotations

import json

from edge_runtime.pure.events.iso import micros


def failure_record(
    name: str, request_id: str, request: bytes | None, response: bytes | None, *, invocations: int, wall_ns: int
) -> bytes:
    """Return compact JSON for an event that function `name` gave up after so many invocations, at time `wall_ns`.

    `request` is the event and `response` the error object; each stands as it is where it is JSON, else as a text, and
    as null where it is None. Source of the shape: AWS Lambda developer guide, "Retaining records of asynchronous
    invocations".
    """
    head = {
        "version": "1.0",
        "timestamp": f"{micros(wall_ns)[:-4]}Z",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"arn:aws:lambda:local:000000000000:function:{name}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": invocations,
        },
    }
    start = json.dumps(head, separators=(",", ":")).encode().removesuffix(b"}")
    answered = b'"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"}'
    return b'%b,"requestPayload":%b,%b,"responsePayload":%b}' % (start, _value(request), answered, _value(response))


def _value(payload: bytes | None) -> bytes:
    """Return JSON for a payload. It is not built anew: what can be read may be nested too deeply to be written."""
    if payload is None:
        return b"null"
    try:
        json.loads(payload.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return json.dumps(payload.decode("utf-8", "replace")).encode()
    return payload


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no JSON")
