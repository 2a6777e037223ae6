"""The names by which the Invoke API knows functions: a name, an ARN or a part of one, with or without a qualifier."""

from __future__ import annotations

import re

from edge_runtime.app import Function

VERSION = "$LATEST"
ACCOUNT = "000000000000"
_NAME = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]*:\d{12}:function:|\d{12}:function:|\d{12}:|function:)?"
    r"(?P<name>[A-Za-z0-9_.-]+)"
    r"(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)
_QUALIFIER = re.compile(r"\$LATEST|[A-Za-z0-9_-]{1,128}")
_MOST = 256


def parse(text: str, qualifier: str | None) -> str:
    """Return the name of the function that is meant. Every qualifier means the one version that there is.

    Raises: ValueError, which says what is wrong.
    """
    found = _NAME.fullmatch(text) if len(text) <= _MOST else None
    if found is None:
        raise ValueError(f"{text[:_MOST]!r} is no name and no ARN of a function")
    if qualifier is not None and _QUALIFIER.fullmatch(qualifier) is None:
        raise ValueError(f"{qualifier[:_MOST]!r} is no version and no alias")
    if qualifier is not None and found["qualifier"] not in (None, qualifier):
        raise ValueError("The derived qualifier from the function name does not match the specified qualifier.")
    return found["name"]


def arn(name: str, region: str) -> str:
    """Return the ARN under which a function knows itself here."""
    return f"arn:aws:lambda:{region or 'local'}:{ACCOUNT}:function:{name}"


def configuration(function: Function, region: str) -> dict[str, object]:
    """Return what the API tells about a function. Its environment is its own affair and left out."""
    return {
        "FunctionName": function.name,
        "FunctionArn": arn(function.name, region),
        "Runtime": function.runtime,
        "Handler": function.handler,
        "CodeSize": 0,
        "Timeout": int(function.timeout_s),
        "MemorySize": function.memory_mb,
        "Version": VERSION,
        "PackageType": "Zip",
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }
