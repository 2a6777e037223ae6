"""One request to the host's endpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

_LOOPBACK = "http://"
_TIMEOUT_S = 900.0  # of the longest function


class GreengrassRuntimeError(Exception):
    """The host refused or could not be reached. `code` is AWS's name of the error, or empty."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def ask(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[dict[str, str], bytes]:
    """Return headers (their names in lower case) and body of the answer.

    Raises: GreengrassRuntimeError.
    """
    import http.client  # noqa: PLC0415 - most handlers never ask, and it takes as long to import as a worker to start

    # Set in each worker; outside of one, `edge token` prints the others.
    url = os.environ.get("EDGE_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL") or ""
    token = os.environ.get("EDGE_TOKEN") or os.environ.get("AWS_SESSION_TOKEN") or ""
    if not url.startswith(_LOOPBACK) or not token:
        raise GreengrassRuntimeError(
            "there is no edge host here: start one with 'edge run', then set the variables that 'edge token' prints"
        )
    connection = http.client.HTTPConnection(url.removeprefix(_LOOPBACK).rstrip("/"), timeout=_TIMEOUT_S)
    try:
        connection.request(method, path, body, {"X-Amz-Security-Token": token, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise GreengrassRuntimeError(f"the edge host at {url} does not answer: {error}; start it: edge run") from error
    finally:
        connection.close()
    found = {name.lower(): value for name, value in answer.getheaders()}
    if answer.status >= 400:  # noqa: PLR2004 - HTTP's class of errors
        raise GreengrassRuntimeError(_message(content), found.get("x-amzn-errortype", ""))
    return found, content


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, LookupError, TypeError):
        return content[:500].decode(errors="replace")
