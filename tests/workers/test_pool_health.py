"""The back-off of a failing function."""

from __future__ import annotations

import random

from edge_runtime.workers._health import Health


class Most(random.Random):
    """Chance that always takes the longest wait."""

    def uniform(self, a: float, b: float) -> float:  # noqa: D102 - as in Random
        return max(a, b)


def test_the_wait_doubles_up_to_a_minute() -> None:
    health = Health(Most())
    waits = []
    for now in range(1000, 1012):
        health.failed(float(now), at_start=True)
        waits.append(round(health.next_start - now, 3))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]


def test_chance_takes_up_to_half_of_the_wait() -> None:
    for seed in range(20):
        health = Health(random.Random(seed))  # noqa: S311 - a test
        health.failed(0.0, at_start=True)
        assert 0.05 <= health.next_start <= 0.1


def test_the_first_crash_of_a_worker_that_had_started_costs_no_wait() -> None:
    health = Health(Most())
    health.failed(5.0, at_start=False)
    assert health.next_start == 0.0
    health.failed(6.0, at_start=False)
    assert health.next_start == 6.1


def test_success_forgets_all_failures() -> None:
    health = Health(Most())
    for _ in range(5):
        health.failed(10.0, at_start=True)
    assert health.broken(10.0)
    health.succeeded()
    assert not health.broken(10.0)
    assert health.next_start == 0.0


def test_five_failures_in_ten_minutes_are_called_broken() -> None:
    health = Health()
    for now in (0.0, 100.0, 200.0, 300.0):
        health.failed(now, at_start=True)
        assert not health.broken(now)
    health.failed(600.0, at_start=True)
    assert health.broken(600.0)
    assert not health.broken(601.0)
    health.failed(700.0, at_start=True)
    assert health.broken(700.0)
