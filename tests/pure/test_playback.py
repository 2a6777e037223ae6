"""What happens when, by a trace."""

from __future__ import annotations

import itertools
import math

import pytest

from edge_runtime.pure.playback import World, happenings, length_s
from edge_runtime.pure.trace import Kind, Step, Trace


def trace(*lines: str) -> Trace:
    return Trace("a.jsonl", lambda: lines)


def played(*lines: str, most: int = 100) -> list[tuple[float, str, object]]:
    found = itertools.islice(happenings(trace(*lines)), most)
    return [(step.at_s, step.name or f"{step.kind}{' ends' if step.is_end else ''}", step.value) for step in found]


def test_series_and_lines_come_in_the_order_of_time() -> None:
    assert played(
        '{"t": 0, "device": "a", "cycle": [1, 0], "every": 10, "for": 35}',
        '{"t": 5, "device": "b", "value": 7}',
        '{"t": 20, "device": "c", "value": 8}',
    ) == [(0, "a", 1), (5, "b", 7), (10, "a", 0), (20, "a", 1), (20, "c", 8), (30, "a", 0)]


def test_a_wave_begins_where_it_says_and_turns_in_the_middle() -> None:
    wave = '{"t": 0, "device": "a", "wave": {"from": 2, "to": 6, "period": "4h"}, "every": "1h"}'
    assert [value for _, _, value in played(wave, most=5)] == [2, 4, 6, 4, 2]


def test_what_lasts_has_an_end() -> None:
    assert played(
        '{"t": 1, "outage": 10}', '{"t": 2, "fault": "a", "how": "nan", "for": 3}', '{"t": 9, "clock": -5}'
    ) == [
        (1, "outage", 0.0),
        (2, "a", "nan"),
        (5, "a", "nan"),
        (9, "clock", -5.0),
        (11, "outage ends", 0.0),
    ]


def test_a_loop_plays_all_again_and_ends_its_series() -> None:
    assert played(
        '{"loop": 60, "times": 2}',
        '{"t": 0, "device": "a", "cycle": [1, 0], "every": 30}',
        '{"t": 40, "device": "b", "value": 7}',
    ) == [(0, "a", 1), (30, "a", 0), (40, "b", 7), (60, "a", 1), (90, "a", 0), (100, "b", 7)]


def test_what_lasts_longer_than_its_turn_ends_in_the_next() -> None:
    assert played('{"loop": 60, "times": 2}', '{"t": 5, "command": "a", "value": 1}', '{"t": 50, "outage": 20}') == [
        (5, "a", 1),
        (50, "outage", 0.0),
        (65, "a", 1),
        (70, "outage ends", 0.0),
        (110, "outage", 0.0),
        (130, "outage ends", 0.0),
    ]


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ((), 0),
        (('{"t": 5, "outage": 10}', '{"t": 6, "command": "a", "value": 1}'), 15),
        (('{"t": 5, "device": "a", "cycle": [1], "every": 1, "for": 90}',), 95),
        (('{"t": 5, "device": "a", "cycle": [1], "every": 1}',), math.inf),
        (('{"loop": "1d", "times": 7}', '{"t": 5, "device": "a", "cycle": [1], "every": 1}'), 604_800),
    ],
)
def test_how_long_a_trace_is(lines: tuple[str, ...], seconds: float) -> None:
    assert length_s(trace(*lines)) == seconds


def test_the_world_is_what_the_steps_have_made_it() -> None:
    world = World()
    for step in (
        Step(0, Kind.VALUE, "soil", 0.1),
        Step(1, Kind.VALUE, "soil", 0.2),
        Step(2, Kind.OUTAGE, for_s=9),
        Step(3, Kind.OUTAGE, for_s=1),
        Step(4, Kind.OUTAGE, is_end=True),
        Step(5, Kind.FAULT, "soil", "nan"),
        Step(5, Kind.FAULT, "air", "nan"),
        Step(6, Kind.FAULT, "air", "nan", is_end=True),
        Step(7, Kind.PUBLISH, "a", 1),
    ):
        assert world.take(step) == 0
    assert world == World({"soil": 0.2}, {"soil": "nan"}, outages=1)


def test_a_clock_of_which_nothing_is_known_is_set_right_in_the_end() -> None:
    world = World()
    one, other = Step(0, Kind.CLOCK, value=-3600.0, for_s=60), Step(9, Kind.CLOCK, value=600.0, for_s=20)
    assert [world.take(one), world.take(other)] == [-3600, 600]
    assert (world.unknown, world.off_s) == (2, -3000)
    assert world.take(Step(29, Kind.CLOCK, value=600.0, for_s=20, is_end=True)) == 0
    assert world.take(Step(60, Kind.CLOCK, value=-3600.0, for_s=60, is_end=True)) == 3000
    assert world == World()


def test_a_clock_that_is_set_by_who_knows_stays_as_it_is() -> None:
    world = World()
    assert world.take(Step(0, Kind.CLOCK, value=-3600.0)) == -3600
    assert world == World()
