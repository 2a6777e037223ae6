"""Wheels by a lock: from a folder that stands for the index, with hashes that are right or wrong."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from edge_runtime.building.wheels import gather
from edge_runtime.errors import ConfigError, EdgeError


def wheel(folder: Path, name: str, tag: str) -> str:
    """Write a wheel; return its hash."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(f"{name}/__init__.py", "")
        out.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        out.writestr(f"{name}-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        out.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip know a folder and no network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return tmp_path / "index"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_wheels_of_an_architecture_for_each_python(index: Path, tmp_path: Path) -> None:
    lock = tmp_path / "aarch64.txt"
    hashes = [
        wheel(index, "fast", "cp311-cp311-manylinux_2_17_aarch64"),
        wheel(index, "fast", "cp313-cp313-manylinux_2_17_aarch64"),
        wheel(index, "fast", "cp311-cp311-manylinux_2_17_x86_64"),
    ]
    plain = wheel(index, "plain", "py3-none-any")
    lock.write_text(
        f"fast==1.0 {' '.join(f'--hash=sha256:{one}' for one in hashes)}\nplain==1.0 --hash=sha256:{plain}\n"
    )
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "old-0.1-py3-none-any.whl").write_text("of another lock")
    gather(lock, tmp_path / "wheels", "aarch64", ("3.11", "3.13"))
    assert names(tmp_path / "wheels") == [
        "fast-1.0-cp311-cp311-manylinux_2_17_aarch64.whl",
        "fast-1.0-cp313-cp313-manylinux_2_17_aarch64.whl",
        "plain-1.0-py3-none-any.whl",
    ]


def test_what_is_there_already_is_not_fetched_again(index: Path, tmp_path: Path) -> None:
    lock = tmp_path / "x.txt"
    lock.write_text(f"plain==1.0 --hash=sha256:{wheel(index, 'plain', 'py3-none-any')}\n")
    gather(lock, tmp_path / "wheels", "x86_64", ("3.11",))
    next(index.iterdir()).unlink()
    gather(lock, tmp_path / "wheels", "x86_64", ("3.11",))
    assert names(tmp_path / "wheels") == ["plain-1.0-py3-none-any.whl"]


def test_a_wrong_hash_is_refused_and_what_was_there_stays(index: Path, tmp_path: Path) -> None:
    wheel(index, "plain", "py3-none-any")
    lock = tmp_path / "x.txt"
    lock.write_text(f"plain==1.0 --hash=sha256:{'0' * 64}\n")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "kept.whl").write_text("")
    with pytest.raises(EdgeError, match=r"wheels for armv7l, Python 3.11 cannot be had:\n(.|\n)*HASHES"):
        gather(lock, tmp_path / "wheels", "armv7l", ("3.11",))
    assert names(tmp_path / "wheels") == ["kept.whl"]


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are no wheels for 'riscv64'"):
        gather(tmp_path / "x", tmp_path / "wheels", "riscv64")
    with pytest.raises(ConfigError, match=r"the lock file .*/x is missing"):
        gather(tmp_path / "x", tmp_path / "wheels", "aarch64")
