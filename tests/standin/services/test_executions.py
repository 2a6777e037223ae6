"""The rules of job executions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.standin.services import executions
from edge_runtime.standin.services.executions import Change, Execution, RefusalError, State

NOW = 1000.5
QUEUED = Execution("j1", "edge-1", 900, 900)
RUNNING = replace(QUEUED, state=State.IN_PROGRESS, started_s=950, version=2)


def test_a_request_with_everything() -> None:
    request = {
        "status": "FAILED", "statusDetails": {"step": "2"}, "expectedVersion": "3", "executionNumber": 1,
        "includeJobExecutionState": True, "includeJobDocument": True, "stepTimeoutInMinutes": -1,
    }  # fmt: skip
    expected = Change(State.FAILED, {"step": "2"}, -1, 3, 1, wants_state=True, wants_document=True)
    assert executions.read_change(request, needs_state=True) == expected
    assert executions.read_change({}, needs_state=False) == Change()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "status must be one of FAILED, IN_PROGRESS, REJECTED, SUCCEEDED"),
        ({"status": "QUEUED"}, "status must be one of"),
        ({"status": "CANCELED"}, "status must be one of"),
        ({"status": 1}, "status must be one of"),
        ({"status": "FAILED", "statusDetails": []}, "an object of at most 10 pairs"),
        ({"status": "FAILED", "statusDetails": {str(n): "x" for n in range(11)}}, "an object of at most 10 pairs"),
        ({"status": "FAILED", "statusDetails": {"a b": "x"}}, "a key of statusDetails"),
        ({"status": "FAILED", "statusDetails": {"a": 1}}, "statusDetails.a must be 1 to 1024 printable"),
        ({"status": "FAILED", "statusDetails": {"a": "x" * 1025}}, "statusDetails.a must be 1 to 1024 printable"),
        ({"status": "FAILED", "statusDetails": {"a": "\n"}}, "statusDetails.a must be 1 to 1024 printable"),
        ({"status": "FAILED", "expectedVersion": -1}, "expectedVersion must be a whole number"),
        ({"status": "FAILED", "expectedVersion": True}, "expectedVersion must be a whole number"),
        ({"status": "FAILED", "expectedVersion": "x"}, "expectedVersion must be a whole number"),
        ({"status": "FAILED", "executionNumber": 1.5}, "executionNumber must be a whole number"),
        ({"status": "FAILED", "includeJobDocument": "yes"}, "includeJobDocument must be true or false"),
        ({"status": "FAILED", "stepTimeoutInMinutes": 0}, "stepTimeoutInMinutes must be 1 to 10080, or -1"),
        ({"status": "FAILED", "stepTimeoutInMinutes": 10_081}, "stepTimeoutInMinutes must be 1 to 10080, or -1"),
    ],
)
def test_what_is_no_valid_request(request_: dict[str, object], words: str) -> None:
    with pytest.raises(RefusalError, match=words) as caught:
        executions.read_change(request_, needs_state=True)
    assert caught.value.code == "InvalidRequest"


@pytest.mark.parametrize("token", [1, "x" * 65, "ä" * 33, []])
def test_tokens_that_are_none(token: object) -> None:
    with pytest.raises(RefusalError, match="clientToken must be a text of at most 64 bytes"):
        executions.token_in({"clientToken": token})


def test_starting_begins_the_timers() -> None:
    started = executions.start(QUEUED, Change(step_minutes=5), NOW, 30)
    assert (started.state, started.version, started.started_s, started.updated_s) == (State.IN_PROGRESS, 2, 1000, 1000)
    assert (started.ends_s, started.step_ends_s, started.due_s) == (NOW + 1800, NOW + 300, NOW + 300)
    assert executions.start(QUEUED, Change(), NOW, 0).due_s == 0


def test_starting_again_gives_the_same_back() -> None:
    assert executions.start(RUNNING, Change(), NOW, 30) is RUNNING
    again = executions.start(RUNNING, Change(details={"boot": "2"}), NOW, 30)
    assert (again.version, again.details, again.started_s, again.ends_s) == (3, {"boot": "2"}, 950, 0)


def test_details_stay_when_none_are_given() -> None:
    before = replace(RUNNING, details={"a": "1"})
    assert executions.update(before, Change(), NOW, 0).details == {"a": "1"}
    assert executions.update(before, Change(details={}), NOW, 0).details == {}


def test_the_step_timer_is_set_moved_and_cleared() -> None:
    one = executions.update(RUNNING, Change(step_minutes=1), NOW, 0)
    two = executions.update(one, Change(), NOW + 10, 0)
    three = executions.update(two, Change(step_minutes=2), NOW + 20, 0)
    four = executions.update(three, Change(step_minutes=-1), NOW + 30, 0)
    assert [one.due_s, two.due_s, three.due_s, four.due_s] == [NOW + 60, NOW + 60, NOW + 140, 0]


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.REJECTED])
@pytest.mark.parametrize("before", [QUEUED, RUNNING])
def test_a_device_may_end_what_is_pending(before: Execution, state: State) -> None:
    after = executions.update(replace(before, ends_s=2000.0, step_ends_s=2000.0), Change(state), NOW, 0)
    assert (after.state, after.version, after.due_s) == (state, before.version + 1, 0)


@pytest.mark.parametrize("state", [state for state in State if not state.is_pending])
def test_what_has_ended_stays_so(state: State) -> None:
    with pytest.raises(RefusalError, match=f"an execution that is {state} cannot become IN_PROGRESS") as caught:
        executions.update(replace(RUNNING, state=state), Change(), NOW, 0)
    assert caught.value.code == "InvalidStateTransition"
    assert caught.value.execution is not None


def test_another_version_or_number_is_refused() -> None:
    with pytest.raises(RefusalError) as caught:
        executions.update(RUNNING, Change(expected_version=1), NOW, 0)
    assert (caught.value.code, caught.value.execution) == ("VersionMismatch", RUNNING)
    with pytest.raises(RefusalError) as caught:
        executions.update(RUNNING, Change(number=2), NOW, 0)
    assert (caught.value.code, caught.value.execution) == ("ResourceNotFound", None)


def test_how_it_is_shown() -> None:
    one = replace(RUNNING, details={"a": "1"}, ends_s=NOW + 61)
    assert executions.whole(one, NOW) == {
        "jobId": "j1", "thingName": "edge-1", "status": "IN_PROGRESS", "statusDetails": {"a": "1"}, "queuedAt": 900,
        "startedAt": 950, "lastUpdatedAt": 900, "versionNumber": 2, "executionNumber": 1,
        "approximateSecondsBeforeTimedOut": 61,
    }  # fmt: skip
    assert executions.whole(one, NOW + 100)["approximateSecondsBeforeTimedOut"] == 0
    assert "startedAt" not in executions.summary(QUEUED)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
KEYS = st.sampled_from(
    ["status", "statusDetails", "expectedVersion", "executionNumber", "includeJobDocument", "stepTimeoutInMinutes"]
)


@given(st.dictionaries(KEYS, VALUES | st.dictionaries(st.text(), VALUES) | st.sampled_from([*State, "1"])))
def test_any_request_is_read_or_refused(request_: dict[str, object]) -> None:
    try:
        change = executions.read_change(request_, needs_state=True)
    except RefusalError:
        return
    assert change.state == request_["status"]
