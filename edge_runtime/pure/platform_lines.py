"""Which lines of a function's log are the platform's own: those of START, END and REPORT, as text or as JSON."""

from __future__ import annotations

import re

_TEXT = ("START RequestId: ", "END RequestId: ", "REPORT RequestId: ")
_JSON = re.compile(r'\{"time": ?"[^"]*", ?"type": ?"platform\.')
"""AWS Lambda developer guide, "Lambda Telemetry API Event schema reference": the first two fields of each."""


def is_platform(line: str) -> bool:
    """Tell whether a line comes with every invocation and not from the handler."""
    return line.startswith(_TEXT) or _JSON.match(line) is not None
