"""Jobs over an unkind network, and documents that are asked for again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from edge_runtime.cloud.jobs import SUCCEEDED, Job, Outcome
from tests.cloud.jobcloud import ROOT, JobCloud, Sent
from tests.cloud.jobsite import INVOKE, Steps, site

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
