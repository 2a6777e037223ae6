"""A consumer's view: every message once, in order, the most urgent first, whether it comes from memory or from disk."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from edge_runtime.app import Overflow, QueueLimits
from edge_runtime.clock import Clock, FakeClock
from edge_runtime.errors import StoreError
from edge_runtime.model import Message
from edge_runtime.store import letters
from edge_runtime.store.store import Store
from tests.store.kit import FREE, A, entry, inject, once, seqs, sqlite_error


@contextlib.asynccontextmanager
async def opened(
    folder: Path, queues: Mapping[str, QueueLimits] = A, clock: Clock | None = None
) -> AsyncIterator[Store]:
    store = await Store.open(folder, queues, clock=clock or FakeClock(), limits=FREE)
    try:
        yield store
    finally:
        await store.close()


async def accept(store: Store, count: int, priority: int = 5, payload: bytes = b"x") -> None:
    await store.change([entry(payload, priority=priority) for _ in range(count)])


async def test_messages_come_in_order_the_most_urgent_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.change([entry(priority=p) for p in (5, 9, 0, 5, 0)])
        queue = store.queue("a")
        assert len(queue) == 5
        assert seqs(await queue.get(2)) == [3, 5]
        assert seqs(await queue.get(2)) == [1, 4]
        assert seqs(await queue.get(9)) == [2]
        assert len(queue) == 5, "nothing is settled"


async def test_only_what_is_urgent_enough_is_handed_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.change([entry(priority=p) for p in (5, 9, 3, 5)])
        queue = store.queue("a")
        assert seqs(await queue.get(9, least=4)) == [3]
        waiting = asyncio.ensure_future(queue.get(9, least=4))
        await accept(store, 1, priority=9)
        await accept(store, 1, priority=5)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        await accept(store, 1, priority=4)
        assert seqs(await waiting) == [7]
        assert seqs(await queue.get(9)) == [1, 4, 6, 2, 5]


async def test_what_is_not_urgent_enough_waits_on_the_disk_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 3)
    async with opened(tmp_path) as store:
        waiting = asyncio.ensure_future(store.queue("a").get(9, least=0))
        for _ in range(5):
            await asyncio.sleep(0)
        waiting.cancel()
        assert seqs(await store.queue("a").get(9)) == [1, 2, 3]
        assert waiting.cancelled()


async def test_a_page_that_has_just_been_read_is_not_waited_for_in_vain(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 3)
    async with opened(tmp_path) as store:
        queue = store.queue("a")
        before = store.work(lambda _: None)
        first = queue.get(9)
        first.send(None)  # it begins to read, in one batch with the work before it,
        first.close()  # and is cancelled: the page is read all the same
        await before  # of which this hears first
        assert seqs(await queue.get(9)) == [1, 2, 3]


@pytest.mark.parametrize("inline", [True, False])
async def test_new_messages_share_the_link_with_the_backlog(tmp_path: Path, *, inline: bool) -> None:
    """As many new ones as are accepted meanwhile, one of four, and none twice, until there is no backlog any more."""
    async with opened(tmp_path) as store:
        await accept(store, 2000)
    async with opened(tmp_path) as store:
        store._blocked_s = 0.0 if inline else 1.0
        queue, got, fresh = store.queue("a"), list[int](), list[int]()
        queue.live_share = 0.25
        while len(queue):
            if len(got) < 1200:
                await accept(store, 5)
            taken = await queue.get(20)
            got += seqs(taken)
            fresh.append(sum(seq > 2000 for seq in seqs(taken)))
            await store.change(done=taken)
        assert fresh[:60] == [5] * 60, "a quarter of each 20"
        assert sorted(got) == list(range(1, 2301))
        assert [seq for seq in got if seq <= 2000] == list(range(1, 2001))
        assert [seq for seq in got if seq > 2000] == list(range(2001, 2301))


async def test_a_restart_among_messages_that_were_handed_out_ahead_loses_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 1500)
        queue = store.queue("a")
        queue.live_share = 0.5
        await accept(store, 100)
        taken = await queue.get(40)
        assert seqs(taken[:6]) == [1, 1501, 2, 1502, 3, 1503]
        await store.change(done=taken[10:])
        left = sorted({*range(1, 1601)} - {*seqs(taken[10:])})
    async with opened(tmp_path) as store:
        queue, got = store.queue("a"), list[int]()
        queue.live_share = 0.5
        while len(got) < len(left):
            got += seqs(await queue.get(100))
        assert got == left


async def test_a_share_that_is_taken_away_leaves_strict_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 1100)
        queue = store.queue("a")
        assert queue.live_share == 0.0
        queue.live_share = 0.5
        await accept(store, 10)
        got = seqs(await queue.get(4))
        queue.live_share = 0.0
        while len(got) < 1110:
            got += seqs(await queue.get(100))
        assert got == [1, 1101, 2, 1102, *range(3, 1101), *range(1103, 1111)]
        for share in (-0.1, 1.1):
            with pytest.raises(ValueError, match="the live share of queue 'a' must be from 0 to 1, not"):
                queue.live_share = share


async def test_a_waiting_consumer_is_woken(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        waiting = asyncio.ensure_future(store.queue("a").get())
        await asyncio.sleep(0)
        assert not waiting.done()
        await accept(store, 1)
        assert seqs(await waiting) == [1]


async def test_a_consumer_that_is_cancelled_takes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        waiting = asyncio.ensure_future(store.queue("a").get())
        await asyncio.sleep(0)
        waiting.cancel()
        await accept(store, 1)
        assert waiting.cancelled()
        assert seqs(await store.queue("a").get()) == [1]


async def test_what_is_given_back_comes_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 6)
        queue = store.queue("a")
        taken = await queue.get(4)
        queue.give_back([taken[3], taken[1], taken[2]])
        assert seqs(await queue.get(9)) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("inline", [True, False])
async def test_a_consumer_that_falls_behind_misses_nothing(tmp_path: Path, *, inline: bool) -> None:
    """Pages are read from disk while more is accepted, by the loop itself or by the thread."""
    total = 6000
    async with opened(tmp_path) as store:
        queue, got = store.queue("a"), list[Message]()

        async def produce() -> None:
            for number in range(total // 20):
                store._blocked_s = 0.0 if inline else 1.0
                changes = [store.change([entry(priority=number % 2)]) for _ in range(20)]
                await (changes[-1] if number % 7 else asyncio.sleep(0))

        async def consume() -> None:
            while len(got) < total:
                taken = await queue.get(50)
                got.extend(taken)
                settled = store.change(done=taken)
                if len(got) % 3:
                    await settled

        async with asyncio.timeout(60):
            await accept(store, 0)
            await produce()
            await asyncio.gather(consume(), asyncio.sleep(0))
        for lane in (0, 1):
            mine = [m.seq for m in got if m.priority == lane]
            assert mine == sorted(mine)
        assert sorted(seqs(got)) == list(range(1, total + 1))
        await store.work(lambda _: None)
        assert (len(queue), store.counters("a").delivered) == (0, total)


@pytest.mark.parametrize("inline", [True, False])
async def test_messages_accepted_around_the_reading_of_a_page_are_not_missed(tmp_path: Path, *, inline: bool) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 40)
    for round_number in range(25):
        async with opened(tmp_path) as store:
            store._blocked_s = 0.0 if inline else 1.0
            queue = store.queue("a")
            count = len(queue)
            first = asyncio.ensure_future(queue.get(10))
            for _ in range(round_number):
                await asyncio.sleep(0)
            later = [store.change([entry()]) for _ in range(3)]
            for _ in range(3):
                await asyncio.sleep(0)
            later += [store.change([entry()]) for _ in range(3)]
            got = await first
            async with asyncio.timeout(10):
                while len(got) < count + 6:
                    got += await queue.get(100)
            await asyncio.gather(*later)
            assert seqs(got) == list(range(got[0].seq, got[0].seq + count + 6))
            await store.change(done=got[:6])


async def test_what_waits_from_before_comes_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.change([entry(priority=p) for p in (5, 0, 5, 9)])
        taken = await store.queue("a").get(2)
        await store.change(done=taken[:1])
    async with opened(tmp_path) as store:
        await accept(store, 1, priority=0)
        got = [message for _ in range(4) for message in await store.queue("a").get(1)]
        assert seqs(got) == [5, 1, 3, 4]


async def test_something_urgent_overtakes_what_is_being_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 5)
    async with opened(tmp_path) as store:
        waiting = asyncio.ensure_future(store.queue("a").get(1))
        urgent = store.change([entry(priority=0)])
        assert seqs(await waiting) == [6]
        await urgent


async def test_little_is_held_in_memory(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 3000)
        await accept(store, 30, payload=b"x" * 100_000, priority=6)
        queue = store.queue("a")
        assert [len(lane.held) for lane in queue._lanes[5:7]] == [1024, 11]
        assert len(await queue.get(3000)) == 1024
        got, order = 1024, list[int]()
        while got < 3030:
            taken = await queue.get(3000)
            got += len(taken)
            order += [message.priority for message in taken]
            assert all(len(lane.held) <= 1280 and lane.bytes <= 2_100_000 for lane in queue._lanes)
        assert order == sorted(order), "the less urgent wait for what is on disk"


async def test_what_was_dropped_is_not_handed_out(tmp_path: Path) -> None:
    async with opened(tmp_path, {"a": QueueLimits(600)}) as store:
        for _ in range(10):
            await accept(store, 1)
        got = await store.queue("a").get(100)
        assert seqs(got) == list(range(11 - len(got), 11))
        assert store.counters("a").overflow == 10 - len(got)


async def test_only_the_latest_is_handed_out(tmp_path: Path) -> None:
    async with opened(tmp_path, {"a": QueueLimits(when_full=Overflow.KEEP_LATEST)}) as store:
        await store.change([entry(topic="x"), entry(topic="y"), entry(topic="x", priority=7)])
        assert seqs(await store.queue("a").get(9)) == [2, 3]


async def test_a_replayed_letter_is_handed_out_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 3)
        queue = store.queue("a")
        taken = await queue.get(3)
        await store.change(dead=[(message, "no") for message in taken[:2]], done=taken[2:])
        again = await store.work(lambda w: letters.replay(w, "a"), writes=True)
        assert isinstance(again, list)
        queue.give_back(again)
        assert await queue.get(5) == taken[:2]
        assert queue._waiter is None


@pytest.mark.parametrize("read_first", [True, False])
async def test_a_letter_replayed_into_a_backlog_is_handed_out_once(tmp_path: Path, *, read_first: bool) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 8)
        taken = await store.queue("a").get(8)
        await store.change(dead=[(taken[0], "no"), (taken[5], "no")])
    async with opened(tmp_path) as store:
        queue = store.queue("a")
        got = await queue.get(1) if read_first else []
        again = await store.work(lambda w: letters.replay(w, "a"), writes=True)
        assert isinstance(again, list)
        queue.give_back(again)
        async with asyncio.timeout(5):
            while len(got) < 8:
                got += await queue.get(3)
        assert sorted(seqs(got)) == [1, 2, 3, 4, 5, 6, 7, 8]
        if not read_first:
            assert seqs(got) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_letter_older_than_what_was_dropped_is_handed_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 3)
        queue = store.queue("a")
        (first,) = await queue.get(1)
        await store.change(dead=[(first, "no")])
        await store.work(lambda w: letters.purge(w, "a", dead=False), writes=True)
        again = await store.work(lambda w: letters.replay(w, "a"), writes=True)
        assert isinstance(again, list)
        queue.give_back(again)
        await accept(store, 1)
        assert seqs(await queue.get(9)) == [1, 4], "2 and 3 were purged"


async def test_a_damaged_row_is_passed_over_and_becomes_a_letter(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 4)
    db = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
    db.execute("UPDATE message SET payload = x'79' WHERE id & 7 = 2")
    db.close()
    async with opened(tmp_path) as store:
        assert seqs(await store.queue("a").get(9)) == [1, 3, 4]
        await store.work(lambda _: None)
        assert (store.counters("a").dead, store.counters("a").queued) == (1, 3)
        assert "set aside as a dead letter" in store.notes[0]


async def test_an_error_while_reading_reaches_the_consumer_and_the_next_get_reads_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 2)
    async with opened(tmp_path) as store:
        path = store._writer.path
        store._writer.path = tmp_path / "gone" / "queue.db"
        inject(store._writer, once("SELECT * FROM message", sqlite_error(sqlite3.SQLITE_IOERR)))
        with pytest.raises(StoreError):
            await store.queue("a").get()
        store._writer.path = path
        assert seqs(await store.queue("a").get(5)) == [1, 2]


async def test_after_a_reset_everything_unsettled_comes_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await accept(store, 5)
        queue = store.queue("a")
        taken = await queue.get(2)
        await store.change(done=taken[:1])
        queue.reset({5: 2})
        await accept(store, 1)
        queue.give_back(taken[1:])
        assert seqs(await queue.get(9)) == [2, 3, 4, 5, 6]
        queue.reset({})
        await accept(store, 1)
        assert seqs(await queue.get(9)) == [7]
