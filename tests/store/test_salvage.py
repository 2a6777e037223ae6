"""A damaged database is set aside, its intact rows go on, and a process that dies in between loses nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.app import Overflow, QueueLimits
from edge_runtime.model import Feed
from edge_runtime.store import downsample, salvage, schema
from edge_runtime.store.jobs import Change
from tests.store.kit import Opened, accept, do, entry, event, open_writer, read_lane, rows, work

PAGE = schema.PAGE_SIZE


def fill(folder: Path, count: int = 300) -> dict[tuple[int, int], schema.Row]:
    """Make a store of `count` messages for `a`, of which 20 are delivered and 5 are dead; return the rows of `a`."""
    with Opened(folder, {"other": QueueLimits(), "a": QueueLimits()}) as writer:
        messages = accept(writer, *(entry(f"payload {n}".encode() * 5) for n in range(count)))
        do(writer, Change(done=messages[:20], dead=[(m, "no") for m in messages[20:25]], memo={"k": "v"}))
        return rows(writer.db, writer.targets["a"].id)


def damage(path: Path, page: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(data)


def leaf_of(path: Path, text: bytes) -> int:
    """Return the first page that holds a text."""
    return path.read_bytes().index(text) // PAGE


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("queue.db.corrupt-*") if not path.name.endswith(("-wal", "-shm")))


def test_a_zeroed_header_costs_nothing(tmp_path: Path) -> None:
    before = fill(tmp_path)
    damaged = b"\0" * PAGE + (tmp_path / "queue.db").read_bytes()[PAGE:]
    (tmp_path / "queue.db").write_bytes(damaged)
    with Opened(tmp_path) as writer:
        counters = writer.targets["a"]
        assert rows(writer.db, counters.id) == before
        assert (counters.produced, counters.delivered, counters.dead, counters.queued) == (300, 20, 5, 275)
        assert counters.corrupted == 0
        assert writer.memo("k") == "v"
        (note,) = writer.notes
        assert note.startswith(f"the database was damaged; it was kept as {kept(tmp_path)[0].name}. 280 messages were ")
        assert note.endswith("carried over; none is missing")
    assert kept(tmp_path)[0].read_bytes() == damaged


def test_a_page_of_garbage_is_counted(tmp_path: Path) -> None:
    before = fill(tmp_path)
    path = tmp_path / "queue.db"
    damage(path, leaf_of(path, b"payload 150"), os.urandom(PAGE))
    with Opened(tmp_path) as writer:
        read_lane(writer)
        counters = writer.targets["a"]
        after = rows(writer.db, counters.id)
        lost = len(before) - len(after)
        assert 0 < lost < 40
        assert after == {key: before[key] for key in after}
        assert (counters.produced, counters.delivered, counters.corrupted, counters.queued) == (
            300,
            20,
            lost,
            275 - lost,
        )
        assert f"{lost} are missing ({lost} of queue 'a'), counted as dropped: corrupted" in writer.notes[0]
    assert len(kept(tmp_path)) == 1


def test_the_ledger_itself_is_lost_but_the_names_are_not(tmp_path: Path) -> None:
    """The page of table `target` is garbage: names and counts come from the file beside the database."""
    before = fill(tmp_path)
    path = tmp_path / "queue.db"
    damage(path, leaf_of(path, b"other"), b"\xa5" * PAGE)
    with Opened(tmp_path) as writer:
        counters = writer.targets["a"]
        assert rows(writer.db, counters.id) == before
        assert sorted(writer.targets) == ["a", "other"]
        assert (counters.produced, counters.delivered, counters.dead, counters.queued) == (300, 20, 5, 275)


def test_without_any_name_the_rows_are_kept_all_the_same(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "queue.db"
    damage(path, leaf_of(path, b"other"), b"\xa5" * PAGE)
    (tmp_path / "highwater").unlink()
    with Opened(tmp_path, {}) as writer:
        assert writer.targets["target-2"].queued == 275
        assert writer.targets["target-2"].dead == 5


def test_half_a_file_is_what_there_is(tmp_path: Path) -> None:
    before = fill(tmp_path)
    path = tmp_path / "queue.db"
    os.truncate(path, path.stat().st_size // 2)
    with Opened(tmp_path) as writer:
        counters = writer.targets["a"]
        after = rows(writer.db, counters.id)
        assert after == {key: before[key] for key in after}
        assert counters.corrupted == len(before) - len(after) > 0
        assert counters.produced == 300


def test_a_file_that_vanished_is_counted_from_the_mark(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "queue.db").unlink()
    with Opened(tmp_path) as writer:
        counters = writer.targets["a"]
        assert (counters.produced, counters.delivered, counters.corrupted, counters.queued) == (300, 20, 280, 0)
        assert accept(writer, entry())[0].seq == 301


def test_the_index_of_the_latest_is_made_anew(tmp_path: Path) -> None:
    bounds = {"a": QueueLimits(when_full=Overflow.KEEP_LATEST)}
    with Opened(tmp_path, bounds) as writer:
        accept(writer, entry(b"1", topic="x"), entry(b"2", topic="y"))
    damage(tmp_path / "queue.db", 0, b"\0" * PAGE)
    with Opened(tmp_path, bounds) as writer:
        accept(writer, entry(b"3", topic="x"))
        assert [row[2] for row in rows(writer.db, 1).values()] == [b"2", b"3"]
        assert writer.targets["a"].superseded == 1


def test_a_dead_letter_has_no_waiting_twin(tmp_path: Path) -> None:
    """A stale copy of a page may hold the row as it waited."""
    with Opened(tmp_path) as writer:
        messages = accept(writer, *(entry() for _ in range(40)))
        before = list(rows(writer.db, 1).values())
        do(writer, Change(dead=[(message, "no") for message in messages]))
        writer.db.executemany(f"{schema.INSERT}(?, ?, ?, ?, ?)", before)
    damage(tmp_path / "queue.db", 0, b"\0" * PAGE)
    with Opened(tmp_path) as writer:
        counters = writer.targets["a"]
        assert (counters.dead, counters.queued, counters.corrupted) == (40, 0, 0)
        assert {lane for lane, _ in rows(writer.db, 1)} == {schema.DEAD}


def interrupt(after: int, run: Callable[[], object]) -> bool:
    """Run, and die at the n-th change of a folder. Return whether it came to that."""

    class Died(BaseException):
        pass

    count = 0

    def watch(name: str, _: tuple[object, ...]) -> None:
        nonlocal count
        if armed and name in {"os.rename", "os.remove"}:
            count += 1
            if count > after:
                raise Died

    armed = True
    sys.addaudithook(watch)
    try:
        run()
    except Died:
        return True
    finally:
        armed = False
    return False


def test_a_process_that_dies_while_it_heals_loses_nothing(tmp_path: Path) -> None:
    for step in range(20):
        folder = tmp_path / str(step)
        before = fill(folder, 40)
        path = folder / "queue.db"
        path.with_name("queue.db-wal").write_bytes(b"left over")
        damage(path, 0, b"\0" * PAGE)
        damaged = path.read_bytes()
        died = interrupt(step, lambda: open_writer(folder).close())  # noqa: B023 - run at once
        with Opened(folder) as writer:
            assert rows(writer.db, writer.targets["a"].id) == before
            assert writer.targets["a"].corrupted == 0
        assert any(p.read_bytes() == damaged for p in kept(folder))
        assert not list(folder.glob("*.healed*"))
        if not died:
            break
    assert 5 <= step < 19, "leftovers are looked for, then the database, its log and its sound copy are renamed"


def test_an_incomplete_copy_is_made_again(tmp_path: Path) -> None:
    before = fill(tmp_path)
    (tmp_path / "queue.db.healed").write_bytes(b"half of it")
    with Opened(tmp_path) as writer:
        assert rows(writer.db, writer.targets["a"].id) == before
    assert not (tmp_path / "queue.db.healed").exists()


def test_damage_twice_in_a_second_keeps_both(tmp_path: Path) -> None:
    for _ in range(2):
        fill(tmp_path, 30)
        damage(tmp_path / "queue.db", 0, b"\0" * PAGE)
        with Opened(tmp_path):
            pass
    assert len(kept(tmp_path)) == 2


def test_rows_are_counted(tmp_path: Path) -> None:
    fill(tmp_path)
    with Opened(tmp_path) as writer:
        waiting, dead, size, last = salvage.count_rows(writer.db, writer.targets["a"].id)
        assert (waiting, dead, last) == (275, 5, 300)
        assert size == writer.targets["a"].bytes


def test_a_heal_while_running_keeps_the_books_exact(tmp_path: Path) -> None:
    """The ledger in memory is newer than any row of it on the disk."""
    with Opened(tmp_path) as writer:
        messages = accept(writer, *(entry() for _ in range(50)))
        do(writer, Change(done=messages[:10]))
        do(writer, Change([(event(), [Feed("a", 0)])]))
        before = rows(writer.db, 1)
        writer._heal()
        writer._reopen()
        assert rows(writer.db, 1) == before
        counters = writer.targets["a"]
        assert (counters.produced, counters.delivered, counters.corrupted, counters.queued) == (51, 10, 0, 41)
        assert writer.resets == 1
        assert accept(writer, entry())[0].seq == 52


def test_a_memo_that_is_damaged_is_not_carried_over(tmp_path: Path) -> None:
    fill(tmp_path, 30)
    with Opened(tmp_path) as writer:
        writer.db.execute("UPDATE memo SET value = 'w' WHERE key = 'k'")
        assert writer.memo("k") is None
        assert "the memo 'k' is damaged" in writer.notes[0]
    damage(tmp_path / "queue.db", 0, b"\0" * PAGE)
    with Opened(tmp_path) as writer:
        assert writer.memo("k") is None


@pytest.mark.parametrize("first", ["old", "new"])
def test_of_a_row_and_its_stale_copy_the_one_of_more_readings_is_kept(tmp_path: Path, first: str) -> None:
    """What was thinned has the id of its last reading, of which a page that was given back still has the row."""
    limits = {"a": QueueLimits(when_full=Overflow.DOWNSAMPLE)}
    path = tmp_path / "queue.db"
    with Opened(tmp_path, limits) as writer:
        accept(writer, *(entry(b'{"value": %d}' % n) for n in range(50)))
    old = path.read_bytes()
    with Opened(tmp_path, limits) as writer:
        assert work(writer, lambda w: downsample.step(w, w.targets["a"], 0))
        assert writer.targets["a"].queued == 1
    new = path.read_bytes()
    whole, other = (old, new) if first == "old" else (new, old)
    path.write_bytes(b"\0" * PAGE + whole[PAGE:] + other)
    with Opened(tmp_path, limits) as writer:
        found = rows(writer.db, 1)
        assert json.loads(found[5, 50][2])["thinned"]["count"] == 50
        counters = writer.targets["a"]
        assert (counters.produced, counters.queued, counters.corrupted) == (50, len(found), 0)


def test_a_salvaged_database_knows_what_was_thinned(tmp_path: Path) -> None:
    limits = {"a": QueueLimits(when_full=Overflow.DOWNSAMPLE)}
    with Opened(tmp_path, limits) as writer:
        accept(writer, *(entry(b'{"value": %d}' % n) for n in range(50)))
        assert work(writer, lambda w: downsample.step(w, w.targets["a"], 0))
        before = writer.targets["a"].values()
    damage(tmp_path / "queue.db", 0, bytes(PAGE))
    with Opened(tmp_path, limits) as writer:
        assert "none is missing" in writer.notes[0]
        assert writer.targets["a"].values() == before
        assert writer.targets["a"].thinned == 49
