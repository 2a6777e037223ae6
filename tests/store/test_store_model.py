"""The store against a simple model: whatever is done in whatever order, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_runtime.app import Overflow, QueueLimits
from edge_runtime.clock import FakeClock
from edge_runtime.errors import QueueFullError
from edge_runtime.model import Event, Feed, Message
from edge_runtime.store import inspect, letters, schema
from edge_runtime.store.expiry import sweep
from edge_runtime.store.lane import Bounds
from edge_runtime.store.store import Store
from edge_runtime.store.writer import Writer
from tests.store.kit import FREE, event, inject, once, rows, seqs, sqlite_error

T = TypeVar("T")


TTL_S = 100
QUEUES = {
    "plain": QueueLimits(),
    "small": QueueLimits(limit_bytes=2500, ttl_s=TTL_S),
    "latest": QueueLimits(when_full=Overflow.KEEP_LATEST),
    "strict": QueueLimits(limit_bytes=2500, when_full=Overflow.REJECT_NEW),
    "live": QueueLimits(),
}
NAMES = list(QUEUES)
LITTLE = Bounds(held=2, page=2, fresh=3)
"""So little is in memory that a few messages are a backlog."""


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
    ahead: dict[int, int] = field(default_factory=dict)
    """By priority: the last message that was handed out before its turn."""


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
        store = await Store.open(self.folder, QUEUES, clock=self.clock, limits=FREE)
        store.queue("live").live_share = 0.5
        for lane in store.queue("live")._lanes:
            lane.bounds = LITTLE
        return store

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

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 6), least=st.sampled_from([0, 5, 9, 9]))
    def take(self, name: str, limit: int, least: int) -> None:
        """Be the consumer."""
        waiting = [k for k in self._waiting(name) if k.message.priority <= least]
        if not waiting:
            return
        taken = self.run(self.store.queue(name).get(limit, least=least))
        assert 0 < len(taken) <= limit
        assert all(message.priority <= least for message in taken)
        keys = [(k.message.priority, k.message.seq) for k in waiting]
        assert taken[0].priority == min(keys)[0], "the most urgent first"
        for message in taken:
            kept = self.models[name].kept[message.seq]
            assert message == kept.message
            assert not kept.in_hand
            assert not kept.dead
            if not kept.handed:
                older = [k for k in waiting if k.message.priority == message.priority and k.message.seq < message.seq]
                if name != "live":
                    assert all(k.in_hand for k in older), "first deliveries are in order"
                elif not all(k.in_hand for k in older):
                    ahead = self.models[name].ahead
                    assert message.seq > ahead.get(message.priority, 0), "among themselves the fresh ones are in order"
                    ahead[message.priority] = message.seq
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
            model.ahead.clear()
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
