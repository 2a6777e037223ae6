"""JSON log lines."""

from __future__ import annotations

import json
import logging
import re

from edge_runtime.workers.inside.logs import JsonFormatter, error_line


def record(number: int, message: object, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("a.b", number, "/code/app.py", 7, message, args, None, "handler")
    vars(made).update(extra)
    return made


def line(made: logging.LogRecord) -> dict[str, object]:
    text = JsonFormatter().format(made)
    assert text.endswith("}\n")
    shown = json.loads(text)
    assert isinstance(shown, dict)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown.pop("timestamp"))
    return shown


def test_a_line_names_its_request_and_its_extras() -> None:
    made = record(20, "é %s", 1, aws_request_id="r-1", tenant_id=None, device="pump", level="clash", none=None)
    assert list(line(made).items()) == [
        ("level", "INFO"),
        ("message", "é 1"),
        ("logger", "a.b"),
        ("requestId", "r-1"),
        ("device", "pump"),
    ]


def test_a_dict_stays_a_dict_and_what_json_cannot_hold_is_text() -> None:
    shown = line(record(45, {"a": 1, "b": {2}}, tenant_id="blue"))
    assert shown == {"level": "ERROR", "message": {"a": 1, "b": "{2}"}, "logger": "a.b", "tenantId": "blue"}


def test_an_exception_has_its_trace_and_its_place() -> None:
    made = record(40, "failed")
    try:
        vars(made)["k"]
    except KeyError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    shown = line(made)
    trace = shown.pop("stackTrace")
    assert isinstance(trace, list)
    assert "test_logs.py" in trace[0]
    assert shown == {
        "level": "ERROR",
        "message": "failed",
        "logger": "a.b",
        "errorType": "KeyError",
        "errorMessage": "'k'",
        "location": "/code/app.py:handler:7",
    }
    made.exc_info = (None, None, None)  # `logging.exception` where there is none
    assert "errorType" not in line(made)


def test_the_line_of_an_unhandled_error() -> None:
    fault: dict[str, object] = {"errorMessage": "é", "errorType": "T", "requestId": "r", "stackTrace": []}
    shown = json.loads(error_line(fault, escape=False))
    assert list(shown) == ["timestamp", "level", "errorMessage", "errorType", "requestId", "stackTrace"]
    assert (shown["level"], shown["errorMessage"]) == ("ERROR", "é")
    assert '"\\u00e9"' in error_line(fault, escape=True)
