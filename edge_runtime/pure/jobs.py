"""The documents of AWS IoT jobs that this runtime carries out, read and checked without any I/O.

    {"version": "1.0", "operation": "edge.invoke", "function": "irrigate", "payload": {"minutes": 3}, "timeout": 60}
    {"version": "1.0", "operation": "edge.restart"}
    {"version": "1.0", "operation": "edge.deploy",
     "bundle": {"url": "https://...", "sha256": "...", "size": 48213, "signature": "...", "release": "1.4.0"},
     "rollback": {"healthCheckSeconds": 60}}

Each may have `stepTimeoutInMinutes`. A document holds data and never a command: the `steps` of AWS's own documents,
with `runCommand` among them, are refused. What is said to the service and heard from it is in `job_messages`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from edge_runtime.pure.nesting import levels

VERSION = "1.0"
MOST_LEVELS = 32
"""Of objects and arrays inside each other in a document."""
MOST_BUNDLE_BYTES = 4 << 30
KEY_BYTES = 32
SIGNATURE_BYTES = 64
STEP_MINUTES = (1, 10_080)
"""What AWS takes as `stepTimeoutInMinutes`."""
_MOST_URL = 8192
_MOST_HEALTH_S = 3600
_MOST_TIMEOUT_S = 900.0
_RELEASE = re.compile(r"(?:0|[1-9]\d{0,8})(?:\.(?:0|[1-9]\d{0,8})){0,3}", re.ASCII)
_FUNCTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_SPKI = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4)."""


class RefusalError(ValueError):
    """Why a document is not carried out."""


@dataclass(frozen=True, slots=True)
class Invoke:
    """Run a function once and tell what came of it."""

    function: str
    payload: bytes
    """JSON."""
    timeout_s: float | None = None
    """In place of the function's own."""


@dataclass(frozen=True, slots=True)
class Restart:
    """End the host, so that it is started anew."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """Fetch a bundle, prove where it comes from, and put it in the place of what runs."""

    url: str
    sha256: str
    """Lower case hex."""
    size: int
    signature: bytes
    """Ed25519, over the 32 bytes of the SHA-256."""
    release: str
    health_check_s: float = 60.0


Action = Invoke | Restart | Deploy


@dataclass(frozen=True, slots=True)
class Order:
    """A document, all of it valid."""

    operation: str
    action: Action
    step_minutes: int | None = None
    """A step that takes longer is given up, here and in the cloud."""


def read(document: object) -> Order:
    """Return what a parsed document asks for. Raises: RefusalError, for whatever it may be."""
    if not isinstance(document, Mapping):
        raise RefusalError("the job document is no JSON object")
    if levels(document) > MOST_LEVELS:
        raise RefusalError(f"the job document is nested deeper than {MOST_LEVELS} levels")
    if "steps" in document:
        raise RefusalError(f"steps (runHandler, runCommand) are never carried out here; known: {_known()}")
    version, operation = document.get("version"), document.get("operation")
    if version != VERSION:
        raise RefusalError(f"the version of the job document is {_shown(version)}; known: {VERSION!r}")
    reader = _READERS.get(operation) if isinstance(operation, str) else None
    if reader is None or not isinstance(operation, str):
        raise RefusalError(f"the operation is {_shown(operation)}; known: {_known()}")
    minutes = document.get("stepTimeoutInMinutes")
    if minutes is not None:
        minutes = _whole(document, "stepTimeoutInMinutes", *STEP_MINUTES)
    rest = {key: value for key, value in document.items() if key not in {"version", "operation"}}
    rest.pop("stepTimeoutInMinutes", None)
    return Order(operation, reader(rest), minutes)


def renewed(order: Order, fresh: Order) -> Order | None:
    """Return the order with the address of a fresh copy of its document; None when the copy says something else.

    AWS makes a new presigned URL each time that a document is asked for, and everything else in it stays.
    """
    old, new = order.action, fresh.action
    if isinstance(old, Deploy) and isinstance(new, Deploy):
        order = replace(order, action=replace(old, url=new.url))
    return fresh if order == fresh else None


def release_order(text: str) -> tuple[int, ...]:
    """Return what releases are compared by: `1.4` and `1.4.0` are the same, and `1.10` comes after `1.9`.

    Raises: RefusalError when it is not one to four numbers with dots between them.
    """
    if not _RELEASE.fullmatch(text):
        raise RefusalError(f"the release is {_shown(text)}; write one to four numbers: 7, 1.4.0")
    numbers = [int(part) for part in text.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def public_key(text: str) -> bytes:
    """Return the 32 bytes of an Ed25519 public key: from a PEM (`openssl pkey -pubout`), or from their base64.

    Raises: ValueError, which says what it is instead.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    if any("PRIVATE KEY" in line for line in lines):
        raise ValueError("this is a private key, which is to stay with whoever signs; give the public one")
    if lines and lines[0] == "-----BEGIN PUBLIC KEY-----" and lines[-1] == "-----END PUBLIC KEY-----":
        data = _base64("".join(lines[1:-1]))
        if data is None or not data.startswith(_SPKI) or len(data) != len(_SPKI) + KEY_BYTES:
            raise ValueError("this is no Ed25519 key; make one with: openssl genpkey -algorithm ed25519")
        return data[len(_SPKI) :]
    data = _base64("".join(lines))
    if data is None or len(data) != KEY_BYTES:
        raise ValueError("this is neither a PEM with a PUBLIC KEY nor the base64 of 32 bytes")
    return data


def key_file(key: bytes) -> bytes:
    """Return an Ed25519 public key as the DER file that `openssl` reads."""
    return _SPKI + key


# -- the operations ------------------------------------------------------------------------------------------------


def _invoke(rest: Mapping[str, object]) -> Invoke:
    _only(rest, "the job document", {"function"}, {"payload", "timeout"})
    name, timeout = rest["function"], rest.get("timeout")
    if not isinstance(name, str) or not _FUNCTION.fullmatch(name):
        raise RefusalError(f"function is {_shown(name)}, which is no name of a function")
    if timeout is not None and (
        isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= _MOST_TIMEOUT_S
    ):
        raise RefusalError(f"timeout is {_shown(timeout)}; it must be seconds, more than 0 and at most 900")
    try:
        payload = json.dumps(rest.get("payload", {}), separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError):
        raise RefusalError("payload holds a number that is none, or one with too many digits") from None
    return Invoke(name, payload, None if timeout is None else float(timeout))


def _restart(rest: Mapping[str, object]) -> Restart:
    _only(rest, "the job document", set(), set())
    return Restart()


def _deploy(rest: Mapping[str, object]) -> Deploy:
    _only(rest, "the job document", {"bundle"}, {"rollback"})
    bundle, rollback = rest["bundle"], rest.get("rollback", {})
    if not isinstance(bundle, Mapping):
        raise RefusalError("bundle is no JSON object")
    if not isinstance(rollback, Mapping):
        raise RefusalError("rollback is no JSON object")
    _only(bundle, "bundle", {"url", "sha256", "size", "signature", "release"}, set())
    _only(rollback, "rollback", set(), {"healthCheckSeconds"})
    sha256, signature, release = bundle["sha256"], bundle["signature"], bundle["release"]
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise RefusalError("sha256 of the bundle is not 64 hex digits")
    proof = _base64(signature) if isinstance(signature, str) else None
    if proof is None or len(proof) != SIGNATURE_BYTES:
        raise RefusalError("signature of the bundle is not the base64 of 64 bytes")
    if isinstance(release, int) and not isinstance(release, bool) and 0 <= release < 10**9:
        release = str(release)
    if not isinstance(release, str):
        raise RefusalError(f"the release is {_shown(release)}; write one to four numbers: 7, 1.4.0")
    release_order(release)
    health_s = _whole(rollback, "healthCheckSeconds", 0, _MOST_HEALTH_S) if rollback else 60
    size = _whole(bundle, "size", 1, MOST_BUNDLE_BYTES)
    return Deploy(https(bundle["url"]), sha256.lower(), size, proof, release, float(health_s))


_READERS: Mapping[str, Callable[[Mapping[str, object]], Action]] = {
    "edge.deploy": _deploy,
    "edge.invoke": _invoke,
    "edge.restart": _restart,
}


def https(url: object) -> str:
    """Return a URL that may be fetched: https, with a host, and no name and password. Raises: RefusalError."""
    if not isinstance(url, str) or not url or len(url) > _MOST_URL or not url.isascii() or not url.isprintable():
        raise RefusalError("url of the bundle is no address")
    if url.startswith("${aws:iot:s3-presigned-url"):
        raise RefusalError("url of the bundle is a placeholder: create the job with --presigned-url-config")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RefusalError("url of the bundle is no address") from None
    if parts.scheme != "https" or not parts.hostname or port == 0 or any(sign in url for sign in ' "<>\\^`{|}'):
        raise RefusalError("url of the bundle is no https address")
    if parts.username is not None or parts.password is not None:
        raise RefusalError("url of the bundle holds a user name or a password")
    return url


# -- parts ---------------------------------------------------------------------------------------------------------


def _known() -> str:
    return ", ".join(_READERS)


def _only(found: Mapping[str, object], what: str, needed: set[str], more: set[str]) -> None:
    """Return when there are just these keys."""
    for key in sorted(needed - found.keys()):
        raise RefusalError(f"{what} has no {key!r}")
    for key in found:
        if key not in needed | more:
            known = ", ".join(sorted(needed | more)) or "nothing but the operation"
            raise RefusalError(f"{what} has an unknown key {_shown(key)}; known: {known}")


def _whole(found: Mapping[str, object], key: str, least: int, most: int) -> int:
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RefusalError(f"{key} is {_shown(value)}; it must be a whole number from {least} to {most}")
    return value


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _shown(value: object) -> str:
    if isinstance(value, Mapping | list):
        return "an object" if isinstance(value, Mapping) else "a list"
    if value is None:
        return "missing"
    text = repr(value) if isinstance(value, str | bool | int | float) else "no value of JSON"
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - what fits into a line of words
