"""The mark outside the database: torn writes leave the other one, and damage is never taken for a mark."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.store.highwater import HighWater, Mark

SLOT = 131072


def put(path: Path, at: int, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, data, at)
    os.close(fd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "highwater"


def test_a_new_file_has_no_mark(path: Path) -> None:
    water = HighWater(path)
    assert water.read() == {}
    assert water.names() == {}
    water.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_marks_come_back(path: Path) -> None:
    water = HighWater(path)
    water.write([(1, Mark(10, 4)), (2, Mark(7, 7))], 0.0)
    water.write([(1, Mark(11, 3))], 0.1)
    water.close()
    again = HighWater(path)
    assert again.read() == {1: Mark(11, 3), 2: Mark(7, 7)}
    again.close()


def test_a_commit_that_only_deletes_is_written_down_now_and_then(path: Path) -> None:
    water = HighWater(path)
    water.write([(1, Mark(100, 100))], 0.0)
    for left in range(99, 40, -1):
        water.write([(1, Mark(100, left))], 0.0)
    assert HighWater(path).read() == {1: Mark(100, 100)}
    for left in range(40, 30, -1):
        water.write([(1, Mark(100, left))], 0.0)
    assert HighWater(path).read() == {1: Mark(100, 36)}
    water.close()
    assert HighWater(path).read() == {1: Mark(100, 31)}


@pytest.mark.parametrize("torn", [0, 1])
def test_a_torn_slot_leaves_the_other(path: Path, torn: int) -> None:
    water = HighWater(path)
    water.write([(1, Mark(1, 1))], 0.0)  # number 1, into slot 1
    water.write([(1, Mark(2, 2))], 0.0)  # number 2, into slot 0
    put(path, torn * SLOT + 20, b"\xff")
    again = HighWater(path)
    assert again.read() == {1: Mark(2, 2) if torn == 1 else Mark(1, 1)}
    again.close()
    water.close()


def test_without_an_intact_slot_there_is_no_mark(path: Path) -> None:
    water = HighWater(path)
    water.write([(1, Mark(1, 1))], 0.0)
    put(path, 0, b"\0" * 40)
    put(path, SLOT, b"\0" * 40)
    assert HighWater(path).read() == {}
    water.close()


def test_names_are_kept_and_proved(path: Path) -> None:
    water = HighWater(path)
    water.remember({1: "uplink", 2: "device/pumpe-süd"})
    water.close()
    again = HighWater(path)
    assert again.names() == {1: "uplink", 2: "device/pumpe-süd"}
    again.remember({1: "uplink"})
    again.close()
    assert HighWater(path).names() == {1: "uplink"}
    put(path, 2 * SLOT + 14, b"\0")
    assert HighWater(path).names() == {}
    put(path, 2 * SLOT, b"none")
    assert HighWater(path).names() == {}
