"""Old readings are thinned before anything is dropped: the least urgent and the oldest first, counted and exact."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.errors import QueueFullError
from edge_runtime.model import NO_HEADERS, Event, Feed, Message, Stamp
from edge_runtime.pure import thinning
from edge_runtime.store import downsample, schema
from edge_runtime.store.jobs import Change
from edge_runtime.store.lane import Backlog
from edge_runtime.store.store import Store
from edge_runtime.store.writer import Writer
from tests.store.kit import FREE, Opened, do, read_lane, rows, seqs, work

THIN = {"a": QueueLimits(when_full=Overflow.DOWNSAMPLE)}


def reading(clock: FakeClock, value: float, topic: str = "device/soil") -> Event:
    return make_event(clock, topic, json.dumps({"value": value, "unit": "C"}).encode(), "test")


async def fill(writer: Writer, clock: FakeClock, count: int, every_s: float = 1.0, **how: Any) -> None:  # noqa: ANN401 - handed through
    """Accept readings 1, 2, 3, ... of some topics in turn, in so much time each."""
    topics, priority = how.get("topics", ["device/soil"]), how.get("priority", 5)
    for number in range(1, count + 1):
        topic = topics[number % len(topics)]
        do(writer, Change([(reading(clock, number, topic), [Feed("a", priority)])]))
        await clock.advance(every_s)


def thin(writer: Writer, lane: int = 0) -> int | None:
    """Do one step."""
    return cast("int | None", work(writer, lambda w: downsample.step(w, w.targets["a"], lane)))


def thin_all(writer: Writer, lane: int = 0) -> int:
    """Do steps until there is nothing left to be thinned; return how many."""
    steps = 0
    while thin(writer, lane) is not None:
        steps += 1
        check(writer)
    return steps


def check(writer: Writer) -> None:
    """Compare the books with the rows."""
    counters = writer.targets["a"]
    found = rows(writer.db, counters.id)
    assert counters.queued + counters.dead == len(found)
    assert counters.bytes == sum(schema.size_of(row) for row in found.values())
    assert all(schema.is_intact(row) for row in found.values())


def marks(messages: list[Message]) -> list[tuple[int, float, float, float]]:
    """Return count, min, max and mean of each message."""
    found = []
    for message in messages:
        body = json.loads(message.event.payload)
        mark = body.get("thinned", {"count": 1, "min": body["value"], "max": body["value"], "mean": body["value"]})
        found.append((mark["count"], mark["min"], mark["max"], mark["mean"]))
    return found


async def test_the_readings_of_a_minute_become_one(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        await fill(writer, clock, 150)
        assert thin(writer)
        found = read_lane(writer)
        assert marks(found) == [(60, 1, 60, 30.5), (60, 61, 120, 90.5), (30, 121, 150, 135.5)]
        assert seqs(found) == [60, 120, 150], "in the place of the last"
        counters = writer.targets["a"]
        assert (counters.produced, counters.queued, counters.thinned) == (150, 3, 147)
        assert counters.reasons == {"thinned": 147}
        event = found[1].event
        body = json.loads(event.payload)
        assert (event.topic, event.source, body["unit"]) == ("device/soil", "test", "C")
        assert body["value"] == 90.5
        assert (body["thinned"]["first"], body["thinned"]["span_s"]) == ("2023-11-14T22:14:20.000000Z", 59.0)
        assert body["thinned"]["last"] == "2023-11-14T22:15:19.000000Z"
        check(writer)


async def test_the_interval_doubles_as_long_as_there_is_need(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        await fill(writer, clock, 40, every_s=60)
        sizes = []
        while thin(writer) is not None:
            sizes.append(writer.targets["a"].queued)
            assert sum(count for count, *_ in marks(read(writer))) == 40
        assert sizes == sorted(sizes, reverse=True)
        assert {20, 10, 5} < {size // 1 for size in sizes} | {21, 11, 6, 20, 10, 5}
        ((count, least, most, mean),) = marks(read(writer))
        assert (count, least, most) == (40, 1, 40)
        assert mean == pytest.approx(20.5)


def read(writer: Writer) -> list[Message]:
    """Return what waits, without being a consumer that holds it."""
    found = rows(writer.db, 1)
    return [schema.from_row("a", found[key]) for key in sorted(found)]


async def test_the_old_are_thinner_than_the_new(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        for number in range(500):
            events = [reading(clock, number, f"device/{n}") for n in range(4)]
            do(writer, Change([(event, [Feed("a")]) for event in events]))
            await clock.advance(30)
        while writer.targets["a"].queued > 750:
            assert thin(writer) is not None
        assert Counter(counts(read(writer)[:100])) == {4: 100}
        assert Counter(counts(read(writer)[-400:])) == {2: 400}, "the longer interval has begun with the oldest"
        assert sum(counts(read(writer))) == 2000


async def test_the_least_urgent_first_and_none_more_urgent_than_asked(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        for priority in (0, 5, 9):
            await fill(writer, clock, 50, priority=priority)
        assert thin(writer)
        lanes = Counter(lane for lane, _ in rows(writer.db, 1))
        assert (lanes[0], lanes[5]) == (50, 50)
        assert lanes[9] < 5
        thin_all(writer, lane=5)
        lanes = Counter(lane for lane, _ in rows(writer.db, 1))
        assert (lanes[0], lanes[5], lanes[9]) == (50, 1, 1)


async def test_topics_are_kept_apart_and_what_is_no_reading_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        await fill(writer, clock, 20, topics=["x", "y"])
        texts = [make_event(clock, "x", payload, "test") for payload in (b"text", b'{"value":"on"}', bytes(5000))]
        letters = do(writer, Change([(event, [Feed("a")]) for event in texts]))
        await fill(writer, clock, 20, topics=["x", "y"])
        thin_all(writer)
        found = read(writer)
        assert sorted((m.event.topic, count) for m, count in zip(found, counts(found), strict=True)) == [
            ("x", 1), ("x", 1), ("x", 1), ("x", 20), ("y", 20)
        ]  # fmt: skip
        assert [m for m in found if m in letters] == letters


def counts(messages: list[Message]) -> list[int]:
    """Return for how many readings each stands, 1 for what is no reading."""
    parsed = [thinning.parse(message.event.payload, 0, 0) for message in messages]
    return [reading.summary.readings if reading else 1 for reading in parsed]


@pytest.mark.parametrize("change", ["headers", "source", "tries"])
async def test_what_differs_is_not_put_together(tmp_path: Path, change: str) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        events = [reading(clock, number) for number in range(4)]
        if change == "headers":
            events = [event._replace(headers={"n": str(number)}) for number, event in enumerate(events)]
        elif change == "source":
            events = [event._replace(source=f"device/{number}") for number, event in enumerate(events)]
        accepted = do(writer, Change([(event, [Feed("a")]) for event in events]))
        if change == "tries":
            do(writer, Change(retried=[message._replace(tries=1) for message in accepted]))
        thin_all(writer)
        assert len(read(writer)) == 4


async def test_what_would_not_be_smaller_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        events = [make_event(clock, "x", b"1", "test") for _ in range(2)]
        do(writer, Change([(event, [Feed("a")]) for event in events]))
        assert thin_all(writer) == 1
        assert len(read(writer)) == 2
        do(writer, Change([(make_event(clock, "x", b"4", "test"), [Feed("a")])]))
        thin_all(writer)
        assert marks(read(writer)) == [(3, 1, 4, 2.0)]


async def test_only_what_nobody_holds_is_thinned(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        await fill(writer, clock, 100, every_s=0.1)
        writer.targets["a"].backlog = {5: Backlog(10, 91, [(20, 24), (40, 40)])}
        thin_all(writer)
        assert seqs(read(writer)) == [*range(1, 11), *range(20, 25), 40, 90, *range(91, 101)]
        writer.targets["a"].backlog = {}
        assert thin(writer) is None
        writer.targets["a"].backlog = None
        writer.targets["a"].read[5] = 100
        assert thin(writer) is None


async def test_a_damaged_row_is_left_to_whoever_reads_it(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        await fill(writer, clock, 20, every_s=0.1)
        writer.db.execute("UPDATE message SET payload = x'39' WHERE id & 31 = 7")
        assert thin(writer)
        found = sorted(rows(writer.db, 1).values())
        assert [schema.unpack_id(row[0])[2] for row in found] == [7, 20]
        assert not schema.is_intact(found[0])
        assert json.loads(found[1][2])["thinned"]["count"] == 19


async def test_a_restart_goes_on_where_it_was_and_a_drained_queue_begins_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        await fill(writer, clock, 600, every_s=60)
        thin_all(writer)
        assert writer.targets["a"].queued == 1
    with Opened(tmp_path, THIN, clock=clock) as writer:
        assert thin(writer) is None
        await fill(writer, clock, 3, every_s=60)
        assert thin(writer) is not None
        do(writer, Change(done=read(writer)))
        await fill(writer, clock, 100, every_s=1)
        assert thin(writer)
        assert len(read(writer)) in {2, 3}, "the first interval again"


@pytest.mark.parametrize("store_is_full", [True, False])
async def test_nothing_is_dropped_as_long_as_readings_can_be_thinned(tmp_path: Path, *, store_is_full: bool) -> None:
    """Three times as much as fits: every reading is still there, in fewer messages."""
    clock = FakeClock()
    bounds = QueueLimits(0 if store_is_full else 200_000, when_full=Overflow.DOWNSAMPLE)
    limits = StoreLimits(limit_bytes=300_000, keep_free=0.0) if store_is_full else FREE
    with Opened(tmp_path, {"a": bounds}, clock=clock, limits=limits) as writer:
        topics = [f"device/{number}" for number in range(5)]
        await fill(writer, clock, 3000, every_s=0.5, topics=topics)
        counters = writer.targets["a"]
        assert counters.overflow == 0
        assert counters.thinned > 1500
        assert sum(counts(read(writer))) == 3000
        assert counters.bytes < 300_000
        check(writer)


async def test_what_cannot_be_thinned_is_dropped_the_oldest_first(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, {"a": QueueLimits(20_000, when_full=Overflow.DOWNSAMPLE)}, clock=clock) as writer:
        for _ in range(200):
            do(writer, Change([(make_event(clock, "x", b"no reading" * 10, "test"), [Feed("a")])]))
        counters = writer.targets["a"]
        assert counters.thinned == 0
        assert counters.bytes <= 20_000
        assert seqs(read(writer)) == list(range(200 - counters.queued + 1, 201))
        assert counters.overflow == 200 - counters.queued
        check(writer)


async def test_nothing_urgent_is_thinned_or_dropped_for_something_less_urgent(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, {"a": QueueLimits(20_000, when_full=Overflow.DOWNSAMPLE)}, clock=clock) as writer:
        await fill(writer, clock, 60, priority=1)
        urgent = read(writer)
        await fill(writer, clock, 300, priority=7)
        counters = writer.targets["a"]
        assert [m for m in read(writer) if m.priority == 1] == urgent
        await fill(writer, clock, 300, priority=1)
        assert counters.overflow <= 1
        assert counters.bytes <= 20_000
        check(writer)


@pytest.mark.parametrize("inline", [True, False])
async def test_a_consumer_gets_each_reading_once_while_it_is_thinned(tmp_path: Path, *, inline: bool) -> None:
    """What is held, handed out ahead or being read is never put together with what waits on the disk."""
    clock = FakeClock()
    bounds = {"a": QueueLimits(200_000, when_full=Overflow.DOWNSAMPLE)}
    store = await Store.open(tmp_path, bounds, clock=clock, limits=FREE)
    queue, got, total = store.queue("a"), Counter[float](), 0
    queue.live_share = 0.3
    in_hand: list[Message] = []
    for number in range(400):
        store._blocked_s = 0.0 if inline else 1.0
        changes = [store.change([(reading(clock, total + n + 1), [Feed("a")])]) for n in range(10)]
        total += 10
        if number % 3 == 0 and number > 50:
            in_hand += await queue.get(17)
        if number % 5 == 0:
            queue.give_back(in_hand[20:])
            done, in_hand = in_hand[:20], []
            settled = store.change(done=done)
            for count, least, most, mean in marks(done):
                assert (count > 1) == (least < most)
                assert mean == pytest.approx((least + most) / 2, abs=max(1.0, (most - least) / 2))
                got[-1] += count
            await settled
        await asyncio.gather(*changes)
        await clock.advance(1)
    queue.give_back(in_hand)
    while len(queue):
        done = await queue.get(100)
        got[-1] += sum(mark[0] for mark in marks(done))
        await store.change(done=done)
    counters = store.counters("a")
    await store.close()
    assert counters.overflow == 0
    assert counters.thinned > 500
    assert got[-1] == total
    assert counters.delivered + counters.thinned == total


async def test_ages_stay_in_order_and_the_stamp_is_that_of_the_last(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, THIN, clock=clock) as writer:
        await fill(writer, clock, 90, topics=["x", "y", "z"])
        thin_all(writer)
        found = read(writer)
        ages = [message.age_ns for message in found]
        assert ages == sorted(ages)
        last = found[-1].event
        assert last.time == Stamp(last.time.wall_ns, 90 * 10**9, "boot-1")
        assert last.headers == NO_HEADERS
        assert last.id not in {"", None}


async def test_what_can_never_fit_thins_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, {"a": QueueLimits(20_000, when_full=Overflow.DOWNSAMPLE)}, clock=clock) as writer:
        await fill(writer, clock, 95)
        with pytest.raises(QueueFullError, match="do not fit into queue 'a', which holds 20000 at most"):
            do(writer, Change([(make_event(clock, "x", bytes(30_000), "test"), [Feed("a")])]))
        assert (writer.targets["a"].thinned, writer.targets["a"].rejected) == (0, 1)
