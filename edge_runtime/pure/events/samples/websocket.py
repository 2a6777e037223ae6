"""Events of a WebSocket API of Amazon API Gateway.

Source of the shape: Amazon API Gateway developer guide, "Set up a route using AWS Lambda" and "Route selection"
(WebSocket APIs).
"""

from __future__ import annotations

from typing import Any

from edge_runtime.pure.events.samples._parts import EPOCH_S, REGION

_API = "abcdef1234"
_DOMAIN = f"{_API}.execute-api.{REGION}.amazonaws.com"


def connect(*, connection: str = "d3xmplQWoAMCE1A=") -> dict[str, Any]:
    """Return the event of a client that connects; a status other than 200 refuses it."""
    headers = {"Host": _DOMAIN, "Sec-WebSocket-Version": "13", "X-Forwarded-For": "192.0.2.1"}
    many = {name: [value] for name, value in headers.items()}
    return {"headers": headers, "multiValueHeaders": many, **_event("CONNECT", "$connect", connection)}


def message(
    *, connection: str = "d3xmplQWoAMCE1A=", body: str = '{"action": "hello"}', route: str = "$default"
) -> dict[str, Any]:
    """Return the event of a message that a client has sent."""
    event = _event("MESSAGE", route, connection)
    event["requestContext"]["messageId"] = "d4xmpl8ZoAMCE1A="
    return {**event, "body": body}


def disconnect(*, connection: str = "d3xmplQWoAMCE1A=", code: int = 1000, reason: str = "") -> dict[str, Any]:
    """Return the event of a client that has gone."""
    event = _event("DISCONNECT", "$disconnect", connection)
    event["requestContext"] |= {"disconnectStatusCode": code, "disconnectReason": reason}
    return event


def _event(kind: str, route: str, connection: str) -> dict[str, Any]:
    context = {
        "routeKey": route,
        "eventType": kind,
        "extendedRequestId": "d3xmplFuoAMFsdw=",
        "requestTime": "21/Sep/2026:10:15:30 +0000",
        "messageDirection": "IN",
        "stage": "prod",
        "connectedAt": EPOCH_S * 1000,
        "requestTimeEpoch": EPOCH_S * 1000 + 5,
        "identity": {"sourceIp": "192.0.2.1", "userAgent": "example/1.0"},
        "requestId": "d3xmplFuoAMFsdw=",
        "domainName": _DOMAIN,
        "connectionId": connection,
        "apiId": _API,
    }
    return {"requestContext": context, "isBase64Encoded": False}
