"""Jobs over a real store and a service that follows AWS's rules."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from edge_runtime.cloud.jobs import FAILED, MOST_BEGUN, REJECTED, SUCCEEDED, Job, JobState, Outcome, job_rule
from edge_runtime.cloud.pack import Packing, parcels
from edge_runtime.errors import ConfigError, HostError, QueueFullError, StoreError
from edge_runtime.model import Message
from tests.cloud.jobcloud import ROOT, JobCloud, Sent
from tests.cloud.jobsite import Steps, site

INVOKE = {"version": "1.0", "operation": "edge.invoke", "function": "f"}
STEPS = [("IN_PROGRESS", "first"), ("IN_PROGRESS", "second"), ("IN_PROGRESS", "third"), ("SUCCEEDED", "third")]


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


# -- an unkind network -------------------------------------------------------------------------------------------------


async def test_everything_may_come_twice(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    steps.gate.set()
    cloud.create("one", INVOKE)
    cloud.create("two", INVOKE)
    async with site(tmp_path, cloud, steps, online=False) as it:
        it.twice = True
        it.connect()
        await it.ended("one", SUCCEEDED)
        await it.passes(lambda: cloud.jobs["two"].status == SUCCEEDED and it.agent.state() is None)
    assert steps.done == ["first", "second", "third"] * 2


async def test_an_unanswered_request_is_made_again(tmp_path: Path) -> None:
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, online=False) as it:
        it.lost = lambda topic: "start-next" in topic
        it.connect()
        await it.until(lambda: cloud.asked == ["start-next"])
        await it.clock.advance(29)
        assert cloud.asked == ["start-next"]
        await it.passes(lambda: len(cloud.asked) >= 4)
        it.lost = lambda _: False
        await it.passes(lambda: cloud.jobs["j"].status == SUCCEEDED)
        await it.ended("j", SUCCEEDED)


async def test_throttled_requests_are_made_again_with_growing_pauses(tmp_path: Path) -> None:
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    cloud.refuse = ["RequestThrottled"] * 8
    async with site(tmp_path, cloud) as it:
        await it.until(lambda: len(cloud.asked) == 1)
        await it.clock.advance(0.9)
        assert len(cloud.asked) == 1
        times: list[int] = []
        while len(cloud.asked) < 9:
            before = len(cloud.asked)
            await it.clock.advance(1)
            times += [it.clock.now().mono_ns // 10**9] * (len(cloud.asked) - before)
        assert times[-1] - times[0] > 60
        await it.ended("j", SUCCEEDED)


@pytest.mark.parametrize("code", ["RequestThrottled", "InternalError"])
async def test_a_throttled_report_is_told_again(tmp_path: Path, code: str) -> None:
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, online=False) as it:
        first = it.cloud.handle

        def handle(topic: str, payload: bytes) -> list[Sent]:
            if topic.endswith("update") and len(cloud.rejections) < 3:
                cloud.refuse = [code]
            return first(topic, payload)

        cloud.handle = handle  # type: ignore[method-assign]  # a script of this test
        it.connect()
        await it.passes(lambda: cloud.jobs["j"].status == SUCCEEDED, 1.0)
        await it.ended("j", SUCCEEDED)
    assert cloud.rejections == [code] * 3


async def test_a_version_that_somebody_else_has_changed(tmp_path: Path) -> None:
    """The report is told again without it: how the job stands here is what counts."""
    cloud, steps = JobCloud(), Steps("only")
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "only" and cloud.jobs["j"].history)
        cloud.jobs["j"].version += 5
        steps.gate.set()
        await it.ended("j", SUCCEEDED)
    assert cloud.rejections == ["VersionMismatch"]
    assert "expectedVersion" not in cloud.updates[-1]


async def test_a_report_of_a_step_with_a_version_that_is_old(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first" and cloud.jobs["j"].history)
        await it.rest()
        cloud.jobs["j"].version += 5
        steps.gate.set()
        steps.gate = asyncio.Event()
        await it.until(lambda: cloud.jobs["j"].details == {"step": "second"})
        steps.gate.set()
        await it.ended("j", SUCCEEDED)


@pytest.mark.parametrize("what", ["update", "accepted"])
async def test_an_end_that_got_lost_is_told_again(tmp_path: Path, what: str) -> None:
    """Either the report (a dead letter) or the answer to it: then the cloud is asked what it thinks."""
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    cloud.create("next", INVOKE)
    async with site(tmp_path, cloud, online=False) as it:
        first, lost = cloud.handle, [True]

        def handle(topic: str, payload: bytes) -> list[Sent]:
            if topic.endswith("j/update") and lost and lost.pop():
                return [] if what == "update" else first(topic, payload)[:0]
            return first(topic, payload)

        cloud.handle = handle  # type: ignore[method-assign]  # a script of this test
        it.connect()
        await it.passes(lambda: cloud.jobs["next"].status == SUCCEEDED)
        await it.ended("j", SUCCEEDED)


async def test_late_and_reordered_answers_do_no_harm(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps()
    steps.gate.set()
    cloud.create("j", INVOKE)
    cloud.create("next", INVOKE)
    random = Random(7)  # noqa: S311 - to be the same each time
    async with site(tmp_path, cloud, steps, online=False) as it:
        it.keep_back = True
        it.connect()
        async with asyncio.timeout(30):
            while not all(job.status == SUCCEEDED for job in cloud.jobs.values()) or it.agent.state() is not None:
                await it.clock.advance(5)
                await it.rest()
                late, it.kept_back = it.kept_back, []
                random.shuffle(late)
                for topic, payload in late:
                    assert await it.agent.received(topic, payload)
    assert steps.done == ["first", "second", "third"] * 2


async def test_a_late_answer_does_not_start_what_is_done(tmp_path: Path) -> None:
    cloud, steps = JobCloud(), Steps("only")
    steps.gate.set()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps, online=False) as it:
        seen: list[Sent] = []
        first = cloud.handle

        def handle(topic: str, payload: bytes) -> list[Sent]:
            answer = first(topic, payload)
            if topic.endswith("start-next"):
                if seen:  # as it stood a while ago, to the request of now
                    old = json.loads(seen[0][1])
                    old["clientToken"] = json.loads(payload)["clientToken"]
                    return [(seen[0][0], json.dumps(old).encode())] if len(cloud.asked) < 8 else answer
                seen.extend(answer)
            return answer

        cloud.handle = handle  # type: ignore[method-assign]  # a script of this test
        it.connect()
        await it.passes(lambda: cloud.jobs["j"].status == SUCCEEDED and it.agent.state() is None, 5)
    assert steps.done == ["only"]
    assert set(cloud.rejections) <= {"InvalidStateTransition"}


async def test_an_end_that_is_refused_for_its_details_is_told_without(tmp_path: Path) -> None:
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, online=False) as it:
        first = cloud.handle

        def handle(topic: str, payload: bytes) -> list[Sent]:
            if topic.endswith("update") and json.loads(payload)["statusDetails"]:
                cloud.refuse = ["InvalidRequest"]
            return first(topic, payload)

        cloud.handle = handle  # type: ignore[method-assign]  # a script of this test
        it.connect()
        await it.ended("j", SUCCEEDED)
    assert cloud.jobs["j"].details == {}


@pytest.mark.parametrize("code", ["InvalidRequest", "VersionMismatch"])
async def test_an_end_that_is_refused_while_the_queue_is_full_is_told_all_the_same(tmp_path: Path, code: str) -> None:
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, online=False) as it:
        first = cloud.handle

        def handle(topic: str, payload: bytes) -> list[Sent]:
            if not topic.endswith("update") or cloud.rejections:
                return first(topic, payload)
            it.full = 2
            if code == "VersionMismatch":
                cloud.jobs["j"].version += 1
                return first(topic, payload)
            cloud.refuse = [code]
            return first(topic, payload)

        cloud.handle = handle  # type: ignore[method-assign]  # a script of this test
        it.connect()
        await it.ended("j", SUCCEEDED)
        assert it.full == 0
    assert cloud.rejections == [code]
    assert [one["status"] for one in cloud.updates][-1] == SUCCEEDED


async def test_an_end_that_is_never_taken_holds_up_nothing_here(tmp_path: Path) -> None:
    cloud = JobCloud()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, online=False) as it:
        first = cloud.handle

        def handle(topic: str, payload: bytes) -> list[Sent]:
            if topic.endswith("update"):
                cloud.refuse = ["InvalidRequest"]
            return first(topic, payload)

        cloud.handle = handle  # type: ignore[method-assign]  # a script of this test
        it.connect()
        await it.until(lambda: len(cloud.rejections) == 2)
        await it.until(lambda: it.agent.state() is None)
        await it.clock.advance(600)
        await it.rest()
    assert len(cloud.rejections) == 2


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"[]", b'{"execution": 7}', b'{"clientToken": 7}', b"[" * 99_999, b'{"execution":{"jobId":"../x"}}'],
)
async def test_odd_messages_are_let_go(tmp_path: Path, payload: bytes) -> None:
    cloud, steps = JobCloud(), Steps()
    cloud.create("j", INVOKE)
    async with site(tmp_path, cloud, steps) as it:
        await it.until(lambda: steps.at == "first")
        for end in ("notify-next", "start-next/accepted", "j/update/accepted", "j/update/rejected", "j/get/accepted"):
            assert await it.agent.received(f"{ROOT}/{end}", payload)
        steps.gate.set()
        await it.ended("j", SUCCEEDED)


# -- a fresh copy of the document --------------------------------------------------------------------------------------


def deployment(url: str, **change: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    bundle = {"url": url, "sha256": "0" * 64, "size": 5, "signature": "A" * 86 + "==", "release": "1", **change}
    return {"version": "1.0", "operation": "edge.deploy", "bundle": bundle}


class Renewing:
    """Asks for a fresh copy once it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.seen: list[str] = []

    async def __call__(self, job: Job) -> Outcome:
        """Note the addresses."""
        self.seen.append(job.order.action.url)  # type: ignore[union-attr]  # it is a deployment
        await job.reach("downloading")
        await self.go.wait()
        await job.fresh()
        self.seen.append(job.order.action.url)  # type: ignore[union-attr]  # same
        return Outcome(SUCCEEDED, {})


async def test_the_document_is_asked_for_again(tmp_path: Path) -> None:
    cloud, hands = JobCloud(), Renewing()
    cloud.create("j", deployment("https://a.example/1"))
    async with site(tmp_path, cloud, hands) as it:
        await it.until(lambda: hands.seen)
        cloud.jobs["j"].document = deployment("https://a.example/2")
        cloud.refuse = []
        hands.go.set()
        await it.ended("j", SUCCEEDED)
    assert "j/get" in cloud.asked
    assert hands.seen == ["https://a.example/1", "https://a.example/2"]


async def test_offline_it_waits_for_the_connection(tmp_path: Path) -> None:
    cloud, hands = JobCloud(), Renewing()
    cloud.create("j", deployment("https://a.example/1"))
    async with site(tmp_path, cloud, hands) as it:
        await it.until(lambda: hands.seen)
        await it.disconnect()
        hands.go.set()
        await it.rest()
        cloud.jobs["j"].document = deployment("https://a.example/2")
        it.connect()
        await it.ended("j", SUCCEEDED)
    assert hands.seen == ["https://a.example/1", "https://a.example/2"]


async def test_a_copy_that_says_something_else_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cloud, hands = JobCloud(), Renewing()
    cloud.create("j", deployment("https://a.example/1"))
    async with site(tmp_path, cloud, hands) as it:
        await it.until(lambda: hands.seen)
        cloud.jobs["j"].document = deployment("https://a.example/2", sha256="1" * 64)
        hands.go.set()
        await it.ended("j", SUCCEEDED)
    assert hands.seen == ["https://a.example/1"] * 2
    assert "its document has changed in the cloud" in caplog.text


@pytest.mark.parametrize("later", [True, False])
async def test_a_copy_of_a_job_that_is_over(tmp_path: Path, *, later: bool) -> None:
    cloud, hands = JobCloud(), Renewing()
    cloud.create("j", deployment("https://a.example/1"))
    async with site(tmp_path, cloud, hands) as it:
        await it.until(lambda: hands.seen and cloud.jobs["j"].history)
        cloud.jobs["j"].status = "CANCELED"
        if later:
            cloud.refuse = ["RequestThrottled"]
        hands.go.set()
        await it.passes(lambda: it.agent.state() is None, 2)
    assert cloud.rejections[-1] == "TerminalStateReached"
    assert hands.seen == ["https://a.example/1"]


async def test_a_fresh_copy_is_what_a_restart_goes_on_with(tmp_path: Path) -> None:
    cloud, seen = JobCloud(), []

    async def hands(job: Job) -> Outcome:
        seen.append(job.order.action.url)  # type: ignore[union-attr]  # it is a deployment
        if job.step == "second":
            return Outcome(SUCCEEDED, {})
        await job.fresh()
        await job.reach("second")
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    cloud.create("j", deployment("https://a.example/1"))
    first = cloud.handle

    def handle(topic: str, payload: bytes) -> list[Sent]:
        if topic.endswith("get"):
            cloud.jobs["j"].document = deployment("https://a.example/2")
        return first(topic, payload)

    cloud.handle = handle  # type: ignore[method-assign]  # a script of this test
    async with site(tmp_path, cloud, hands) as it:
        await it.until(lambda: cloud.jobs["j"].history)
    async with site(tmp_path, cloud, hands, online=False) as it:
        await it.until(lambda: len(seen) == 2)
    assert seen == ["https://a.example/1", "https://a.example/2"]
