"""The log lines of a function whose log format is JSON. Imported by no other."""

from __future__ import annotations

import json
import logging
import time
import traceback

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_KNOWN = frozenset(
    {
        "name",
        "msg",
        "args",
        "levelname",
        "levelno",
        "pathname",
        "filename",
        "module",
        "exc_info",
        "exc_text",
        "stack_info",
        "lineno",
        "funcName",
        "created",
        "msecs",
        "relativeCreated",
        "thread",
        "threadName",
        "processName",
        "process",
        "aws_request_id",
        "tenant_id",
        "_frame_type",
    }
)
"""The attributes of a record that are no `extra`. A newer Python's `taskName` is one, in AWS too."""
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonFormatter(logging.Formatter):
    """Makes one JSON object of a record: its keys in AWS's order, those without a value left out, then the extras."""

    def __init__(self) -> None:
        super().__init__(datefmt=_TIME)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with its end."""
        record.levelno = min(50, max(0, record.levelno)) // 10 * 10
        record.levelname = logging.getLevelName(record.levelno)
        kind, error, trace = record.exc_info or (None, None, None)
        whole = isinstance(record.msg, dict) and not record.args
        line: dict[str, object] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if whole else record.getMessage(),
            "logger": record.name,
            "stackTrace": traceback.format_tb(trace) if record.exc_info else None,
            "errorType": kind.__name__ if kind else None,
            "errorMessage": None if error is None else str(error),
            "requestId": getattr(record, "aws_request_id", None),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if record.exc_info else None,
        }
        tenant = getattr(record, "tenant_id", None)
        if tenant is not None:
            line["tenantId"] = tenant
        line.update({key: value for key, value in vars(record).items() if key not in _KNOWN and key not in line})
        return _encode({key: value for key, value in line.items() if value is not None}) + "\n"


def error_line(fault: dict[str, object], *, escape: bool) -> str:
    """Return the line of an unhandled error. `escape`: write non-ASCII text as escapes."""
    now = time.strftime(_TIME, time.gmtime())
    return json.dumps({"timestamp": now, "level": "ERROR", **fault}, ensure_ascii=escape) + "\n"
