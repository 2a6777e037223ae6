"""Clouds and brokers that go away, hang, or forget to answer, while events come and hosts die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.brokers import start_mosquitto
from tests.system.rig import FULL, cloud_site, site
from tests.system.takers import Subscriber

ROUNDS = 20 if FULL else 1
OUTAGES = 3 if FULL else 1
"""Rounds in one life of the host: with each connection that did not last, its waits grow, to minutes in the end."""


@pytest.mark.long
@pytest.mark.timeout(OUTAGES * 1200 + 120)
async def test_the_cloud_is_unreachable_hangs_and_loses_acknowledgements(tmp_path: Path) -> None:
    async with cloud_site(tmp_path) as (it, cloud):
        cloud.faults.refuse()
        await it.host.start()  # it starts without a cloud
        it.produce()
        await it.producer.accepted(100)
        cloud.faults.clear()
        for _ in range(OUTAGES):
            await it.fence()
            cloud.faults.refuse()
            cloud.faults.drop()
            await it.producer.accepted(200)
            cloud.faults.clear()
            await it.fence()
            cloud.faults.freeze()
            await it.producer.accepted(300)  # more than fits into the window
            cloud.faults.clear()
            await it.fence()
            cloud.faults.lose_pubacks(30)
            await it.producer.accepted(200)
            cloud.faults.restart(keep_sessions=False)
        verdict = await it.finish()
        assert verdict.accepted > 800 * OUTAGES
        assert verdict.repeats >= 30


@pytest.mark.long
@pytest.mark.timeout(ROUNDS * 200 + 120)
async def test_the_host_is_killed_while_the_cloud_hangs_and_while_it_is_away(tmp_path: Path) -> None:
    async with cloud_site(tmp_path, driver="paho") as (it, cloud):
        await it.host.start()
        it.produce()
        for _ in range(ROUNDS):
            await it.producer.accepted(50)
            cloud.faults.freeze()
            await it.producer.accepted(200)
            await it.host.kill()
            await it.host.start()
            await it.producer.accepted(100)
            cloud.faults.clear()
            cloud.faults.refuse()
            cloud.faults.drop()
            await it.producer.accepted(50)
            await it.host.kill()
            await it.host.start()
            await it.producer.accepted(50)
            cloud.faults.clear()
            await it.fence()
        verdict = await it.finish()
        assert verdict.accepted > 450 * ROUNDS


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_acknowledgements_that_are_lost_for_good_are_noticed(tmp_path: Path) -> None:
    async with cloud_site(tmp_path) as (it, cloud):
        await it.host.start()
        it.produce()
        await it.producer.accepted(100)
        cloud.faults.lose_pubacks(3)
        await it.producer.accepted(100)
        await cloud.until(lambda: cloud.counts["connected"] >= 2)  # nobody cut the first connection
        verdict = await it.finish()
        assert verdict.repeats >= 3


@pytest.fixture
async def subscriber(tmp_path: Path) -> AsyncIterator[Subscriber]:
    async with start_mosquitto(tmp_path) as broker:
        subscriber = Subscriber(broker)
        await subscriber.subscribe()
        yield subscriber
        subscriber.close()


@pytest.mark.long
@pytest.mark.timeout(ROUNDS * 200 + 120)
@pytest.mark.parametrize("driver", ["paho", "awscrt"])
async def test_a_mosquitto_is_frozen_and_killed_and_so_is_the_host(
    tmp_path: Path, subscriber: Subscriber, driver: str
) -> None:
    if driver == "awscrt":
        pytest.importorskip("awscrt")
    broker = subscriber.broker
    async with site(tmp_path, subscriber, driver=driver) as it:
        await it.host.start()
        it.produce()
        for number in range(ROUNDS):
            await it.producer.accepted(100)
            await it.host.kill()
            await it.host.start()
            await it.producer.accepted(100)
            broker.freeze()
            await it.producer.accepted(200)
            await asyncio.sleep(1)
            broker.thaw()
            await it.producer.accepted(100)
            # What it has acknowledged and not passed on would be lost with it, and not by us: so the host sends
            # nothing while that arrives, and nothing before somebody listens again.
            it.host.freeze()
            await subscriber.mark(str(number))
            await broker.kill()
            await broker.start()
            await subscriber.subscribe()
            it.host.thaw()
            await it.producer.accepted(100)
        verdict = await it.finish()
        assert verdict.accepted > 600 * ROUNDS
