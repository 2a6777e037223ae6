"""What is said to the jobs service and heard from it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure import job_messages as messages
from edge_runtime.pure import jobs
from edge_runtime.pure.job_messages import ODD, Execution, Heard, Reply, State, Topics
from edge_runtime.pure.topics import matches

TOPICS = Topics("pi-7")
ROOT = "$aws/things/pi-7/jobs"


def test_the_topics() -> None:
    assert TOPICS.filters == (
        f"{ROOT}/notify-next",
        f"{ROOT}/start-next/+",
        f"{ROOT}/+/update/+",
        f"{ROOT}/+/get/+",
    )
    assert TOPICS.start_next() == f"{ROOT}/start-next"
    assert TOPICS.get("j") == f"{ROOT}/j/get"
    assert TOPICS.update("j") == f"{ROOT}/j/update"
    assert matches(TOPICS.updates, TOPICS.update("j"))


@pytest.mark.parametrize(
    ("end", "heard"),
    [
        ("notify-next", Heard("notify-next")),
        ("start-next/accepted", Heard("start-next")),
        ("start-next/rejected", Heard("start-next", "", accepted=False)),
        ("a-1/update/accepted", Heard("update", "a-1")),
        ("a-1/update/rejected", Heard("update", "a-1", accepted=False)),
        ("a-1/get/accepted", Heard("get", "a-1")),
        ("$next/get/accepted", None),
        ("a.1/get/accepted", None),
        ("start-next", None),
        ("start-next/else", None),
        ("notify", None),
        ("notify-namespace-aws-gg-deployment", None),
        ("a-1/namespace-aws-gg-deployment/update/accepted", None),
        ("a-1/update", None),
        ("", None),
    ],
)
def test_what_a_topic_says(end: str, heard: Heard | None) -> None:
    assert TOPICS.heard(f"{ROOT}/{end}") == heard
    if heard is not None:
        assert any(matches(one, f"{ROOT}/{end}") for one in TOPICS.filters)


def test_topics_of_other_things_are_none_of_its_business() -> None:
    assert TOPICS.heard("$aws/things/pi-8/jobs/notify-next") is None
    assert TOPICS.heard("dt/pi-7") is None


def test_an_execution_is_read() -> None:
    data = {
        "clientToken": "t",
        "execution": {
            "jobId": "a",
            "thingName": "pi-7",
            "status": "IN_PROGRESS",
            "statusDetails": {"step": "first"},
            "versionNumber": 3,
            "executionNumber": 2,
            "jobDocument": {"version": "1.0"},
        },
    }
    execution = Execution("a", 2, State("IN_PROGRESS", 3, {"step": "first"}), {"version": "1.0"})
    assert messages.reply(json.dumps(data).encode()) == Reply("t", execution)


def test_a_refusal_is_read() -> None:
    data = {
        "clientToken": "t",
        "code": "VersionMismatch",
        "message": "no",
        "executionState": {"status": "IN_PROGRESS", "statusDetails": {}, "versionNumber": 4},
    }
    assert messages.reply(json.dumps(data).encode()) == Reply(
        "t", None, State("IN_PROGRESS", 4), "VersionMismatch", "no"
    )


@pytest.mark.parametrize(
    "payload", [b"{}", b'{"execution":{}}', b'{"execution":null}', b'{"execution":[]}', b'{"timestamp":1}']
)
def test_there_is_no_execution(payload: bytes) -> None:
    assert messages.reply(payload) == Reply()


@pytest.mark.parametrize("job", ["", "a/b", "a+", "x" * 65, "../a", 7, None])
def test_what_has_no_proper_id_is_no_execution(job: object) -> None:
    assert messages.reply(json.dumps({"execution": {"jobId": job, "executionNumber": 1}}).encode()).execution is None


@pytest.mark.parametrize("payload", [b"", b"[]", b"7", b"{", b"\xff\xfe", b'"text"', b"[" * 100_000])
def test_what_cannot_be_read_is_said(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of json
        messages.reply(payload)


@pytest.mark.parametrize(
    "document",
    [
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 10_000 + b'"]]]{\\""' + b"]" * 10_000,
        b'{"x":"}}}","a":' + b"[" * 20_000 + b"]" * 20_000 + b',"y":"{{{"}',
    ],
)
def test_a_job_whose_document_is_nested_too_deep_is_still_known(document: bytes) -> None:
    payload = (
        b'{"clientToken":"t","execution":{"jobId":"a","jobDocument":'
        + document
        + b',"executionNumber":3},"timestamp":1}'
    )
    reply = messages.reply(payload)
    assert reply.token == "t"  # noqa: S105 - of a request, no secret
    assert reply.execution is not None
    assert (reply.execution.id, reply.execution.number) == ("a", 3)
    with pytest.raises(jobs.RefusalError):
        jobs.read(reply.execution.document)


@pytest.mark.parametrize("number", [b"1" * 5000, b"NaN", b"-Infinity", b"Infinity"])
def test_a_job_with_an_odd_number_is_still_known(number: bytes) -> None:
    document = b'{"version":"1.0","operation":"edge.invoke","function":"f","payload":[' + number + b"]}"
    reply = messages.reply(b'{"execution":{"jobId":"a","executionNumber":1,"jobDocument":' + document + b"}}")
    assert reply.execution is not None
    assert reply.execution.document["payload"] == [ODD]  # type: ignore[index]  # it is an object
    with pytest.raises(jobs.RefusalError, match="payload holds a number"):
        jobs.read(reply.execution.document)


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(payload: bytes) -> None:
    with contextlib.suppress(ValueError):
        messages.reply(payload)


@given(
    st.dictionaries(
        st.sampled_from(["clientToken", "code", "message", "executionState", "execution"]),
        st.none()
        | st.integers()
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=2)
        | st.dictionaries(
            st.sampled_from(["jobId", "status", "statusDetails", "versionNumber", "executionNumber", "jobDocument"]),
            st.none()
            | st.integers()
            | st.text(max_size=5)
            | st.dictionaries(st.text(max_size=3), st.integers() | st.text()),
        ),
    )
)
def test_any_object_is_read(data: object) -> None:
    reply = messages.reply(json.dumps(data).encode())
    assert isinstance(reply.token, str)
    if reply.execution is not None:
        assert isinstance(reply.execution.number, int)


def test_a_request() -> None:
    assert messages.ask("t", executionNumber=3) == b'{"clientToken":"t","executionNumber":3}'


def test_details_are_made_to_fit() -> None:
    assert messages.details({"reason": "a\nb\x00c\u200b", "a b/ü": "ok", "empty": "", "blank": " \t"}) == {
        "reason": "a b c",
        "a_b__": "ok",
    }
    assert len(messages.details({f"k{n}": "v" for n in range(20)})) == 10
    long = messages.details({"k" * 200: "ü" * 2000})
    assert list(long) == ["k" * 128]
    assert long["k" * 128] == "ü" * 510 + "..."
    assert messages.details({"k": "x" * 1024}) == {"k": "x" * 1024}
    assert messages.details({"k": "\ud800a"}) == {"k": "a"}


@given(st.dictionaries(st.text(), st.text()))
def test_details_are_always_what_aws_takes(pairs: dict[str, str]) -> None:
    found = messages.details(pairs)
    assert len(found) <= 10
    for key, value in found.items():
        assert 1 <= len(key) <= 128
        assert 1 <= len(value.encode()) <= 1024
        assert set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_-")
