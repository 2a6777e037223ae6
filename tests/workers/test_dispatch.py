"""From a function's queue to its handler and back: what is finished, tried again, given up, held back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Destination, Overflow, QueueLimits
from edge_runtime.clock import FakeClock
from edge_runtime.errors import HostError, LimitError, QueueFullError, StoreError
from edge_runtime.model import Result
from edge_runtime.pure.timeline import CORRECTED, UNSYNCED, Dated
from edge_runtime.store import schema
from tests.workers.dispatching import FAILED, Change, F, Handler, site


async def test_the_event_leaves_and_the_reply_enters_in_one_transaction(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        (event_id,) = await it.emit(b'{"n":1}')
        await it.settled(1)
        assert it.spy.changes == [Change(["out/f"], done=[1])]
        (reply,) = await it.uplink(1)
        assert (reply.topic, reply.payload, reply.source) == ("out/f", b'{"ok":true}', "function/f")
        assert reply.headers == {"edge-cause": event_id, "edge-depth": "1"}
        assert it.handler.request_ids == [event_id]
        assert it.shown == ["out/f"]


@pytest.mark.parametrize(("reply", "topic"), [(b"null", "out/f"), (b"", "out/f"), (b'{"ok":true}', "")])
async def test_no_reply_is_no_event(tmp_path: Path, reply: bytes, topic: str) -> None:
    async with site(tmp_path, replace(F, on_success=Destination(topic) if topic else None)) as it:
        it.handler.answer = Result(reply)
        await it.emit(b"1")
        await it.settled(1)
        assert it.spy.changes == [Change([], done=[1])]
        assert it.shown == []


async def test_a_false_reply_is_a_reply(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.answer = Result(b"false")
        await it.emit(b"1")
        assert [event.payload for event in await it.uplink(1)] == [b"false"]


async def test_the_handler_learns_the_topic_and_the_headers_and_no_header_can_fake_the_topic(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.emit(b"1", headers={"subject": "door/open", "who": "me"})
        await it.settled(1)
        assert it.handler.contexts == [{"custom": {"subject": "in/a", "who": "me"}}]


async def test_the_handler_learns_when_an_event_of_a_clock_that_was_wrong_really_happened(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.dates[it.clock.now().mono_ns] = Dated(1_800_000_000_123_456_789, CORRECTED)
        await it.emit(b"1", headers={"edge-time": "7", "who": "me"})
        await it.settled(1)
        it.dates[it.clock.now().mono_ns] = Dated(1_800_000_000_123_456_789, UNSYNCED)  # what the payload knows itself
        await it.emit(b"2")
        await it.settled(2)
        corrected = {"subject": "in/a", "who": "me", "edge-time": "1800000000123", "edge-clock": "corrected"}
        assert it.handler.contexts == [{"custom": corrected}, {"custom": {"subject": "in/a"}}]


async def test_a_failing_handler_is_tried_again_after_waits_that_double(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.answer = FAILED
        await it.emit(b"1")
        await it.until(lambda: it.handler.calls)
        await it.rest()
        await it.clock.advance(59.9)
        await it.rest()
        assert len(it.handler.calls) == 1
        await it.clock.advance(0.2)
        await it.until(lambda: len(it.handler.calls) == 2)
        await it.rest()
        await it.clock.advance(119.9)
        await it.rest()
        assert len(it.handler.calls) == 2
        it.handler.answer = Result(b"1")
        await it.clock.advance(0.2)
        await it.settled(1)
        assert it.spy.changes == [Change([], tries=[1]), Change([], tries=[2]), Change(["out/f"], done=[1])]
        assert len(set(it.handler.request_ids)) == 1


async def test_others_go_on_while_one_waits_for_its_next_try(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.answer = lambda payload: FAILED if payload == b"1" else Result(b"null")
        await it.emit(b"1", b"2", b"3")
        await it.settled(2)
        assert it.handler.calls == [b"1", b"2", b"3"]


async def test_the_count_of_tries_and_the_rest_of_the_wait_survive_a_restart(tmp_path: Path) -> None:
    handler, clock = Handler(), FakeClock()
    handler.answer = FAILED
    async with site(tmp_path, handler=handler, clock=clock) as it:
        await it.emit(b"1")
        await it.until(lambda: it.spy.changes)
        await it.rest()
        await clock.advance(20)
    clock.reboot("boot-2", off_s=3600)  # time without power does not count, the second since the boot does
    async with site(tmp_path, handler=handler, clock=clock) as it:
        await it.rest()
        await clock.advance(38.9)
        await it.rest()
        assert len(handler.calls) == 1
        await clock.advance(0.2)
        await it.until(lambda: it.spy.changes)
        assert it.spy.changes == [Change([], tries=[2])]
        await it.rest()
    async with site(tmp_path, handler=handler, clock=clock) as it:
        await it.rest()
        await clock.advance(119.8)
        assert len(handler.calls) == 2
        await clock.advance(0.3)
        await it.letters(1)
        assert len(handler.calls) == 3
        assert it.spy.changes == [Change(["failed/f"], dead=[(1, "ValueError: the soil is dry")])]


async def test_a_due_time_that_cannot_be_true_is_not_waited_for(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.emit(b"1", headers={"edge-due": "9" * 18})
        await it.emit(b"2", headers={"edge-due": "soon"})
        await it.settled(1)
        await it.clock.advance(60)
        await it.settled(2)
        assert it.handler.calls == [b"2", b"1"]


async def test_those_that_fail_together_run_again_in_order_after_a_restart(tmp_path: Path) -> None:
    handler, clock = Handler(), FakeClock()
    handler.answer = FAILED
    async with site(tmp_path, handler=handler, clock=clock) as it:
        await it.emit(b"1", b"2", b"3")
        await it.until(lambda: len(it.spy.changes) == 3)
        await it.rest()
        handler.calls.clear()
        handler.answer = Result(b"null")
    async with site(tmp_path, handler=handler, clock=clock) as it:
        await it.rest()
        await clock.advance(61)
        await it.settled(3)
        assert handler.calls == [b"1", b"2", b"3"]


async def test_an_event_given_up_is_a_dead_letter_and_a_record_in_the_shape_of_lambda(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, retries=0)) as it:
        it.handler.answer = FAILED
        (event_id,) = await it.emit(b'{"n":1}')
        await it.letters(1)
        assert it.spy.changes == [Change(["failed/f"], dead=[(1, "ValueError: the soil is dry")])]
        (record,) = await it.uplink(1)
        assert json.loads(record.payload) == {
            "version": "1.0",
            "timestamp": "2023-11-14T22:13:20.000Z",
            "requestContext": {
                "requestId": event_id,
                "functionArn": "arn:aws:lambda:local:000000000000:function:f:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 1,
            },
            "requestPayload": {"n": 1},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "responsePayload": {"errorMessage": "the soil is dry", "errorType": "ValueError"},
        }
        assert record.headers == {"edge-cause": event_id, "edge-depth": "1"}
        letter = await it.store.work(_letter)
        assert letter == ("in/a", b'{"n":1}', 1, "ValueError: the soil is dry")


def _letter(writer: Any) -> tuple[str, bytes, int, str]:  # noqa: ANN401 - the store's writer
    counters = writer.targets["function/f"]
    (row,) = writer.db.execute(schema.SELECT, (*schema.lane_range(counters.id, schema.DEAD), 10)).fetchall()
    message = schema.from_row("function/f", row)
    return message.event.topic, message.event.payload, message.tries, message.event.headers[schema.REASON]


@pytest.mark.parametrize("error", ["Runtime.UnmarshalError", "RequestEntityTooLarge"])
async def test_a_hopeless_event_is_given_up_at_once(tmp_path: Path, error: str) -> None:
    async with site(tmp_path, replace(F, on_failure=None)) as it:
        it.handler.answer = Result(b"not even JSON", error)
        await it.emit(b"{")
        await it.letters(1)
        assert it.handler.calls == [b"{"]
        assert it.spy.changes == [Change([], dead=[(1, error)])]


async def test_a_record_too_large_for_its_target_goes_without_the_payloads(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, retries=0)) as it:
        it.topics["failed/f"] = LimitError("too large")
        it.handler.answer = FAILED
        await it.emit(b'"%s"' % (b"x" * 2000))
        await it.letters(1)
        (record,) = await it.uplink(1)
        assert json.loads(record.payload)["requestPayload"] is None
        assert json.loads(record.payload)["responsePayload"] is None


async def test_a_reply_that_can_never_be_emitted_makes_the_event_a_dead_letter(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, on_failure=None)) as it:
        it.topics["out/f"] = LimitError("the payload has 2000 bytes")
        it.handler.answer = Result(b"1" * 2000)
        await it.emit(b"1")
        await it.letters(1)
        reason = "its reply cannot be emitted: the payload has 2000 bytes"
        assert it.spy.changes == [Change([], dead=[(1, reason)])]


async def test_a_refused_reply_runs_the_event_again_later_and_no_other_before_it(tmp_path: Path) -> None:
    bounds = QueueLimits(limit_bytes=300, when_full=Overflow.REJECT_NEW)
    async with site(tmp_path, replace(F, concurrency=1), uplink=bounds) as it:
        await it.emit(b"1")
        await it.settled(1)  # and the queue of the uplink is full
        await it.emit(b"2", b"3")
        for wait_s in (1, 2, 4):
            await it.until(lambda: b"2" in it.handler.calls)
            await it.rest()
            assert it.handler.calls.count(b"2") == 1  # and then no more, until
            it.handler.calls.clear()
            await it.clock.advance(wait_s * 0.8)
            assert it.handler.calls == []
            await it.clock.advance(wait_s * 0.4)
        assert it.store.counters("function/f").delivered == 1
        uplink = it.store.queue("uplink")
        await it.store.change(done=await uplink.get(10))
        it.spy.changes.clear()
        for done in (2, 3):
            await it.clock.advance(61)
            await it.settled(done)
            await it.store.change(done=await uplink.get(10))
        assert next(change.done for change in it.spy.changes if change.done) == [2]
        assert it.store.counters("function/f").dead == 0


async def test_a_function_that_the_host_cannot_run_waits_and_counts_no_try(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, retries=0)) as it:
        it.handler.answer = HostError("the worker pool is not running")
        await it.emit(b"1", b"2")
        for wait_s in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
            await it.until(lambda: it.handler.calls)
            await it.rest()
            assert it.handler.calls == [b"1"]
            it.handler.calls.clear()
            await it.clock.advance(wait_s * 0.9)
            await it.rest()
            assert it.handler.calls == []
            await it.clock.advance(wait_s * 0.1 + 0.001)
        it.handler.answer = Result(b"null")
        await it.clock.advance(301)
        await it.settled(2)
        assert it.handler.calls[-2:] == [b"1", b"2"]
        assert it.store.counters("function/f").dead == 0


async def test_so_many_at_once_as_is_declared_and_never_more(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, concurrency=3)) as it:
        it.handler.gate.clear()
        await it.emit(*(b"%d" % n for n in range(10)))
        await it.until(lambda: it.handler.running == 3)
        await it.rest()
        assert it.handler.calls == [b"0", b"1", b"2"]
        it.handler.gate.set()
        await it.settled(10)
        assert it.handler.most == 3


async def test_none_at_once_leaves_everything_queued(tmp_path: Path) -> None:
    async with site(tmp_path, replace(F, concurrency=0)) as it:
        await it.emit(b"1")
        await it.rest()
        assert not it.task.done()
        assert it.handler.calls == []
        assert len(it.store.queue("function/f")) == 1


async def test_one_at_a_time_keeps_the_order(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.answer = Result
        wanted = [b"%d" % n for n in range(700)]
        await it.emit(*wanted)
        await it.settled(700)
        assert it.handler.calls == wanted
        assert [event.payload for event in await it.uplink(700)] == wanted


async def test_a_cancelled_event_goes_back_to_the_queue(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.gate.clear()
        await it.emit(b"1", b"2")
        await it.until(lambda: it.handler.running)
        await it.cancel()
        assert it.handler.running == 0
        assert [m.event.payload for m in await it.store.queue("function/f").get(5)] == [b"1", b"2"]
        assert it.store.counters("function/f").queued == 2


async def test_an_event_that_waits_for_its_next_try_goes_back_to_the_queue_too(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.answer = FAILED
        await it.emit(b"1")
        await it.until(lambda: it.spy.changes)
        await it.rest()
        await it.cancel()
        (message,) = await it.store.queue("function/f").get(5)
        assert (message.event.payload, message.tries) == (b"1", 1)


async def test_a_mistake_in_the_invoker_loses_no_event(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.answer = ZeroDivisionError("a mistake")
        await it.emit(b"1", b"2")
        with pytest.raises(ExceptionGroup):
            await it.task
        it.handler.answer = Result(b"null")
        it.task = asyncio.create_task(it.dispatcher.run())
        await it.settled(2)
        assert it.handler.calls == [b"1", b"1", b"2"]


@pytest.mark.parametrize(("count", "size", "most"), [(1100, 1, 1000), (12, 1 << 20, 9)])
async def test_what_waits_for_its_next_try_is_bounded(tmp_path: Path, count: int, size: int, most: int) -> None:
    async with site(tmp_path, replace(F, retries=1)) as it:
        it.handler.answer = FAILED
        await it.emit(*[b"1" * size] * count)
        await it.until(lambda: len(it.handler.calls) >= most - 1)
        await it.rest()
        assert most - 1 <= len(it.handler.calls) <= most
        it.handler.answer = Result(b"null")
        await it.clock.advance(61)
        await it.settled(count)


async def test_an_event_dropped_while_it_waited_is_not_run(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.answer = FAILED
        await it.emit(b"1")
        await it.until(lambda: it.spy.changes)
        await it.rest()
        await it.store.work(_purge, writes=True)
        await it.clock.advance(61)
        await it.rest()
        assert len(it.handler.calls) == 1
        assert it.store.counters("function/f").dropped == 1


def _purge(writer: Any) -> int:  # noqa: ANN401 - the store's writer
    from edge_runtime.store import letters  # noqa: PLC0415 - only here

    return letters.purge(writer, "function/f", dead=False)


async def test_finish_waits_for_what_runs_and_begins_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.gate.clear()
        await it.emit(b"1", b"2")
        await it.until(lambda: it.handler.running)
        finishing = asyncio.create_task(it.dispatcher.finish())
        await it.rest()
        assert not finishing.done()
        it.handler.gate.set()
        await finishing
        assert it.store.counters("function/f").delivered == 1
        await it.emit(b"3")
        await it.rest()
        await it.clock.advance(100)
        assert it.handler.calls == [b"1"]
        assert len(it.store.queue("function/f")) == 2


async def test_finish_of_an_idle_function_keeps_what_comes_queued(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.rest()  # it waits for an event now
        await it.dispatcher.finish()
        await it.emit(b"1")
        await it.rest()
        await it.clock.advance(100)
        assert it.handler.calls == []
        await it.cancel()
        assert len(await it.store.queue("function/f").get(5)) == 1


async def test_a_disk_that_fails_stops_the_function_and_nothing_is_lost(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.spy.fail.append(StoreError("the disk is gone"))
        await it.emit(b"1")
        await it.until(lambda: not it.spy.fail)
        await it.emit(b"2")
        await it.rest()
        assert it.handler.calls == [b"1"]
        await it.clock.advance(1.01)
        await it.settled(2)
        assert it.handler.calls == [b"1", b"1", b"2"]


async def test_a_count_of_tries_is_saved_when_the_disk_is_back(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.handler.answer = FAILED
        it.spy.fail.append(StoreError("the disk is gone"))
        await it.emit(b"1")
        await it.until(lambda: it.handler.calls)
        await it.rest()
        assert it.spy.changes == []
        await it.clock.advance(1.01)
        await it.until(lambda: it.spy.changes)
        await it.rest()
        it.handler.answer = Result(b"null")
        await it.clock.advance(61)
        await it.settled(1)


async def test_a_dead_letter_is_written_when_the_disk_is_back_and_without_the_record_if_need_be(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, replace(F, retries=0)) as it:
        it.handler.answer = FAILED
        it.spy.fail += [StoreError("the disk is gone"), QueueFullError("full")]
        await it.emit(b"1")
        await it.until(lambda: not it.spy.fail[1:])
        await it.clock.advance(1.01)
        await it.letters(1)
        assert it.spy.changes == [Change([], dead=[(1, "ValueError: the soil is dry")])]
        assert it.shown == []
