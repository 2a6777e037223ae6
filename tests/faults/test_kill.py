"""SIGKILL at any moment, and at every named place: what was accepted is there."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from edge_runtime import failpoint
from tests.faults.lab import Lab, listen, tell, trials
from tests.faults.oracle import judge
from tests.faults.subject import QUEUES, WORKLOADS, Order
from tests.store.kit import make_old

ELSEWHERE = {"invoke.sent", "invoke.replied", "uplink.sent", "uplink.acked"}
ELSEWHERE |= {name for name in failpoint.NAMES if name.startswith("release.")}
"""Places outside of the store."""


@pytest.mark.long
@pytest.mark.parametrize("workload", WORKLOADS)
def test_killed_at_any_moment(lab: Lab, tmp_path: Path, workload: str) -> None:
    """One store lives on through all kills, so that each finds what the last one left."""
    rng = random.Random(workload)  # noqa: S311 - the same kills each time
    lives, killed = trials(25, 250), 0
    marks = tmp_path / "marks"
    for number in range(lives):
        report = lab.live(
            Order(str(tmp_path / "state"), str(marks), number, workload, 400, kill_after_s=rng.uniform(0.0, 0.15))
        )
        killed += report.code == -9
        if number % 5 == 0 or number == lives - 1:
            copy = tmp_path / "copy"
            shutil.copytree(tmp_path / "state", copy)
            said = listen(marks)
            verdict = judge(said, copy, QUEUES)
            assert verdict.broken == []
            shutil.rmtree(copy)
    slowest = max(said.opened_ms, default=0.0)
    tell(
        f"kill/{workload}: {killed} of {lives} lives killed; {len(said.accepted)} accepted, 0 lost, "
        f"{verdict.lost} dropped and counted, {said.again} delivered again; slowest restart {slowest:.0f} ms"
    )
    assert killed > lives // 2
    assert slowest < 2000


@pytest.mark.long
@pytest.mark.parametrize("place", [name for name in failpoint.NAMES if name not in ELSEWHERE])
def test_killed_at_a_named_place(lab: Lab, tmp_path: Path, place: str) -> None:
    if place == "ballast.released" and not lab.can_inject:
        pytest.skip("no C compiler: the disk cannot be made full")
    reached = 0
    for number in range(trials(3, 20)):
        state, marks = tmp_path / str(number), tmp_path / f"{number}.marks"
        workload = {"evict.done": "limits", "thin.done": "thinned"}.get(place, "pipeline")
        if place.startswith("upgrade."):
            lab.live(Order(str(state), str(marks), number + 2000, "pipeline", 30))
            make_old(state / "queue.db")
        full: list[object] = ["write", "queue.db", 28, 5, 1] if place == "ballast.released" else []
        once = place in {"open.created", "close.begin", "ballast.released", "thin.done"} or place.startswith("upgrade.")
        nth = 1 if once else 1 + 7 * number
        order = Order(str(state), str(marks), number, workload, 120, failpoint=f"{place}:{nth}", fail=full)
        reached += lab.live(order).code == -9
        order = Order(str(state), str(marks), number + 1000, "pipeline", 20, abrupt=True)
        assert lab.live(order).code == 0
        verdict = judge(listen(marks), state, QUEUES)
        assert verdict.broken == []
    tell(f"kill/{place}: killed there {reached} times, 0 lost")
    assert reached > 0
