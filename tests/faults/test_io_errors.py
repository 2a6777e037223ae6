"""The n-th call fails, once or for a while: nothing that was accepted is lost, nothing that was refused is kept."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.faults import campaigns
from tests.faults.lab import FULL, Lab, need_library, tell
from tests.faults.subject import Order

SHORT = -1
FAULTS = {
    "write EIO": ("write", "queue.db", errno.EIO),
    "write ENOSPC": ("write", "queue.db", errno.ENOSPC),
    "write EROFS": ("write", "queue.db", errno.EROFS),
    "write short": ("write", "queue.db", SHORT),
    "flush EIO": ("sync", "queue.db", errno.EIO),
    "read EIO": ("read", "queue.db", errno.EIO),
    "open EMFILE": ("open", "queue.db", errno.EMFILE),
    "mark EIO": ("write", "highwater", errno.EIO),
}
PLACES = range(1, 200) if FULL else [1, 2, 4, 9, 30]


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("count", [1, 3, 0], ids=["once", "three times", "for a while"])
def test_a_call_fails(lab: Lab, tmp_path: Path, fault: str, count: int) -> None:
    need_library()
    total = campaigns.Outcome()
    for place in PLACES:
        faults: list[object] = [*FAULTS[fault], place, count]
        at_open = fault == "open EMFILE" or place == 2
        # What fails for ever at the opening would fail for ever: there it is the number of calls that ends it.
        if at_open and not count:
            faults[-1] = 20
        workload = "pipeline" if place % 2 else "backlog"
        first = Order(
            str(tmp_path / str(place)), str(tmp_path / f"{place}.marks"), place, workload, 40,
            fail=faults, fail_at_open=at_open, heal_after=0 if count else 8 + place, abrupt=place % 3 == 0,
        )  # fmt: skip
        second = Order(first.folder, first.marks, place + 1000, events=20)
        outcome = campaigns.ended(lab, first, second)
        assert outcome.broken == []
        total.trials += outcome.trials
        total.accepted += outcome.accepted
        total.ghosts += outcome.ghosts
    tell(
        f"call fails/{fault}/{count or 'many'}: {total.trials} lives, {total.accepted} accepted, 0 lost, "
        f"{total.ghosts} refused and kept"
    )
