"""AWS Signature Version 4, for requests that this runtime makes itself.

Source: AWS General Reference, "Create a signed AWS API request". S3 differs from other services in one thing: the path
is encoded once and not normalized.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

_PLAIN = "-_.~"


class Keys(NamedTuple):
    """Who signs. `token` is that of temporary credentials, empty for lasting ones."""

    access: str
    secret: str
    token: str = ""


def encoded(query: Mapping[str, str]) -> str:
    """Return a query as it is signed, and must be sent: sorted, a space as `%20`."""
    pairs = sorted((quote(key, safe=_PLAIN), quote(value, safe=_PLAIN)) for key, value in query.items())
    return "&".join(f"{key}={value}" for key, value in pairs)


def path_of(bucket: str, key: str = "") -> str:
    """Return the path of a bucket, or of an object in it, in path style."""
    return quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe=f"/{_PLAIN}")


def signed_get(
    host: str, path: str, query: str, keys: Keys, *, region: str, epoch_s: float, service: str = "s3"
) -> dict[str, str]:
    """Return the headers of a GET without a body.

    `host` as in the header, with a port that is not the scheme's own; `path` from `path_of`, `query` from `encoded`.
    """
    moment = datetime.fromtimestamp(epoch_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    nothing = hashlib.sha256().hexdigest()
    headers = {"host": host, "x-amz-content-sha256": nothing, "x-amz-date": moment}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"GET\n{path}\n{query}\n{lines}\n{names}\n{nothing}"
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": credential}
