"""Job executions: one job on one thing. The states, the rules of changing them, and how AWS shows them; no I/O.

Source: AWS IoT developer guide, "Jobs device MQTT API operations", "Jobs and job execution states", "How job timeout
configuration works"; limits: AWS General Reference, "AWS IoT Device Management jobs".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from edge_runtime.standin.services.messages import Tree, is_count

MOST_MINUTES: Final = 10_080
"""Of both timers."""
MOST_DETAILS: Final = 10
MOST_WORTH: Final = 1024
"""Characters of a value in `statusDetails`."""
TOKEN_BYTES: Final = 64
_KEY: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_CLEAR: Final = -1
"""As `stepTimeoutInMinutes`: no step timer from now on."""


class State(StrEnum):
    """The states of an execution."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def is_pending(self) -> bool:
        """Whether there is something left to do; all other states are final."""
        return self in (State.QUEUED, State.IN_PROGRESS)


_BY_DEVICE: Final = {State.IN_PROGRESS, State.SUCCEEDED, State.FAILED, State.REJECTED}


@dataclass(frozen=True, slots=True)
class Execution:
    """One job on one thing. Times are seconds since the epoch, 0 for what has not happened or is not set."""

    job_id: str
    thing: str
    queued_s: int
    updated_s: int
    state: State = State.QUEUED
    details: Mapping[str, str] = field(default_factory=dict)
    started_s: int = 0
    version: int = 1
    number: int = 1
    ends_s: float = 0.0
    """When the job's own timer runs out."""
    step_ends_s: float = 0.0
    """When the timer that the device has set runs out."""

    @property
    def due_s(self) -> float:
        """When it times out; 0: never."""
        return min((at for at in (self.ends_s, self.step_ends_s) if at), default=0.0)


class RefusalError(Exception):
    """Why a request of a device is refused, with AWS's code; `execution` is shown where AWS shows it."""

    def __init__(self, code: str, message: str, execution: Execution | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.execution = execution


@dataclass(frozen=True, slots=True)
class Change:
    """What a device asks of an execution: all of it valid by itself."""

    state: State = State.IN_PROGRESS
    details: Mapping[str, str] | None = None
    """None: as they are."""
    step_minutes: int | None = None
    """None: the step timer stays; -1: it ends."""
    expected_version: int | None = None
    number: int | None = None
    wants_state: bool = False
    wants_document: bool = False


# --- reading requests ---


def read_change(request: Tree, *, needs_state: bool) -> Change:
    """Return what an `update` asks for, or with `needs_state=False` a `start-next`. Raises: RefusalError."""
    return Change(
        _state(request) if needs_state else State.IN_PROGRESS,
        _details(request),
        _step_minutes(request),
        number_in(request, "expectedVersion"),
        number_in(request, "executionNumber"),
        flag_in(request, "includeJobExecutionState", default=False),
        flag_in(request, "includeJobDocument", default=False),
    )


def token_in(request: Tree) -> str | None:
    """Return the client token of a request, None without one. Raises: RefusalError."""
    token = request.get("clientToken")
    if token is None or (isinstance(token, str) and len(token.encode()) <= TOKEN_BYTES):
        return token
    raise RefusalError("InvalidRequest", f"clientToken must be a text of at most {TOKEN_BYTES} bytes")


def number_in(request: Tree, key: str) -> int | None:
    """Return a whole number, None when it is not there. AWS takes its digits in a text too. Raises: RefusalError."""
    match request.get(key):
        case None:
            return None
        case int(number) if is_count(number) and number >= 0:
            return number
        case str(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19:  # noqa: PLR2004 - a long
            return int(digits)
    raise RefusalError("InvalidRequest", f"{key} must be a whole number")


def flag_in(request: Tree, key: str, *, default: bool) -> bool:
    """Return a truth value. Raises: RefusalError."""
    value = request.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise RefusalError("InvalidRequest", f"{key} must be true or false")
    return value


def _state(request: Tree) -> State:
    word = request.get("status")
    if isinstance(word, str) and word in State.__members__ and (state := State[word]) in _BY_DEVICE:
        return state
    raise RefusalError("InvalidRequest", f"status must be one of {', '.join(sorted(_BY_DEVICE))}")


def _details(request: Tree) -> Mapping[str, str] | None:
    given = request.get("statusDetails")
    if given is None:
        return None
    if not isinstance(given, Mapping) or len(given) > MOST_DETAILS:
        raise RefusalError("InvalidRequest", f"statusDetails must be an object of at most {MOST_DETAILS} pairs")
    for key, value in given.items():
        if not _KEY.fullmatch(key):
            raise RefusalError("InvalidRequest", "a key of statusDetails has 1 to 128 letters, digits, : _ and -")
        if not isinstance(value, str) or not 0 < len(value) <= MOST_WORTH or not value.isprintable():
            raise RefusalError("InvalidRequest", f"statusDetails.{key} must be 1 to {MOST_WORTH} printable characters")
    return given


def _step_minutes(request: Tree) -> int | None:
    match request.get("stepTimeoutInMinutes"):
        case None:
            return None
        case int(minutes) if is_count(minutes) and (minutes == _CLEAR or 1 <= minutes <= MOST_MINUTES):
            return minutes
    raise RefusalError("InvalidRequest", f"stepTimeoutInMinutes must be 1 to {MOST_MINUTES}, or {_CLEAR}")


# --- changing ---


def start(execution: Execution, change: Change, now: float, timeout_minutes: int) -> Execution:
    """Return an execution that is pending as `start-next` leaves it: in progress."""
    if execution.state is State.IN_PROGRESS and change.details is None and change.step_minutes is None:
        return execution
    return _changed(execution, change, now, timeout_minutes)


def update(execution: Execution, change: Change, now: float, timeout_minutes: int) -> Execution:
    """Return an execution as a device's `update` leaves it. Raises: RefusalError."""
    check_number(execution, change.number)
    if change.expected_version not in (None, execution.version):
        words = f"the expected version is {change.expected_version} and the version is {execution.version}"
        raise RefusalError("VersionMismatch", words, execution)
    if not execution.state.is_pending:
        words = f"an execution that is {execution.state} cannot become {change.state}"
        raise RefusalError("InvalidStateTransition", words, execution)
    return _changed(execution, change, now, timeout_minutes)


def check_number(execution: Execution, number: int | None) -> None:
    """Return if a request means this execution. Raises: RefusalError."""
    if number not in (None, execution.number):
        raise RefusalError("ResourceNotFound", f"job {execution.job_id} has no execution {number} on this thing")


def end(execution: Execution, state: State, now: float) -> Execution:
    """Return an execution that AWS itself has ended."""
    return replace(
        execution, state=state, updated_s=int(now), version=execution.version + 1, ends_s=0.0, step_ends_s=0.0
    )


def _changed(execution: Execution, change: Change, now: float, timeout_minutes: int) -> Execution:
    details = execution.details if change.details is None else change.details
    execution = replace(execution, details=details)
    if change.state is not State.IN_PROGRESS:
        return end(execution, change.state, now)
    step_ends = execution.step_ends_s
    if change.step_minutes is not None:
        step_ends = 0.0 if change.step_minutes == _CLEAR else now + 60 * change.step_minutes
    begins = execution.state is State.QUEUED
    return replace(
        execution,
        state=State.IN_PROGRESS,
        started_s=int(now) if begins else execution.started_s,
        updated_s=int(now),
        version=execution.version + 1,
        ends_s=now + 60 * timeout_minutes if begins and timeout_minutes else execution.ends_s,
        step_ends_s=step_ends,
    )


# --- showing ---


def summary(execution: Execution) -> dict[str, object]:
    """Return an execution as lists show it."""
    shown: dict[str, object] = {
        "jobId": execution.job_id,
        "queuedAt": execution.queued_s,
        "lastUpdatedAt": execution.updated_s,
        "executionNumber": execution.number,
        "versionNumber": execution.version,
    }
    if execution.started_s:
        shown["startedAt"] = execution.started_s
    return shown


def state_of(execution: Execution) -> dict[str, object]:
    """Return what `executionState` is in answers."""
    shown: dict[str, object] = {"status": execution.state, "versionNumber": execution.version}
    if execution.details:
        shown["statusDetails"] = execution.details
    return shown


def whole(execution: Execution, now: float) -> dict[str, object]:
    """Return all of an execution but its document."""
    shown = {**summary(execution), "thingName": execution.thing, **state_of(execution)}
    if execution.due_s:
        shown["approximateSecondsBeforeTimedOut"] = max(0, int(execution.due_s - now))
    return shown
