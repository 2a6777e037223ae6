"""What the kernel tells of folders."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_runtime.inotify import CLOSE_WRITE, CREATE, DELETE, IGNORED, IS_FOLDER, MOVE_SELF, MOVED_TO, Change, Inotify


def test_what_happens_in_a_folder_is_told_in_order(tmp_path: Path) -> None:
    watched, other = tmp_path / "in", tmp_path / "other"
    watched.mkdir()
    other.write_bytes(b"2")
    told = Inotify()
    try:
        watch = told.add(str(watched))
        assert told.add(str(watched)) == watch
        assert list(told.read()) == []
        (watched / "a").write_bytes(b"1")
        other.rename(watched / "b")
        (watched / "a").unlink()
        (watched / "below").mkdir()
        assert list(told.read()) == [
            Change(watch, CREATE, "a"),
            Change(watch, CLOSE_WRITE, "a"),
            Change(watch, MOVED_TO, "b"),
            Change(watch, DELETE, "a"),
            Change(watch, CREATE | IS_FOLDER, "below"),
        ]
    finally:
        told.close()


def test_a_watched_folder_that_is_moved_or_removed_is_told_without_a_name(tmp_path: Path) -> None:
    watched = tmp_path / "in"
    watched.mkdir()
    told = Inotify()
    try:
        watch = told.add(str(watched))
        watched.rename(tmp_path / "gone").rmdir()
        assert list(told.read()) == [Change(watch, MOVE_SELF, ""), Change(watch, IGNORED, "")]
    finally:
        told.close()


def test_only_folders_are_watched(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    told = Inotify()
    try:
        for name, number in (("file", errno.ENOTDIR), ("nothing", errno.ENOENT)):
            with pytest.raises(OSError, match="irectory") as error:
                told.add(str(tmp_path / name))
            assert error.value.errno == number
    finally:
        told.close()
