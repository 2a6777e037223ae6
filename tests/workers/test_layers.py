"""Layers laid over one another."""

from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.workers.layers import key, merged


def folder(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return path


def archive(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, text in files.items():
            bundle.writestr(name, text)
    return path


def contents(path: Path | None) -> dict[str, str]:
    assert path is not None
    return {str(p.relative_to(path)): p.read_text(encoding="utf-8") for p in path.rglob("*") if p.is_file()}


def test_without_layers_there_is_nothing(tmp_path: Path) -> None:
    assert merged([], tmp_path / "scratch") is None
    assert not (tmp_path / "scratch").exists()


def test_a_lone_folder_is_used_as_it_is(tmp_path: Path) -> None:
    layer = folder(tmp_path / "one", {"python/a.py": "1"})
    assert merged([layer], tmp_path / "scratch") == layer
    assert not (tmp_path / "scratch").exists()


def test_later_layers_win(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {"python/a.py": "one", "python/b.py": "one", "bin/tool": "one"})
    (one / "bin/tool").chmod(0o755)
    two = archive(tmp_path / "two.zip", {"python/b.py": "two", "lib/libx.so": "two"})
    made = merged([one, two], tmp_path / "scratch")
    assert contents(made) == {"python/a.py": "one", "python/b.py": "two", "bin/tool": "one", "lib/libx.so": "two"}
    assert made is not None
    assert os.access(made / "bin/tool", os.X_OK)
    assert contents(merged([two, one], tmp_path / "scratch"))["python/b.py"] == "one"


def test_it_is_made_once_for_the_same_content(tmp_path: Path) -> None:
    layer = archive(tmp_path / "a.zip", {"python/a.py": "1"})
    first = merged([layer], tmp_path / "scratch")
    assert first is not None
    before = first.stat().st_ino
    assert merged([layer], tmp_path / "scratch") == first
    assert first.stat().st_ino == before
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == [key([layer])]
    archive(layer, {"python/a.py": "2"})
    assert contents(merged([layer], tmp_path / "scratch")) == {"python/a.py": "2"}


def test_a_changed_file_in_a_folder_makes_another(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {"python/a.py": "1"})
    two = folder(tmp_path / "two", {"python/b.py": "1"})
    before = key([one, two])
    assert key([two, one]) != before
    folder(two, {"python/b.py": "22"})
    assert key([one, two]) != before


def test_a_file_takes_the_place_of_a_folder_and_the_other_way_round(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {"a/b": "1", "c": "1"})
    two = folder(tmp_path / "two", {"a": "2", "c/d": "2"})
    assert contents(merged([one, two], tmp_path / "scratch")) == {"a": "2", "c/d": "2"}


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = folder(tmp_path / "outside", {"keep": "1"})
    one = tmp_path / "one"
    one.mkdir()
    (one / "python").symlink_to(outside)
    (one / "file").symlink_to(outside / "keep")
    two = folder(tmp_path / "two", {"python/x.py": "2", "file": "2"})
    assert contents(merged([one, two], tmp_path / "scratch")) == {"python/x.py": "2", "file": "2"}
    assert contents(outside) == {"keep": "1"}


@pytest.mark.parametrize(("name", "what"), [("none", "does not exist"), ("text.txt", "is neither a folder nor a .zip")])
def test_what_is_no_layer_is_refused(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "text.txt").write_text("x", encoding="utf-8")
    one = folder(tmp_path / "one", {"a": "1"})
    with pytest.raises(ConfigError, match=f"the layer .*/{name} {what}"):
        merged([one, tmp_path / name], tmp_path / "scratch")


def test_an_archive_that_leads_out_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    bad = archive(tmp_path / "bad.zip", {"../x": "1"})
    with pytest.raises(ConfigError, match="leads out of the folder"):
        merged([bad], tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "x").exists()


def test_a_special_file_is_refused(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one", {"a": "1"}), tmp_path / "two"
    two.mkdir()
    os.mkfifo(two / "pipe")
    with pytest.raises(ConfigError, match=r"two/pipe is no ordinary file"):
        merged([one, two], tmp_path / "scratch")


def test_a_disk_that_fails_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("in the way", encoding="utf-8")
    layer = archive(tmp_path / "a.zip", {"a": "1"})
    with pytest.raises(StoreError, match="cannot lay the layers together"):
        merged([layer], tmp_path / "scratch")


def test_two_at_once_come_to_the_same(tmp_path: Path) -> None:
    layer = archive(tmp_path / "a.zip", {f"python/{n}.py": "1" for n in range(50)})
    made: list[Path | None] = []
    threads = [threading.Thread(target=lambda: made.append(merged([layer], tmp_path / "scratch"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [tmp_path / "scratch" / key([layer])] * 4
    assert len(list((tmp_path / "scratch").iterdir())) == 1
