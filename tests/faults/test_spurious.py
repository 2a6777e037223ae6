"""A read brings garbage once and the disk is right: SQLite says corrupt, and nothing may be thrown away for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import campaigns
from tests.faults.lab import Lab, need_library, tell, trials
from tests.faults.subject import Order

GARBAGE = -2


@pytest.mark.long
@pytest.mark.parametrize("at_open", [True, False], ids=["while opening", "while running"])
def test_garbage_is_read_once(lab: Lab, tmp_path: Path, *, at_open: bool) -> None:
    """Where SQLite does not notice, as in its map of pages, it writes the garbage back, and there is damage to mend."""
    need_library()
    accepted = aside = 0
    runs = trials(20, 200)
    for number in range(runs):
        state = tmp_path / str(number)
        before = Order(str(state), str(tmp_path / f"{number}.marks"), number, "only", 300, abrupt=number % 2 == 0)
        lab.live(before)
        fault: list[object] = ["read", "queue.db", GARBAGE, 1 + number, 1]
        order = Order(before.folder, before.marks, 1000 + number, "backlog", 30, fail=fault, fail_at_open=at_open)
        outcome = campaigns.ended(lab, order)
        assert outcome.broken == []
        kept = list(state.glob("*.corrupt-*"))
        assert not (at_open and kept)
        accepted += outcome.accepted
        aside += bool(kept)
    when = "opening" if at_open else "running"
    tell(f"spurious/{when}: garbage read once {runs} times, {accepted} accepted, 0 lost, {aside} databases set aside")
