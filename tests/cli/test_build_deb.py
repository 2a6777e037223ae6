"""`edge build deb`: which runtimes go into which package."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.building.pack import pack
from edge_runtime.building.plan import Pack
from tests.cli.fakehost import edge


def bundle(folder: Path, machine: str, name: str = "edge-runtime") -> Path:
    (folder / "lock").write_text("")
    path = folder / f"{name}-{machine}.zip"
    pack(Pack((("requirements.lock", folder / "lock"),), path, name, "0.1.0", machine))
    return path


def test_a_package_of_given_runtimes(tmp_path: Path) -> None:
    given = bundle(tmp_path, "aarch64")
    result = edge(["build", "deb", "--arch", "arm64", "--bundle", given, "--revision", "2", "-o", tmp_path / "out"])
    assert result.exit_code == 0, result.stderr
    package = tmp_path / "out" / "edge-runtime_0.1.0-2_arm64.deb"
    assert result.stdout.startswith(f"{package}: ")
    assert b"usr/lib/edge-runtime/bundles/edge-runtime-aarch64.zip" in package.read_bytes()


def test_what_is_not_given_is_built(tmp_path: Path) -> None:
    result = edge(["build", "deb", "--arch", "all", "--dry-run", "-o", tmp_path])
    assert result.exit_code == 0, result.stderr
    made = [line.split()[4] for line in result.stdout.splitlines() if line.startswith("bundle edge-runtime")]
    assert made == ["x86_64", "aarch64", "armv7l", "armv6l"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("machine", "name", "words"),
    [
        ("x86_64", "edge-runtime", "a package for arm64 needs the runtime for aarch64"),
        ("aarch64", "station", "is station, and no runtime"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(tmp_path: Path, machine: str, name: str, words: str) -> None:
    result = edge(["build", "deb", "--arch", "arm64", "--bundle", bundle(tmp_path, machine, name), "-o", tmp_path])
    assert result.exit_code == 1
    assert words in result.stderr
