"""The record: what the oracle of a loss test may rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.standin.record import Published, Record, read_record

ENTRY = Published("a/é", b"\x00\xff", (("id", "☃"), ("id", "2")), 1, False, True, 7, 2, "thing", 100, 200, 300)


def test_a_line_is_json_with_the_payload_in_base64() -> None:
    assert (
        ENTRY.line()
        == (
            '{"topic":"a/é","payload":"AP8=","user":[["id","☃"],["id","2"]],"qos":1,"retain":false,"dup":true,'
            '"packet_id":7,"connection":2,"client_id":"thing","arrived_ns":100,"acked_ns":200,"wall_ns":300}\n'
        ).encode()
    )


def test_a_batch_is_in_the_file_when_extend_returns(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    record = Record(path)
    record.extend([ENTRY, ENTRY._replace(packet_id=8)])
    assert read_record(path) == [ENTRY, ENTRY._replace(packet_id=8)]
    record.close()
    record.close()
    again = Record(path, keep=False)
    again.extend([ENTRY._replace(packet_id=9)])
    again.close()
    assert [entry.packet_id for entry in read_record(path)] == [7, 8, 9]
    assert (again.entries, again.count) == ([], 1)


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_bytes(ENTRY.line() + ENTRY.line()[:-5])
    assert read_record(path) == [ENTRY]


def test_entries_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ENTRY.topic = "b"  # type: ignore[misc]  # that is the test


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened: No such file or directory"):
        Record(tmp_path / "missing" / "record.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_reported_and_nothing_counts_as_recorded() -> None:
    record = Record(Path("/dev/full"))
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        record.extend([ENTRY])
    assert (record.count, record.entries) == (0, [])
    record.close()
