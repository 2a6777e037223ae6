"""Runtimes that were built are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

import edge_runtime
from edge_runtime.building import runtimes
from edge_runtime.building.plan import Plan, Remove
from edge_runtime.errors import ConfigError


class Carried:
    """Plans that were carried out, in a way that takes no time: each result is a file of some bytes."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []

    def __call__(self, plan: Plan) -> None:
        """Carry one out."""
        self.plans.append(plan)
        for path in plan.results:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(plan.target)


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Carried:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Carried()


def test_a_bundle_is_built_once(carried: Carried, tmp_path: Path) -> None:
    path = runtimes.bundle("aarch64", carried)
    assert path.parent == tmp_path / "edge-runtime" / "built"
    assert path.name.startswith(f"edge-runtime-{edge_runtime.__version__}-")
    assert path.name.endswith("-aarch64.zip")
    assert runtimes.bundle("aarch64", carried) == path
    assert [plan.target for plan in carried.plans] == ["runtime"]


def test_a_package_is_built_once_from_the_bundles_it_needs(carried: Carried) -> None:
    path = runtimes.package("armhf", "armv6l", carried)
    assert path.name == f"edge-runtime_{edge_runtime.__version__}_armhf.deb"
    assert [plan.target for plan in carried.plans] == ["runtime", "runtime", "deb"]
    assert runtimes.package("armhf", "armv6l", carried) == path
    assert len(carried.plans) == 3


def test_two_builds_of_a_package_at_once_work_in_different_folders(carried: Carried) -> None:
    """One would pack what the other has not copied yet, or removes already; and that would be kept."""
    begun: list[Plan] = []

    def carry(plan: Plan) -> None:
        if plan.target == "deb":
            begun.append(plan)
            if len(begun) == 1:
                runtimes.package("arm64", "aarch64", carry)
        carried(plan)

    runtimes.package("arm64", "aarch64", carry)
    first, second = ({step.path for step in plan.steps if isinstance(step, Remove)} for plan in begun)
    assert first
    assert not first & second


def test_there_is_no_package_for_everything(carried: Carried) -> None:
    with pytest.raises(ConfigError, match="there is no package for riscv64"):
        runtimes.package("riscv64", "riscv64", carried)


def test_the_newest_few_are_kept(carried: Carried) -> None:
    folder = runtimes.folder()
    folder.mkdir(parents=True)
    for number in range(9):
        (folder / f"edge-runtime-0.0.{number}-x-aarch64.zip").write_text("old")
    path = runtimes.bundle("aarch64", carried)
    assert path.is_file()
    assert len(list(folder.iterdir())) == 6
