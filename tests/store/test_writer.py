"""A batch is one transaction: all of a change or nothing, and one faulty job takes nobody with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import Overflow, QueueLimits
from edge_runtime.errors import NotFoundError, QueueFullError, StoreError
from edge_runtime.model import Event, Feed, Message, Reason, Stamp
from edge_runtime.store import schema
from edge_runtime.store.jobs import Change, Job, Work
from edge_runtime.store.writer import Writer
from tests.store.kit import Opened, accept, do, entry, event, read_lane, rows, seqs, work

LATEST = {"a": QueueLimits(when_full=Overflow.KEEP_LATEST)}


def test_numbers_are_gapless_per_target_and_rows_are_what_was_given(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(), "b": QueueLimits()}) as writer:
        first = event(b"1", "t/1", {"k": "v"})
        messages = accept(writer, (first, [Feed("a", 3), Feed("b")]), entry(b"2", "b"), entry(b"3"))
        assert [(m.target, m.priority, m.seq) for m in messages] == [("a", 3, 1), ("b", 5, 1), ("b", 5, 2), ("a", 5, 2)]
        assert messages[0].event is first
        assert read_lane(writer, "a", 3) == messages[:1]
        assert read_lane(writer, "b") == messages[1:3]


def test_many_rows_of_every_count_are_written(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        total = 0
        for count in (1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 85, 200):
            accept(writer, *(entry() for _ in range(count)))
            total += count
        assert seqs(read_lane(writer)) == list(range(1, total + 1))
        assert writer.targets["a"].bytes == sum(schema.size_of(row) for row in rows(writer.db, 1).values())


def test_what_is_done_goes_and_is_counted_once(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, *(entry() for _ in range(6)))
        do(writer, Change(done=[messages[4], messages[0], messages[1], messages[0]]))
        do(writer, Change(done=messages[:2]))
        assert seqs(read_lane(writer)) == [3, 4, 6]
        counters = writer.targets["a"]
        assert (counters.delivered, counters.queued) == (3, 3)
        assert counters.bytes == sum(schema.size_of(row) for row in rows(writer.db, 1).values())


def test_a_dead_letter_keeps_its_number_and_says_why(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, (event(b"x", "t", {"k": "v"}), [Feed("a", 2)]))
        do(writer, Change(dead=[(messages[0]._replace(tries=3), "it hurts"), (messages[0], "twice")]))
        (letter,) = read_lane(writer, "a", schema.DEAD)
        assert (letter.seq, letter.priority, letter.tries) == (1, 2, 3)
        assert letter.event.headers == {"k": "v", "edge-priority": "2", "edge-reason": "it hurts"}
        counters = writer.targets["a"]
        assert (counters.dead, counters.queued, counters.delivered) == (1, 0, 0)
        assert counters.bytes == sum(schema.size_of(row) for row in rows(writer.db, 1).values())


def test_what_was_settled_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, entry())
        do(writer, Change(done=messages))
        do(writer, Change(dead=[(messages[0], "late")], retried=[messages[0]._replace(tries=1)]))
        assert (writer.targets["a"].dead, writer.targets["a"].delivered) == (0, 1)
        assert rows(writer.db, 1) == {}


@pytest.mark.parametrize("tries", [1, 9, 10, 12345])
def test_tries_are_written_down(tmp_path: Path, tries: int) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, entry())
        do(writer, Change(retried=[messages[0]._replace(tries=tries)]))
        assert read_lane(writer) == [messages[0]._replace(tries=tries)]
        assert writer.targets["a"].bytes == schema.size_of(rows(writer.db, 1)[5, 1])


def test_a_change_is_all_or_nothing(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(), "b": QueueLimits(2000, when_full=Overflow.REJECT_NEW)}) as writer:
        messages = accept(writer, entry(b"x" * 1200, "a", "b"))
        other = Change([entry()])
        refused = Change([entry(b"y" * 1200, "a", "b")], done=messages, memo={"k": "v"}, dead=[(messages[0], "no")])
        writer.process([refused, other])
        assert isinstance(refused.error, QueueFullError)
        assert refused.accepted == []
        assert other.error is None
        assert seqs(read_lane(writer)) == [1, 2]
        assert writer.memo("k") is None
        assert (writer.targets["a"].produced, writer.targets["a"].delivered, writer.targets["a"].rejected) == (2, 0, 1)
        assert (writer.targets["b"].produced, writer.targets["b"].rejected) == (1, 1)


def test_a_faulty_job_takes_nobody_with_it(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        good = [Change([entry()]), Change([entry()])]
        unknown = Change([entry(b"x", "a", "nobody")])
        unreadable = Change([(Event("t\ud800", b"", "s", Stamp(1, 1, "b"), "id"), [Feed("a")])])
        broken = Work(lambda _: 1 / 0, writes=True)
        jobs: list[Job] = [good[0], unknown, unreadable, broken, good[1]]
        writer.process(jobs)
        assert [str(job.error).split(":")[0] if job.error else "" for job in jobs] == [
            "", "this cannot be stored", "this cannot be stored", "this cannot be stored", "",
        ]  # fmt: skip
        assert "KeyError: 'nobody'" in str(unknown.error)
        assert "ZeroDivisionError" in str(broken.error)
        assert seqs(read_lane(writer)) == [1, 2]
        assert writer.targets["a"].produced == 2


def test_a_wrong_statement_is_the_fault_of_its_job_and_not_of_the_database(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, entry())
        wrong = Work(lambda w: w.db.execute("SELECT 1 FROM nowhere"), writes=True)
        jobs: list[Job] = [Change([entry()]), wrong, Change([entry()])]
        writer.process(jobs)
        assert [job.error is None for job in jobs] == [True, False, True]
        assert "no such table: nowhere" in str(wrong.error)
        assert seqs(read_lane(writer)) == [1, 2, 3]
        assert writer.notes == []
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_work_runs_after_the_changes_of_its_batch(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        look = Work(lambda w: seqs(w.page("a", 5, 0, 10).messages), writes=False)
        missing = Work(lambda _: (_ for _ in ()).throw(NotFoundError("no")), writes=True)
        writer.process([look, missing, Change([entry(), entry()])])
        assert look.result == [1, 2]
        assert isinstance(missing.error, NotFoundError)
        with pytest.raises(StoreError, match="unheard of"):
            work(writer, lambda _: (_ for _ in ()).throw(StoreError("unheard of")))


def test_the_latest_of_each_topic_stays(tmp_path: Path) -> None:
    with Opened(tmp_path, LATEST) as writer:
        accept(writer, entry(b"1", topic="x"), entry(b"2", topic="y"), entry(b"3", topic="x"))
        accept(writer, entry(b"4", topic="x", priority=1))
        assert {key: row[2] for key, row in rows(writer.db, 1).items()} == {(5, 2): b"2", (1, 4): b"4"}
        assert writer.targets["a"].reasons == {"superseded": 2}
        assert writer.targets["a"].queued == 2


def test_a_superseding_survives_a_crash(tmp_path: Path) -> None:
    """The drop is in the ledger by the same commit."""
    with Opened(tmp_path, LATEST) as writer:
        accept(writer, entry(b"1"))
        accept(writer, entry(b"2"))
        assert writer.db.execute("SELECT produced, superseded FROM target").fetchone() == (2, 1)


def test_topics_that_are_delivered_leave_no_trace(tmp_path: Path) -> None:
    with Opened(tmp_path, LATEST) as writer:
        for number in range(50):
            messages = accept(writer, entry(topic=f"t{number}"), entry(topic=f"u{number}"))
            do(writer, Change(done=messages[:1], dead=[(messages[1], "no")]))
        assert writer.db.execute("SELECT count(*) FROM latest").fetchone() == (0,)


def test_a_note_of_the_latest_that_is_wrong_deletes_nobody_else(tmp_path: Path) -> None:
    with Opened(tmp_path, LATEST) as writer:
        accept(writer, entry(topic="x"), entry(topic="y"))
        writer.db.execute("UPDATE latest SET message = ? WHERE key = '1:x'", (schema.pack_id(1, 5, 2),))
        accept(writer, entry(topic="x"))
        assert [row[1] for row in rows(writer.db, 1).values()] == ["x", "y", "x"]


def test_a_page_is_bounded_by_bytes(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry(b"x" * 300_000) for _ in range(8)))
        page = writer.page("a", 5, 0, 256)
        assert (seqs(page.messages), page.upto, page.more) == ([1, 2, 3, 4], 4, True)
        page = writer.page("a", 5, 4, 256)
        assert (seqs(page.messages), page.upto, page.more) == ([5, 6, 7, 8], 8, False)


def test_a_page_ends_where_its_lane_ends(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(), "b": QueueLimits()}) as writer:
        accept(writer, entry(priority=4), entry(), entry(priority=6), entry(b"x", "b"))
        assert [(seqs(p.messages), p.upto, p.more) for p in (writer.page("a", 5, 0, 1), writer.page("a", 5, 2, 1))] == [
            ([2], 3, False), ([], 3, False),
        ]  # fmt: skip


def test_heads_are_the_first_of_each_lane(tmp_path: Path) -> None:
    with Opened(tmp_path, {"a": QueueLimits(), "b": QueueLimits()}) as writer:
        messages = accept(writer, entry(), entry(), entry(priority=9))
        do(writer, Change(done=messages[:1]))
        assert writer.heads() == {"a": {5: 2, 9: 3}, "b": {}}


def test_a_drop_that_was_rolled_back_is_not_noted(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, entry(), entry())
        drop = Work(lambda w: w.cut(w.target("a"), 5, schema.pack_id(1, 5, 2)), writes=True)
        writer.process([drop, Work(lambda _: 1 / 0, writes=True)])
        assert writer.targets["a"].floors[5] == 2, "the faulty one was left out"
        failing = Work(_cut_and_fail, writes=True)
        writer.process([failing])
        assert isinstance(failing.error, StoreError)
        assert writer.targets["a"].floors[0] == 0


def _cut_and_fail(writer: Writer) -> None:
    writer.cut(writer.target("a"), 0, schema.pack_id(1, 0, 2))
    raise ValueError


def test_a_checkpoint_is_due_after_some_megabytes(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        due = [writer.checkpoint_due]
        for _ in range(5):
            accept(writer, entry(b"x" * 1_000_000))
        due.append(writer.checkpoint_due)
        before = (tmp_path / "queue.db").stat().st_size
        writer.checkpoint()
        due.append(writer.checkpoint_due)
        assert due == [False, True, False]
        assert (tmp_path / "queue.db").stat().st_size > before + 4_000_000


def test_every_drop_has_a_reason() -> None:
    assert {str(r) for r in Reason} == {"expired", "overflow", "superseded", "purged", "corrupted", "thinned"}
    assert Message(event(), "a", 5, 1).tries == 0
