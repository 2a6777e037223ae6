"""What the tools see from outside, while a host runs and when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import QueueLimits
from edge_runtime.errors import HostError, NotFoundError, StoreError
from edge_runtime.model import Feed, Stamp
from edge_runtime.pure.timeline import Timeline
from edge_runtime.store import inspect, schema
from edge_runtime.store.jobs import Change
from edge_runtime.store.writer import Writer
from tests.store.kit import Opened, accept, do, entry, event, rows

QUEUES = {"a": QueueLimits(), "b": QueueLimits()}


def fill(writer: Writer) -> None:
    """12 for `a`: 3 delivered, 2 dead, 1 of them purged later; 1 for `b`."""
    messages = accept(writer, *(entry(f"{n}".encode(), topic=f"t/{n}", priority=n % 3) for n in range(1, 13)))
    accept(writer, entry(b"b", "b"))
    do(writer, Change(done=messages[:3]))
    do(writer, Change(dead=[(messages[3]._replace(tries=2), "first"), (messages[11], "second")]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def test_the_ledger_of_a_running_store(path: Path) -> None:
    with Opened(path.parent, QUEUES) as writer:
        fill(writer)
        accept(writer, entry())
        a, b = inspect.ledger(path)
        size = sum(schema.size_of(row) for row in rows(writer.db, 1).values())
        assert (a.target, a.produced, a.delivered, a.queued, a.expired, a.dropped, a.dead) == ("a", 13, 3, 8, 0, 0, 2)
        assert (a.reasons, a.bytes, a.missing, a.balanced) == ({}, size, 0, True)
        assert (b.target, b.produced, b.queued, b.balanced) == ("b", 1, 1, True)
        assert writer.db.execute("SELECT produced FROM target WHERE id = 1").fetchone() == (12,), "told from the rows"


def test_a_survey_tells_how_queues_stand_without_counting(path: Path) -> None:
    with Opened(path.parent, QUEUES) as writer:
        fill(writer)
        do(writer, Change(memo={"k": "v", "torn": "v"}))
        writer.db.execute("UPDATE memo SET value = 'w' WHERE key = 'torn'")
        accept(writer, entry())
        found = inspect.survey(path, ["k", "torn", "none"])
        books = {one.target: (one.queued, one.bytes) for one in found.queues}
        assert books == {one.target: (one.queued, one.bytes) for one in inspect.ledger(path)}
        assert found.memos == {"k": "v"}
        pages = writer.db.execute("PRAGMA page_count").fetchone()[0]
        assert found.used_bytes + found.free_bytes == pages * schema.PAGE_SIZE
        assert found.used_bytes == writer.budget.used_bytes()


def test_a_survey_of_nothing(path: Path) -> None:
    with pytest.raises(NotFoundError):
        inspect.survey(path, [])


def test_the_ledger_does_not_believe_itself(path: Path) -> None:
    with Opened(path.parent) as writer:
        accept(writer, *(entry() for _ in range(300)))
        writer.db.execute("DELETE FROM message WHERE id & 127 = 100")
        (row,) = inspect.ledger(path)
        assert (row.produced, row.queued, row.missing, row.balanced) == (300, 298, 2, False)


def test_the_ledger_of_a_store_at_rest(path: Path) -> None:
    with Opened(path.parent, QUEUES) as writer:
        fill(writer)
    assert inspect.purge(path, "a", dead=False) == 7
    a, b = inspect.ledger(path)
    assert (a.queued, a.dropped, a.reasons, a.dead, a.balanced) == (0, 7, {"purged": 7}, 2, True)
    assert b.queued == 1


def test_messages_come_in_order_by_the_page(path: Path) -> None:
    with Opened(path.parent, QUEUES) as writer:
        fill(writer)
        assert [m["seq"] for m in inspect.messages(path, "a")] == [5, 6, 7, 8, 9, 10, 11]
        assert [m["seq"] for m in inspect.messages(path, "a", after=6, limit=3)] == [7, 8, 9]
        assert list(inspect.messages(path, "a", limit=0)) == []
        accept(writer, *(entry(b"x", "b") for _ in range(600)))
        assert [m["seq"] for m in inspect.messages(path, "b", limit=590)] == list(range(1, 591))


def test_a_message_of_a_clock_that_was_set_later_has_its_right_time(path: Path) -> None:
    with Opened(path.parent, QUEUES) as writer:
        (message,) = accept(writer, entry(b"x", "a"))
        _, mono_ns, boot = message.event.time
        timeline = Timeline()
        timeline.begin(boot, 0)
        timeline.right(Stamp(4_000_000_000_123_456_789, mono_ns + 1_000_000_000, boot))
        do(writer, Change(memo={"clock": timeline.to_text()}))
        (shown,) = inspect.messages(path, "a")
        assert (shown["time"], shown["clock"]) == ("2096-10-02T07:06:39.123Z", "corrected")
        for unknown in ("[7]", "no JSON"):
            do(writer, Change(memo={"clock": unknown}))
            assert next(inspect.messages(path, "a"))["clock"] == "unsynced"


def test_a_message_says_all_of_itself(path: Path) -> None:
    with Opened(path.parent, QUEUES) as writer:
        (message,) = accept(writer, (event(b"\0\xff", "t/1", {"k": "v"}), [Feed("a", 3)]))
        expected: dict[str, object] = {
            "seq": 1, "topic": "t/1", "payload": b"\0\xff", "source": "test", "time": "2023-11-14T22:13:20.000Z",
            "clock": "unsynced", "id": message.event.id, "priority": 3, "tries": 0, "headers": {"k": "v"}, "reason": "",
        }  # fmt: skip
        assert list(inspect.messages(path, "a")) == [expected]
        do(writer, Change(dead=[(message._replace(tries=2), "it hurts")]))
        assert list(inspect.messages(path, "a")) == []
        assert list(inspect.messages(path, "a", dead=True)) == [{**expected, "tries": 2, "reason": "it hurts"}]
        writer.db.execute("UPDATE message SET topic = 'u'")
        (damaged,) = inspect.messages(path, "a", dead=True)
        assert (damaged["seq"], damaged["topic"], damaged["payload"]) == (1, "u", b"\0\xff")
        assert damaged["reason"] == "damaged: its checksum does not match"


def test_letters_are_replayed_while_no_host_runs(path: Path) -> None:
    with Opened(path.parent, QUEUES) as writer:
        fill(writer)
        with pytest.raises(HostError, match="another process has the state folder"):
            inspect.replay(path, "a", None)
    assert inspect.replay(path, "a", [12]) == 1
    assert inspect.replay(path, "a", None) == 1
    assert inspect.replay(path, "a", None) == 0
    assert [m["seq"] for m in inspect.messages(path, "a")] == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    with pytest.raises(NotFoundError, match="no dead letter 5"):
        inspect.replay(path, "a", [5])
    assert inspect.ledger(path)[0].balanced


def test_what_is_not_there_is_a_clear_error(path: Path) -> None:
    for call in (inspect.ledger, lambda p: list(inspect.messages(p, "a")), lambda p: inspect.purge(p, "a", dead=True)):
        with pytest.raises(NotFoundError, match="there is no database") as caught:
            call(path)
        assert "edge run" in caught.value.hint
    assert not path.exists()
    with Opened(path.parent, QUEUES):
        pass
    with pytest.raises(NotFoundError, match="there is no queue named 'aa'; did you mean 'a'"):
        list(inspect.messages(path, "aa"))
    with pytest.raises(NotFoundError, match="there is no queue named 'aa'"):
        inspect.purge(path, "aa", dead=False)


def test_what_is_no_database_is_a_clear_error(path: Path) -> None:
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(StoreError, match=r"queue\.db cannot be read: file is not a database") as caught:
        inspect.ledger(path)
    assert caught.value.hint == "edge doctor"


def test_looking_changes_nothing(path: Path) -> None:
    with Opened(path.parent, QUEUES) as writer:
        fill(writer)
    before = path.read_bytes()
    inspect.ledger(path)
    list(inspect.messages(path, "a"))
    assert path.read_bytes() == before
