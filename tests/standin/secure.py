"""A stand-in with TLS and a registry for tests: certificates made once, and helpers to speak to it."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.registry import Certificate, Thing
from edge_runtime.standin.server import Standin

ALLOW_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def statement(action: str, resource: str, effect: str = "Allow") -> dict[str, object]:
    """Return a statement of a policy."""
    return {"Effect": effect, "Action": action, "Resource": f"arn:aws:iot:REGION:ACCOUNT:{resource}"}


def document(*statements: Mapping[str, object]) -> dict[str, object]:
    """Return a policy document."""
    return {"Version": "2012-10-17", "Statement": [dict(one) for one in statements]}


def context(certificates: Certificates, *, own: bool = True, alpn: str = "") -> ssl.SSLContext:
    """Return a client's context, with a certificate of its own or not."""
    one = ssl.create_default_context(cafile=certificates.server.ca)
    if own:
        one.load_cert_chain(certificates.client.cert, certificates.client.key)
    if alpn:
        one.set_alpn_protocols([alpn])
    return one


def register(
    standin: Standin, certificates: Certificates, policy: Mapping[str, object], thing: str = ""
) -> Certificate:
    """Register the client's certificate with one policy and, if named, one thing."""
    registry = standin.registry
    registry.put_policy("test", dict(policy))
    known = registry.register(Path(certificates.client.cert).read_text(encoding="utf-8"))
    registry.attach_policy(known.id, "test")
    if thing:
        registry.put_thing(Thing(thing))
        registry.attach_thing(known.id, thing)
    return known


async def fetch(
    url: str,
    tls: ssl.SSLContext | None = None,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Mapping[str, str], bytes]:
    """Make one HTTP request and return status, headers and body, of a failure too."""

    def ask() -> tuple[int, Mapping[str, str], bytes]:
        request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=30, context=tls) as answer:  # noqa: S310 - our own server
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    return await asyncio.to_thread(ask)
