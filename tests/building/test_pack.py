"""Bundles of folders, and the lock file that is made of wheels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edge_runtime.building.pack import pack, write_pins
from edge_runtime.building.plan import Pack
from edge_runtime.bundles import open_bundle
from edge_runtime.errors import ConfigError


def test_folders_and_files_come_where_they_are_said_to(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "x").write_text("x")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "y").write_text("y")
    (tmp_path / "z").write_text("z")
    parts = (("top", tmp_path / "a"), ("top", tmp_path / "b"), ("zed", tmp_path / "z"))
    pack(Pack(parts, tmp_path / "out" / "o.zip", "edge-runtime", "1.2", "armv7l"))
    found = open_bundle(tmp_path / "out" / "o.zip", [], tmp_path)
    assert [file.path for file in found.manifest.files] == ["top/deep/x", "top/y", "zed"]
    assert (found.manifest.release, found.manifest.architecture, found.is_proved) == ("1.2", "armv7l", False)


def test_what_a_killed_build_has_left_does_not_come_along(tmp_path: Path) -> None:
    """The installer on the device takes no bundle with a file that it does not know."""
    wheels = tmp_path / "own"
    wheels.mkdir()
    (wheels / "a-1-py3-none-any.whl").write_text("whole")
    (wheels / ".a-1-py3-none-any.whl.42.part").write_text("ha")
    pack(Pack((("wheels", wheels),), tmp_path / "o.zip", "edge-runtime", "1"))
    found = open_bundle(tmp_path / "o.zip", [], tmp_path)
    assert [file.path for file in found.manifest.files] == ["wheels/a-1-py3-none-any.whl"]


def test_nothing_may_come_twice(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    with pytest.raises(ConfigError, match="top/x would be in the bundle twice"):
        pack(Pack((("top", tmp_path / "a"), ("top", tmp_path / "b")), tmp_path / "o.zip", "n", "1"))


def test_pins_name_each_wheel_but_those_that_install_the_others(tmp_path: Path) -> None:
    names = [
        "Fast_Thing-1.0-cp311-cp311-manylinux2014_x86_64.whl",
        "fast.thing-1.0-1-cp312-cp312-manylinux2014_x86_64.whl",
        "installer-1.1.0-py3-none-any.whl",
        "packaging-26.3-py3-none-any.whl",
        "plain-2.1+local-py3-none-any.whl",
    ]
    for name in names:
        (tmp_path / name).write_text(name)
    write_pins([tmp_path], tmp_path / "lock" / "requirements.lock")
    digests = {name: f"--hash=sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in names}
    fast = " ".join(sorted(digests[name] for name in names[:2]))
    expected = f"fast-thing==1.0 {fast}\nplain==2.1+local {digests[names[4]]}\n"
    assert (tmp_path / "lock" / "requirements.lock").read_text() == expected


def test_two_versions_cannot_be_pinned(tmp_path: Path) -> None:
    for version in ("1.0", "1.1"):
        (tmp_path / f"a-{version}-py3-none-any.whl").write_text("")
    with pytest.raises(ConfigError, match=r"there are wheels of a 1\.0 and 1\.1"):
        write_pins([tmp_path], tmp_path / "lock")
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "strange.whl").write_text("")
    with pytest.raises(ConfigError, match=r"strange\.whl is no name of a wheel"):
        write_pins([tmp_path / "0"], tmp_path / "lock")
