"""What the samples share: one made-up account, region and moment."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qsl

ACCOUNT = "123456789012"
REGION = "eu-west-1"
EPOCH_S = 1_789_985_730
"""2026-09-21T10:15:30Z."""
TIME = "2026-09-21T10:15:30"


def some_id(*parts: object) -> str:
    """Return an id in the form of a UUID that is always the same for the same parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def digest_of(text: str) -> str:
    """Return the MD5 of a text in hex, as AWS puts it into events; it protects nothing."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def pairs(query: str) -> dict[str, list[str]]:
    """Return the values of each name of a query such as `a=1&b=2&a=3`."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found
