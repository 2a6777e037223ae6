"""The texts and results that the host makes: log lines, timeouts, ends of workers."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from math import ceil
from typing import NamedTuple

from edge_runtime.model import Result

TIMED_OUT = "Sandbox.Timedout"
EXITED = "Runtime.ExitError"
TOO_LARGE = "RequestEntityTooLarge"
THROTTLED = "TooManyRequestsException"
NO_RUNTIME = "InvalidRuntimeException"


class Ending(NamedTuple):
    """How an invocation ended, when not well."""

    error: str = ""
    """Its `errorType`."""
    note: str = ""
    """What the runtime says of it, beside what the handler wrote."""


WELL = Ending()


class Usage(NamedTuple):
    """What an invocation took. `init_ms` is 0 when its worker was warm."""

    duration_ms: float
    memory_mb: int
    peak_kb: int
    init_ms: float


# As Go names them, which AWS's supervisor is written in.
_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
}


def start_line(request_id: str, *, as_json: bool = False, ago_ms: float = 0.0) -> str:
    """Return the first line of an invocation's log, which began so long ago."""
    if as_json:
        return _platform("start", {"requestId": request_id, "version": "$LATEST"}, ago_ms)
    return f"START RequestId: {request_id} Version: $LATEST\n"


def whole_log(request_id: str, text: str, usage: Usage, ending: Ending = WELL, *, as_json: bool = False) -> str:
    """Return AWS's lines around what an invocation printed."""
    first = start_line(request_id, as_json=as_json, ago_ms=usage.duration_ms)
    return first + rest_of_log(request_id, text, usage, ending, as_json=as_json)


def rest_of_log(request_id: str, text: str, usage: Usage, ending: Ending = WELL, *, as_json: bool = False) -> str:
    """Return what comes after the first line."""
    if as_json:
        return text + _json_report(request_id, usage, ending)
    duration_ms, memory_mb, peak_kb, init_ms = usage
    last = f"Init Duration: {init_ms:.2f} ms\t\n" if init_ms else "\n"
    if ending is not WELL:
        last = f"{last[:-1]}{_status(ending.error)}\n" + (f"{ending.note}\n" if ending.note else "")
    return (
        f"{text}END RequestId: {request_id}\n"
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\tBilled Duration: {ceil(duration_ms)} ms\t"
        f"Memory Size: {memory_mb} MB\tMax Memory Used: {-(-peak_kb // 1024)} MB\t{last}"
    )


def _status(error: str) -> str:
    # An error that the handler itself raised is none of the runtime's, and not on this line in AWS.
    if error == TIMED_OUT:
        return "Status: timeout"
    return f"Status: error\tError Type: {error}" if error.startswith("Runtime.") else ""


def _json_report(request_id: str, usage: Usage, ending: Ending) -> str:
    """Return the report as JSON. Source: "Lambda Telemetry API Event schema reference", `platform.report`."""
    metrics: dict[str, object] = {
        "durationMs": round(usage.duration_ms, 3),
        "billedDurationMs": ceil(usage.duration_ms),
        "memorySizeMB": usage.memory_mb,
        "maxMemoryUsedMB": -(-usage.peak_kb // 1024),
    }
    if usage.init_ms:
        metrics["initDurationMs"] = round(usage.init_ms, 3)
    record: dict[str, object] = {"requestId": request_id, "metrics": metrics, "status": "success"}
    if ending.error == TIMED_OUT:
        record["status"] = "timeout"
    elif ending.error:
        record.update(status="error", errorType=ending.error)
    line = ""
    if ending.note:
        said = {"timestamp": _now(), "level": "ERROR", "message": ending.note, "requestId": request_id}
        line = json.dumps(said, ensure_ascii=False) + "\n"
    return line + _platform("report", record)


def _platform(kind: str, record: dict[str, object], ago_ms: float = 0.0) -> str:
    line = {"time": _now(ago_ms), "type": f"platform.{kind}", "record": record}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def _now(ago_ms: float = 0.0) -> str:
    then = datetime.fromtimestamp(time.time() - ago_ms / 1e3, UTC)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timeout_text(request_id: str, timeout_s: float) -> str:
    """Return what AWS says of an invocation that took too long."""
    return f"{_now()} {request_id} Task timed out after {timeout_s:.2f} seconds"


def exit_text(request_id: str, status: int, fault: str = "") -> str:
    """Return what AWS says of an invocation whose worker ended; `status` as from `os.wait`."""
    code = os.waitstatus_to_exitcode(status)
    head = f"RequestId: {request_id} Error: Runtime exited"
    if fault:
        return f"{head} with error: {fault}"
    if code == 0:
        return f"{head} without providing a reason"
    if code > 0:
        return f"{head} with error: exit status {code}"
    return f"{head} with error: signal: {_SIGNALS.get(-code, f'signal {-code}')}"


def failure(kind: str, message: str) -> bytes:
    """Return the error object of something that the handler could not report itself."""
    return json.dumps({"errorMessage": message, "errorType": kind}).encode()


def refusal(kind: str, message: str) -> Result:
    """Return the result of an invocation that never reached a worker."""
    return Result(failure(kind, message), kind)
