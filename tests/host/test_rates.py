"""What a host measures of itself, and what is there of it after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edge_runtime.app import QueueLimits, Rule
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.host.bus import Bus
from edge_runtime.host.rates import RateKeeper
from edge_runtime.model import Stamp
from edge_runtime.pure.rates import HOURS, MINUTES, SIZES, Rate
from edge_runtime.store import schema
from edge_runtime.store.store import Store

RULES = (Rule("dt/#", ("uplink",)), Rule("dt/urgent", ("uplink",), 1), Rule("in/#", ("function/f",)))
QUEUES = {"uplink": QueueLimits(), "function/f": QueueLimits()}
READING = b'{"detail": {"event": "reading", "device": "soil", "value": 0.4172, "unit": "ratio"}}'


def date(stamp: Stamp) -> tuple[int, str]:
    return stamp.wall_ns, "synced"


class Bench:
    """A store, a bus and a keeper at work, with a clock that goes when it is told to."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.bus = Bus(store, RULES, aws_quotas=False)
        self.keeper = RateKeeper(store, self.bus, clock, date)

    async def minute(self, topic: str = "dt/soil", count: int = 60, payload: bytes = READING) -> None:
        """Let a minute pass, at the beginning of which so much is emitted."""
        await self.settled()
        if count:
            await self.bus.emit(*(make_event(self.clock, topic, payload, "device/soil") for _ in range(count)))
        await self.settled()
        await self.clock.advance(60)
        await self.settled()

    async def settled(self) -> None:
        """Let everything come to rest that needs no time."""
        for _ in range(10):
            await self.store.work(lambda _: None)

    async def until(self, happened: Callable[[], object]) -> None:
        """Return when it has happened."""
        async with asyncio.timeout(30):
            while not happened():
                await self.store.work(lambda _: None)


@contextlib.asynccontextmanager
async def bench(folder: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    store = await Store.open(folder, QUEUES, clock=clock)
    it = Bench(store, clock)
    running = asyncio.create_task(it.keeper.run())
    try:
        await it.until(lambda: it.bus._watchers)
        yield it
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_800_000_000.0)


async def test_rates_and_sizes_are_measured(tmp_path: Path, clock: FakeClock) -> None:
    async with bench(tmp_path, clock) as it:
        for _ in range(5):
            await it.minute()
        assert it.keeper.history.rate("uplink") == Rate(1.0, 300.0, 1.0, 1.0)
        assert it.keeper.history.rate("function/f") == Rate(0.0, 300.0, 0.0, 0.0)
        sizes = it.keeper.sizes["uplink"]
        assert (sizes.count, sizes.payload, sizes.topic) == (300, 300 * len(READING), 300 * len("dt/soil"))
        assert sizes.disk == pytest.approx(it.store.counters("uplink").bytes, rel=0.01)
        assert (sizes.topics, sizes.priorities[5]) == (1, 300)
        assert 0 < sizes.gzip < 0.1  # they are all alike


async def test_no_more_than_a_few_events_of_a_minute_are_looked_over(tmp_path: Path, clock: FakeClock) -> None:
    async with bench(tmp_path, clock) as it:
        await it.minute(count=1000)
        assert (it.keeper.sizes["uplink"].count, it.store.counters("uplink").produced) == (64, 1000)
        await it.minute("dt/urgent", 10)
        assert (it.keeper.sizes["uplink"].count, it.keeper.sizes["uplink"].priorities[1]) == (74, 10)


async def test_events_for_nobody_end_the_look_as_well(tmp_path: Path, clock: FakeClock) -> None:
    async with bench(tmp_path, clock) as it:
        await it.minute("nowhere/a", 600)
        assert it.keeper.sizes == {}
        await it.minute(count=3)
        assert it.keeper.sizes["uplink"].count == 3


async def test_who_emits_is_not_watched_once_enough_was_seen(tmp_path: Path, clock: FakeClock) -> None:
    async with bench(tmp_path, clock) as it:
        await it.bus.emit(*(make_event(clock, "dt/soil", READING, "cli") for _ in range(64)))
        await it.until(lambda: not it.bus._watchers)
        await clock.advance(60)
        await it.until(lambda: it.bus._watchers)


async def test_it_goes_on_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    async with bench(tmp_path, clock) as it:
        for _ in range(3):
            await it.minute()
    clock.reboot("boot-2", off_s=86_400)
    async with bench(tmp_path, clock) as it:
        assert it.keeper.history.rate("uplink") == Rate(1.0, 180.0, 1.0, 1.0)
        clock.jump(-10 * 365 * 86_400)  # the wall clock has no say
        await it.minute(count=120)
        found = it.keeper.history.rate("uplink")
        assert found is not None
        assert found.over_s == pytest.approx(240)
        assert found.per_s == pytest.approx(300 / 240)
        assert it.keeper.sizes["uplink"].count == 180 + 64 - 60 + 60


async def test_it_is_kept_every_few_minutes_and_causes_no_commit(tmp_path: Path, clock: FakeClock) -> None:
    async with bench(tmp_path, clock) as it:
        await it.minute()
        assert await it.store.recall(MINUTES) is None  # it waits for somebody
        await it.minute()
        first = await it.store.recall(MINUTES)
        assert first is not None
        assert json.loads(first)["names"] == ["uplink", "function/f"]
        assert await it.store.recall(SIZES) is not None
        assert await it.store.recall(HOURS) is None
        for _ in range(4):
            await it.minute()
            assert await it.store.recall(MINUTES) == first
        await it.minute()
        assert await it.store.recall(MINUTES) != first


@pytest.mark.parametrize("memo", [{MINUTES: "nonsense"}, {SIZES: "[]"}])
async def test_what_cannot_be_read_is_measured_anew(tmp_path: Path, clock: FakeClock, memo: dict[str, str]) -> None:
    store = await Store.open(tmp_path, QUEUES, clock=clock)
    await store.change(memo=memo)
    await store.close()
    async with bench(tmp_path, clock) as it:
        await it.minute()
        assert it.keeper.history.rate("uplink") == Rate(1.0, 60.0, 1.0, 1.0)


async def test_sizes_are_what_rows_take(tmp_path: Path, clock: FakeClock) -> None:
    async with bench(tmp_path, clock) as it:
        await it.minute("in/ä", 1, b"\xff")
        [message] = await it.store.queue("function/f").get()
        row = schema.to_row(0, message)
        assert it.keeper.sizes["function/f"].disk == pytest.approx(schema.size_of(row), abs=2)
        assert it.keeper.sizes["function/f"].topic == 5
