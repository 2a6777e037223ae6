"""The power goes at any moment: what had been said to be accepted is there, whatever else the disk had kept."""

from __future__ import annotations

import errno
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import campaigns
from tests.faults.lab import Lab, need_library, tell, trials
from tests.faults.subject import WORKLOADS, Order
from tests.store.kit import make_old

EVENTS = {"pipeline": 120, "backlog": 200, "limits": 200, "only": 200, "thinned": 150}


def orders(folder: Path, workload: str, seed: int, fault: list[object] | None = None) -> list[Order]:
    """Return two lives, the first of which is killed."""
    folder.mkdir(parents=True)
    first = Order(
        str(folder / "state"), str(folder / "marks"), seed, workload, EVENTS[workload],
        kill_after_s=0.15, notes=str(folder / "notes"), fail=fault or [],
    )  # fmt: skip
    return [first, replace(first, seed=seed + 1, kill_after_s=-1.0, abrupt=seed % 2 == 0)]


@pytest.mark.long
@pytest.mark.parametrize("workload", WORKLOADS)
def test_power_cut(lab: Lab, tmp_path: Path, workload: str) -> None:
    need_library()
    runs, cuts = trials(2, 10), trials(60, 120)
    total = campaigns.Outcome()
    for run in range(runs):
        outcome = campaigns.power_cuts(lab, orders(tmp_path / str(run), workload, 10 * run), cuts, seed=run)
        assert outcome.broken == []
        total.trials += outcome.trials
        total.accepted += outcome.accepted
        total.lost += outcome.lost
        total.slowest_s = max(total.slowest_s, outcome.slowest_s)
    tell(
        f"power/{workload}: {total.trials} cuts, {total.accepted} accepted before them, 0 lost, {total.lost} dropped "
        f"and counted, no database damaged; slowest restart {total.slowest_s * 1000:.0f} ms"
    )


@pytest.mark.long
def test_power_cut_while_a_file_becomes_one_of_a_newer_format(lab: Lab, tmp_path: Path) -> None:
    need_library()
    state, said = campaigns.base(lab, tmp_path, abrupt=False)
    present = len(said.accepted)
    make_old(state / "queue.db")
    life = Order(str(state), str(tmp_path / "base-False.marks"), 99, "only", 3, notes=str(tmp_path / "notes"))
    outcome = campaigns.power_cuts(lab, [life], trials(40, 400), seed=2, known=said)
    assert outcome.broken == []
    assert outcome.accepted >= present * outcome.trials
    tell(f"power/upgrade: {outcome.trials} cuts while a file is upgraded, 0 of {present} messages lost")


@pytest.mark.long
def test_power_cut_after_a_flush_that_failed(lab: Lab, tmp_path: Path) -> None:
    """What could not be flushed counts as clean: a later flush does not write it, and it must not be relied on."""
    need_library()
    accepted = cuts = 0
    for number in range(trials(6, 60)):
        fault: list[object] = ["sync", "queue.db", errno.EIO, 3 + 5 * number, 1 + number % 4]
        lives = orders(tmp_path / str(number), "pipeline", 10 * number, fault)
        outcome = campaigns.power_cuts(lab, lives, trials(10, 30), seed=number)
        assert outcome.broken == []
        accepted, cuts = accepted + outcome.accepted, cuts + outcome.trials
    tell(f"power/flush fails: {cuts} cuts, {accepted} accepted before them, 0 lost")


@pytest.mark.long
def test_power_cut_while_a_damaged_database_is_salvaged(lab: Lab, tmp_path: Path) -> None:
    need_library()
    state, said = campaigns.base(lab, tmp_path, abrupt=False)
    present = len(said.accepted)
    campaigns.zero_header(state, random.Random(0))  # noqa: S311 - it does not matter
    marks = tmp_path / "base-False.marks"
    life = Order(str(state), str(marks), 99, "only", 10, notes=str(tmp_path / "notes"), abrupt=True)
    outcome = campaigns.power_cuts(lab, [life], trials(40, 400), seed=1, damage=True, known=said)
    assert outcome.broken == []
    assert outcome.accepted >= present * outcome.trials
    tell(f"power/salvage: {outcome.trials} cuts while a database is salvaged, 0 of {present} messages lost")
