"""Jobs over a real store and a service that follows AWS's rules."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from edge_runtime.cloud.jobs import FAILED, MOST_BEGUN, REJECTED, SUCCEEDED, Job, JobState, Outcome, job_rule
from edge_runtime.cloud.pack import Packing, parcels
from edge_runtime.errors import ConfigError, HostError, QueueFullError, StoreError
from edge_runtime.model import Message
from tests.cloud.jobcloud import ROOT, JobCloud, Sent
from tests.cloud.jobsite import INVOKE, STEPS, Steps, site

# -- the straight way --------------------------------------------------------------------------------------------------


async def test_jobs_are_carried_out_one_after_the_other(tmp_path: Path) -> None:
    cloud = JobCloud()
    cloud.create("one", INVOKE)
    cloud.create("two", INVOKE)
    async with site(tmp_path, cloud) as it:
        await it.ended("one", SUCCEEDED)
        await it.ended("two", SUCCEEDED)
        await it.bring(cloud.create("three", INVOKE))  # `notify-next` wakes it
        await it.ended("three", SUCCEEDED)
        await it.until(lambda: cloud.asked[-1] == "start-next")
    assert [end for end in cloud.asked if "update" in end] == ["one/update", "two/update", "three/update"]
    assert cloud.rejections == []
    assert cloud.jobs["one"].details == {"result": "done"}


async def test_every_step_is_told_with_what_is_needed_of_aws(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    steps.gate.set()
    for _ in range(3):
        cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.ended("j", SUCCEEDED)
        assert [event.topic for event in it.emitted] == [f"{ROOT}/j/update"] * 4
    assert cloud.jobs["j"].history == STEPS
    assert cloud.jobs["j"].details == {"steps": "first second third", "step": "third"}
    assert [one["executionNumber"] for one in cloud.updates] == [3] * 4
    assert cloud.updates[0]["expectedVersion"] == 2  # 1 was queued
    assert all(one["includeJobExecutionState"] is True for one in cloud.updates)
    assert len({one["clientToken"] for one in cloud.updates}) == 4


async def test_nothing_pending_is_nothing_to_do(tmp_path: Path) -> None:
    cloud = JobCloud()
    async with site(tmp_path, cloud) as it:
        await it.until(lambda: cloud.asked == ["start-next"])
        await it.clock.advance(3600)
        await it.rest()
        assert it.agent.state() is None
    assert cloud.asked == ["start-next"]


async def test_what_is_in_hand_is_shown(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        assert it.agent.state() == JobState("j", "edge.invoke", "first", "IN_PROGRESS")
        await it.disconnect()
        steps.gate.set()
        await it.until(lambda: it.agent.state() == JobState("j", "edge.invoke", "third", "SUCCEEDED"))
        it.connect()
        await it.ended("j", SUCCEEDED)


async def test_what_is_subscribed_to_and_what_goes_up(tmp_path: Path) -> None:
    async with site(tmp_path, JobCloud()) as it:
        assert len(it.agent.filters) == 4
        assert it.agent.name == "jobs"
        for topic in ("dt/pi-7", f"{ROOT}/notify", "$aws/things/pi-8/jobs/notify-next"):
            assert not await it.agent.received(topic, b"{}")
        assert job_rule("pi-7").filter == f"{ROOT}/+/update"
        assert job_rule("pi-7").priority == 0


async def test_reports_are_never_packed(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    steps.gate.set()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.ended("j", SUCCEEDED)
        waiting = [Message(event, "uplink", 0, seq) for seq, event in enumerate(it.emitted, 1)]
    for gzip in (False, True):
        found = list(parcels(waiting, Packing(50, gzip=gzip)))
        assert [json.loads(parcel.payload)["status"] for parcel in found] == [status for status, _ in STEPS]


# -- documents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (
            {"version": "1.0", "steps": [{"action": {"type": "runCommand", "input": {"command": "reboot"}}}]},
            "steps (runHandler, runCommand) are never carried out here; known: edge.deploy, edge.invoke, edge.restart",
        ),
        (
            {"operation": "reboot", "version": "1.0"},
            "the operation is 'reboot'; known: edge.deploy, edge.invoke, edge.restart",
        ),
        ({"version": "9"}, "the version of the job document is '9'; known: '1.0'"),
        ("id", "the job document is no JSON object"),
        (None, "the job document is no JSON object"),
        (
            {**INVOKE, "payload": {"a": float("nan")}},
            "payload holds a number that is none, or one with too many digits",
        ),
        (
            {**INVOKE, "x\n\x00": 1},
            "the job document has an unknown key 'x\\n\\x00'; known: function, payload, timeout",
        ),
    ],
)
async def test_a_document_that_is_not_ours_is_rejected_with_the_reason(
    tmp_path: Path, document: object, reason: str
) -> None:
    cloud = JobCloud()
    cloud.create("bad", document)
    cloud.create("good", INVOKE)
    async with site(tmp_path, cloud) as it:
        await it.ended("bad", REJECTED)
        await it.ended("good", SUCCEEDED)
    assert cloud.jobs["bad"].details == {"reason": reason}
    assert cloud.jobs["bad"].history == [("REJECTED", "")]


async def test_a_document_nested_too_deep_is_rejected_too(tmp_path: Path) -> None:
    cloud = JobCloud()
    cloud.create("bad", {"deep": "HERE"})
    async with site(tmp_path, cloud) as it:
        whole = it.cloud.handle

        def handle(topic: str, payload: bytes) -> list[Sent]:
            return [(t, p.replace(b'"HERE"', b"[" * 15_000 + b"]" * 15_000)) for t, p in whole(topic, payload)]

        cloud.handle = handle  # type: ignore[method-assign]  # the service's JSON library would not write it
        await it.disconnect()
        it.connect()
        await it.ended("bad", REJECTED)
    assert cloud.jobs["bad"].details == {"reason": "the job document is nested deeper than 32 levels"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConfigError("the key is gone", hint="make one"), "the key is gone (make one)"),
        (ValueError("a mistake"), "ValueError: a mistake"),
    ],
)
async def test_an_operation_that_fails_fails_its_job(tmp_path: Path, error: Exception, reason: str) -> None:
    async def hands(job: Job) -> Outcome:
        await job.reach("trying")
        raise error

    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, hands) as it:
        await it.ended("j", FAILED)
    assert cloud.jobs["j"].details == {"reason": reason, "step": "trying"}


@pytest.mark.parametrize("error", [HostError("no workers"), StoreError("the disk failed")])
async def test_what_is_not_the_jobs_fault_is_tried_again(tmp_path: Path, error: Exception) -> None:
    tries: list[int] = []

    async def hands(_: Job) -> Outcome:
        tries.append(1)
        if len(tries) <= MOST_BEGUN + 2:
            raise error
        return Outcome(SUCCEEDED, {})

    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, hands) as it:
        for _ in range(MOST_BEGUN + 2):
            with pytest.raises(type(error)):
                await it.working
            it.working = asyncio.create_task(it.agent.work())
        await it.ended("j", SUCCEEDED)


async def test_a_rejection_that_finds_the_queue_full_is_told_when_there_is_room(tmp_path: Path) -> None:
    cloud = JobCloud()
    cloud.create("j", {"version": "2.0"})
    async with site(tmp_path, cloud, online=False) as it:
        it.full = 1
        it.connect()
        with pytest.raises(QueueFullError):
            await it.working
        it.working = asyncio.create_task(it.agent.work())
        await it.ended("j", REJECTED)
        await it.until(lambda: cloud.asked == ["start-next", "j/update", "start-next"])


async def test_a_step_that_could_not_be_stored_was_not_reached(tmp_path: Path) -> None:
    cloud, seen = JobCloud(), []
    cloud.create("j", INVOKE)

    async def hands(job: Job) -> Outcome:
        seen.append((job.step, dict(job.kept)))
        await job.reach("first", at="1")
        return Outcome(SUCCEEDED, {})

    async with site(tmp_path, cloud, hands, online=False) as it:
        it.full = 1
        it.connect()
        with pytest.raises(QueueFullError):
            await it.working
        it.working = asyncio.create_task(it.agent.work())
        await it.ended("j", SUCCEEDED)
    assert seen == [("", {}), ("", {})]
    assert cloud.jobs["j"].history == [("IN_PROGRESS", "first"), ("SUCCEEDED", "first")]


# -- offline, and after a power cut ------------------------------------------------------------------------------------


async def test_what_happens_offline_is_told_later_in_order(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        await it.disconnect()
        steps.gate.set()
        await it.until(lambda: len(it.emitted) == 4)
        assert cloud.jobs["j"].status == "IN_PROGRESS"
        it.connect()
        await it.ended("j", SUCCEEDED)
    assert cloud.jobs["j"].history[-4:] == STEPS


@pytest.mark.parametrize("cut", range(1, 5))
@pytest.mark.parametrize("online", [True, False])
async def test_a_power_cut_at_every_step(tmp_path: Path, cut: int, *, online: bool) -> None:
    """What was begun is begun again, and what was done is not."""
    cloud, done = JobCloud(), []
    cloud.create("j", INVOKE)
    count = 0

    async def hands(job: Job) -> Outcome:
        nonlocal count
        names = ["first", "second", "third"]
        for name in names[names.index(job.step) if job.step else 0 :]:
            count += 1
            if count == cut:
                await asyncio.get_running_loop().create_future()
            await job.reach(name)
            done.append(name)
        return Outcome(SUCCEEDED, {})

    async with site(tmp_path, cloud, hands) as it:
        await it.until(lambda: count == cut or (it.agent.state() is None and cloud.jobs["j"].status == SUCCEEDED))
        await it.rest()
    async with site(tmp_path, cloud, hands, online=online) as it:
        if not online:
            await it.until(lambda: it.agent.state() is None or it.agent.state().status == SUCCEEDED)  # type: ignore[union-attr]  # there is one
            it.connect()
        await it.ended("j", SUCCEEDED)
    assert list(dict.fromkeys(done)) == ["first", "second", "third"]
    assert len(done) <= 4
    assert cloud.jobs["j"].history[-1] == ("SUCCEEDED", "third")


async def test_a_power_cut_between_the_end_and_its_report(tmp_path: Path) -> None:
    """The end is stored with its report: it is told, and nothing is done twice."""
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        await it.disconnect()
        steps.gate.set()
        await it.until(lambda: len(it.emitted) == 4)
    assert cloud.jobs["j"].status == "IN_PROGRESS"
    async with site(tmp_path, cloud, steps) as it:
        await it.ended("j", SUCCEEDED)
    assert steps.done == ["first", "second", "third"]


async def test_what_was_kept_is_there_after_a_power_cut(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    async def hands(job: Job) -> Outcome:
        seen.append(dict(job.kept))
        if job.step:
            return Outcome(SUCCEEDED, {}, {"release": "7"})
        await job.reach("first", a="1")
        await job.reach("first", b="2")  # more of the same step is stored, and not told
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, hands) as it:
        await it.until(lambda: seen)
        await it.rest()
    async with site(tmp_path, cloud, hands) as it:
        await it.ended("j", SUCCEEDED)
        assert await it.store.recall("release") == "7"
    assert seen == [{}, {"a": "1", "b": "2"}]
    assert [step for _, step in cloud.jobs["j"].history] == ["first", "first"]


async def test_a_job_that_never_comes_to_an_end_is_given_up(tmp_path: Path) -> None:
    begun = 0

    async def hands(job: Job) -> Outcome:
        nonlocal begun
        begun += 1
        await job.reach("crashing")
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    cloud = JobCloud()
    cloud.create("j", INVOKE)
    for count in range(1, MOST_BEGUN + 1):
        async with site(tmp_path, cloud, hands) as it:
            await it.until(lambda wanted=count: begun == wanted)  # type: ignore[misc]  # mypy infers no default
            await it.rest()
    async with site(tmp_path, cloud, hands) as it:
        await it.ended("j", FAILED)
    assert begun == MOST_BEGUN
    assert cloud.jobs["j"].details["reason"] == "given up: it was begun 5 times and never came to an end"


async def test_a_record_of_another_time_is_asked_for_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    for text in ("{", "[]", '{"id": 7}'):
        async with site(tmp_path, cloud) as it:
            it.working.cancel()
            await it.store.change(memo={"job/pi-7": text})
    async with site(tmp_path, cloud) as it:
        await it.ended("j", SUCCEEDED)
    assert "stored in a way that is not known here" in caplog.text


# -- taken back, timed out, replaced -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["CANCELED", "TIMED_OUT", "REMOVED"])
async def test_a_job_that_the_cloud_takes_back_stops_at_the_next_step(tmp_path: Path, status: str) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        await it.bring(cloud.set("j", status))
        await it.until(lambda: cloud.asked[-1] == "start-next")
        steps.gate.set()
        await it.until(lambda: it.agent.state() is None)
        assert steps.done == ["first"]
        await it.bring(cloud.create("next", INVOKE))
        await it.ended("next", SUCCEEDED)
    assert cloud.jobs["j"].history == [("IN_PROGRESS", "first")]
    assert cloud.jobs["j"].status == status


async def test_a_report_that_is_refused_because_the_job_is_over_stops_it_too(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        await it.disconnect()
        cloud.set("j", "CANCELED")
        steps.gate.set()
        steps.gate = asyncio.Event()
        await it.until(lambda: steps.at == "second")
        it.connect()
        await it.until(lambda: cloud.rejections == ["InvalidStateTransition"])
        steps.gate.set()
        await it.until(lambda: it.agent.state() is None)
    assert steps.done == ["first", "second"]


@pytest.mark.parametrize("code", ["TerminalStateReached", "ResourceNotFound"])
async def test_other_words_for_a_job_that_is_over(tmp_path: Path, code: str) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first" and cloud.jobs["j"].history)
        cloud.jobs["j"].status = "REMOVED"
        cloud.refuse = [code]
        steps.gate.set()
        steps.gate = asyncio.Event()
        await it.until(lambda: steps.at == "second" and cloud.rejections == [code])
        steps.gate.set()
        await it.until(lambda: it.agent.state() is None)
    assert steps.done == ["first", "second"]


async def test_a_job_that_ends_after_it_was_canceled_is_done_with(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps("only")
    cloud.create("j", INVOKE)
    cloud.create("next", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "only")
        await it.disconnect()
        cloud.set("j", "CANCELED")
        steps.gate.set()
        await it.until(lambda: len(it.emitted) == 2)
        it.connect()
        await it.ended("next", SUCCEEDED)
    assert cloud.jobs["j"].status == "CANCELED"


async def test_a_job_that_is_executed_anew_is_another_one(tmp_path: Path) -> None:
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud) as it:
        await it.ended("j", SUCCEEDED)
        await it.bring(cloud.create("j", INVOKE))
        await it.until(lambda: cloud.jobs["j"].status == SUCCEEDED and it.agent.state() is None)
    assert [one["executionNumber"] for one in cloud.updates] == [1, 2]


async def test_while_one_stops_the_next_one_waits(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        cloud.create("next", INVOKE)
        await it.bring(cloud.set("j", "CANCELED"))
        await it.until(lambda: cloud.jobs["next"].status == "IN_PROGRESS")
        assert it.agent.state() == JobState("j", "edge.invoke", "first", "IN_PROGRESS")
        steps.gate.set()
        await it.ended("next", SUCCEEDED)
    assert cloud.jobs["next"].details["steps"] == "first first second third"


async def test_a_job_that_was_stopped_by_mistake_is_taken_up_again(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        cloud.jobs["j"].status = "CANCELED"
        await it.bring(cloud.notify())
        await it.until(lambda: cloud.asked[-1] == "start-next")
        cloud.jobs["j"].status = "IN_PROGRESS"
        steps.gate.set()
        await it.ended("j", SUCCEEDED)
    assert steps.done == ["first", "first", "second", "third"]


async def test_a_step_that_takes_too_long_fails_the_job(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", {**INVOKE, "stepTimeoutInMinutes": 2})
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        await it.clock.advance(100)
        steps.gate.set()
        steps.gate = asyncio.Event()
        await it.until(lambda: steps.at == "second")
        await it.clock.advance(119)
        await it.rest()
        assert cloud.jobs["j"].status == "IN_PROGRESS"
        await it.clock.advance(2)
        await it.ended("j", FAILED)
    assert cloud.jobs["j"].details == {"reason": "the step took longer than its 2 minutes", "step": "second"}
    assert cloud.jobs["j"].minutes == [2, 2]
