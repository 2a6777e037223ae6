"""The file name is the name in the configuration, and a stranger's folder is never looked into."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime import plugin
from edge_runtime.errors import NotFoundError


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """Return a user's folder with drivers, whose names no other test uses."""
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "mine_a.py").write_text("ANSWER = 42\n")
    (tmp_path / "hardware" / "mine_broken.py").write_text("import no_such_module\n")
    (tmp_path / "hardware" / "_private.py").write_text("")
    (tmp_path / "hardware" / "notes.txt").write_text("")
    return tmp_path


def test_a_built_in_kind_is_a_package() -> None:
    assert "edge_yaml" in plugin.names("loaders")
    assert plugin.load("loaders", "edge_yaml").__name__ == "edge_runtime.loaders.edge_yaml"


def test_private_files_are_no_plug_ins(user: Path) -> None:
    assert not any(name.startswith("_") for name in plugin.names("loaders"))
    assert "_private" not in plugin.names("hardware", user)


def test_a_user_adds_drivers(user: Path) -> None:
    assert {"mine_a", "mine_broken"} <= set(plugin.names("hardware", user))
    assert "mine_a" not in plugin.names("hardware")
    assert plugin.names("hardware", user) == sorted(plugin.names("hardware", user))
    module = plugin.load("hardware", "mine_a", user)
    assert module.ANSWER == 42
    assert plugin.load("hardware", "mine_a", user) is module


def test_the_users_folder_wins(user: Path) -> None:
    assert plugin.folders("hardware", user)[0] == user / "hardware"
    assert all(folder.is_dir() for folder in plugin.folders("hardware", user))
    assert user / "hardware" not in plugin.folders("hardware")


def test_a_driver_that_cannot_be_imported_leaves_nothing_behind(user: Path) -> None:
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            plugin.load("hardware", "mine_broken", user)
    assert not [name for name in sys.modules if name.endswith("mine_broken")]


def test_a_wrong_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(
        NotFoundError, match=r"there is no loaders plug-in named 'edge_yml'; did you mean 'edge_yaml'\?"
    ) as e:
        plugin.load("loaders", "edge_yml")
    assert "edge_yaml" in e.value.hint


@pytest.mark.parametrize("name", ["../errors", "_yaml", "", "edge_yaml.load", "__main__"])
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(NotFoundError):
        plugin.load("loaders", name)


def test_a_kind_that_has_no_folder_has_no_names(tmp_path: Path) -> None:
    assert plugin.names("nonsense") == []
    with pytest.raises(NotFoundError) as caught:
        plugin.load("nonsense", "x", tmp_path)
    assert caught.value.hint == "known: none"


def test_a_folder_in_site_packages_is_a_strangers(tmp_path: Path) -> None:
    # As installed: the package lies in site-packages, and another distribution put its `hardware` beside it.
    site = tmp_path / "site-packages"
    (site / "hardware").mkdir(parents=True)
    (site / "hardware" / "evil.py").write_text("raise SystemExit('hijacked')")
    (site / "edge_runtime" / "bundled" / "hardware").mkdir(parents=True)
    (site / "edge_runtime" / "bundled" / "hardware" / "ours.py").write_text("ANSWER = 1")
    for name in ("__init__", "plugin", "errors"):
        source = Path(plugin.__file__).with_name(f"{name}.py")
        (site / "edge_runtime" / f"{name}.py").write_text(source.read_text())
    code = "from edge_runtime import plugin as p; print(p.names('hardware'), p.load('hardware', 'ours').ANSWER)"
    ran = subprocess.run([sys.executable, "-P", "-c", code], env={**os.environ, "PYTHONPATH": str(site)},
                         cwd=tmp_path, capture_output=True, text=True, check=True)  # fmt: skip
    assert ran.stdout == "['ours'] 1\n"


def test_only_a_near_name_is_offered() -> None:
    assert plugin.nearest("evry", ["every", "driver"]) == "; did you mean 'every'?"
    assert plugin.nearest("xyz", ["every", "driver"]) == ""
    assert plugin.nearest("every", []) == ""
