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


def start_line(request_id: str) -> str:
    """Return the first line of an invocation's log."""
    return f"START RequestId: {request_id} Version: $LATEST\n"


def whole_log(request_id: str, text: str, usage: Usage, note: str = "") -> str:
    """Return AWS's lines around what an invocation printed. `note` is a last line of the runtime's."""
    duration_ms, memory_mb, peak_kb, init_ms = usage
    last = f"Init Duration: {init_ms:.2f} ms\t\n" if init_ms else "\n"
    if note:
        last = f"{last}{note}\n"
    return (
        f"START RequestId: {request_id} Version: $LATEST\n{text}END RequestId: {request_id}\n"
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\tBilled Duration: {ceil(duration_ms)} ms\t"
        f"Memory Size: {memory_mb} MB\tMax Memory Used: {-(-peak_kb // 1024)} MB\t{last}"
    )


def timeout_text(request_id: str, timeout_s: float) -> str:
    """Return what AWS says of an invocation that took too long."""
    now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{now} {request_id} Task timed out after {timeout_s:.2f} seconds"


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
