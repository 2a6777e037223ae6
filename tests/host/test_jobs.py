"""What jobs do on a device: functions, restarts, and a whole host."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from edge_runtime.app import JobsSpec, LinkSpec
from edge_runtime.cloud.jobs import FAILED, REJECTED, SUCCEEDED
from edge_runtime.host.configuration import RESTART
from edge_runtime.links.memory import MemoryBroker
from edge_runtime.model import Result
from tests.cloud.jobcloud import JobCloud
from tests.host.hosting import FREE, app, function
from tests.host.hosting import site as host_site
from tests.host.jobdevice import Device, call

# -- edge.invoke -------------------------------------------------------------------------------------------------------


async def test_a_function_is_run_and_its_reply_is_told(tmp_path: Path) -> None:
    device = Device(tmp_path, JobsSpec(run=("f",)))
    details = await device.do(call("f", payload={"a": 1}, timeout=30), SUCCEEDED)
    assert details == {"function": "f", "duration_ms": "12", "result": '{"ok": true}', "step": "invoking"}
    custom = {"subject": "$aws/things/pi-7/jobs/j", "jobId": "j", "executionNumber": 1}
    assert device.pool.calls == [("f", b'{"a":1}', {"custom": custom}, 30.0)]


async def test_a_function_that_takes_bytes_gets_them(tmp_path: Path) -> None:
    device = Device(tmp_path, JobsSpec(run=("g",)))
    await device.do(call("g"), SUCCEEDED)
    assert device.pool.calls[0][2]["content_type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"errorType":"ValueError","errorMessage":"the soil is dry"}', "the soil is dry"),
        (b'{"errorMessage":7}', '{"errorMessage":7}'),
        (b"not json", "not json"),
    ],
)
async def test_an_error_of_a_function_fails_the_job(tmp_path: Path, payload: bytes, reason: str) -> None:
    device = Device(tmp_path, JobsSpec(run=("f",)))
    device.pool.result = Result(payload, "ValueError")
    details = await device.do(call("f"), FAILED)
    assert (details["error"], details["reason"]) == ("ValueError", reason)


async def test_a_long_reply_is_cut_with_a_mark(tmp_path: Path) -> None:
    device = Device(tmp_path, JobsSpec(run=("f",)))
    device.pool.result = Result(b'"' + b"x" * 5000 + b'"')
    result = (await device.do(call("f"), SUCCEEDED))["result"]
    assert len(result) == 1024
    assert result.endswith("xxx...")


@pytest.mark.parametrize("run", [(), ("g",), ("h",)])
async def test_a_function_that_is_not_listed_is_not_run(tmp_path: Path, run: tuple[str, ...]) -> None:
    device = Device(tmp_path, JobsSpec(run=run))
    name = "h" if run == ("h",) else "f"
    reason = f"function {name!r} may not be run by a job; link.jobs.run allows {', '.join(run) or 'none'}"
    assert await device.do(call(name), REJECTED) == {"reason": reason}
    assert device.pool.calls == []


async def test_a_call_that_a_power_cut_has_ended_is_made_again(tmp_path: Path) -> None:
    device = Device(tmp_path, JobsSpec(run=("f",)))
    device.cloud.create("j", call("f"))
    device.pool.hangs = True
    async with device.on() as it:
        await it.until(lambda: device.pool.calls and device.cloud.jobs["j"].history)
    assert device.cloud.jobs["j"].history == [("IN_PROGRESS", "invoking")]
    device.pool.hangs = False
    async with device.on() as it:
        await it.ended("j", SUCCEEDED)
    assert len(device.pool.calls) == 2


# -- edge.restart ------------------------------------------------------------------------------------------------------

RESTARTING = {"version": "1.0", "operation": "edge.restart"}


async def test_the_host_is_restarted_and_says_so_afterwards(tmp_path: Path) -> None:
    device = Device(tmp_path, JobsSpec(restart=True))
    device.cloud.create("j", RESTARTING)
    async with device.on() as it:
        await it.until(lambda: device.ends == [RESTART] and device.cloud.jobs["j"].history)
        assert device.cloud.jobs["j"].history == [("IN_PROGRESS", "restarting")]
    async with device.on() as it:
        await it.ended("j", SUCCEEDED)
    assert device.ends == [75]
    assert device.cloud.jobs["j"].details == {"result": "restarted", "step": "restarting"}


async def test_a_host_that_did_not_end_is_told_again(tmp_path: Path) -> None:
    device = Device(tmp_path, JobsSpec(restart=True))
    device.cloud.create("j", RESTARTING)
    async with device.on() as it:
        await it.until(lambda: device.ends)
    device.lives -= 1  # the agent was begun anew, the process was not
    async with device.on() as it:
        await it.until(lambda: len(device.ends) == 2)
        assert device.cloud.jobs["j"].status == "IN_PROGRESS"


async def test_a_restart_must_be_allowed(tmp_path: Path) -> None:
    device = Device(tmp_path, JobsSpec())
    reason = "the host may not be restarted by a job; link.jobs.restart would allow it"
    assert await device.do(RESTARTING, REJECTED) == {"reason": reason}
    assert device.ends == []


# -- a whole host ------------------------------------------------------------------------------------------------------


async def test_a_host_carries_out_jobs_over_its_link(tmp_path: Path) -> None:
    broker, cloud = MemoryBroker(), JobCloud()
    one = app(tmp_path, function(tmp_path), link=LinkSpec("memory", {}, FREE, jobs=JobsSpec(run=("f",), restart=True)))
    cloud.create("a", call("f", payload=7))
    async with host_site(one, tmp_path / "state", broker=broker) as it:
        seen = 0

        async def answer() -> None:
            nonlocal seen
            while True:
                await broker.arrived(seen + 1)
                topic, payload = it.arrived[seen]
                seen += 1
                if "/jobs/" in topic:
                    for sent in cloud.handle(topic, payload):
                        broker.send(*sent)

        service = asyncio.create_task(answer())
        try:
            await it.until(lambda: cloud.jobs["a"].status == SUCCEEDED)
            assert json.loads(cloud.jobs["a"].details["result"]) == {"got": 7, "topic": "$aws/things/pi-7/jobs/a"}
            assert it.host.uplink is not None
            assert it.host.uplink.state.agents["jobs"] == "running"
            await it.until(lambda: it.host.jobs is not None and it.host.jobs.state() is None)
            assert (await it.ask("status"))["job"] is None
            for sent in cloud.create("b", RESTARTING):
                broker.send(*sent)
            await it.host.stopping.wait()
            assert it.host.status == RESTART
            assert (await it.ask("status"))["job"] == {
                "id": "b",
                "operation": "edge.restart",
                "step": "restarting",
                "status": "IN_PROGRESS",
            }
        finally:
            service.cancel()
            await asyncio.gather(service, return_exceptions=True)


async def test_without_jobs_in_the_app_there_is_nothing_of_it(tmp_path: Path) -> None:
    async with host_site(app(tmp_path), tmp_path / "state") as it:
        assert it.host.jobs is None
        assert (await it.ask("status"))["job"] is None
        await it.emit("$aws/things/pi-7/jobs/j/update", b"{}")
        assert it.host.store.counters("uplink").produced == 0
