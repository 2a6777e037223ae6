"""The file is damaged while nobody looks: no wrong message is delivered, and what is missing is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import campaigns
from tests.faults.lab import Lab, tell, trials

MUTATIONS: dict[campaigns.Mutation, tuple[int, int]] = {
    campaigns.flip_in_database: (60, 2000),
    campaigns.flip_in_log: (40, 1000),
    campaigns.flip_in_mark: (10, 200),
    campaigns.truncate: (30, 600),
    campaigns.zero_header: (2, 20),
    campaigns.garbage_page: (30, 600),
    campaigns.zero_page: (20, 300),
    campaigns.stale_page: (20, 300),
}


@pytest.mark.long
@pytest.mark.parametrize("abrupt", [False, True], ids=["at rest", "with a log"])
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_damage(lab: Lab, tmp_path: Path, mutate: campaigns.Mutation, *, abrupt: bool) -> None:
    if mutate is campaigns.flip_in_log and not abrupt:
        return
    state, said = campaigns.base(lab, tmp_path, abrupt=abrupt)
    outcome = campaigns.damaged(state, said, mutate, trials(*MUTATIONS[mutate]) // (1 + (not abrupt)), seed=1)
    assert outcome.broken == []
    tell(
        f"damage/{mutate.__name__}/{'log' if abrupt else 'rest'}: {outcome.trials} times, {outcome.noticed} noticed, "
        f"{outcome.lost} of {outcome.accepted} messages lost and counted, 0 delivered wrong; slowest restart "
        f"{outcome.slowest_s * 1000:.0f} ms"
    )
