"""Pictures in a bounded folder."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_runtime.devices.frames import Frames
from edge_runtime.errors import DeviceError

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_picture_is_saved_under_the_time_and_described(tmp_path: Path) -> None:
    frames = Frames(tmp_path / "a" / "b", 9, 1000, now=lambda: NOON)
    path = tmp_path / "a" / "b" / "20261123T120000.000000Z.jpg"
    told = frames.save("jpg", lambda part: part.write_bytes(b"picture"))
    assert told == {"path": str(path), "bytes": 7, "sha256": hashlib.sha256(b"picture").hexdigest()}
    assert path.read_bytes() == b"picture"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_newest_stay_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".mine.part").write_text("mine")
    moments = iter(NOON + timedelta(seconds=n) for n in range(9))
    frames = Frames(tmp_path, 3, 1000, now=lambda: next(moments))
    for _ in range(5):
        frames.save("jpg", lambda part: part.write_bytes(b"x"))
    assert sorted(p.name for p in tmp_path.glob("2026*")) == [f"20261123T12000{n}.000000Z.jpg" for n in (2, 3, 4)]
    frames.save("jpg", lambda part: part.write_bytes(b"x" * 999))
    assert sorted(p.name for p in tmp_path.glob("2026*")) == [f"20261123T12000{n}.000000Z.jpg" for n in (4, 5)]
    frames.save("jpg", lambda part: part.write_bytes(b"x" * 5000))  # too big alone, and yet the newest
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".mine.part",
        "20261123T120006.000000Z.jpg",
        "notes.txt",
    ]


def test_a_clock_that_stands_or_is_set_back_keeps_the_order(tmp_path: Path) -> None:
    moments = iter([NOON.replace(microsecond=999_999), NOON, NOON - timedelta(days=900)])
    frames = Frames(tmp_path, 9, 1000, now=lambda: next(moments))
    for _ in range(3):
        frames.save("png", lambda part: part.write_bytes(b"x"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "20261123T120000.999999Z.png",
        "20261123T120001.000000Z.png",
        "20261123T120001.000001Z.png",
    ]


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / ".20261123T120000.000000Z.jpg.part").write_bytes(b"of a host that was killed")
    frames = Frames(tmp_path, 9, 1000)

    def fail(part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DeviceError, match=rf"^{tmp_path} does not take a picture: No space left on device$"):
        frames.save("jpg", fail)
    with pytest.raises(DeviceError, match=r"^the picture is empty$"):
        frames.save("jpg", lambda part: part.write_bytes(b""))
    assert list(tmp_path.iterdir()) == []
    tmp_path.rmdir()  # a stick that was pulled out
    with pytest.raises(DeviceError, match=rf"^{tmp_path} does not take a picture: No such file or directory$"):
        frames.save("jpg", lambda part: part.write_bytes(b"x"))
    tmp_path.mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeviceError, match=r"file cannot be made: "):
        Frames(tmp_path / "file", 1, 1)
