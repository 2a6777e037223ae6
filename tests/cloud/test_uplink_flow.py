"""What leaves when: urgent before the rest, new beside old, packed by topic, and within a data budget."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge_runtime.app import Budget, QueueLimits, Uplink
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.cloud.uplink import UplinkRunner
from edge_runtime.links.memory import MemoryBroker, MemoryLink
from edge_runtime.model import Feed, Stamp
from edge_runtime.pure.data_budget import PING_BYTES
from edge_runtime.store.store import Store

FREE = Uplink(publishes_per_s=0, bytes_per_s=0, aws_quotas=False)
NOON = datetime(2026, 11, 22, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
BUDGET = Budget(20_000, "day", urgent=1, timezone="Europe/Berlin")


class Time:
    """What knows the time, as the test has it."""

    is_right = True

    def date(self, stamp: Stamp) -> tuple[int, str]:
        """Return the time of a stamp."""
        return stamp.wall_ns, "synced" if self.is_right else "unsynced"


class Site:
    """A store, an uplink and a broker in memory."""

    def __init__(self, store: Store, clock: FakeClock, broker: MemoryBroker, spec: Uplink) -> None:
        self.store = store
        self.clock = clock
        self.broker = broker
        self.time = Time()
        self.count = 0
        link = MemoryLink(broker=broker)
        self.runner = UplinkRunner(store, link, spec, clock, deliver=_nothing, dates=self.time)
        self.task = asyncio.create_task(self.runner.run())

    async def emit(self, count: int, *, priority: int = 5, topic: str | Callable[[int], str] = "dt/a") -> None:
        """Accept so many messages, numbered on from those before, 500 in a transaction."""
        numbers = range(self.count, self.count + count)
        self.count += count
        feeds = (Feed("uplink", priority),)
        for part in (numbers[at : at + 500] for at in range(0, count, 500)):
            events = [
                make_event(self.clock, topic if isinstance(topic, str) else topic(n), b"%d" % n, "cli") for n in part
            ]
            await self.store.change([(event, feeds) for event in events])

    async def until(self, so: Callable[[], object], step_s: float = 0.0) -> None:
        """Return when it is so, letting time pass meanwhile."""
        async with asyncio.timeout(60):
            while not so():
                await (self.clock.advance(step_s) if step_s else self.store.work(lambda _: None))

    async def at_rest(self) -> None:
        """Return when nothing moves any more unless time passes."""
        for _ in range(20):
            await self.store.work(lambda _: None)

    @property
    def delivered(self) -> int:
        """How many are by the books."""
        return self.store.counters("uplink").delivered

    @property
    def arrived(self) -> list[int]:
        """What the broker took, unpacked, in order."""
        found: list[int] = []
        for item in self.broker.record:
            packed = json.loads(item.payload)
            found += [one["payload"] for one in packed] if isinstance(packed, list) else [packed]
        return found


async def _nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Store nothing: nothing comes down."""


@asynccontextmanager
async def site(
    folder: Path, spec: Uplink, broker: MemoryBroker | None = None, clock: FakeClock | None = None
) -> AsyncIterator[Site]:
    clock = clock or FakeClock(NOON)
    store = await Store.open(folder, {"uplink": QueueLimits()}, clock=clock)
    it = Site(store, clock, broker or MemoryBroker(), spec)
    try:
        yield it
    finally:
        it.task.cancel()
        await asyncio.gather(it.task, return_exceptions=True)
        await store.close()


def ordered(numbers: list[int]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


async def test_an_urgent_message_goes_with_the_next_publish_whatever_waits(tmp_path: Path) -> None:
    spec = replace(FREE, publishes_per_s=10, pack=50)
    async with site(tmp_path, spec) as it:
        await it.emit(3000, topic=lambda n: f"dt/{n}")  # each topic its own: nothing can be packed
        await it.clock.advance(3.0)
        before = len(it.broker.record)
        await it.emit(1, priority=0, topic="alarm")
        await it.until(lambda: 3000 in it.arrived, 0.01)
        assert it.arrived.index(3000) <= before + 1
        assert ordered([n for n in it.arrived if n != 3000])


async def test_topics_that_take_turns_are_packed_all_the_same(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.go_offline()
    async with site(tmp_path, replace(FREE, pack=50), broker) as it:
        await it.emit(6000, topic=lambda n: f"dt/{n % 20}")
        broker.go_online()
        await it.until(lambda: it.runner.state.state == "up", 1.0)
        await it.until(lambda: it.delivered == 6000)
        assert sorted(it.arrived) == list(range(6000))
        assert all(ordered([n for n in it.arrived if n % 20 == topic]) for topic in range(20))
        assert len(broker.record) <= 125  # 48 to a publish and more


async def test_a_packed_backlog_that_is_cut_off_is_sent_again_in_order(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with site(tmp_path, replace(FREE, pack=10, window=4), broker) as it:
        broker.hold()
        await it.emit(3000, topic=lambda n: f"dt/{n % 3}")
        await broker.arrived(4)
        broker.release(1)
        await it.until(lambda: it.delivered)
        broker.go_offline()
        await it.until(lambda: it.runner.state.state == "waiting")
        done = it.delivered
        broker.record.clear()
        broker.release()
        broker.go_online()
        await it.until(lambda: it.delivered == 3000, 1.0)
        assert len(it.arrived) == 3000 - done
        assert all(ordered([n for n in it.arrived if n % 3 == topic]) for topic in range(3))


@pytest.mark.parametrize("share", [0.25, 0.5])
async def test_new_messages_get_their_share_while_a_backlog_drains(tmp_path: Path, share: float) -> None:
    broker = MemoryBroker()
    broker.go_offline()
    async with site(tmp_path, FREE, broker) as it:
        await it.emit(6000)
    broker.go_online()
    async with site(tmp_path, replace(FREE, publishes_per_s=100, live_share=share), broker) as it:
        it.count = 6000
        for _ in range(100):  # more comes than the share would let pass
            await it.emit(10)
            await it.clock.advance(0.1)
        middle = it.arrived[it.arrived.index(6000) :]
        assert len(middle) > 900
        assert sum(n >= 6000 for n in middle) / len(middle) == pytest.approx(share, rel=0.1)
        await it.until(lambda: it.delivered == 7000, 1.0)
        assert sorted(it.arrived) == list(range(7000))  # none lost, none twice
        assert ordered([n for n in it.arrived if n < 6000])
        urgent_first = len(it.arrived)
        await it.emit(100)
        await it.emit(1, priority=0)
        await it.until(lambda: it.delivered == 7101, 0.1)
        assert it.arrived.index(7100) < urgent_first + 30


async def test_without_a_live_share_order_is_strict(tmp_path: Path) -> None:
    async with site(tmp_path, replace(FREE, publishes_per_s=100)) as it:
        await it.emit(2000)
        for _ in range(10):
            await it.emit(10)
            await it.clock.advance(0.1)
        await it.until(lambda: it.delivered == 2100, 1.0)
        assert it.arrived == list(range(2100))


async def test_each_publish_tells_when_it_happened(tmp_path: Path) -> None:
    async with site(tmp_path, FREE) as it:
        await it.emit(1)
        await it.until(lambda: it.delivered)
        it.time.is_right = False
        await it.clock.advance(1.5)
        await it.emit(1)
        await it.until(lambda: it.delivered == 2)
        first, second = (item.properties for item in it.broker.record)
        assert (first["edge-time"], first.get("edge-clock")) == (str(int(NOON * 1000)), None)
        assert (second["edge-time"], second["edge-clock"]) == (str(int(NOON * 1000) + 1500), "unsynced")


# -- the data budget -----------------------------------------------------------------------------------------------


def standing(it: Site) -> dict[str, object]:
    found = it.runner.state.budget
    assert found is not None
    return found


async def test_a_budget_used_up_stops_all_but_the_urgent_until_the_next_day(tmp_path: Path) -> None:
    async with site(tmp_path, replace(FREE, budget=BUDGET)) as it:
        await it.emit(200)
        await it.until(lambda: standing(it)["state"] == "used up")
        await it.at_rest()
        sent = len(it.arrived)
        assert 20 < sent < 60  # some 300 bytes on the wire each, beside the 8,000 of the connection
        used = standing(it)["used"]
        midnight = datetime(2026, 11, 23, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
        assert standing(it) | {"used": 0} == {
            "limit": 20_000, "used": 0, "left": 0, "per": "day", "state": "used up", "least": 1, "until": midnight,
        }  # fmt: skip
        assert isinstance(used, int)
        assert 20_000 <= used < 21_000
        await it.emit(1, priority=1)
        await it.emit(1, priority=2)
        await it.until(lambda: it.delivered == sent + 1)
        await it.at_rest()
        assert it.arrived[sent:] == [200]
        await it.clock.advance(11.9 * 3600)
        assert len(it.arrived) == sent + 1
        await it.until(lambda: len(it.arrived) > sent + 1, 60.0)
        assert it.clock.now().wall_ns / 1e9 < midnight + 120
        assert it.arrived[sent + 1] == 201  # the most urgent of those that waited
        assert it.runner.state.state == "up"


async def test_a_restart_does_not_give_the_budget_anew(tmp_path: Path) -> None:
    spec = replace(FREE, budget=BUDGET)
    broker = MemoryBroker()
    async with site(tmp_path, spec, broker) as it:
        await it.emit(200)
        await it.until(lambda: standing(it)["state"] == "used up")
        await it.at_rest()
        used, sent = standing(it)["used"], len(it.arrived)
        assert isinstance(used, int)
    async with site(tmp_path, spec, broker) as it:
        await it.until(lambda: it.runner.state.state == "up")
        await it.at_rest()
        assert standing(it)["used"] == used + 8_000
        assert len(it.arrived) == sent


async def test_what_is_for_later_goes_at_night_and_does_not_count(tmp_path: Path) -> None:
    budget = replace(BUDGET, limit_bytes=100_000, night=(22 * 60, 6 * 60), later=7)
    async with site(tmp_path, replace(FREE, budget=budget)) as it:
        await it.emit(10, priority=7)
        await it.emit(10, priority=6)
        await it.until(lambda: it.delivered == 10)
        await it.at_rest()
        assert it.arrived == list(range(10, 20))
        assert standing(it)["state"] == "waits for the night"
        used = standing(it)["used"]
        await it.until(lambda: it.delivered == 20, 60.0)
        local = datetime.fromtimestamp(it.clock.now().wall_ns / 1e9, ZoneInfo("Europe/Berlin"))
        assert (local.hour, local.minute <= 2) == (22, True)
        assert it.arrived[10:] == list(range(10))
        assert standing(it)["state"] == "night"
        at_night = standing(it)["used"]
        assert isinstance(at_night, int)
        assert isinstance(used, int)
        assert 598 * PING_BYTES <= at_night - used <= 600 * PING_BYTES  # of ten hours, and nothing for the messages


async def test_a_budget_that_was_counted_by_a_wrong_clock_goes_on_when_it_is_set(tmp_path: Path) -> None:
    async with site(tmp_path, replace(FREE, budget=BUDGET), clock=FakeClock(1_000_000.0)) as it:
        it.time.is_right = False
        await it.emit(200)
        await it.until(lambda: standing(it)["state"] == "used up")
        await it.at_rest()
        assert standing(it)["until"] is None  # nobody knows
        sent = len(it.arrived)
        it.clock.jump(NOON - 1_000_000.0)
        it.time.is_right = True
        await it.clock.advance(120)
        assert (len(it.arrived), standing(it)["state"]) == (sent, "used up")
        await it.until(lambda: len(it.arrived) > sent, 600.0)
        assert it.clock.now().wall_ns / 1e9 >= datetime(2026, 11, 23, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


async def test_a_link_without_a_budget_says_nothing_of_one(tmp_path: Path) -> None:
    async with site(tmp_path, FREE) as it:
        assert it.runner.state.budget is None
