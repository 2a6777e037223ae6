"""Latency, freezing and throttling, with a clock that moves when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.pure.bucket import Bucket
from edge_runtime.standin.wire import Item, Lane


class Brake:
    """Holds when told to."""

    def __init__(self) -> None:
        self.frozen = False
        self._event = asyncio.Event()

    async def thawed(self) -> None:
        """Wait for `release`."""
        await self._event.wait()

    def release(self) -> None:
        """Let go."""
        self.frozen = False
        self._event.set()


class Road:
    """A lane and what came out of it, with the time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.brake = Brake()
        self.out: list[tuple[float, Item]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._start = self.clock.now().mono_ns
        self.lane = Lane(self.clock, self.brake, self._deliver, spawn=self._spawn, name="lane")

    def _deliver(self, item: Item) -> None:
        self.out.append(((self.clock.now().mono_ns - self._start) / 1e9, item))

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(work, name=name))
        return self.tasks[-1]


async def test_a_delay_is_latency_and_not_a_bound_on_speed() -> None:
    road = Road()
    for number in range(100):
        road.lane.put(b"%d" % number, 0.025)
    assert road.lane.held == 190
    await road.clock.advance(0.0249)
    assert road.out == []
    await road.clock.advance(0.0001)
    assert [item for _, item in road.out] == [b"%d" % number for number in range(100)]
    assert {when for when, _ in road.out} == {0.025}
    assert road.lane.held == 0


async def test_order_is_kept_when_the_delay_shrinks() -> None:
    road = Road()
    road.lane.put(b"slow", 1.0)
    assert not road.lane.idle(1)
    road.lane.put(b"fast", 0.0)
    road.lane.put(None, 0.0)
    await road.clock.advance(1.0)
    assert [item for _, item in road.out] == [b"slow", b"fast", None]
    assert road.lane.idle(1)


async def test_nothing_moves_while_frozen_and_all_of_it_afterwards() -> None:
    road = Road()
    road.brake.frozen = True
    assert not road.lane.idle(1)
    road.lane.put(b"a", 0.0)
    await road.clock.advance(100)
    assert road.out == []
    road.brake.release()
    await road.clock.advance(0)
    assert road.out == [(100.0, b"a")]


async def test_a_throttle_delays_what_is_too_much() -> None:
    road = Road()
    road.lane.throttle(Bucket(1000, 1000))
    assert road.lane.idle(1000)
    assert not road.lane.idle(500)
    road.lane.put(bytes(500), 0.0)
    road.lane.put(bytes(500), 0.0)
    await road.clock.advance(2)
    assert [when for when, _ in road.out] == pytest.approx([0.5, 1.0], abs=1e-5)


async def test_a_stopped_lane_loses_what_is_on_its_way() -> None:
    road = Road()
    road.lane.put(b"a", 1.0)
    await road.clock.advance(0.5)
    road.lane.stop()
    await road.clock.advance(1)
    assert (road.out, road.lane.held) == ([], 0)
    assert road.tasks[0].cancelled()
    road.lane.put(b"b", 0.0)
    await road.clock.advance(0)
    assert [item for _, item in road.out] == [b"b"]
