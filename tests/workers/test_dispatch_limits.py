"""Asynchronous invocations at their limits: age, size, throttling, loops, destinations and permissions."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import NOTHING, Destination, Permissions
from edge_runtime.clock import FakeClock
from edge_runtime.errors import HostError
from edge_runtime.model import Result
from edge_runtime.store import schema
from edge_runtime.workers._report import EXITED, THROTTLED, refusal
from tests.workers.dispatching import FAILED, Change, F, Handler, site

HOUR = 3600.0
RECORDS = replace(F, on_success=Destination("out/f", record=True))


def context(record: dict[str, Any]) -> tuple[str, int, dict[str, Any]]:
    """Return what a record says of the invocation: condition, count and response."""
    request = record["requestContext"]
    return request["condition"], request["approximateInvokeCount"], record["responseContext"]


async def test_an_event_that_is_too_old_when_its_next_try_is_due_is_given_up(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, max_age_s=100)) as it:
        it.handler.answer = FAILED
        await it.emit(b'{"n":1}')
        await it.until(lambda: it.spy.changes)
        await it.rest()
        await it.clock.advance(61)
        await it.until(lambda: len(it.spy.changes) == 2)
        await it.rest()
        await it.clock.advance(121)
        await it.letters(1)
        reason = "EventAgeExceeded: the event is older than 100 s; last error: ValueError: the soil is dry"
        assert it.spy.changes == [
            Change([], tries=[1]),
            Change([], tries=[2]),
            Change(["failed/f"], dead=[(1, reason)]),
        ]
        assert len(it.handler.calls) == 2
        (event,) = await it.uplink(1)
        record = json.loads(event.payload)
        fault = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
        assert context(record) == ("EventAgeExceeded", 2, fault)
        assert record["requestPayload"] == {"n": 1}
        assert record["responsePayload"] == {"errorMessage": "the soil is dry", "errorType": "ValueError"}


async def test_age_is_running_time_over_restarts(tmp_path: Path) -> None:
    handler, clock = Handler(), FakeClock()
    handler.answer = HostError("no worker")
    async with site(tmp_path, replace(F, max_age_s=HOUR), handler=handler, clock=clock) as it:
        await it.emit(b"1")
        await it.until(lambda: handler.calls)
        await clock.advance(HOUR / 2)
        await it.rest()
    clock.reboot("boot-2", off_s=100 * HOUR)
    handler.answer = Result(b"null")
    async with site(tmp_path, replace(F, max_age_s=HOUR), handler=handler, clock=clock) as it:
        await it.settled(1)


@pytest.mark.parametrize("max_age_s", [6 * HOUR, 0.0])
async def test_a_throttled_function_keeps_its_events_until_they_are_too_old(tmp_path: Path, max_age_s: float) -> None:
    async with site(tmp_path, replace(F, concurrency=0, max_age_s=max_age_s)) as it:
        await it.emit(b"1")
        await it.rest()
        await it.clock.advance(HOUR)
        await it.emit(b"2")
        await it.clock.advance(5 * HOUR - 1)
        await it.rest()
        assert it.store.counters("function/f").queued == 2
        await it.clock.advance(2)
        await it.rest()
        if not max_age_s:
            assert it.store.counters("function/f").queued == 2
            return
        await it.letters(1)
        await it.clock.advance(HOUR)
        await it.letters(2)
        assert it.handler.calls == []
        records = [json.loads(event.payload) for event in await it.uplink(2)]
        throttled = ("EventAgeExceeded", 0, {"statusCode": 429, "executedVersion": "$LATEST"})
        assert [context(record) for record in records] == [throttled] * 2
        assert [record["requestPayload"] for record in records] == [1, 2]
        assert records[0]["responsePayload"]["errorType"] == "EventAgeExceeded"


async def test_a_throttled_call_is_tried_again_and_counts_as_no_try(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, retries=0)) as it:
        it.handler.answer = refusal(THROTTLED, "ReservedFunctionConcurrentInvocationLimitExceeded")
        await it.emit(b"1")
        for wait_s in (1, 2, 4):
            await it.until(lambda: it.handler.calls)
            await it.rest()
            it.handler.calls.clear()
            await it.clock.advance(wait_s + 0.1)
        it.handler.answer = Result(b"null")
        await it.clock.advance(10)
        await it.settled(1)
        assert it.spy.changes == [Change([], done=[1])]


async def test_a_handler_that_was_throttled_by_somebody_else_has_failed(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, retries=0)) as it:
        it.handler.answer = Result(b'{"errorMessage":"slow down"}', THROTTLED, log="START RequestId: 1\n")
        await it.emit(b"1")
        await it.letters(1)
        assert it.spy.changes[0].dead == [(1, "TooManyRequestsException: slow down")]


@pytest.mark.parametrize(
    "answer", [HostError("the worker pool is closing"), Result(b'{"errorMessage":"signal: terminated"}', EXITED)]
)
async def test_workers_that_end_with_the_host_are_no_failed_try_and_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Result | Exception
) -> None:
    async with site(tmp_path, replace(F, retries=0)) as it:
        it.handler.answer = answer
        it.handler.gate.clear()
        await it.emit(b"1")
        await it.until(lambda: it.handler.running)
        it.dispatcher._finishing = True
        with caplog.at_level(logging.WARNING):
            it.handler.gate.set()
            await it.dispatcher.finish()
            await it.cancel()
        assert caplog.text == ""
        assert it.spy.changes == []
        assert [m.tries for m in await it.store.queue("function/f").get(5)] == [0]


async def test_a_payload_that_is_too_large_for_the_function_is_a_dead_letter(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, payload_bytes=10)) as it:
        await it.emit(b"x" * 10, b"x" * 11)
        await it.letters(1)
        reason = "RequestEntityTooLarge: the payload has 11 bytes; the function takes 10"
        assert it.spy.changes[-1] == Change(["failed/f"], dead=[(2, reason)])
        assert it.handler.calls == [b"x" * 10]
        record = json.loads((await it.uplink(2))[0].payload)
        assert context(record) == ("RetriesExhausted", 0, {"statusCode": 413, "executedVersion": "$LATEST"})


async def test_a_chain_of_functions_ends_at_the_eighth(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.emit(b"1", headers={"edge-depth": "8"})
        await it.settled(1)
        assert it.handler.depths == [8]
        (reply,) = await it.uplink(1)
        assert reply.headers["edge-depth"] == "9"
        await it.emit(b"2", headers={"edge-depth": "9"})
        await it.letters(1)
        assert it.handler.calls == [b"1"]
        reason = "RecursiveInvocationException: 9 functions have set each other off in a row; 8 may"
        assert it.spy.changes[-1] == Change(["failed/f"], dead=[(2, reason)])


async def test_a_loop_of_failure_destinations_ends_too(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.emit(b"1", headers={"edge-depth": "10"})
        await it.letters(1)
        assert it.spy.changes[-1].topics == []


async def test_a_record_of_success_is_written_even_for_null(tmp_path: Path) -> None:
    async with site(tmp_path, RECORDS) as it:
        it.handler.answer = Result(b"null")
        (event_id,) = await it.emit(b'{"n":1}')
        (event,) = await it.uplink(1)
        assert json.loads(event.payload) == {
            "version": "1.0",
            "timestamp": "2023-11-14T22:13:20.000Z",
            "requestContext": {
                "requestId": event_id,
                "functionArn": "arn:aws:lambda:local:000000000000:function:f:$LATEST",
                "condition": "Success",
                "approximateInvokeCount": 1,
            },
            "requestPayload": {"n": 1},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": None,
        }


async def test_a_failure_destination_without_a_record_gets_the_error_object(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, retries=0, on_failure=Destination("failed/f"))) as it:
        it.handler.answer = FAILED
        await it.emit(b"1")
        assert [event.payload for event in await it.uplink(1)] == [FAILED.payload]


async def test_a_reply_that_may_not_be_published_makes_the_event_a_dead_letter(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, allow=Permissions(publish=("failed/f",)))) as it:
        await it.emit(b"1")
        await it.letters(1)
        reason = "its reply cannot be emitted: function 'f' may not emit on topic 'out/f'"
        assert it.spy.changes == [Change(["failed/f"], dead=[(1, reason)])]
        record = json.loads((await it.uplink(1))[0].payload)
        assert context(record) == ("RetriesExhausted", 1, {"statusCode": 200, "executedVersion": "$LATEST"})
        assert record["responsePayload"] == {"ok": True}


async def test_a_record_that_may_not_be_published_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, replace(F, retries=0, allow=NOTHING)) as it:
        it.handler.answer = FAILED
        await it.emit(b"1")
        await it.letters(1)
        assert it.spy.changes == [Change([], dead=[(1, "ValueError: the soil is dry")])]
        assert "may not emit on topic 'failed/f'" in caplog.text


async def test_a_binary_function_gets_its_payload_as_bytes(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, binary=True)) as it:
        await it.emit(b"\xff\x00")
        await it.settled(1)
        assert it.handler.calls == [b"\xff\x00"]
        assert it.handler.contexts == [{"custom": {"subject": "in/a"}, "content_type": "application/octet-stream"}]


async def test_the_handler_sees_no_header_of_the_runtime(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.emit(b"1", headers={"edge-depth": "3", "edge-cause": "x", "edge": "mine"})
        await it.settled(1)
        assert it.handler.contexts == [{"custom": {"subject": "in/a", "edge": "mine"}}]


async def test_a_dead_letter_carries_no_mark_of_its_tries(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, retries=1)) as it:
        it.handler.answer = FAILED
        await it.emit(b"1", headers={"who": "me"})
        await it.until(lambda: it.spy.changes)
        await it.rest()
        await it.clock.advance(61)
        await it.letters(1)

        def headers(writer: Any) -> dict[str, str]:  # noqa: ANN401 - the store's writer
            span = schema.lane_range(writer.targets["function/f"].id, schema.DEAD)
            (row,) = writer.db.execute(schema.SELECT, (*span, 10)).fetchall()
            return dict(schema.from_row("function/f", row).event.headers)

        found = await it.store.work(headers)
        assert found == {"who": "me", schema.PRIORITY: "5", schema.REASON: "ValueError: the soil is dry"}
