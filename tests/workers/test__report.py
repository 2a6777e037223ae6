"""The lines around what an invocation printed."""

from __future__ import annotations

import json
import re

import pytest

from edge_runtime.workers._report import (
    EXITED,
    TIMED_OUT,
    WELL,
    Ending,
    Usage,
    rest_of_log,
    start_line,
    whole_log,
)

USAGE = Usage(duration_ms=12.3456, memory_mb=128, peak_kb=40 * 1024 + 1, init_ms=0.0)
FIRST = USAGE._replace(init_ms=210.1149)
REPORT = (
    "REPORT RequestId: r\tDuration: 12.35 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 41 MB\t"
)


@pytest.mark.parametrize(
    ("usage", "ending", "last"),
    [
        (USAGE, WELL, "\n"),
        (FIRST, WELL, "Init Duration: 210.11 ms\t\n"),
        (USAGE, Ending("ValueError"), "\n"),
        (USAGE, Ending(TIMED_OUT, "note"), "Status: timeout\nnote\n"),
        (FIRST, Ending(EXITED, "n"), "Init Duration: 210.11 ms\tStatus: error\tError Type: Runtime.ExitError\nn\n"),
        (
            FIRST,
            Ending("Runtime.HandlerNotFound"),
            "Init Duration: 210.11 ms\tStatus: error\tError Type: Runtime.HandlerNotFound\n",
        ),
    ],
)
def test_the_report_as_text(usage: Usage, ending: Ending, last: str) -> None:
    start = "START RequestId: r Version: $LATEST\n"
    assert start_line("r") == start
    assert rest_of_log("r", "hi\n", usage, ending) == f"hi\nEND RequestId: r\n{REPORT}{last}"
    assert whole_log("r", "hi\n", usage, ending) == f"{start}hi\nEND RequestId: r\n{REPORT}{last}"


@pytest.mark.parametrize(
    ("usage", "ending", "status"),
    [
        (USAGE, WELL, {"status": "success"}),
        (FIRST, WELL, {"status": "success"}),
        (USAGE, Ending("ValueError"), {"status": "error", "errorType": "ValueError"}),
        (USAGE, Ending(TIMED_OUT), {"status": "timeout"}),
    ],
)
def test_the_report_as_json(usage: Usage, ending: Ending, status: dict[str, str]) -> None:
    log = whole_log("r", '{"a": 1}\n', usage, ending, as_json=True)
    start, said, report = (json.loads(line) for line in log.splitlines())
    assert said == {"a": 1}
    for line in (start, report):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert start == {"type": "platform.start", "record": {"requestId": "r", "version": "$LATEST"}}
    metrics = {"durationMs": 12.346, "billedDurationMs": 13, "memorySizeMB": 128, "maxMemoryUsedMB": 41}
    if usage.init_ms:
        metrics["initDurationMs"] = 210.115
    assert report == {"type": "platform.report", "record": {"requestId": "r", "metrics": metrics, **status}}
    assert list(report["record"]["metrics"]) == list(metrics)


def test_a_note_is_a_line_of_json_too() -> None:
    ending = Ending(TIMED_OUT, "Task timed out after 3.00 seconds")
    note, report = (json.loads(line) for line in rest_of_log("r", "", USAGE, ending, as_json=True).splitlines())
    assert (note["level"], note["message"], note["requestId"]) == ("ERROR", "Task timed out after 3.00 seconds", "r")
    assert report["record"]["status"] == "timeout"


def test_the_start_is_before_the_report() -> None:
    usage = USAGE._replace(duration_ms=60_000.0)
    start, report = (json.loads(line)["time"] for line in whole_log("r", "", usage, as_json=True).splitlines())
    assert start < report
