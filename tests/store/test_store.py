"""The store as the loop sees it: what is awaited is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TypeVar, cast

import pytest

from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.clock import Clock, FakeClock
from edge_runtime.errors import HostError, NotFoundError, QueueFullError, StoreError
from edge_runtime.model import Message
from edge_runtime.store import inspect, letters
from edge_runtime.store.store import Store
from edge_runtime.store.writer import Writer
from tests.store.kit import FREE, A, entry, inject, seqs, sqlite_error

T = TypeVar("T")


@contextlib.asynccontextmanager
async def opened(
    folder: Path, queues: Mapping[str, QueueLimits] = A, clock: Clock | None = None, limits: StoreLimits = FREE
) -> AsyncIterator[Store]:
    store = await Store.open(folder, queues, clock=clock or FakeClock(), limits=limits)
    try:
        yield store
    finally:
        await store.close()


async def rest(store: Store) -> None:
    """Let the sweeper and the writer come to rest."""
    for _ in range(5):
        await store.work(lambda _: None)
        await asyncio.sleep(0)


async def test_what_was_awaited_is_on_disk(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        accepted = await store.change([entry(), entry()], memo={"k": "v"})
        assert seqs(cast("list[Message]", accepted)) == [1, 2]
        db = sqlite3.connect(tmp_path / "queue.db")
        assert db.execute("SELECT count(*) FROM message").fetchone() == (2,)
        db.close()
        assert await store.recall("k") == "v"
        assert await store.recall("other") is None


@pytest.mark.parametrize("inline", [True, False])
async def test_those_who_meet_share_a_commit(tmp_path: Path, *, inline: bool) -> None:
    async with opened(tmp_path) as store:
        store._blocked_s = 0.0 if inline else 1.0
        commits = 0

        def count(statement: str) -> None:
            nonlocal commits
            commits += statement == "COMMIT"

        await store.work(lambda w: w.db.set_trace_callback(count))
        await asyncio.gather(*(store.change([entry()]) for _ in range(100)))
        await store.work(lambda w: w.db.set_trace_callback(None))
        assert commits == 1
        assert store.counters("a").produced == 100


async def test_who_is_cancelled_does_not_take_it_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        change = store.change([entry()])
        change.cancel()
        assert seqs(await store.queue("a").get()) == [1]


async def test_a_refusal_reaches_the_one_who_asked(tmp_path: Path) -> None:
    async with opened(tmp_path, {"a": QueueLimits(500, when_full=Overflow.REJECT_NEW)}) as store:
        changes = [store.change([entry(b"x" * 200)]) for _ in range(3)]
        outcomes = await asyncio.gather(*changes, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [list, QueueFullError, QueueFullError]
        assert seqs(await store.queue("a").get(5)) == [1]


async def test_the_folder_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(HostError):
            await Store.open(tmp_path, A, clock=FakeClock())
    async with opened(tmp_path) as store:
        assert [c.name for c in store.ledger] == ["a"]


async def test_closing_commits_what_was_submitted(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, A, clock=FakeClock(), limits=FREE)
    changes = [store.change([entry()]) for _ in range(2000)]
    await asyncio.gather(store.close(), store.close())
    await store.close()
    assert all(change.done() for change in changes)
    with pytest.raises(StoreError, match="the store is closed"):
        await store.change([entry()])
    (row,) = inspect.ledger(tmp_path / "queue.db")
    assert (row.queued, row.balanced) == (2000, True)
    assert not [thread for thread in threading.enumerate() if thread.name == "store-writer"]


async def test_an_opening_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    opening = asyncio.ensure_future(Store.open(tmp_path, A, clock=FakeClock()))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    for thread in threading.enumerate():
        if thread.name == "store-writer":
            await asyncio.to_thread(thread.join)
    async with opened(tmp_path):
        pass


def test_a_loop_that_ends_without_closing_ends_the_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def forget() -> Store:
        store = await Store.open(tmp_path, A, clock=FakeClock(), limits=FREE)
        await store.change([entry()])
        store._blocked_s = 1.0
        store.change([entry()])
        await asyncio.sleep(0)
        return store

    store = asyncio.run(forget())
    store._inbox.put([])
    store._thread.join(10)
    assert not store._thread.is_alive()
    assert "was not closed before its event loop" in caplog.text


@pytest.mark.parametrize("inline", [True, False])
async def test_an_error_of_the_disk_is_mended_off_the_loop(tmp_path: Path, *, inline: bool) -> None:
    async with opened(tmp_path) as store:
        await store.change([entry()])
        store._blocked_s = 0.0 if inline else 1.0
        failing: list[str] = []

        def fail_twice(sql: str) -> sqlite3.Error | None:
            if sql != "COMMIT" or len(failing) == 2:
                return None
            failing.append(threading.current_thread().name)
            return sqlite_error(sqlite3.SQLITE_IOERR)

        inject(store._writer, fail_twice)
        assert seqs(cast("list[Message]", await store.change([entry()]))) == [2]
        assert failing == ["MainThread" if inline else "store-writer", "store-writer"][: len(failing)]


async def test_after_a_salvage_the_consumer_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.change([entry(f"payload {n}".encode() * 20) for n in range(2000)])
        got = await store.queue("a").get(10)
        await store.change(done=got)
        await store.work(lambda w: w.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        image = (tmp_path / "queue.db").read_bytes()
        with (tmp_path / "queue.db").open("r+b") as file:
            file.seek(image.index(b"payload 1500") // 4096 * 4096)
            file.write(b"\xa5" * 4096)
        await store.work(Writer._disconnect)
        queue = store.queue("a")
        async with asyncio.timeout(20):
            while len(queue):
                taken = await queue.get(100)
                got += taken
                await store.change(done=taken)
        counters = store.counters("a")
        assert 0 < counters.corrupted < 40
        assert counters.produced == counters.delivered + counters.corrupted
        assert len(set(seqs(got))) == 2000 - counters.corrupted


async def test_messages_expire_when_they_are_due(tmp_path: Path) -> None:
    """A short time to live is not kept waiting by a long one."""
    clock = FakeClock()
    queues = {"slow": QueueLimits(ttl_s=3600), "a": QueueLimits(ttl_s=10), "never": QueueLimits()}
    async with opened(tmp_path, queues, clock) as store:
        await store.change([entry(b"x", "slow", "never")])
        await rest(store)
        await clock.advance(20)
        await store.change([entry()])
        await rest(store)
        await clock.advance(9)
        await rest(store)
        assert store.counters("a").expired == 0
        await clock.advance(2)
        await rest(store)
        assert (store.counters("a").expired, store.counters("slow").expired) == (1, 0)
        await clock.advance(3600)
        await rest(store)
        assert [c.expired for c in store.ledger] == [1, 1, 0]


async def test_nothing_expires_while_the_clock_is_set(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, {"a": QueueLimits(ttl_s=10)}, clock) as store:
        await store.change([entry()])
        clock.jump(10**9)
        await rest(store)
        await clock.advance(5)
        assert store.counters("a").expired == 0


async def test_there_is_no_such_queue(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(NotFoundError):
            await store.work(lambda w: letters.purge(w, "b", dead=True), writes=True)
        with pytest.raises(KeyError):
            store.queue("b")
