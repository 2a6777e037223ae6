"""Archives: extracted once, whole or not at all, and never outside their folder."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.workers import unpack


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, str]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


def make(path: Path, *entries: tuple[str | zipfile.ZipInfo, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in entries:
            bundle.writestr(name, text)
    return path


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    assert unpack.task_root(tmp_path, tmp_path / "code") == tmp_path
    assert not unpack.is_archive(tmp_path)


def test_an_archive_is_extracted_by_its_content(tmp_path: Path) -> None:
    script = zipfile.ZipInfo("bin/run.sh")
    script.external_attr = (stat.S_IFREG | 0o6755) << 16
    archive = make(tmp_path / "a.zip", ("app.py", "x = 1\n"), (script, "#!/bin/sh\n"), ("empty/", ""))
    root = unpack.task_root(archive, tmp_path / "code")
    assert root == tmp_path / "code" / unpack.digest(archive)
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*")) == ["app.py", "bin", "bin/run.sh", "empty"]
    assert (root / "app.py").read_text(encoding="utf-8") == "x = 1\n"
    assert (root / "app.py").stat().st_mode & 0o7777 == 0o644
    assert (root / "bin/run.sh").stat().st_mode & 0o7777 == 0o755
    assert [p.name for p in root.parent.iterdir()] == [root.name]


def test_an_archive_is_not_extracted_again(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", ("app.py", "x = 1\n"))
    root = unpack.task_root(archive, tmp_path / "code")
    (root / "app.py").write_text("changed", encoding="utf-8")
    assert unpack.task_root(archive, tmp_path / "code") == root
    assert (root / "app.py").read_text(encoding="utf-8") == "changed"


EVIL: dict[str, tuple[list[tuple[str | zipfile.ZipInfo, str | bytes]], str]] = {
    "parent": ([("../evil", "x")], "'../evil' leads out of the folder"),
    "deep parent": ([("a/../../evil", "x")], "leads out of the folder"),
    "absolute": ([("/evil", "x")], "leads out of the folder"),
    "backslash": ([("..\\evil", "x")], "leads out of the folder"),
    "no name": ([("./", "")], "leads out of the folder"),
    "link": ([link("evil", "/etc/passwd")], "'evil' is a link or a special file"),
    "file through link": ([link("d", "/tmp"), ("d/evil", "x")], "is a link or a special file"),  # noqa: S108 - a target
    "twice": ([("a", "1"), ("a", "2")], "'a' is in it twice"),
    "twice but for case": ([("dup", "1"), ("DUP", "2")], "'DUP' is in it twice"),
    "twice but for accents": ([("\u00e9", "1"), ("e\u0301", "2")], "is in it twice"),
    "file and folder": ([("a", "1"), ("A/b", "2")], "'a' is both a file and a folder"),
    "control character": ([("a\nb", "x")], "is not a sound name"),
    "long name": ([("a" * 1100, "x")], "is not a sound name"),
    "bomb": ([("zeros", bytes(20_000_000))], "unpacks to more than 100 times its size"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", EVIL)
def test_an_evil_archive_is_refused_whole(tmp_path: Path, name: str) -> None:
    entries, text = EVIL[name]
    archive = make(tmp_path / "a.zip", ("good.py", "x = 1\n"), *entries)
    with pytest.raises(ConfigError, match=r"a\.zip: ") as caught:
        unpack.task_root(archive, tmp_path / "code")
    assert text in str(caught.value)
    assert list((tmp_path / "code").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "code"]


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", *((f"f{n}", "") for n in range(unpack.MAX_FILES + 1)))
    with pytest.raises(ConfigError, match=r"holds 20001 files, more than 20000"):
        unpack.task_root(archive, tmp_path / "code")


def test_sizes_that_lie_are_refused(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", ("zeros", bytes(20_000_000)))
    raw = bytearray(archive.read_bytes())
    size = (20_000_000).to_bytes(4, "little")
    raw = raw.replace(size, (1000).to_bytes(4, "little"))
    archive.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"is not a sound \.zip"):
        unpack.task_root(archive, tmp_path / "code")
    assert list((tmp_path / "code").iterdir()) == []


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", ("secret", "x"))
    raw = bytearray(archive.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(magic) + offset] |= 1
    archive.write_bytes(raw)
    with pytest.raises(ConfigError, match="'secret' is encrypted"):
        unpack.task_root(archive, tmp_path / "code")


@pytest.mark.parametrize(
    ("name", "text"),
    [("none", "does not exist"), ("none.zip", "cannot read the code"), ("file.tar", "is neither a folder nor a .zip")],
)
def test_code_that_is_not_there_is_said(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "file.tar").touch()
    with pytest.raises(ConfigError, match=text):
        unpack.task_root(tmp_path / name, tmp_path / "code")


def test_a_disk_that_fails_is_no_fault_of_the_archive(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", ("app.py", ""))
    (tmp_path / "code").touch()
    with pytest.raises(StoreError, match="cannot extract"):
        unpack.task_root(archive, tmp_path / "code")


def test_what_is_no_longer_used_is_removed(tmp_path: Path) -> None:
    roots = [unpack.task_root(make(tmp_path / f"{n}.zip", ("app.py", n)), tmp_path / "code") for n in "abc"]
    (tmp_path / "code" / ".part-x").mkdir()
    unpack.prune(tmp_path / "code", {roots[1].name})
    assert list((tmp_path / "code").iterdir()) == [roots[1]]
    unpack.prune(tmp_path / "none", set())


def _archive(entries: list[tuple[str, int, bytes]]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as bundle:
        for name, mode, data in entries:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            bundle.writestr(info, data)
    return raw.getvalue()


ENTRY = st.tuples(
    st.text(st.sampled_from("a/.\\~:\x00B"), min_size=1, max_size=8),
    st.sampled_from([0, 0o644, stat.S_IFLNK | 0o777, stat.S_IFREG | 0o4755, stat.S_IFIFO, stat.S_IFDIR | 0o755]),
    st.binary(max_size=20),
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(st.lists(ENTRY, max_size=5), st.binary(max_size=4), st.integers(0, 200))
def test_nothing_is_ever_written_outside(entries: list[tuple[str, int, bytes]], junk: bytes, at: int) -> None:
    raw = _archive(entries)
    raw = raw[:at] + junk + raw[at + len(junk) :] if junk else raw
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "a.zip").write_bytes(raw)
        with contextlib.suppress(ConfigError):
            root = unpack.task_root(top / "a.zip", top / "in" / "code")
            for place, folders, files in os.walk(root):
                for name in folders + files:
                    mode = Path(place, name).lstat().st_mode
                    assert stat.S_ISDIR(mode) or stat.S_ISREG(mode)
                    assert not mode & 0o7022
        assert sorted(p.name for p in top.iterdir()) in (["a.zip"], ["a.zip", "in"])
        inside = top / "in" / "code"
        assert all(len(p.name) == 64 for p in inside.iterdir()) if inside.exists() else True
