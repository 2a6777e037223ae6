"""What is on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.disk import sync


def test_a_file_and_a_folder_are_synced_and_closed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - the listing itself is a file in it, both times
    sync(tmp_path / "a")
    sync(tmp_path)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - as above


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")
