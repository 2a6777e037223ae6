"""The record that a function's destination gets of an asynchronous invocation, in the shape of AWS Lambda's."""

from __future__ import annotations

import json
from typing import NamedTuple

from edge_runtime.pure.events.iso import micros

SUCCESS = "Success"
EXHAUSTED = "RetriesExhausted"
TOO_OLD = "EventAgeExceeded"


class Outcome(NamedTuple):
    """What became of an event."""

    condition: str
    """`Success`, `RetriesExhausted` or `EventAgeExceeded`."""
    invocations: int
    status: int = 200
    """What a synchronous caller would have got: 200 when the handler ran, whatever came of it."""
    fault: bool = False
    """The handler failed."""


def invocation_record(
    name: str, request_id: str, request: bytes | None, response: bytes | None, *, outcome: Outcome, wall_ns: int
) -> bytes:
    """Return compact JSON for what became of an event of function `name`, at time `wall_ns`.

    `request` is the event and `response` the reply or the error object; each stands as it is where it is JSON, else as
    a text, and as null where it is None. Source of the shape: AWS Lambda developer guide, "Retaining records of
    asynchronous invocations".
    """
    head = {
        "version": "1.0",
        "timestamp": f"{micros(wall_ns)[:-4]}Z",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"arn:aws:lambda:local:000000000000:function:{name}:$LATEST",
            "condition": outcome.condition,
            "approximateInvokeCount": outcome.invocations,
        },
    }
    answered: dict[str, object] = {"statusCode": outcome.status, "executedVersion": "$LATEST"}
    if outcome.fault:
        answered["functionError"] = "Unhandled"
    return b'%b,"requestPayload":%b,"responseContext":%b,"responsePayload":%b}' % (
        _dump(head).removesuffix(b"}"),
        _value(request),
        _dump(answered),
        _value(response),
    )


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


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
