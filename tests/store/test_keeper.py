"""What is known of the database: books that survive a crash, damage that is found, and running time that adds up."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from edge_runtime.app import Overflow, QueueLimits
from edge_runtime.clock import FakeClock
from edge_runtime.errors import HostError, StoreError
from edge_runtime.model import Feed
from edge_runtime.store import connection, schema
from edge_runtime.store.connection import KeptLog
from edge_runtime.store.jobs import Change, Work
from tests.store.kit import (
    A,
    Opened,
    accept,
    do,
    entry,
    event,
    inject,
    once,
    open_writer,
    read_lane,
    rows,
    seqs,
    sqlite_error,
    work,
)

PAGE = schema.PAGE_SIZE


def crash(folder: Path, to: Path) -> Path:
    """Copy a state folder as a killed process leaves it: without the shared memory."""
    to.mkdir()
    for path in folder.iterdir():
        if path.name not in {"lock", "queue.db-shm"}:
            shutil.copy(path, to)
    return to


def alter(path: Path, statement: str, *parameters: object) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(statement, parameters)
    db.close()


def test_a_new_store_has_its_queues(tmp_path: Path) -> None:
    with Opened(
        tmp_path / "state", {"": QueueLimits(ttl_s=5), "a": QueueLimits(ttl_s=7), "b": QueueLimits()}
    ) as writer:
        assert [(c.id, c.name, c.limits.ttl_s) for c in writer.targets.values()] == [(1, "a", 7), (2, "b", 0)]
        assert writer.add_target("c").limits.ttl_s == 5
        assert writer.add_target("a") is writer.targets["a"]


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with Opened(tmp_path), pytest.raises(HostError, match="another process has the state folder"):
        open_writer(tmp_path)
    with Opened(tmp_path):
        pass


def test_a_failed_opening_lets_go_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "queue.db").mkdir()
    with pytest.raises(StoreError, match=r"queue\.db cannot be opened") as caught:
        open_writer(tmp_path)
    assert caught.value.hint == "edge doctor"
    (tmp_path / "queue.db").rmdir()
    with Opened(tmp_path):
        pass


def test_a_crash_forgets_nothing_that_only_rows_tell(tmp_path: Path) -> None:
    """Commits that only accept do not write the ledger: it is told from the rows."""
    with Opened(tmp_path / "1") as writer:
        accept(writer, *(entry(b"x" * n) for n in range(100)))
        accept(writer, entry(priority=0), entry(priority=9))
        assert writer.db.execute("SELECT produced FROM target").fetchone() == (0,)
        before = writer.targets["a"].values()
        folder = crash(tmp_path / "1", tmp_path / "2")
    with Opened(folder) as writer:
        assert writer.targets["a"].values() == before
        assert accept(writer, entry())[0].seq == 103


def test_the_ledger_is_written_before_the_rows_are_too_many(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry() for _ in range(300)))
        assert writer.db.execute("SELECT produced FROM target").fetchone() == (300,)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the kernel does not count what a process reads")
def test_no_start_reads_all_rows(tmp_path: Path) -> None:
    """Counted in bytes that are read, not in time."""

    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])

    def to_open(folder: Path, number: int) -> int:
        with Opened(folder) as writer:
            for _ in range(0, number, 10_000):
                accept(writer, *(entry() for _ in range(min(number, 10_000))))
        before = bytes_read()
        with Opened(folder) as writer:
            assert len(writer.page("a", 5, writer.heads()["a"][5] - 1, 10).messages) == 10
            return bytes_read() - before

    few, many = to_open(tmp_path / "few", 10), to_open(tmp_path / "many", 100_000)
    assert (tmp_path / "many" / "queue.db").stat().st_size > 10_000_000
    assert many < few + 20 * PAGE


def test_a_ledger_with_a_flipped_bit_is_made_anew_from_the_rows(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, *(entry() for _ in range(50)))
        do(writer, Change(done=messages[:10], dead=[(messages[10], "no")]))
    alter(tmp_path / "queue.db", "UPDATE target SET produced = 18, expired = 7")
    with Opened(tmp_path) as writer:
        counters = writer.targets["a"]
        assert (counters.produced, counters.delivered, counters.expired, counters.dead, counters.queued) == (
            50,
            10,
            0,
            1,
            39,
        )
        assert "the ledger of queue 'a' was damaged and was made anew" in writer.notes[0]
    with Opened(tmp_path) as writer:
        assert writer.notes == []


def test_a_queue_whose_name_was_damaged_has_it_back(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry() for _ in range(5)))
    alter(tmp_path / "queue.db", "UPDATE target SET name = 'e'")
    with Opened(tmp_path) as writer:
        assert list(writer.targets) == ["a"]
        assert writer.targets["a"].queued == 5


def test_a_queue_that_is_not_in_the_table_any_more_comes_back(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, *(entry() for _ in range(5)))
        do(writer, Change(done=messages[:2]))
    alter(tmp_path / "queue.db", "DELETE FROM target")
    with Opened(tmp_path) as writer:
        counters = writer.targets["a"]
        assert (counters.id, counters.produced, counters.delivered, counters.queued) == (1, 5, 2, 3)


def test_rows_that_vanished_are_counted(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        do(writer, Change(retried=accept(writer, *(entry() for _ in range(300)))))
    alter(tmp_path / "queue.db", "DELETE FROM message")
    with Opened(tmp_path) as writer:
        assert (writer.targets["a"].corrupted, writer.targets["a"].queued) == (300, 0)
        assert "300 are missing, 0 wait" in writer.notes[0]


def test_rows_that_came_back_are_counted(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, *(entry() for _ in range(5)))
        row = rows(writer.db, 1)[5, 2]
        do(writer, Change(done=messages))
        writer.db.execute(f"{schema.INSERT}(?, ?, ?, ?, ?)", row)
    with Opened(tmp_path) as writer:
        assert (writer.targets["a"].delivered, writer.targets["a"].queued) == (4, 1)


def test_a_log_whose_end_was_cut_is_noticed_and_its_numbers_are_not_used_again(tmp_path: Path) -> None:
    """A flipped bit in the log makes SQLite open an older state without a word."""
    with Opened(tmp_path / "1") as writer:
        accept(writer, *(entry() for _ in range(3)))
        cut = (tmp_path / "1" / "queue.db-wal").stat().st_size
        accept(writer, *(entry() for _ in range(4)))
        folder = crash(tmp_path / "1", tmp_path / "2")
    with (folder / "queue.db-wal").open("r+b") as log:
        log.seek(cut + 24)
        log.write(b"\xff" * PAGE)
    with Opened(folder) as writer:
        counters = writer.targets["a"]
        assert (counters.produced, counters.corrupted, counters.queued) == (7, 4, 3)
        assert "lost its last commits: of messages 4 to 7 of queue 'a', 4 are missing" in writer.notes[0]
        assert accept(writer, entry())[0].seq == 8
    assert len(list(folder.glob("queue.db-wal.corrupt-*"))) == 1
    assert not (folder / "queue.db-wal.kept").exists()


def test_what_is_intact_behind_the_cut_is_put_back(tmp_path: Path) -> None:
    with Opened(tmp_path / "1") as writer:
        writer.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(200):
            accept(writer, entry(f"payload {number}".encode() * 10))
        folder = crash(tmp_path / "1", tmp_path / "2")
    with (folder / "queue.db-wal").open("r+b") as log:
        log.seek(3 * 4120 + 500)
        log.write(b"\xff")
    with Opened(folder) as writer:
        counters = writer.targets["a"]
        found = read_lane(writer)
        assert [m.event.payload for m in found] == [f"payload {number}".encode() * 10 for number in range(200)]
        assert (counters.corrupted, counters.queued) == (0, 200)
        assert "0 are missing" in writer.notes[0]


def test_a_log_that_was_only_read_wrongly_is_read_again(tmp_path: Path) -> None:
    """Opened while its log could not be read, SQLite would have deleted it when closing."""
    with Opened(tmp_path / "1") as writer:
        accept(writer, *(entry() for _ in range(3)))
        folder = crash(tmp_path / "1", tmp_path / "2")
    log = folder / "queue.db-wal"
    right = log.read_bytes()
    log.write_bytes(b"\xa5" * len(right))
    kept = KeptLog(folder / "queue.db")
    assert kept.keep()
    sqlite3.connect(folder / "queue.db").execute("PRAGMA user_version").connection.close()
    assert not log.exists()
    kept.restore()
    assert log.read_bytes() == b"\xa5" * len(right)
    log.write_bytes(right)
    with Opened(folder) as writer:
        assert seqs(read_lane(writer)) == [1, 2, 3]
        assert writer.notes == []


def test_a_log_that_an_earlier_process_had_kept_is_put_back(tmp_path: Path) -> None:
    with Opened(tmp_path / "1") as writer:
        accept(writer, *(entry() for _ in range(3)))
        folder = crash(tmp_path / "1", tmp_path / "2")
    (folder / "queue.db-wal").rename(folder / "queue.db-wal.kept")
    with Opened(folder) as writer:
        assert seqs(read_lane(writer)) == [1, 2, 3]
        assert (writer.notes, (folder / "queue.db-wal.kept").exists()) == ([], False)


def test_text_that_is_none_is_damage_and_hides_nobody(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, entry(), entry(), entry())
    alter(tmp_path / "queue.db", "UPDATE message SET topic = CAST(x'ff' AS TEXT) WHERE id & 3 = 2")
    with Opened(tmp_path) as writer:
        assert seqs(read_lane(writer)) == [1, 3]
        assert writer.targets["a"].dead == 1


def test_a_spurious_error_of_corruption_costs_nothing(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry() for _ in range(3)))
        inject(writer, once("BEGIN", sqlite_error(sqlite3.SQLITE_CORRUPT, "database disk image is malformed")))
        assert seqs(accept(writer, entry())) == [4]
        assert seqs(read_lane(writer)) == [1, 2, 3, 4]
        assert (writer.notes, writer.resets) == ([], 0)
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_a_spurious_error_of_corruption_while_reading_costs_nothing(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry() for _ in range(3)))
        inject(writer, once("SELECT * FROM message", sqlite_error(sqlite3.SQLITE_NOTADB)))
        assert seqs(read_lane(writer)) == [1, 2, 3]
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_damage_found_while_running_is_salvaged_and_numbers_go_on(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry(f"payload {n}".encode() * 20) for n in range(200)))
        writer.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with (tmp_path / "queue.db").open("r+b") as file:
            file.seek((tmp_path / "queue.db").read_bytes().index(b"payload 99") // PAGE * PAGE)
            file.write(b"\xa5" * PAGE)
        writer._disconnect()
        found = read_lane(writer)
        counters = writer.targets["a"]
        assert 150 < len(found) < 200
        assert counters.corrupted == 200 - len(found)
        assert counters.queued == len(found)
        assert writer.resets == 1
        assert accept(writer, entry())[0].seq == 201
    assert [p for p in tmp_path.glob("queue.db.corrupt-*") if p.stat().st_size > PAGE]


def test_a_damaged_row_is_a_dead_letter_and_never_delivered(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry(b"payload") for _ in range(3)))
    alter(tmp_path / "queue.db", "UPDATE message SET payload = CAST('pAyload' AS BLOB) WHERE id & 3 = 2")
    with Opened(tmp_path) as writer:
        assert seqs(read_lane(writer)) == [1, 3]
        assert (writer.targets["a"].dead, writer.targets["a"].queued) == (1, 2)
        assert list(rows(writer.db, 1)) == [(5, 1), (5, 3), (15, 2)]
        assert (
            "of queue 'a' is damaged: its checksum does not match; it was set aside as a dead letter" in writer.notes[0]
        )
    assert not list(tmp_path.glob("*.corrupt-*"))


def stray(path: Path, seq: int, flip: int) -> None:
    """Flip one bit of a row's id where it is, so that the rows of the page are out of order."""
    image = bytearray(path.read_bytes())
    at = image.index(f"stray {seq}!".encode())
    row_id = schema.pack_id(1, 5, seq)
    encoded = b"".join(bytes([(row_id >> shift & 0x7F) | 0x80]) for shift in range(49, -1, -7))
    encoded = encoded[:-1] + bytes([encoded[-1] & 0x7F])
    start = image.rindex(encoded, 0, at)
    image[start + flip // 8] ^= 1 << flip % 8
    path.write_bytes(image)


@pytest.mark.parametrize("flip", [0, 1, 2, 3, 9, 13, 14, 56, 59])
def test_a_row_that_strayed_does_not_hide_the_others(tmp_path: Path, flip: int) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, *(entry(f"stray {n}!".encode()) for n in range(1, 16)))
    stray(tmp_path / "queue.db", 8, flip)
    with Opened(tmp_path) as writer:
        found = read_lane(writer)
        if writer.resets:
            found = read_lane(writer)
        assert seqs(found) == [n for n in range(1, 16) if n != 8]
        counters = writer.targets["a"]
        assert counters.queued == 14
        assert counters.corrupted + counters.dead == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_commit_that_fails_is_told_from_one_that_did_not(tmp_path: Path, *, late: bool) -> None:
    """`late`: it was on the disk before it failed, and must not be done twice."""
    with Opened(tmp_path) as writer:
        messages = accept(writer, entry(), entry())
        inject(writer, once("COMMIT", sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)), late=late)
        assert seqs(do(writer, Change([entry()], done=messages[:1], memo={"k": "v"}))) == [3]
        counters = writer.targets["a"]
        assert (counters.produced, counters.delivered, counters.queued) == (3, 1, 2)
        assert sorted(rows(writer.db, 1)) == [(5, 2), (5, 3)]
        assert writer.memo("k") == "v"
        assert writer.resets == 0


@pytest.mark.parametrize("late", [False, True])
def test_a_commit_without_a_trace_in_the_books_is_repeated(tmp_path: Path, *, late: bool) -> None:
    with Opened(tmp_path) as writer:
        messages = accept(writer, entry())
        inject(writer, once("COMMIT", sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)), late=late)
        do(writer, Change(retried=[messages[0]._replace(tries=1)], memo={"k": "v"}))
        assert writer.memo("k") == "v"
        assert read_lane(writer)[0].tries == 1


def test_a_commit_found_too_late_is_handed_out_all_the_same(tmp_path: Path) -> None:
    """The disk fails until the call is given up; later the commit turns out to be there."""
    with Opened(tmp_path) as writer:
        accept(writer, entry())
        inject(writer, once("COMMIT", sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)), late=True)
        path = writer.path
        writer.path = tmp_path / "gone" / "queue.db"
        with pytest.raises(StoreError, match="nothing of this call was accepted"):
            accept(writer, entry())
        writer.path = path
        assert seqs(accept(writer, entry())) == [3]
        assert writer.resets == 1
        assert seqs(read_lane(writer)) == [1, 2, 3]
        assert writer.targets["a"].queued == 3


def test_a_disk_that_fails_for_good_is_an_error_and_nothing_is_accepted(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        accept(writer, entry())
        path = writer.path
        writer.path = tmp_path / "gone" / "queue.db"
        writer._disconnect()
        with pytest.raises(StoreError, match="nothing of this call was accepted") as caught:
            accept(writer, entry())
        assert caught.value.hint == "edge doctor"
        with pytest.raises(StoreError, match="is not open"):
            writer.db  # noqa: B018 - the property raises
        writer.path = path
        assert seqs(accept(writer, entry())) == [2]


def test_without_leisure_nothing_is_mended(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        inject(writer, once("COMMIT", sqlite_error(sqlite3.SQLITE_IOERR)))
        change = Change([entry()])
        assert not writer.process([change], at_leisure=False)
        assert (writer.targets["a"].produced, change.error) == (0, None)
        assert writer.process([change])
        assert seqs(change.accepted) == [1]
        writer._disconnect()
        assert not writer.process([Work(lambda w: w.memo("k"), writes=False)], at_leisure=False)


def move(clock: FakeClock, seconds: float) -> None:
    asyncio.run(clock.advance(seconds))


def test_running_time_adds_up_over_reboots(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, clock=clock) as writer:
        assert writer.age_ns() == 0
        move(clock, 100)
        accept(writer, entry())
        clock.jump(-(10**9))
        assert writer.age_ns() == 100 * 10**9
        move(clock, 50)
    clock.reboot("boot-2", off_s=86_400)
    move(clock, 4)
    with Opened(tmp_path, clock=clock) as writer:
        assert writer.age_ns() == 155 * 10**9, "150 s, and 5 s of the new boot"
    move(clock, 7)
    with Opened(tmp_path, clock=clock) as writer:
        assert writer.age_ns() == 162 * 10**9, "the machine ran on while the store was closed"


def test_a_crash_loses_seconds_of_running_time(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path / "1", clock=clock) as writer:
        accept(writer, entry())
        for _ in range(100):
            move(clock, 4)
            accept(writer, entry())
        folder = crash(tmp_path / "1", tmp_path / "2")
    clock.reboot("boot-2")
    with Opened(folder, clock=clock) as writer:
        assert 390 * 10**9 <= writer.age_ns() <= 401 * 10**9


def test_a_lost_note_of_the_running_time_is_made_up_from_the_messages(tmp_path: Path) -> None:
    clock = FakeClock()
    with Opened(tmp_path, clock=clock) as writer:
        move(clock, 1000)
        accept(writer, entry(), entry(priority=0))
    alter(tmp_path / "queue.db", "DELETE FROM memo WHERE key = 'age'")
    with Opened(tmp_path, clock=clock) as writer:
        assert writer.age_ns() == 1000 * 10**9


def test_memos_come_back(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        do(writer, Change(memo={"a": "1", "b": "2"}))
        do(writer, Change(memo={"a": "3"}))
        assert [writer.memo(key) for key in "abc"] == ["3", "2", None]
    with Opened(tmp_path) as writer:
        assert writer.memo("a") == "3"


def test_the_ballast_is_held_and_held_again(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        assert (tmp_path / "ballast").stat().st_size == connection.BALLAST_BYTES
        messages = accept(writer, entry(), entry())
        inject(writer, once("COMMIT", sqlite_error(sqlite3.SQLITE_FULL)))
        do(writer, Change(done=messages))
        assert writer.targets["a"].delivered == 2
        assert not (tmp_path / "ballast").exists()
        writer.budget._tight_until_s = writer.budget._looked_s = 0.0
        accept(writer, entry())
        assert (tmp_path / "ballast").exists()


def test_closing_twice_is_safe(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    accept(writer, entry())
    writer.close()
    writer.close()
    assert not (tmp_path / "queue.db-wal").exists()


def test_a_queue_for_everybody(tmp_path: Path) -> None:
    with Opened(tmp_path, {f"t{n}": QueueLimits() for n in range(60)}) as writer:
        accept(writer, (event(), [Feed(f"t{n}", n % 10) for n in range(60)]))
        assert all(c.queued == 1 for c in writer.targets.values())
    assert A["a"].when_full is Overflow.DROP_OLDEST


def test_too_many_targets_are_refused(tmp_path: Path) -> None:
    with Opened(tmp_path) as writer:
        writer.by_id[4095] = writer.targets["a"]
        with pytest.raises(StoreError, match="'b' cannot have a queue"):
            work(writer, lambda w: w.add_target("b"))


def test_a_column_that_a_flipped_bit_made_null_stops_nothing(tmp_path: Path) -> None:
    topic = "a topic of its own"
    with Opened(tmp_path / "state") as writer:
        accept(writer, entry(b"1", topic=topic), entry(b"2"), entry(b"3"))
        writer.checkpoint()
        path = crash(tmp_path / "state", tmp_path / "crashed") / "queue.db"
    path.with_name("queue.db-wal").unlink()
    data = bytearray(path.read_bytes())
    place = data.index(topic.encode())
    kind = data.rindex(bytes([2 * len(topic) + 13]), 0, place)  # the type of the topic in the head of the record
    data[kind] = 0
    path.write_bytes(data)
    with Opened(tmp_path / "crashed") as writer:
        assert writer.targets["a"].produced == 3
        assert sorted(seqs(read_lane(writer))) == [2, 3]
