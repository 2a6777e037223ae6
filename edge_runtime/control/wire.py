"""What both sides of the control socket share: the lines, the errors, the address."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_runtime import errors
from edge_runtime.errors import ConfigError, EdgeError, HostError

SOCKET = "control.sock"
LINE_LIMIT = 9 << 20
"""Bytes of one line, its end included: AWS Lambda's largest payload (6 MiB) in base64, and what is around it."""
_ADDRESS_LIMIT = 107
"""Bytes of a path in a `sockaddr_un`, without the NUL (unix(7))."""
_KINDS = {k: v for k, v in vars(errors).items() if isinstance(v, type) and issubclass(v, EdgeError)}


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the message of a line.

    Raises: ConfigError when the line is no JSON object.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a control line is no JSON: {error}") from error
    if not isinstance(message, dict):
        raise ConfigError(f"a control line is a JSON {type(message).__name__} and no object")
    return message


def pack(data: bytes) -> str:
    """Return bytes as the text of a b64 field."""
    return base64.b64encode(data).decode("ascii")


def unpack(text: object) -> bytes:
    """Return the bytes of a b64 field.

    Raises: ConfigError when it is no base64.
    """
    if not isinstance(text, str):
        raise ConfigError(f"base64 is a text, not {text!r:.40}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"not base64: {error}") from error


def error_to_json(error: EdgeError) -> dict[str, Any]:
    """Return what another process needs to raise the same error."""
    more = {k: v for k, v in vars(error).items() if k != "hint" and isinstance(v, str | int)}
    return {"kind": type(error).__name__, "message": str(error), "hint": error.hint, "more": more}


def error_from_json(data: Mapping[str, Any]) -> EdgeError:
    """Return the error that another process met; an EdgeError when its kind is not known here."""
    kind = _KINDS.get(str(data.get("kind")), EdgeError)
    message, hint = str(data.get("message", "")), str(data.get("hint", ""))
    error = kind(message, hint=hint)
    known = vars(error)
    for key, value in (data.get("more") or {}).items():
        if type(value) is type(known.get(key)):  # a newer host knows fields that this class does not
            setattr(error, key, value)
    return error


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """Give a name for the socket `path` that fits into a socket address while the block runs.

    Raises: HostError when the path is too long and there is no /proc to shorten it; OSError when its folder cannot be
    opened.
    """
    if len(os.fsencode(path)) <= _ADDRESS_LIMIT:
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir():
        raise HostError(
            f"the path of the control socket has more than {_ADDRESS_LIMIT} bytes: {path}",
            hint="use a shorter state folder: --state DIR",
        )
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
