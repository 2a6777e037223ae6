"""A wheel loses its compiled parts and is one for any machine."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge_runtime.building.pure_wheel import gather_pure, strip
from edge_runtime.errors import ConfigError

NAME = "PyYAML-6.0-cp311-cp311-manylinux2014_x86_64.whl"


def compiled(folder: Path) -> Path:
    path = folder / NAME
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("yaml/__init__.py", "try:\n    import yaml._yaml\nexcept ImportError:\n    FAST = False\n")
        out.writestr("yaml/_yaml.cpython-311-x86_64-linux-gnu.so", b"\x7fELF")
        out.writestr("PyYAML-6.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: PyYAML\nVersion: 6.0\n")
        out.writestr("PyYAML-6.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        out.writestr("PyYAML-6.0.dist-info/RECORD", "")
    return path


def test_what_is_left_installs_and_works(tmp_path: Path) -> None:
    wheel = strip(compiled(tmp_path), tmp_path / "out")
    assert wheel.name == "pyyaml-6.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as zipped:
        assert sorted(zipped.namelist()) == [
            "pyyaml-6.0.dist-info/METADATA",
            "pyyaml-6.0.dist-info/RECORD",
            "pyyaml-6.0.dist-info/WHEEL",
            "yaml/__init__.py",
        ]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target"]
    subprocess.run([*command, str(tmp_path / "site"), str(wheel)], check=True)
    code = "import yaml, importlib.metadata as m; print(yaml.FAST, m.version('pyyaml'))"
    done = subprocess.run([sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(tmp_path / "site")},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "False 6.0\n"


def test_the_same_twice_is_the_same_file(tmp_path: Path) -> None:
    source = compiled(tmp_path)
    assert strip(source, tmp_path / "a").read_bytes() == strip(source, tmp_path / "b").read_bytes()


def test_what_is_no_wheel(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("no zip")
    with pytest.raises(ConfigError, match="is no wheel"):
        strip(tmp_path / NAME, tmp_path / "out")
    renamed = compiled(tmp_path).rename(tmp_path / "x.whl")
    with pytest.raises(ConfigError, match=r"x\.whl is no name of a wheel"):
        strip(renamed, tmp_path / "out")


def test_a_lock_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the lock file .* is missing"):
        gather_pure(tmp_path / "pure.txt", tmp_path / "out")
