"""Counting what was refused."""

from __future__ import annotations

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.errors import StoreError
from edge_runtime.triggers._refusals import Refusals


async def test_counts_by_name_and_logs_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    refusals = Refusals(clock)
    for name in ("a", "b", "a"):
        refusals.add(name, StoreError("the disk is full"))
    await clock.advance(60)
    refusals.add("b", StoreError("the disk is still full"))
    assert refusals.counts == {"a": 2, "b": 2}
    assert [record.getMessage() for record in caplog.records] == [
        "an event of a was refused, 1 in all since the start: the disk is full",
        "an event of b was refused, 4 in all since the start: the disk is still full",
    ]
