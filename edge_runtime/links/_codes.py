"""MQTT reason codes and what follows from them: try again, or never again (MQTT 5.0 section 2.4)."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.errors import LimitError, LinkError, RefusedError
from edge_runtime.pure.topics import check_topic

FAILURE = 0x80
"""Codes from here on say no; 0x10, no matching subscribers, is a yes."""
NOT_AUTHORIZED = 0x87
TAKEN_OVER = 0x8E
BAD_FILTER = 0x8F
BAD_TOPIC = 0x90
TOO_LARGE = 0x95
BAD_PAYLOAD = 0x99

FILTERS_PER_SUBSCRIBE = 8
"""AWS IoT Core takes no more in one SUBSCRIBE packet; no broker minds fewer."""

_NEVER_AGAIN = frozenset({NOT_AUTHORIZED, BAD_TOPIC, TOO_LARGE, BAD_PAYLOAD})
"""What the same message would meet again. Everything else may pass: a quota, a busy or a failing broker."""

_BLAMES = frozenset({FAILURE, 0x81, 0x82, 0x83, NOT_AUTHORIZED, BAD_TOPIC, 0x94, TOO_LARGE, BAD_PAYLOAD, 0x9A, 0x9B})
"""A DISCONNECT with one of these may be for what the client has just sent."""

_TEXT = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "this version of MQTT is not supported",
    0x85: "the client id is not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep-alive timeout",
    0x8E: "session taken over",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x93: "receive maximum exceeded",
    0x94: "topic alias invalid",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9E: "shared subscriptions not supported",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}

_CONNECT_HINT = {
    0x84: "set `version` to the one that the broker speaks, or use the paho link with `version: 3.1.1`",
    0x85: "check `client_id`",
    0x86: "check `username` and `password`",
    0x87: "the policy of the certificate must allow iot:Connect for this client id; check also that the certificate is"
    " active",
}
_END_HINT = {
    0x8D: "the broker heard nothing for 1.5 x keep_alive_s; the network may have stalled",
    0x8E: "another connection uses the same client_id; each device needs its own",
    0x87: "let a policy of the certificate allow it, or take it out of `up` or `down`; check also that the certificate"
    " is active",
}


def describe(code: int) -> str:
    """Return the code as the specification names it, with its number."""
    return f"{_TEXT.get(code, 'unknown reason')} (0x{code:02X})"


def connect_error(where: str, code: int, text: str = "") -> LinkError:
    """Return the error for a CONNACK that refuses. Always worth another try: a policy can be mended meanwhile."""
    message = f"{where} refused the connection: {describe(code)}{_said(text)}"
    return LinkError(message, hint=_CONNECT_HINT.get(code, ""), answered=True)


def puback_error(topic: str, code: int, text: str = "") -> LinkError | None:
    """Return what a PUBACK means: None for success, RefusedError for never again, LinkError for another try."""
    if code < FAILURE:
        return None
    message = f"the broker refused the publish on {topic!r}: {describe(code)}{_said(text)}"
    if code not in _NEVER_AGAIN:
        return LinkError(message)
    hint = "the policy must allow iot:Publish on this topic" if code == NOT_AUTHORIZED else ""
    return RefusedError(message, code=code, hint=hint)


def suback_error(filters: Sequence[str], codes: Sequence[int], text: str = "") -> LinkError | None:
    """Return what a SUBACK means: None when all was granted, else RefusedError for the first that was not."""
    for topic_filter, code in zip(filters, codes, strict=False):
        if code >= FAILURE:
            return RefusedError(
                f"the broker refused the subscription to {topic_filter!r}: {describe(code)}{_said(text)}",
                code=code,
                hint="the policy must allow iot:Subscribe and iot:Receive for this filter; see `down` in the app file",
            )
    if len(codes) != len(filters):
        return LinkError(f"the broker answered {len(codes)} of {len(filters)} subscriptions")
    return None


def topic_error(topic: str) -> RefusedError | None:
    """Return why nobody can publish on `topic`, or None."""
    try:
        check_topic(topic)
    except LimitError as error:
        return RefusedError(f"{topic[:80]!r} cannot be published on: {error}", code=BAD_TOPIC)
    return None


def too_large(topic: str, size: int, most: int) -> RefusedError:
    """Return the error for a message that the broker has said it would not take."""
    return RefusedError(
        f"the message on {topic!r} has {size} bytes; the broker takes {most}",
        code=TOO_LARGE,
        hint="send less at a time, or put the data into S3 and publish its key",
    )


def end_error(where: str, code: int, text: str = "") -> LinkError:
    """Return the error for a DISCONNECT from the broker."""
    message = f"{where} ended the connection: {describe(code)}{_said(text)}"
    return LinkError(message, hint=_END_HINT.get(code, ""), answered=True, hung_up=code in _BLAMES)


def _said(text: str) -> str:
    return f"; it said {text!r}" if text else ""
