"""The plan of a deployment over SSH, as it is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime import plugin
from edge_runtime.building.device import SYSTEM, Place, place_of_user
from edge_runtime.building.plan import shown

GOLDEN = Path(__file__).parent / "golden"


def text_of(place: Place, *, starts: bool = True) -> str:
    target = plugin.load("deploy", "ssh")
    runtime = target.Runtime(Path("/built/edge-runtime"), 41_234_567, starts)
    release = target.Release(Path("/srv/station-1.0.1.edge"), 812, 2.0)
    installer = target.INSTALLER.read_text().rstrip("\n").replace("\n", "\n  | ")
    text = shown(target.plan("pi@device", place, "pi", runtime, release))
    return text.replace(installer, "(the installer)")


@pytest.mark.parametrize(
    ("name", "place", "starts"),
    [("system", SYSTEM, True), ("user", place_of_user("/home/pi"), True), ("bare", place_of_user("/home/pi"), False)],
)
def test_the_plan_is_as_expected(name: str, place: Place, *, starts: bool) -> None:
    assert text_of(place, starts=starts) == (GOLDEN / f"{name}.txt").read_text()


def test_odd_paths_are_quoted() -> None:
    target = plugin.load("deploy", "ssh")
    release = target.Release(Path("/srv/x.edge"), 1, 0.0)
    plan = target.plan("pi@device", place_of_user("/home/it's me"), "it's me", None, release)
    assert "cd '/home/it'\"'\"'s me/.local/share/edge-runtime/spool'" in shown(plan)
