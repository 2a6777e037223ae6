"""The oracle is tested too: each of these bugs, put in on purpose, must be found by a fault of the short run."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import campaigns, seeded
from tests.faults.lab import Lab, need_library, tell
from tests.faults.subject import WORKLOADS, Order

GARBAGE = -2
Hunt = Callable[[Lab, Path, str], list[str]]


def by_power_cuts(lab: Lab, folder: Path, bug: str) -> list[str]:
    """Cut the power."""
    state, marks, notes = (str(folder / name) for name in ("state", "marks", "notes"))
    lives = [
        Order(state, marks, seed, workload, 100, notes=notes, bug=bug, kill_after_s=0.1)
        for seed, workload in enumerate(WORKLOADS)
    ]
    return campaigns.power_cuts(lab, lives, 40, seed=1).broken


def by_kills(lab: Lab, folder: Path, bug: str) -> list[str]:
    """Kill it between the last row and the commit, and between the commit and the word of it."""
    found: list[str] = []
    for number, place in enumerate(["commit.before:9", "commit.done:12", "commit.before:20"]):
        state, marks = str(folder / str(number)), str(folder / f"{number}.marks")
        lab.live(Order(state, marks, number, bug=bug, failpoint=place))
        found += campaigns.ended(lab, Order(state, marks, number + 100, events=10, bug=bug)).broken
    return found


def by_living(lab: Lab, folder: Path, bug: str) -> list[str]:
    """Let it live, with and without limits, and with more than it can hold in memory."""
    found: list[str] = []
    for number, workload in enumerate(["pipeline", "limits", "backlog"]):
        order = Order(str(folder / str(number)), str(folder / f"{number}.marks"), number, workload, 100, bug=bug)
        found += campaigns.ended(lab, order).broken
    return found


def by_thinning(lab: Lab, folder: Path, bug: str) -> list[str]:
    """Let it have more readings than it has room for."""
    found: list[str] = []
    for number in range(3):
        order = Order(str(folder / str(number)), str(folder / f"{number}.marks"), number, "thinned", 500, bug=bug)
        found += campaigns.ended(lab, order).broken
    return found


def by_flushes_that_fail(lab: Lab, folder: Path, bug: str) -> list[str]:
    """Let a commit fail that is on the disk all the same."""
    found: list[str] = []
    for number in range(4):
        order = Order(
            str(folder / str(number)), str(folder / f"{number}.marks"), number, "pipeline", 60, bug=bug,
            fail=["sync", "queue.db-wal", errno.EIO, 4 + number, 3],
        )  # fmt: skip
        found += campaigns.ended(lab, order).broken
    return found


def by_garbage(lab: Lab, folder: Path, bug: str) -> list[str]:
    """Let a read bring garbage."""
    found: list[str] = []
    for number in range(4):
        state, marks = str(folder / str(number)), str(folder / f"{number}.marks")
        lab.live(Order(state, marks, number, "only", 200))
        fault: list[object] = ["read", "queue.db", GARBAGE, 4 + number, 1]
        order = Order(state, marks, 100 + number, "backlog", 20, bug=bug, fail=fault, fail_at_open=True)
        found += campaigns.ended(lab, order).broken
    return found


def by_damage(*mutations: campaigns.Mutation) -> Hunt:
    """Damage the file, and look with the bug in this process."""

    def hunt(lab: Lab, folder: Path, bug: str) -> list[str]:
        state, said = campaigns.base(lab, folder, abrupt=True)
        undo = seeded.seed(bug)
        try:
            return [text for m in mutations for text in campaigns.damaged(state, said, m, 20, seed=3).broken]
        finally:
            undo()

    return hunt


def flip_in_payloads(state: Path, _: random.Random) -> None:
    """Flip bits where nothing but a row's checksum can tell."""
    path = state / "queue.db"
    data = bytearray(path.read_bytes())
    at = data.find(b'["subject"')
    data[at - 3] ^= 4
    path.write_bytes(data)


BUGS: dict[str, Hunt] = {
    "synchronous-normal": by_power_cuts,
    "synchronous-off": by_power_cuts,
    "says-before-commit": by_kills,
    "deletes-before-delivery": by_kills,
    "settles-too-much": by_power_cuts,
    "drops-uncounted": by_living,
    "thins-what-is-held": by_thinning,
    "forgets-a-reading": by_thinning,
    "newest-first": by_living,
    "skips-the-first": by_kills,
    "repeats-a-commit": by_flushes_that_fail,
    "starts-empty": by_garbage,
    "no-checksum": by_damage(flip_in_payloads),
    "deletes-damaged": by_damage(campaigns.zero_page),
    "ignores-the-mark": by_damage(campaigns.flip_in_log),
}


@pytest.mark.long
@pytest.mark.parametrize("bug", BUGS)
def test_the_bug_is_found(lab: Lab, tmp_path: Path, bug: str) -> None:
    need_library()
    found = BUGS[bug](lab, tmp_path, bug)
    assert found != []
    tell(f"oracle/{bug}: found {len(found)} times, first: {found[0][:150]}")


@pytest.mark.long
def test_without_a_bug_nothing_is_found(lab: Lab, tmp_path: Path) -> None:
    need_library()
    for number, hunt in enumerate(dict.fromkeys(BUGS.values())):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert hunt(lab, folder, "") == []
