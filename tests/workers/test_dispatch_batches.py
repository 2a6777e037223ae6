"""Events of a queue that are handed over together, as from SQS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Batch
from edge_runtime.clock import FakeClock
from edge_runtime.errors import HostError
from edge_runtime.model import Result
from edge_runtime.pure.timeline import CORRECTED, Dated
from edge_runtime.workers.inside.frames import LIMIT
from tests.workers.dispatching import FAILED, Change, F, Handler, Site, site

TEN = replace(F, batch=Batch(10))
REPORTS = replace(F, batch=Batch(10, report_failures=True), on_success=None)


def bodies(call: bytes) -> list[str]:
    """Return the bodies of a batch."""
    return [record["body"] for record in json.loads(call)["Records"]]


def reporting(*wanted: str) -> Callable[[bytes], Result]:
    """Return a handler that reports the messages with these bodies as failed."""

    def answer(payload: bytes) -> Result:
        failed = [r["messageId"] for r in json.loads(payload)["Records"] if r["body"] in wanted]
        return Result(json.dumps({"batchItemFailures": [{"itemIdentifier": one} for one in failed]}).encode())

    return answer


async def waiting(
    it: Site,
    *payloads: bytes,
    answer: Callable[[bytes], Result] = lambda _: Result(b'{"ok":true}'),
    **more: Any,  # noqa: ANN401 - those of `Site.emit`
) -> list[str]:
    """Queue events so that they wait together, for `answer`: the function is busy with another one meanwhile."""

    def at_first(_: bytes) -> Result:
        it.handler.answer = answer
        return Result(b'{"ok":true}')

    it.handler.answer = at_first
    it.handler.gate.clear()
    await it.emit(b'"busy"')
    await it.until(lambda: it.handler.running)
    ids = await it.emit(*payloads, **more)
    it.handler.calls.clear()
    it.handler.gate.set()
    return ids


def no_worker(_: bytes) -> Result:
    raise HostError("no worker")


async def test_a_batch_tells_when_an_event_of_a_clock_that_was_wrong_really_happened(tmp_path: Path) -> None:
    async with site(tmp_path, TEN) as it:
        it.dates[it.clock.now().mono_ns] = Dated(1_800_000_000_123_456_789, CORRECTED)
        await waiting(it, b"1")
        await it.settled(2)
        (record,) = json.loads(it.handler.calls[0])["Records"]
        assert record["attributes"]["SentTimestamp"] == "1800000000123"


async def test_what_waits_is_handed_over_together_and_in_order(tmp_path: Path) -> None:
    async with site(tmp_path, TEN) as it:
        ids = await waiting(it, *(b"%d" % n for n in range(25)), headers={"who": "me", "edge-depth": "2"})
        await it.settled(26)
        assert [bodies(call) for call in it.handler.calls] == [
            [str(n) for n in range(10)],
            [str(n) for n in range(10, 20)],
            [str(n) for n in range(20, 25)],
        ]
        record = json.loads(it.handler.calls[0])["Records"][0]
        assert record["messageId"] == ids[0]
        assert record["eventSourceARN"] == "arn:aws:sqs:local:000000000000:f"
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        assert record["attributes"]["SentTimestamp"] == "1700000000000"
        assert record["attributes"]["SenderId"] == "cli"
        assert {k: v["stringValue"] for k, v in record["messageAttributes"].items()} == {"who": "me", "subject": "in/a"}
        assert len({record["receiptHandle"] for record in json.loads(it.handler.calls[0])["Records"]}) == 10
        assert it.handler.contexts[-1] == {}
        assert it.handler.depths[-1] == 2
        assert len(set(it.handler.request_ids)) == 4
        assert not set(it.handler.request_ids) & set(ids)
        replies = await it.uplink(4)
        assert [reply.headers["edge-depth"] for reply in replies] == ["1", "3", "3", "3"]
        assert it.spy.changes[1] == Change(["out/f"], done=list(range(2, 12)))


async def test_a_batch_is_waited_for_as_long_as_its_window_and_no_longer_when_it_is_full(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, batch=Batch(3, window_s=5))) as it:
        await it.emit(b"1")
        await it.rest()
        await it.clock.advance(4)
        await it.emit(b"2")
        await it.rest()
        assert it.handler.calls == []
        await it.clock.advance(1.1)
        await it.settled(2)
        await it.emit(b"3", b"4", b"5")
        await it.settled(5)
        assert [bodies(call) for call in it.handler.calls] == [["1", "2"], ["3", "4", "5"]]


async def test_what_is_being_gathered_goes_back_when_the_host_ends(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, batch=Batch(3, window_s=5))) as it:
        await it.emit(b"1", b"2")
        await it.rest()
        await it.cancel()
        assert [m.event.payload for m in await it.store.queue("function/f").get(5)] == [b"1", b"2"]


async def test_a_batch_that_was_gathered_while_the_host_ends_is_not_begun(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, batch=Batch(3, window_s=5))) as it:
        await it.emit(b"1", b"2")
        await it.rest()
        await it.dispatcher.finish()
        await it.clock.advance(6)
        await it.rest()
        await it.cancel()
        assert it.handler.calls == []
        assert len(await it.store.queue("function/f").get(5)) == 2


async def test_only_what_the_handler_names_comes_again(tmp_path: Path) -> None:
    async with site(tmp_path, REPORTS) as it:
        await waiting(it, b"1", b"2", b"3", b"4", answer=reporting("2", "4"))
        await it.settled(3)
        await it.rest()
        assert it.spy.changes[-1] == Change([], done=[2, 4], tries=[1, 1])
        it.handler.calls.clear()
        it.handler.answer = reporting("4")
        await it.clock.advance(60.1)
        await it.settled(4)
        await it.rest()
        assert [bodies(call) for call in it.handler.calls] == [["2", "4"]]
        again = json.loads(it.handler.calls[0])["Records"][0]["attributes"]
        assert again["ApproximateReceiveCount"] == "2"
        assert again["ApproximateFirstReceiveTimestamp"] == "1700000000000"
        await it.clock.advance(121)
        await it.letters(1)
        reason = "BatchItemFailure: the handler named it in batchItemFailures"
        assert it.spy.changes[-1] == Change(["failed/f"], dead=[(5, reason)])
        record = json.loads((await it.uplink(1))[0].payload)
        assert record["requestPayload"] == 4
        assert record["requestContext"]["approximateInvokeCount"] == 3
        assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}


async def test_the_names_mean_nothing_to_a_function_that_does_not_report(tmp_path: Path) -> None:
    async with site(tmp_path, TEN) as it:
        it.handler.answer = reporting("1")
        await it.emit(b"1")
        await it.settled(1)
        assert it.spy.changes == [Change(["out/f"], done=[1])]


@pytest.mark.parametrize("answer", [FAILED, Result(b'{"batchItemFailures":[{"itemIdentifier":"unknown"}]}')])
async def test_a_batch_that_failed_as_a_whole_comes_again_in_order(tmp_path: Path, answer: Result) -> None:
    async with site(tmp_path, REPORTS) as it:
        await waiting(it, b"1", b"2", b"3", answer=lambda _: answer)
        await it.until(lambda: len(it.spy.changes) == 2)
        assert it.spy.changes[-1] == Change([], tries=[1, 1, 1])
        it.handler.calls.clear()
        it.handler.answer = Result(b"{}")
        await it.rest()
        await it.clock.advance(61)
        await it.settled(4)
        assert [bodies(call) for call in it.handler.calls] == [["1", "2", "3"]]
        assert it.spy.changes[-1] == Change([], done=[2, 3, 4])


async def test_what_failed_together_comes_again_together_after_a_restart(tmp_path: Path) -> None:
    handler, clock = Handler(), FakeClock()
    async with site(tmp_path, REPORTS, handler=handler, clock=clock) as it:
        await waiting(it, b"1", b"2", b"3", answer=reporting("1", "3"))
        await it.until(lambda: len(it.spy.changes) == 2)
        await it.rest()
        handler.calls.clear()
        handler.answer = Result(b"")
    async with site(tmp_path, REPORTS, handler=handler, clock=clock) as it:
        await it.emit(b"4")
        await it.settled(3)
        await clock.advance(60.1)
        await it.settled(5)
        assert [bodies(call) for call in handler.calls] == [["4"], ["1", "3"]]


async def test_what_a_batch_cannot_take_is_a_dead_letter_and_the_others_go_on(tmp_path: Path) -> None:
    async with site(tmp_path, replace(TEN, on_failure=None, payload_bytes=9 << 20)) as it:
        await waiting(it, b"1", b"\xff", b"2", b'"%s"' % (b"\\" * (LIMIT // 2)), b"3")
        await it.letters(2)
        await it.settled(4)
        assert [bodies(call) for call in it.handler.calls] == [["1", "2"], ["3"]]
        reasons = [reason.split(":")[0] for change in it.spy.changes for _, reason in change.dead]
        assert reasons == ["Runtime.UnmarshalError", "RequestEntityTooLarge"]


async def test_a_batch_is_no_larger_than_an_invocation_may_be(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, batch=Batch(10, window_s=1))) as it:
        await it.emit(*[b'"%s"' % (b"x" * 1_000_000)] * 8)
        await it.until(lambda: it.handler.calls)
        await it.rest()
        await it.clock.advance(1.1)
        await it.settled(8)
        assert [len(bodies(call)) for call in it.handler.calls] == [6, 2]
        assert max(len(call) for call in it.handler.calls) <= LIMIT


async def test_a_batch_that_cannot_be_run_now_waits_in_order(tmp_path: Path) -> None:
    async with site(tmp_path, TEN) as it:
        await waiting(it, b"1", b"2", answer=no_worker)
        await it.until(lambda: len(it.handler.calls) == 1)
        await it.rest()
        it.handler.answer = Result(b"null")
        await it.emit(b"3")
        await it.clock.advance(1.1)
        await it.settled(4)
        assert [bodies(call) for call in it.handler.calls[1:]] == [["1", "2", "3"]]


async def test_a_crash_between_invocation_and_commit_runs_the_batch_again(tmp_path: Path) -> None:
    handler = Handler()
    async with site(tmp_path, TEN, handler=handler) as it:
        await waiting(it, b"1", b"2")
        handler.gate.clear()
        await it.until(lambda: handler.running and handler.calls)
        await it.cancel()
    handler.gate.set()
    handler.calls.clear()
    async with site(tmp_path, TEN, handler=handler) as it:
        await it.until(lambda: it.store.counters("function/f").delivered == 3)
        assert [body for call in handler.calls for body in bodies(call)][-2:] == ["1", "2"]


async def test_several_batches_at_once(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, batch=Batch(2), concurrency=2)) as it:
        it.handler.gate.clear()
        await it.emit(b"1")
        await it.until(lambda: it.handler.running == 1)
        await it.emit(b"2")
        await it.until(lambda: it.handler.running == 2)
        it.handler.gate.set()
        await it.settled(2)
        await asyncio.sleep(0)
        assert it.handler.most == 2
