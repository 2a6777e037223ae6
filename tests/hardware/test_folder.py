"""A watched folder, for real: files written, moved, removed, too many at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import close, open_devices
from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.pure.events.iso import micros
from tests.devices.lines import Heard


@contextmanager
def watched(path: Path, **options: Any) -> Iterator[Any]:  # noqa: ANN401 - keys of a device, a driver
    """Open a folder for a while."""
    (device,) = open_devices([Device("inbox", "folder", {"path": str(path), **options})])
    assert (device.has_readings, device.is_output) == (True, False)
    try:
        yield device.device
    finally:
        close([device])
        device.device.close()
    assert not [t for t in threading.enumerate() if t.name == f"folder[{path}]"]


def names(heard: Heard, count: int) -> list[str]:
    return [heard.next()["name"] for _ in range(count)]


def test_a_file_is_told_when_it_is_whole(tmp_path: Path) -> None:
    other = tmp_path / "other"
    inbox = tmp_path / "in"
    inbox.mkdir()
    with watched(inbox) as folder:
        with pytest.raises(DeviceError, match="no file has come yet"):
            _ = folder.value
        heard = Heard()
        folder.when_read = heard
        half = (inbox / "a.csv").open("wb")
        half.write(b"12")
        half.flush()
        other.write_bytes(b"1")
        other.rename(inbox / "b.csv")
        told = heard.next()
        about = (inbox / "b.csv").stat()
        assert told == {
            "path": str(inbox / "b.csv"),
            "name": "b.csv",
            "bytes": 1,
            "modified": micros(about.st_mtime_ns),
        }
        half.write(b"345")
        half.close()
        assert heard.next() == {
            **told,
            "path": str(inbox / "a.csv"),
            "name": "a.csv",
            "bytes": 5,
            "modified": micros((inbox / "a.csv").stat().st_mtime_ns),
        }
        assert folder.value["name"] == "a.csv"


def test_what_is_there_at_first_is_told_or_not_and_a_half_written_file_never(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"1")
    (tmp_path / "older").write_bytes(b"1")
    with watched(tmp_path) as folder, (tmp_path / "half").open("wb") as half:
        half.write(b"x")
        half.flush()
        heard = Heard()
        folder.when_read = heard
        assert names(heard, 2) == ["old", "older"]
        folder.when_read = None
        folder.when_read = heard  # and not a second time
        half.close()
        assert names(heard, 1) == ["half"]
    with watched(tmp_path, existing=False) as folder:
        folder.when_read = heard
        (tmp_path / "new").write_bytes(b"1")
        assert names(heard, 1) == ["new"]


def test_files_wait_while_nobody_takes_them(tmp_path: Path) -> None:
    with watched(tmp_path) as folder:
        heard = Heard()
        folder.when_read = heard
        folder.when_read = None
        for name in ("1", "2"):
            (tmp_path / name).write_bytes(b"x")
        folder.when_read = heard
        assert names(heard, 2) == ["1", "2"]
        (tmp_path / "3").write_bytes(b"x")
        assert names(heard, 1) == ["3"]
        assert heard.waiting == 0


def test_a_file_is_told_again_when_it_is_another_one_only(tmp_path: Path) -> None:
    with watched(tmp_path) as folder:
        heard = Heard()
        folder.when_read = heard
        file = tmp_path / "a"
        file.write_bytes(b"1")
        assert names(heard, 1) == ["a"]
        file.open("ab").close()  # nothing was written
        file.read_bytes()
        (tmp_path / "next").write_bytes(b"x")
        assert names(heard, 1) == ["next"]  # and so the one before has been looked at, and is as it was
        file.write_bytes(b"22")
        assert heard.next()["bytes"] == 2
        file.rename(tmp_path / "b")
        assert names(heard, 1) == ["b"]
        (tmp_path / "b").unlink()
        file.write_bytes(b"22")
        assert names(heard, 1) == ["a"]
        os.link(file, tmp_path / "c")
        assert names(heard, 1) == ["c"]
        assert heard.waiting == 0


def test_only_names_that_are_wanted(tmp_path: Path) -> None:
    heard = Heard()
    with watched(tmp_path) as folder:
        folder.when_read = heard
        for name in (".hidden", "a.tmp", "b.part", "c~", "d"):
            (tmp_path / name).write_bytes(b"1")
        (tmp_path / "below").mkdir()
        (tmp_path / "a.tmp").rename(tmp_path / "a")
        assert sorted(names(heard, 2)) == ["a", "d"]
    with watched(tmp_path, pattern="*.jpg", existing=False) as folder:
        folder.when_read = heard
        for name in ("a.JPG", "b.jpg"):
            (tmp_path / name).write_bytes(b"1")
        assert names(heard, 1) == ["b.jpg"]


def test_folders_below(tmp_path: Path) -> None:
    (tmp_path / "2025").mkdir()
    (tmp_path / "2025" / "a").write_bytes(b"1")
    heard = Heard()
    with watched(tmp_path, recursive=True) as folder:
        folder.when_read = heard
        assert names(heard, 1) == ["2025/a"]
        deep = tmp_path / "2026" / "11"
        deep.mkdir(parents=True)
        (deep / "b").write_bytes(b"1")
        assert names(heard, 1) == ["2026/11/b"]
        (tmp_path / "2026").rename(tmp_path / "2027")
        assert names(heard, 1) == ["2027/11/b"]
        (tmp_path / "2027" / "11" / "c").write_bytes(b"1")
        assert names(heard, 1) == ["2027/11/c"]
    (tmp_path / "2025" / "d").write_bytes(b"1")
    with watched(tmp_path, existing=False) as folder:
        folder.when_read = heard
        (tmp_path / "2025" / "e").write_bytes(b"1")
        (tmp_path / "f").write_bytes(b"1")
        assert names(heard, 1) == ["f"]


def test_more_than_the_kernel_keeps_is_looked_for(tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    heard, go_on = Heard(), threading.Event()

    def slow(value: object) -> None:
        heard(value)
        go_on.wait(30)

    with watched(tmp_path) as folder:
        folder.when_read = slow
        (tmp_path / "first").write_bytes(b"1")
        assert names(heard, 1) == ["first"]
        pair = [tmp_path / "a", tmp_path / "b"]
        for _ in range(most // 2 + 100):  # those of one file in a row would count as one
            for file in pair:
                os.close(os.open(file, os.O_WRONLY | os.O_CREAT))
        for n in range(50):
            (tmp_path / f"late-{n:02}").write_bytes(b"1")
        go_on.set()
        assert sorted(names(heard, 52)) == ["a", "b", *(f"late-{n:02}" for n in range(50))]
        (tmp_path / "z").write_bytes(b"1")
        assert names(heard, 1) == ["z"]
        assert heard.waiting == 0


def test_a_folder_that_goes_is_a_fault_until_it_is_back(tmp_path: Path) -> None:
    inbox = tmp_path / "in"
    with pytest.raises(ConfigError, match="in cannot be watched: No such file or directory"):
        open_devices([Device("inbox", "folder", {"path": str(inbox)})])
    for go in (inbox.rmdir, lambda: inbox.rename(tmp_path / f"away-{os.urandom(4).hex()}")):
        inbox.mkdir()
        with watched(inbox) as folder:
            heard = Heard()
            folder.when_read = heard
            go()
            assert str(heard.next()) == f"{inbox}: the folder is gone"
            with pytest.raises(DeviceError, match=r"the folder is gone|cannot be watched"):
                _ = folder.value
            assert str(heard.next()).startswith(f"{inbox} cannot be watched")
            inbox.mkdir()
            (inbox / "a").write_bytes(b"1")
            assert heard.until(lambda value: not isinstance(value, DeviceError))["name"] == "a"
            (inbox / "a").unlink()
        inbox.rmdir()


def test_simulated() -> None:
    (device,) = open_devices([Device("inbox", "folder", {"path": "/nowhere"})], simulate=True)
    with pytest.raises(DeviceError, match="/nowhere: no file has come yet"):
        _ = device.device.value
    heard = Heard()
    device.device.when_read = heard
    device.device.simulate({"name": "a"})
    assert heard.next() == {"name": "a"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, "path '' is no text"),
        ({"path": "/x", "pattern": "a/*"}, "pattern 'a/*' is no pattern of a name"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        open_devices([Device("inbox", "folder", options)], simulate=True)
    assert str(error.value) == f"device 'inbox' (folder): {message}"
