"""What a job says of itself."""

from __future__ import annotations

from edge_runtime.store.jobs import Change, Work
from tests.store.kit import entry, event


def test_a_change_that_accepts_and_deletes_is_simple() -> None:
    assert Change([entry()]).simple
    assert Change(done=[]).simple
    assert not Change(memo={"k": "v"}).simple


def test_a_change_begins_without_fate() -> None:
    change = Change([(event(), [])])
    assert (change.future, change.error, change.accepted) == (None, None, [])


def test_work_says_whether_it_writes() -> None:
    assert Work(lambda _: 1, writes=True).writes
    assert Work(lambda _: 1, writes=False).result is None
