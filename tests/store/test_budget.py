"""Room: who may grow, who has to go, and that every drop is counted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.errors import QueueFullError
from edge_runtime.store import budget, schema
from edge_runtime.store.jobs import Change
from edge_runtime.store.writer import Writer
from tests.store.kit import FREE, Opened, accept, do, entry, inject, once, rows, seqs, sqlite_error, work

SMALL = StoreLimits(limit_bytes=1 << 20, keep_free=0.0)
SIZE = 1024
"""About what a message of 850 bytes takes."""


def kept(writer: Writer) -> list[tuple[int, int]]:
    return sorted(rows(writer.db, 1))


def test_a_full_queue_drops_its_oldest(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(10 * SIZE)}) as writer:
        for _ in range(30):
            accept(writer, entry(b"x" * 850))
        counters = writer.targets["a"]
        assert counters.bytes <= 10 * SIZE
        assert kept(writer) == [(5, seq) for seq in range(counters.overflow + 1, 31)]
        assert counters.queued == len(kept(writer)) >= 9
        assert counters.reasons == {"overflow": 30 - counters.queued}


def test_the_least_urgent_goes_first_and_dead_letters_before_all(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(5500)}) as writer:
        messages = accept(writer, *(entry(b"x" * 850, priority=p) for p in (9, 0, 5, 9, 1)))
        do(writer, Change(dead=[(messages[4], "no")]))
        left = []
        for _ in range(4):
            accept(writer, entry(b"x" * 850, priority=0))
            left.append([key for key in kept(writer) if key[1] <= 5])
        assert left == [[(0, 2), (5, 3), (9, 1), (9, 4)], [(0, 2), (5, 3), (9, 4)], [(0, 2), (5, 3)], [(0, 2)]]
        counters = writer.targets["a"]
        assert (counters.dead, counters.overflow, counters.queued) == (0, 4, 5)


def test_nothing_is_dropped_for_something_less_urgent(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(5500)}) as writer:
        accept(writer, *(entry(b"alarm" * 170, priority=0) for _ in range(5)))
        for _ in range(10):
            accept(writer, entry(b"x" * 850, priority=5))
        assert kept(writer) == [(0, seq) for seq in range(1, 6)]
        counters = writer.targets["a"]
        assert (counters.produced, counters.overflow, counters.bytes <= 5500) == (15, 10, True)
        accept(writer, entry(b"alarm" * 170, priority=0))
        assert kept(writer) == [(0, seq) for seq in (2, 3, 4, 5, 16)]


def test_the_store_drops_nothing_for_something_less_urgent(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(), "b": QueueLimits()}, limits=SMALL) as writer:
        while writer.budget.room() > 30_000:
            accept(writer, *(entry(b"x" * 850, "b", priority=1) for _ in range(10)))
        alarms = writer.targets["b"].queued
        for _ in range(100):
            accept(writer, entry(b"x" * 850, priority=6))
        a, b = writer.targets["a"], writer.targets["b"]
        assert (b.queued, a.produced) == (alarms, 100)
        assert a.overflow > 50


def test_a_queue_that_may_not_drop_refuses(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(3 * SIZE, when_full=Overflow.REJECT_NEW)}) as writer:
        accept(writer, entry(b"x" * 850), entry(b"x" * 850))
        with pytest.raises(QueueFullError, match=r"queue 'a' is full \(2 messages, \d+ bytes\)") as caught:
            accept(writer, entry(b"x" * 850), entry(b"x" * 850))
        assert "edge queue ls a" in caught.value.hint
        counters = writer.targets["a"]
        assert (counters.produced, counters.rejected, counters.queued) == (2, 1, 2)
        assert writer.db.execute("SELECT rejected FROM target").fetchone() == (1,)


@pytest.mark.parametrize("policy", Overflow)
def test_what_can_never_fit_is_refused_and_costs_nobody(tmp_path: Path, policy: Overflow) -> None:
    with Opened(tmp_path, {"a": QueueLimits(5 * SIZE, when_full=policy)}) as writer:
        accept(writer, entry(topic="kept"))
        with pytest.raises(QueueFullError, match="do not fit into queue 'a', which holds 5120 at most"):
            accept(writer, entry(b"x" * 6000))
        assert kept(writer) == [(5, 1)]
        assert writer.targets["a"].rejected == 1


def test_a_message_that_is_bigger_than_the_store_costs_nobody(tmp_path: Path) -> None:
    with Opened(tmp_path, limits=SMALL) as writer:
        accept(writer, entry())
        with pytest.raises(QueueFullError, match=r"the store is full: .* of 1048576 bytes"):
            accept(writer, entry(b"x" * 2_000_000))
        assert kept(writer) == [(5, 1)]


def test_a_big_message_drops_nobody_while_there_is_room(tmp_path: Path) -> None:
    with Opened(tmp_path, limits=FREE) as writer:
        for _ in range(10):
            accept(writer, entry(b"x" * 200_000))
        assert writer.targets["a"].queued == 10


def test_the_file_keeps_its_limit_and_drops_the_oldest(tmp_path: Path) -> None:
    with Opened(tmp_path, limits=SMALL) as writer:
        for _ in range(60):
            accept(writer, *(entry(b"x" * 850) for _ in range(64)))
        counters = writer.targets["a"]
        assert writer.budget.used_bytes() <= SMALL.limit_bytes * 1.1
        assert counters.produced == 60 * 64 == counters.queued + counters.overflow
        assert counters.queued > 800
        assert seqs(writer.page("a", 5, 0, 1).messages) == [counters.overflow + 1]
    assert (tmp_path / "queue.db").stat().st_size <= SMALL.limit_bytes + (4 << 20)


def test_the_one_that_is_fed_makes_room_then_the_biggest(tmp_path: Path) -> None:
    queues = {"a": QueueLimits(), "b": QueueLimits(), "safe": QueueLimits(when_full=Overflow.REJECT_NEW)}
    with Opened(tmp_path, queues, limits=SMALL) as writer:
        accept(writer, *(entry(b"x" * 850, "safe") for _ in range(300)))
        accept(writer, *(entry(b"x" * 850, "b") for _ in range(400)))
        for _ in range(500):
            accept(writer, entry(b"x" * 850))
        a, b, safe = (writer.targets[name] for name in queues)
        assert (safe.overflow, b.overflow) == (0, 0)
        assert a.overflow > 0
        for _ in range(200):
            accept(writer, entry(b"y" * 20_000))
        assert safe.overflow == 0
        assert all(c.produced == c.queued + c.overflow for c in (a, b, safe))


def feed(writer: Writer, target: str) -> None:
    while True:
        accept(writer, entry(b"x" * 8500, target))


def test_only_those_that_may_not_drop_are_left(tmp_path: Path) -> None:
    queues = {"a": QueueLimits(), "safe": QueueLimits(when_full=Overflow.REJECT_NEW)}
    with Opened(tmp_path, queues, limits=SMALL) as writer:
        with pytest.raises(QueueFullError, match="queue 'safe' is full"):
            feed(writer, "safe")
        waiting = writer.targets["safe"].queued
        with pytest.raises(QueueFullError, match="the store is full"):
            feed(writer, "a")
        assert writer.targets["safe"].queued == waiting


def test_no_room_is_dropped_for_twice(tmp_path: Path) -> None:
    """What a queue's own bound frees is room in the file too."""
    with Opened(
        tmp_path, {"a": QueueLimits(900_000)}, limits=StoreLimits(limit_bytes=1_100_000, keep_free=0.0)
    ) as writer:
        for _ in range(300):
            accept(writer, *(entry(b"x" * 850) for _ in range(5)))
        assert writer.targets["a"].bytes > 700_000


def test_a_disk_that_is_nearly_full_lets_nothing_grow(tmp_path: Path) -> None:
    with Opened(tmp_path, limits=StoreLimits(limit_bytes=64 << 20, keep_free=1.0)) as writer:
        assert not writer.budget.tight
        with pytest.raises(QueueFullError, match="and the disk has no room to grow"):
            accept(writer, entry())
        assert writer.budget.tight


def test_an_error_that_comes_once_drops_nothing(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        for _ in range(3):
            inject(writer, once("INSERT", sqlite_error(sqlite3.SQLITE_FULL)))
            accept(writer, entry())
        assert kept(writer) == [(5, 1), (5, 2), (5, 3)]
        assert not writer.budget.tight


def test_an_error_that_comes_again_makes_room(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry(b"x" * 850) for _ in range(100)))
        fails = iter([sqlite_error(sqlite3.SQLITE_FULL)] * 2)
        inject(writer, lambda sql: next(fails, None) if sql.startswith("INSERT") else None)
        accept(writer, entry())
        assert writer.budget.tight
        assert writer.targets["a"].overflow > 0
        assert writer.targets["a"].queued + writer.targets["a"].overflow == 101


def test_a_drained_file_shrinks(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, *(entry(b"x" * 3000) for _ in range(2000)))
        do(writer, Change(done=messages))
        writer.budget._looked_s = 0.0
        before = writer.db.execute("PRAGMA page_count").fetchone()[0]
        accept(writer, entry())
        assert writer.db.execute("PRAGMA page_count").fetchone()[0] == before - 256
    assert (tmp_path / "queue.db").stat().st_size < before * schema.PAGE_SIZE // 2


def test_the_limit_has_a_default(tmp_path: Path) -> None:
    with Opened(tmp_path, limits=StoreLimits(keep_free=0.0)) as writer:
        assert 1 << 20 <= writer.budget.limit_bytes <= budget.DEFAULT_BYTES


def test_evicting_forgets_the_latest(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(4 * SIZE, when_full=Overflow.KEEP_LATEST)}) as writer:
        for number in range(20):
            accept(writer, entry(b"x" * 850, topic=f"t{number}"))
        count = work(writer, lambda w: w.db.execute("SELECT count(*) FROM latest").fetchone()[0])
        assert count == writer.targets["a"].queued == len(kept(writer))
