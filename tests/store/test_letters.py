"""Dead letters go back as if they had just been accepted, or away; and the books say so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from edge_runtime.app import Overflow, QueueLimits
from edge_runtime.clock import FakeClock
from edge_runtime.errors import NotFoundError
from edge_runtime.model import Feed, Message
from edge_runtime.store import letters, schema
from edge_runtime.store.expiry import sweep
from edge_runtime.store.jobs import Change
from edge_runtime.store.writer import Writer
from tests.store.kit import Opened, accept, do, entry, event, read_lane, rows, seqs, work
from tests.store.test_expiry import move


def replay(writer: Writer, numbers: Sequence[int] | None = None) -> list[Message]:
    return cast("list[Message]", work(writer, lambda w: letters.replay(w, "a", numbers)))


def purge(writer: Writer, *, dead: bool) -> int:
    return cast("int", work(writer, lambda w: letters.purge(w, "a", dead=dead)))


def bury(writer: Writer, *messages: Message) -> None:
    do(writer, Change(dead=[(message._replace(tries=4), "broken") for message in messages]))


def counted(writer: Writer) -> int:
    return sum(schema.size_of(row) for row in rows(writer.db, 1).values())


def test_a_letter_goes_back_to_its_lane(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, (event(b"1", "t", {"k": "v"}), [Feed("a", 2)]), entry(b"2"), entry(b"3"))
        bury(writer, *messages[:2])
        assert replay(writer) == messages[:2]
        assert (read_lane(writer, "a", 2), read_lane(writer)) == (messages[:1], messages[1:])
        counters = writer.targets["a"]
        assert (counters.dead, counters.queued, counters.bytes) == (0, 3, counted(writer))
        assert replay(writer) == []


def test_only_those_asked_for(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        bury(writer, *accept(writer, *(entry() for _ in range(5))))
        assert seqs(replay(writer, [4, 2, 4])) == [2, 4]
        assert writer.targets["a"].dead == 3
        with pytest.raises(NotFoundError, match="queue 'a' has no dead letter 2") as caught:
            replay(writer, [1, 2, 3])
        assert caught.value.hint == "edge queue ls a --dead"
        assert (writer.targets["a"].dead, sorted(rows(writer.db, 1))[:2]) == (3, [(5, 2), (5, 4)])


@pytest.mark.parametrize("run", [lambda w: letters.replay(w, "b", None), lambda w: letters.purge(w, "b", dead=True)])
def test_there_must_be_such_a_queue(tmp_path: Path, run: object) -> None:
    with Opened(tmp_path) as writer, pytest.raises(NotFoundError, match="there is no queue named 'b'"):
        work(writer, run)  # type: ignore[arg-type]  # a lambda of the table above


def test_a_damaged_letter_stays(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        bury(writer, *accept(writer, entry(), entry()))
        writer.db.execute("UPDATE message SET topic = 'z' WHERE id & 3 = 1")
        assert seqs(replay(writer)) == [2]
        assert (writer.targets["a"].dead, sorted(rows(writer.db, 1))) == (1, [(5, 2), (15, 1)])


def test_not_all_at_once(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        bury(writer, *accept(writer, *(entry(b"x" * 6_000_000) for _ in range(4))))
        assert seqs(replay(writer)) == [1, 2, 3]
        assert seqs(replay(writer)) == [4]


def test_a_letter_lives_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, {"a": QueueLimits(ttl_s=10)}, clock=clock) as writer:
        bury(writer, *accept(writer, entry()))
        move(clock, 500)
        (message,) = replay(writer)
        assert (message.age_ns, message.tries) == (500 * 10**9, 0)
        assert work(writer, sweep) == 10.0


def test_a_letter_below_the_floor_is_spared(tmp_path: Path) -> None:
    """Older messages of its lane were dropped: this one was not."""
    with Opened(tmp_path) as writer:
        messages = accept(writer, entry(), entry(), entry())
        bury(writer, messages[0])
        purge(writer, dead=False)
        counters = writer.targets["a"]
        assert (counters.floors[5], counters.spared) == (3, set())
        replay(writer)
        assert counters.spared == {(5, 1)}
        purge(writer, dead=False)
        assert counters.spared == set()


def test_a_letter_that_was_superseded_goes(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(when_full=Overflow.KEEP_LATEST)}) as writer:
        bury(writer, *accept(writer, entry(topic="x"), entry(topic="y")))
        accept(writer, entry(topic="x"))
        assert seqs(replay(writer)) == [2]
        counters = writer.targets["a"]
        assert (counters.superseded, counters.queued, counters.dead) == (1, 2, 0)
        accept(writer, entry(topic="y"))
        assert sorted(rows(writer.db, 1)) == [(5, 3), (5, 4)]
        assert (counters.superseded, counters.bytes) == (2, counted(writer))


def test_a_purge_counts_what_it_drops(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(), "b": QueueLimits()}) as writer:
        messages = accept(writer, *(entry(b"x", "a", "b", priority=p) for p in (0, 5, 9, 5)))
        bury(writer, messages[0])
        assert purge(writer, dead=False) == 3
        counters = writer.targets["a"]
        assert (counters.purged, counters.queued, counters.dead, counters.bytes) == (3, 0, 1, counted(writer))
        assert purge(writer, dead=True) == 1
        assert (counters.purged, counters.queued, counters.dead, counters.bytes) == (4, 0, 0, 0)
        assert purge(writer, dead=True) == 0
        assert writer.db.execute("SELECT purged FROM target").fetchall() == [(4,), (0,)]
        assert writer.targets["b"].queued == 4


def test_a_queue_that_is_nearly_right_is_named(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer, pytest.raises(NotFoundError) as caught:
        letters.purge(writer, "aa", dead=True)
    assert str(caught.value) == "there is no queue named 'aa'; did you mean 'a'?"
    assert caught.value.hint == "known: a"
