"""The wheel of the runtime, from a checkout and from an installed package: they are the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from edge_runtime import __version__
from edge_runtime.building.own_wheel import from_checkout, make_own_wheel, metadata

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "edge_runtime-0.0.1-py3-none-any.whl").write_text("of before")
    path = make_own_wheel(folder)
    assert list(folder.iterdir()) == [path]
    return path


def test_it_has_all_that_is_asked_for_by_path(wheel: Path) -> None:
    assert wheel.name == f"edge_runtime-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as zipped:
        names = set(zipped.namelist())
        about = zipped.read(f"edge_runtime-{__version__}.dist-info/METADATA").decode()
        installer = zipped.getinfo("edge_runtime/bundled/deploy/installer/edge-install.sh")
    assert {
        "edge_runtime/cli/__init__.py",
        "edge_runtime/bundled/deploy/locks/aarch64.txt",
        "edge_runtime/bundled/hardware/bme280.py",
        "greengrasssdk/__init__.py",
        f"edge_runtime-{__version__}.dist-info/entry_points.txt",
        f"edge_runtime-{__version__}.dist-info/licenses/LICENSE",
    } <= names
    assert not [name for name in names if "__pycache__" in name or "/." in name or name.endswith(".pyc")]
    assert f"\nVersion: {__version__}\n" in about
    assert installer.external_attr >> 16 == 0o100755


def test_an_installed_one_makes_the_same_wheel_again(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*command, str(wheel)], check=True)
    (site / "edge_runtime" / "left_behind.pyc").write_text("")
    code = "import sys, pathlib as p; from edge_runtime.building import own_wheel as o; "
    code += "print(o.make_own_wheel(p.Path(sys.argv[1])))"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == wheel.read_bytes()


def test_what_it_requires_is_what_is_declared() -> None:
    text = from_checkout(ROOT)[f"edge_runtime-{__version__}.dist-info/METADATA"]
    assert isinstance(text, bytes)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = text.decode().splitlines()
    assert [f"Requires-Dist: {line}" for line in declared] == [
        line for line in lines if line.startswith("Requires-Dist") and "extra ==" not in line
    ]


def test_extras_keep_their_conditions() -> None:
    project = {
        "name": "x",
        "version": "1",
        "description": "d",
        "license": "MIT",
        "license-files": ["LICENSE"],
        "requires-python": ">=3.11",
        "dependencies": ["a>=1"],
        "optional-dependencies": {"pi": ["b; python_version < '3.13'", "c"]},
    }
    assert metadata(project).splitlines()[-4:] == [
        "Requires-Dist: a>=1",
        "Provides-Extra: pi",
        "Requires-Dist: b; (python_version < '3.13') and extra == 'pi'",
        "Requires-Dist: c; extra == 'pi'",
    ]
