"""awscrt's errors in plain words. Imports awscrt: only for those who have imported it anyway."""

from __future__ import annotations

import re

from awscrt import exceptions

from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.links import _codes, _words

_WORDS = {
    "AWS_IO_SOCKET_CONNECTION_REFUSED": _words.refused,
    "AWS_IO_SOCKET_TIMEOUT": _words.silent,
    "AWS_ERROR_MQTT5_CONNACK_TIMEOUT": _words.silent,
    "AWS_ERROR_MQTT5_PING_RESPONSE_TIMEOUT": _words.stalled,
}
_TLS = {
    "AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE": f"the handshake did not succeed; {_words.CLOCK_HINT}",
    "AWS_IO_TLS_ERROR_READ_FAILURE": "the broker broke off the handshake",
}
_CLOSED = ("AWS_IO_SOCKET_CLOSED", "AWS_IO_TLS_ERROR_WRITE_FAILURE")
_NO_MQTT = ("AWS_ERROR_MQTT5_DECODE_PROTOCOL_ERROR", "AWS_ERROR_MQTT5_PROTOCOL_ERROR")


def explain(where: str, error: BaseException, *, begun: bool = False) -> LinkError:
    """Return the LinkError for an error of the library; `begun`: the connection stood."""
    name = _name(error)
    if name in _CLOSED:
        lost = _words.closed(where, begun=begun)
    elif name in _WORDS:
        lost = _WORDS[name](where)
    elif name.startswith("AWS_IO_DNS"):
        lost = _words.unresolved(where)
    elif name in _TLS:
        lost = _words.tls_failed(where, _TLS[name])
    else:
        lost = LinkError(f"{where}: {error or name}", answered=name in _NO_MQTT)
    lost.__cause__ = error
    return lost


def is_vague(error: BaseException) -> bool:
    """Tell whether a connection failed so that it may be for TLS, and the library does not say why."""
    return _name(error) in {"AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE", *_CLOSED}


def explain_publish(where: str, topic: str, error: BaseException) -> LinkError:
    """Return the error for a publish that the library did not take or did not see acknowledged."""
    name = _name(error)
    if name in ("AWS_ERROR_MQTT5_PUBLISH_OPTIONS_VALIDATION", "AWS_ERROR_MQTT5_INVALID_UTF8_STRING"):
        bad = _codes.topic_error(topic)
        return bad or RefusedError(f"the message on {topic!r} cannot be sent: {error}", code=_codes.TOO_LARGE)
    if name == "AWS_ERROR_MQTT5_PACKET_VALIDATION":
        return RefusedError(f"the message on {topic!r} is larger than {where} takes", code=_codes.TOO_LARGE)
    return explain(where, error)


def _name(error: BaseException) -> str:
    if isinstance(error, exceptions.AwsCrtError):
        return str(error.name)
    found = re.search(r"\((AWS_\w+)\)", str(error))  # RuntimeError: 1234 (AWS_NAME): text
    return found[1] if found else type(error).__name__
