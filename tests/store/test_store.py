"""The store as the loop sees it, and against a simple model: whatever is done in whatever order, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.clock import Clock, FakeClock
from edge_runtime.errors import HostError, NotFoundError, QueueFullError, StoreError
from edge_runtime.model import Event, Feed, Message
from edge_runtime.store import inspect, letters, schema
from edge_runtime.store.expiry import sweep
from edge_runtime.store.store import Store
from edge_runtime.store.writer import Writer
from tests.store.kit import FREE, A, entry, event, inject, once, rows, seqs, sqlite_error

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


async def rest(store: Store) -> None:
    """Let the sweeper and the writer come to rest."""
    for _ in range(5):
        await store.work(lambda _: None)
        await asyncio.sleep(0)


# -- against a model ---------------------------------------------------------------------------------------------------

TTL_S = 100
QUEUES = {
    "plain": QueueLimits(),
    "small": QueueLimits(limit_bytes=2500, ttl_s=TTL_S),
    "latest": QueueLimits(when_full=Overflow.KEEP_LATEST),
    "strict": QueueLimits(limit_bytes=2500, when_full=Overflow.REJECT_NEW),
}
NAMES = list(QUEUES)


@dataclass
class Kept:
    """A message that was accepted and is not settled."""

    message: Message
    dead: bool = False
    in_hand: bool = False
    handed: bool = False


@dataclass
class Model:
    """What one queue should hold."""

    produced: int = 0
    kept: dict[int, Kept] = field(default_factory=dict)
    delivered: int = 0
    gone: int = 0
    """Dropped or expired."""


class Machine(RuleBasedStateMachine):
    """Does to a store what a host would, and to the model what ought to come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="store-model-"))
        self.folder = self.root / "0"
        self.lives = 0
        self.clock = FakeClock()
        self.models = {name: Model() for name in NAMES}
        self.store = self.run(self._open())

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Await something from outside the loop."""
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    async def _open(self) -> Store:
        return await Store.open(self.folder, QUEUES, clock=self.clock, limits=FREE)

    def teardown(self) -> None:
        """Deliver all that is left: it is all there."""
        try:
            self.run(self._drain())
            self.run(self.store.close())
            for row in inspect.ledger(self.folder / "queue.db"):
                assert (row.queued, row.missing) == (0, 0)
        finally:
            self.run(self.store.close())
            self.loop.close()
            shutil.rmtree(self.root)

    async def _drain(self) -> None:
        for name, model in self.models.items():
            queue = self.store.queue(name)
            queue.give_back([k.message for k in model.kept.values() if k.in_hand and not k.dead])
            wanted = {seq for seq, k in model.kept.items() if not k.dead}
            while wanted:
                taken = await queue.get(7)
                await self.store.change(done=taken)
                assert set(seqs(taken)) <= wanted
                wanted -= set(seqs(taken))

    # -- what is compared ------------------------------------------------------------------------------------------

    @invariant()
    def rows_are_what_the_model_holds(self) -> None:
        """Compare every row and every count."""
        for name, model in self.models.items():
            counters = self.store.counters(name)
            found = self.run(self._rows(counters.id))
            expected = {(schema.DEAD if k.dead else k.message.priority, seq): k for seq, k in model.kept.items()}
            assert sorted(found) == sorted(expected)
            for key, kept in expected.items():
                message = schema.from_row(name, found[key])
                assert (letters.without_marks(message) if kept.dead else message) == kept.message
            dead = sum(k.dead for k in model.kept.values())
            assert counters.produced == model.produced
            assert counters.dead == dead
            assert counters.queued == len(model.kept) - dead
            assert counters.delivered == model.delivered
            assert counters.dropped + counters.expired == model.gone
            assert counters.bytes == sum(schema.size_of(row) for row in found.values())
            if counters.limits.limit_bytes:
                assert counters.bytes <= counters.limits.limit_bytes + 600, "letters and tries may add a little"

    async def _rows(self, target: int) -> dict[tuple[int, int], schema.Row]:
        found = await self.store.work(lambda w: rows(w.db, target))
        return cast("dict[tuple[int, int], schema.Row]", found)

    def _forget(self, name: str) -> None:
        """Take out of the model what was dropped, having checked that it was right to."""
        model, counters = self.models[name], self.store.counters(name)
        found = self.run(self._rows(counters.id))
        waiting = {seq for _, seq in found}
        dropped = [k for seq, k in model.kept.items() if seq not in waiting]
        if QUEUES[name].when_full is Overflow.DROP_OLDEST:
            left = [model.kept[seq] for seq in waiting]
            for lost in dropped:
                rank = (schema.DEAD if lost.dead else lost.message.priority), -lost.message.seq
                assert all(rank > ((schema.DEAD if k.dead else k.message.priority), -k.message.seq) for k in left)
        for lost in dropped:
            model.gone += 1
            del model.kept[lost.message.seq]

    # -- what is done ----------------------------------------------------------------------------------------------

    @rule(
        feeds=st.lists(
            st.tuples(st.sampled_from(NAMES), st.sampled_from([0, 5, 5, 9])),
            min_size=1,
            max_size=4,
            unique_by=lambda f: f[0],
        ),
        topics=st.lists(st.sampled_from(["x", "y", "z/ü"]), min_size=1, max_size=5),
        size=st.sampled_from([0, 10, 300, 900, 5000]),
        inline=st.booleans(),
    )
    def accept(self, feeds: list[tuple[str, int]], topics: list[str], size: int, *, inline: bool) -> None:
        """Accept some events, or be refused."""
        self.store._blocked_s = 0.0 if inline else 1.0
        events: list[Event] = [event(bytes(size), topic, {"h": topic} if size else {}) for topic in topics]
        before = {name: self.store.counters(name).values() for name in NAMES}
        try:
            messages = self.run(self._change([(e, [Feed(*f) for f in feeds]) for e in events]))
        except QueueFullError:
            fed = {name for name, _ in feeds}
            assert fed & {"strict", "small"}
            after = {name: self.store.counters(name).values() for name in NAMES}
            for name in NAMES:
                assert after[name][:8] == before[name][:8], "nothing was dropped for what was not accepted"
            return
        assert [(m.event, m.target, m.priority) for m in messages] == [(e, *f) for e in events for f in feeds]
        for message in messages:
            model = self.models[message.target]
            model.produced += 1
            assert message.seq == model.produced
            if message.target == "latest":
                same = [s for s, k in model.kept.items() if k.message.event.topic == message.event.topic and not k.dead]
                model.gone += len(same)
                for seq in same:
                    del model.kept[seq]
            model.kept[message.seq] = Kept(message)
        if "small" in {name for name, _ in feeds}:
            self._forget("small")

    async def _change(self, entries: list[tuple[Event, list[Feed]]]) -> list[Message]:
        return cast("list[Message]", await self.store.change(entries))

    def _waiting(self, name: str) -> list[Kept]:
        return [k for k in self.models[name].kept.values() if not k.dead and not k.in_hand]

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 6))
    def take(self, name: str, limit: int) -> None:
        """Be the consumer."""
        waiting = self._waiting(name)
        if not waiting:
            return
        taken = self.run(self.store.queue(name).get(limit))
        assert 0 < len(taken) <= limit
        keys = [(k.message.priority, k.message.seq) for k in waiting]
        assert taken[0].priority == min(keys)[0], "the most urgent first"
        for message in taken:
            kept = self.models[name].kept[message.seq]
            assert message == kept.message
            assert not kept.in_hand
            assert not kept.dead
            if not kept.handed:
                older = [k for k in waiting if k.message.priority == message.priority and k.message.seq < message.seq]
                assert all(k.in_hand for k in older), "first deliveries are in order"
            kept.in_hand = kept.handed = True

    def _in_hand(self, name: str) -> list[Kept]:
        return [k for k in self.models[name].kept.values() if k.in_hand and not k.dead]

    @rule(name=st.sampled_from(NAMES), part=st.integers(1, 4), fate=st.sampled_from(["done", "dead", "retry", "back"]))
    def settle(self, name: str, part: int, fate: str) -> None:
        """Say what became of what was taken."""
        model, some = self.models[name], self._in_hand(name)[::part]
        messages = [k.message for k in some]
        if fate == "done":
            self.run(self._settle(done=messages))
            model.delivered += len(some)
            for kept in some:
                del model.kept[kept.message.seq]
        elif fate == "dead":
            self.run(self._settle(dead=[(message, "broken") for message in messages]))
            for kept in some:
                kept.dead, kept.in_hand = True, False
        else:
            if fate == "retry":
                messages = [message._replace(tries=message.tries + 3) for message in messages]
                self.run(self._settle(retried=messages))
            self.store.queue(name).give_back(messages)
            for kept, message in zip(some, messages, strict=True):
                kept.message, kept.in_hand = message, False

    async def _settle(
        self,
        *,
        done: list[Message] | None = None,
        dead: list[tuple[Message, str]] | None = None,
        retried: list[Message] | None = None,
    ) -> None:
        await self.store.change(done=done or [], dead=dead or [], retried=retried or [])

    @rule(name=st.sampled_from(NAMES), dead=st.booleans())
    def purge(self, name: str, *, dead: bool) -> None:
        """Drop what waits, or the dead letters."""
        model = self.models[name]
        count = self.run(self._work(lambda w: letters.purge(w, name, dead=dead)))
        mine = [seq for seq, kept in model.kept.items() if kept.dead == dead]
        assert count == len(mine)
        model.gone += len(mine)
        for seq in mine:
            del model.kept[seq]

    @rule(name=st.sampled_from(NAMES))
    def replay(self, name: str) -> None:
        """Put the dead letters back."""
        model = self.models[name]
        messages = cast("list[Message]", self.run(self._work(lambda w: letters.replay(w, name))))
        self.store.queue(name).give_back(messages)
        found = {message.seq: message for message in messages}
        for seq in [seq for seq, kept in model.kept.items() if kept.dead]:
            if seq in found:
                assert found[seq]._replace(age_ns=0) == model.kept[seq].message._replace(tries=0, age_ns=0)
                model.kept[seq] = Kept(found[seq], handed=True)
            else:
                assert name == "latest"
                model.gone += 1
                del model.kept[seq]

    async def _work(self, run: object) -> object:
        return await self.store.work(run, writes=True)  # type: ignore[arg-type]  # lambdas of the rules above

    @rule(seconds=st.sampled_from([1, 40, 150]), jump=st.sampled_from([0, -(10**8), 10**9]))
    def time_passes(self, seconds: int, jump: int) -> None:
        """Let what is too old expire; the wall clock may jump."""
        self.clock.jump(jump)
        self.run(self.clock.advance(seconds))
        while self.run(self._work(sweep)) == 0.0:
            pass
        model = self.models["small"]
        age_ns = cast("int", self.run(self._work(Writer.age_ns)))
        for lane in range(schema.LANES):
            for kept in sorted(
                (k for k in model.kept.values() if not k.dead and k.message.priority == lane),
                key=lambda k: k.message.seq,
            ):
                if kept.message.age_ns + TTL_S * 10**9 > age_ns:
                    break
                model.gone += 1
                del model.kept[kept.message.seq]

    @rule(how=st.sampled_from(["close", "crash", "crash and reboot"]))
    def restart(self, how: str) -> None:
        """Open the store again, after a clean end, a crash, or a crash and a reboot."""
        self.lives += 1
        if how != "close":
            copy = self.root / str(self.lives)
            copy.mkdir()
            for path in self.folder.iterdir():
                if path.name not in {"lock", "queue.db-shm"}:
                    shutil.copy(path, copy)
            self.folder = copy
        self.run(self.store.close())
        if how == "crash and reboot":
            self.clock.reboot(f"boot-{self.lives}")
        for model in self.models.values():
            for kept in model.kept.values():
                kept.in_hand = kept.handed = False
        self.store = self.run(self._open())
        assert self.store.notes == []

    @precondition(lambda self: any(not k.dead for k in self.models["plain"].kept.values()))
    @rule(code=st.sampled_from([sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY]), late=st.booleans())
    def disk_fails_once(self, code: int, *, late: bool) -> None:
        """Let a commit fail, before it is on the disk or after."""
        inject(self.store._writer, once("COMMIT", sqlite_error(code)), late=late)
        messages = self.run(self._change([(event(b"after"), [Feed("plain")])]))
        model = self.models["plain"]
        model.produced += 1
        assert seqs(messages) == [model.produced]
        model.kept[model.produced] = Kept(messages[0])


TestAgainstAModel = Machine.TestCase
TestAgainstAModel.settings = settings(
    max_examples=1000 if os.environ.get("EDGE_TORTURE") == "full" else 25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


async def test_there_is_no_such_queue(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(NotFoundError):
            await store.work(lambda w: letters.purge(w, "b", dead=True), writes=True)
        with pytest.raises(KeyError):
            store.queue("b")
