"""A link that is back is noticed at once, and a broker that says no is asked ever more rarely."""

from __future__ import annotations

from random import Random

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.cloud._redial import LEAST_S, Redial


class Highest(Random):
    """Draws the most there is."""

    def uniform(self, a: float, b: float) -> float:
        """Return b."""
        return max(a, b)


class Lowest(Random):
    """Draws the least there is."""

    def uniform(self, a: float, b: float) -> float:
        """Return a."""
        return min(a, b)


async def tried(redial: Redial, clock: FakeClock, took_s: float = 0.0, *, answered: bool = False) -> float:
    """Let a try fail after a time; return the wait, and let it pass."""
    redial.begins()
    await clock.advance(took_s)
    wait_s = redial.failed(answered=answered)
    await clock.advance(wait_s)
    return wait_s


async def stood(
    redial: Redial, clock: FakeClock, held_s: float, *, spoke: bool = True, works: bool = True, answered: bool = False
) -> float:
    """Let a connection stand and end; return the wait."""
    redial.begins()
    redial.stands()
    if spoke:
        redial.spoke()
    if works:
        redial.works()
    await clock.advance(held_s)
    return redial.failed(answered=answered)


async def test_a_network_that_is_away_is_tried_every_five_seconds_for_weeks() -> None:
    clock = FakeClock()
    redial = Redial(clock, random=Highest())
    assert [await tried(redial, clock) for _ in range(5)] == [1, 2, 4, 5, 5]
    await clock.advance(14 * 86_400)
    assert await tried(redial, clock) == 5


async def test_a_try_that_nobody_answers_was_a_wait_itself() -> None:
    clock = FakeClock()
    redial = Redial(clock, random=Highest())
    for _ in range(3):
        await tried(redial, clock)
    assert await tried(redial, clock, 3.0) == pytest.approx(2)
    assert await tried(redial, clock, 10.0) == LEAST_S


async def test_there_are_never_two_connects_within_a_second() -> None:
    clock = FakeClock()
    redial = Redial(clock, random=Lowest())
    assert [await tried(redial, clock, answered=no) for no in (False, True, False)] == [1, 1, 1]
    assert await stood(redial, clock, 0.25) == pytest.approx(0.75)
    assert await stood(redial, clock, 5.0) == 0


async def test_who_says_no_is_asked_ever_more_rarely() -> None:
    clock = FakeClock()
    redial = Redial(clock, random=Highest())
    begin = clock.now().mono_ns
    waits = []
    while (clock.now().mono_ns - begin) < 7200e9:
        waits.append(await tried(redial, clock, answered=True))
    assert waits[:6] == [1, 2, 4, 5, 5, 5]
    assert waits == sorted(waits)
    assert waits[-1] == 300
    assert len(waits) < 100


async def test_a_minute_of_refusals_does_not_make_it_wait_long() -> None:
    clock = FakeClock()
    redial = Redial(clock, random=Highest())
    for _ in range(14):
        assert await tried(redial, clock, answered=True) <= 5


@pytest.mark.parametrize("ends", ["network", "works", "long"])
async def test_what_ends_a_row_of_refusals(ends: str) -> None:
    clock = FakeClock()
    redial = Redial(clock, random=Highest())
    await tried(redial, clock, answered=True)
    await clock.advance(3600)
    assert await tried(redial, clock, answered=True) == pytest.approx(300)
    if ends == "network":
        assert await tried(redial, clock) == 4
    elif ends == "works":
        assert await stood(redial, clock, 5) == 1
    else:
        assert await stood(redial, clock, 61, works=False, answered=True) == 1
    assert await tried(redial, clock, answered=True) <= 5


@pytest.mark.parametrize("answered", [False, True])
async def test_a_broker_that_takes_connections_and_acknowledges_nothing_says_no(answered: bool) -> None:  # noqa: FBT001 - a parameter of the test
    clock = FakeClock()
    redial = Redial(clock, random=Highest())
    await stood(redial, clock, 1, works=False, answered=answered)
    await clock.advance(3600)
    assert await stood(redial, clock, 1, works=False, answered=answered) == pytest.approx(300, abs=1)


async def test_an_idle_connection_that_breaks_is_the_network() -> None:
    clock = FakeClock()
    redial = Redial(clock, random=Highest())
    await stood(redial, clock, 1, spoke=False, works=False)
    await clock.advance(3600)
    assert await stood(redial, clock, 1, spoke=False, works=False) <= 5


async def test_a_fight_for_a_client_id_calms_down_although_each_side_gets_something_through() -> None:
    clock = FakeClock()
    redial = Redial(clock, random=Highest())
    await stood(redial, clock, 1, answered=True)
    await clock.advance(3600)
    assert await stood(redial, clock, 1, answered=True) == pytest.approx(300, abs=1)
