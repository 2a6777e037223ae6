"""The shapes of errors, as AWS's Python runtime makes them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from types import TracebackType

MALFORMED_HANDLER = "Runtime.MalformedHandlerName"
BUILT_IN_CONFLICT = "Runtime.BuiltInModuleConflict"
IMPORT_MODULE = "Runtime.ImportModuleError"
SYNTAX = "Runtime.UserCodeSyntaxError"
HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
UNMARSHAL = "Runtime.UnmarshalError"
MARSHAL = "Runtime.MarshalError"
CONTEXT_UNMARSHAL = "Runtime.LambdaContextUnmarshalError"
TOO_LARGE = "Function.ResponseSizeTooLarge"

_OWN_FOLDER = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - pathlib would cost every worker memory


class Fault(Exception):  # noqa: N818 - AWS's word for what the runtime, not the handler, finds wrong
    """Something the runtime finds wrong with a handler, an event or a reply."""

    def __init__(self, kind: str, message: str, trace: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = list(trace)


def text_of(error: BaseException) -> str:
    """Return `str(error)`, also when the exception's own method fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a handler's class may raise anything here
        return f"<unprintable {type(error).__name__} object>"


def trace_of(tb: TracebackType | None) -> list[str]:
    """Return the formatted frames, from the first one that is not the runtime's."""
    frames = traceback.extract_tb(tb)
    first = next((i for i, frame in enumerate(frames) if not frame.filename.startswith(_OWN_FOLDER)), 0)
    # Four-part entries, as in AWS: without the marks under the line that newer Pythons add.
    return traceback.format_list([(f.filename, f.lineno or 0, f.name, f.line) for f in frames[first:]])


def error_object(error: BaseException, request_id: str) -> dict[str, object]:
    """Return the error object of a Lambda function: always these four keys, in this order."""
    if isinstance(error, Fault):
        kind, trace = error.kind, error.trace
    else:
        kind, trace = type(error).__name__, trace_of(error.__traceback__)
    return {"errorMessage": text_of(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}


def log_text(fault: dict[str, object]) -> str:
    r"""Return the log entry of an unhandled error: one entry, its lines joined by `\r`, indented by U+00A0."""
    kind, message, trace = fault["errorType"], fault["errorMessage"], fault["stackTrace"]
    head = f"[ERROR] {kind}" + (f": {message}" if message else "")
    lines = [head, "Traceback (most recent call last):"]
    for entry in trace if isinstance(trace, list) else ():
        for line in entry.splitlines() or [""]:
            bare = line.lstrip(" ")
            lines.append("\u00a0" * (len(line) - len(bare)) + bare)
    return "\r".join(lines) + "\n"
