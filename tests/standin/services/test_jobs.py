"""The Jobs service, as a device and as people see it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError, LimitError, NotFoundError
from edge_runtime.standin.registry import Registry, Thing
from edge_runtime.standin.services.executions import State
from edge_runtime.standin.services.jobs import Jobs
from tests.standin.harness import Bench
from tests.standin.services.talk import NOW, Device, Message, Tree, device

ROOT = "$aws/things/edge-1/jobs"
DOCUMENT = {"operation": "edge.restart"}


def setting() -> tuple[Bench, Jobs, Device]:
    bench = Bench()
    jobs = Jobs(bench.broker, Registry())
    bench.broker.services.append(jobs)
    return bench, jobs, device(bench, f"{ROOT}/notify", f"{ROOT}/notify-next")


def answer(messages: list[Message]) -> Tree:
    """Return the answer among messages; it comes first."""
    assert messages[0][0].endswith(("/accepted", "/rejected"))
    return messages[0][1]


def test_a_new_job_is_announced() -> None:
    _, jobs, edge = setting()
    (made,) = jobs.create(["edge-1"], DOCUMENT, "j1")
    assert (made.thing, made.state, made.queued_s) == ("edge-1", State.QUEUED, NOW)
    shown = {"jobId": "j1", "queuedAt": NOW, "lastUpdatedAt": NOW, "executionNumber": 1, "versionNumber": 1}
    assert edge.heard() == [
        (f"{ROOT}/notify", {"timestamp": NOW, "jobs": {"QUEUED": [shown]}}),
        (
            f"{ROOT}/notify-next",
            {
                "timestamp": NOW,
                "execution": {**shown, "thingName": "edge-1", "status": "QUEUED", "jobDocument": DOCUMENT},
            },
        ),
    ]
    jobs.create(["edge-1"], DOCUMENT, "j2")
    assert [topic for topic, _ in edge.heard()] == [f"{ROOT}/notify"]  # the next one is still j1


def test_a_job_is_started_updated_and_done() -> None:
    _, jobs, edge = setting()
    jobs.create(["edge-1"], DOCUMENT, "j1")
    jobs.create(["edge-1"], DOCUMENT, "j2")
    edge.heard()
    ((topic, started),) = edge.ask(f"{ROOT}/start-next", {"statusDetails": {"step": "1"}, "clientToken": "t"})
    assert (topic, started["clientToken"], started["timestamp"]) == (f"{ROOT}/start-next/accepted", "t", NOW)
    assert started["execution"] == {
        "jobId": "j1", "thingName": "edge-1", "status": "IN_PROGRESS", "statusDetails": {"step": "1"},
        "queuedAt": NOW, "startedAt": NOW, "lastUpdatedAt": NOW, "versionNumber": 2, "executionNumber": 1,
        "jobDocument": DOCUMENT,
    }  # fmt: skip
    # A device that lost its power gets the same one back.
    again = answer(edge.ask(f"{ROOT}/start-next"))["execution"]
    assert again == started["execution"]
    pending = answer(edge.ask(f"{ROOT}/get"))
    assert [one["jobId"] for one in pending["inProgressJobs"]] == ["j1"]  # type: ignore[attr-defined] # a list
    assert [one["jobId"] for one in pending["queuedJobs"]] == ["j2"]  # type: ignore[attr-defined] # a list

    request = {
        "status": "SUCCEEDED",
        "expectedVersion": 2,
        "includeJobExecutionState": True,
        "includeJobDocument": True,
    }
    updated, notify, following = edge.ask(f"{ROOT}/j1/update", request)
    assert updated == (
        f"{ROOT}/j1/update/accepted",
        {
            "executionState": {"status": "SUCCEEDED", "statusDetails": {"step": "1"}, "versionNumber": 3},
            "jobDocument": DOCUMENT,
            "timestamp": NOW,
        },
    )
    assert notify[0] == f"{ROOT}/notify"
    assert (following[0], following[1]["execution"]["jobId"]) == (f"{ROOT}/notify-next", "j2")  # type: ignore[index] # an object
    assert (jobs.status_of("j1"), jobs.status_of("j2")) == ("COMPLETED", "IN_PROGRESS")


def test_nothing_to_do() -> None:
    _, _, edge = setting()
    assert edge.ask(f"{ROOT}/start-next") == [(f"{ROOT}/start-next/accepted", {"timestamp": NOW})]
    assert edge.ask(f"{ROOT}/$next/get") == [(f"{ROOT}/$next/get/accepted", {"timestamp": NOW})]
    assert answer(edge.ask(f"{ROOT}/get")) == {"inProgressJobs": [], "queuedJobs": [], "timestamp": NOW}


def test_describing() -> None:
    _, jobs, edge = setting()
    jobs.create(["edge-1"], DOCUMENT, "j1")
    edge.heard()
    whole = answer(edge.ask(f"{ROOT}/j1/get"))["execution"]
    assert whole == answer(edge.ask(f"{ROOT}/$next/get"))["execution"]
    bare = answer(edge.ask(f"{ROOT}/j1/get", {"includeJobDocument": False, "executionNumber": 1}))["execution"]
    assert {**bare, "jobDocument": DOCUMENT} == whole  # type: ignore[dict-item] # an object


def test_what_is_in_progress_comes_before_what_is_queued() -> None:
    _, jobs, edge = setting()
    for name in ("j1", "j2"):
        jobs.create(["edge-1"], DOCUMENT, name)
    edge.heard()
    _, following = edge.ask(f"{ROOT}/j2/update", {"status": "IN_PROGRESS"})
    assert (following[0], following[1]["execution"]["jobId"]) == (f"{ROOT}/notify-next", "j2")  # type: ignore[index] # an object
    assert [one.job_id for one in jobs.pending("edge-1")] == ["j2", "j1"]


@pytest.mark.parametrize(
    ("path", "payload", "code"),
    [
        ("nothing/get", b"", "ResourceNotFound"),
        ("nothing/update", b'{"status":"FAILED"}', "ResourceNotFound"),
        ("j1/get", b'{"executionNumber":2}', "ResourceNotFound"),
        ("j1/update", b'{"status":"FAILED","executionNumber":2}', "ResourceNotFound"),
        ("j1/update", b'{"status":"FAILED","expectedVersion":9}', "VersionMismatch"),
        ("done/get", b"", "TerminalStateReached"),
        ("done/update", b'{"status":"IN_PROGRESS"}', "InvalidStateTransition"),
        ("j1/update", b"{}", "InvalidRequest"),
        ("start-next", b'{"stepTimeoutInMinutes":0}', "InvalidRequest"),
        ("get", b'{"clientToken":1}', "InvalidRequest"),
        ("get", b"{", "InvalidJson"),
        ("get", b"\xff", "InvalidJson"),
        ("start-next", b"[]", "InvalidJson"),
        ("nothing", b"", "InvalidTopic"),
        ("j1/other", b"", "InvalidTopic"),
        ("$next/update", b'{"status":"FAILED"}', "InvalidTopic"),
        ("j1/get/more", b"", "InvalidTopic"),
    ],
)
def test_what_is_wrong_is_rejected_with_the_code_of_aws(path: str, payload: bytes, code: str) -> None:
    _, jobs, edge = setting()
    for name in ("j1", "done"):
        jobs.create(["edge-1"], DOCUMENT, name)
    edge.ask(f"{ROOT}/done/update", {"status": "SUCCEEDED"})
    ((topic, found),) = edge.ask(f"{ROOT}/{path}", payload)
    assert (topic, found["code"]) == (f"{ROOT}/{path}/rejected", code)
    assert bool(found["message"])
    assert ("executionState" in found) == (code in ("VersionMismatch", "InvalidStateTransition"))


def test_only_who_asked_is_answered() -> None:
    bench, _, edge = setting()
    other = device(bench, f"{ROOT}/get/+", client_id="other")
    assert len(edge.ask(f"{ROOT}/get")) == 1  # not subscribed, and told
    assert other.heard() == []


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["get", "start-next", "j1/get", "j1/update", "$next/get", "x", "j1/x/y"]),
    st.binary(max_size=60) | st.sampled_from([b"{}", b'{"status":"FAILED"}', b'{"status":{}}', b'{"clientToken":"t"}']),
)
def test_every_request_gets_one_answer(path: str, payload: bytes) -> None:
    _, jobs, edge = setting()
    jobs.create(["edge-1"], DOCUMENT, "j1")
    edge.heard()
    outcomes = [topic for topic, _ in edge.ask(f"{ROOT}/{path}", payload) if not topic.startswith(f"{ROOT}/notify")]
    assert outcomes in ([f"{ROOT}/{path}/accepted"], [f"{ROOT}/{path}/rejected"])


async def test_what_takes_too_long_times_out() -> None:
    bench, jobs, edge = setting()
    jobs.create(["edge-1"], DOCUMENT, "j1", timeout_minutes=10)
    jobs.create(["edge-1"], DOCUMENT, "j2")
    edge.heard()
    assert answer(edge.ask(f"{ROOT}/start-next"))["execution"]["approximateSecondsBeforeTimedOut"] == 600  # type: ignore[index] # an object
    edge.ask(f"{ROOT}/j2/update", {"status": "IN_PROGRESS", "stepTimeoutInMinutes": 1})
    await bench.clock.advance(61)
    assert [topic for topic, _ in edge.heard()] == [f"{ROOT}/notify"]
    assert [one.state for one in jobs.executions_of("j2")] == [State.TIMED_OUT]
    await bench.clock.advance(540)
    assert [(topic, found.get("jobs"), "execution" in found) for topic, found in edge.heard()] == [
        (f"{ROOT}/notify", {}, False),
        (f"{ROOT}/notify-next", None, False),
    ]
    (ended,) = jobs.executions_of("j1")
    assert (ended.state, ended.version, ended.updated_s) == (State.TIMED_OUT, 3, NOW + 600)
    await bench.broker.close()


async def test_a_timer_that_was_moved_does_not_ring_early() -> None:
    bench, jobs, edge = setting()
    jobs.create(["edge-1"], DOCUMENT, "j1")
    edge.ask(f"{ROOT}/start-next", {"stepTimeoutInMinutes": 1})
    await bench.clock.advance(50)
    edge.ask(f"{ROOT}/j1/update", {"status": "IN_PROGRESS", "stepTimeoutInMinutes": 1})
    await bench.clock.advance(50)
    assert jobs.executions_of("j1")[0].state is State.IN_PROGRESS
    await bench.clock.advance(20)
    assert jobs.executions_of("j1")[0].state is State.TIMED_OUT
    await bench.broker.close()


# --- people ---


def test_cancelling() -> None:
    _, jobs, edge = setting()
    jobs.create(["edge-1", "edge-2"], DOCUMENT, "j1")
    edge.ask(f"{ROOT}/start-next")
    edge.heard()
    assert jobs.cancel("j1") == 1  # the one that had not begun
    assert edge.heard() == []
    assert jobs.cancel("j1", force=True) == 1
    assert [topic for topic, _ in edge.heard()] == [f"{ROOT}/notify", f"{ROOT}/notify-next"]
    assert jobs.status_of("j1") == "CANCELED"
    assert {one.state for one in jobs.executions_of("j1")} == {State.CANCELED}


def test_deleting() -> None:
    _, jobs, edge = setting()
    jobs.create(["edge-1"], DOCUMENT, "j1")
    edge.heard()
    jobs.delete("j1")
    assert [topic for topic, _ in edge.heard()] == [f"{ROOT}/notify", f"{ROOT}/notify-next"]
    with pytest.raises(NotFoundError, match="there is no job 'j1'"):
        jobs.status_of("j1")


@pytest.mark.parametrize(
    "target",
    ["edge-1", "thing/edge-1", "thinggroup/garden", "arn:aws:iot:eu-west-1:123456789012:thing/edge-1",
     "arn:aws:iot:eu-west-1:123456789012:thinggroup/garden"],
)  # fmt: skip
def test_targets(target: str) -> None:
    registry = Registry()
    registry.put_thing(Thing("edge-1", groups=("garden",)))
    jobs = Jobs(Bench().broker, registry)
    assert [one.thing for one in jobs.create([target], DOCUMENT)] == ["edge-1"]


def test_a_thing_named_twice_gets_one_execution() -> None:
    _, jobs, _ = setting()
    assert len(jobs.create(["edge-1", "thing/edge-1"], DOCUMENT)) == 1


@pytest.mark.parametrize(
    ("targets", "document", "job_id", "minutes", "error", "words"),
    [
        ([], DOCUMENT, "j", 0, ConfigError, "job 'j' has no targets"),
        (["edge-9"], DOCUMENT, "j", 0, NotFoundError, "there is no thing 'edge-9'; did you mean 'edge-1'"),
        (["thinggroup/x"], DOCUMENT, "j", 0, NotFoundError, "there is no thing in a group 'x'"),
        (["other/x"], DOCUMENT, "j", 0, ConfigError, "'other/x' is no target"),
        (["a b"], DOCUMENT, "j", 0, ConfigError, "'a b' is no target"),
        (["edge-1"], DOCUMENT, "a b", 0, ConfigError, "'a b' is no id of a job"),
        (["edge-1"], DOCUMENT, "there", 0, ConfigError, "there is a job 'there' already"),
        (["edge-1"], DOCUMENT, "j", 10_081, ConfigError, "a time-out of 10081 minutes"),
        (["edge-1"], {"a": "x" * 32_768}, "j", 0, LimitError, "has 32776 bytes; AWS IoT allows 32768"),
    ],
)
def test_jobs_that_aws_would_not_take(  # noqa: PLR0917 - a table
    targets: list[str], document: Tree, job_id: str, minutes: int, error: type[Exception], words: str
) -> None:
    registry = Registry()
    registry.put_thing(Thing("edge-1"))
    jobs = Jobs(Bench().broker, registry)
    jobs.create(["edge-1"], DOCUMENT, "there")
    with pytest.raises(error, match=words):
        jobs.create(targets, document, job_id, timeout_minutes=minutes)
    assert list(jobs.jobs) == ["there"]


def test_urls_are_made_when_the_document_is_asked_for() -> None:
    _, jobs, edge = setting()
    count = iter(range(10))
    jobs.presign = lambda url: f"{url}#{next(count)}"
    jobs.create(["edge-1"], {"url": "${aws:iot:s3-presigned-url:https://b/x}"}, "j1")
    edge.heard()
    found = [answer(edge.ask(f"{ROOT}/j1/get"))["execution"]["jobDocument"] for _ in range(2)]  # type: ignore[index] # an object
    assert found == [{"url": "https://b/x#1"}, {"url": "https://b/x#2"}]
