"""Brokers that answer late, twice, wrongly or not at all, refuse, restart, freeze, and hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.standin.codes import Code
from edge_runtime.standin.faults import Faults
from tests.system.bad import SCALE, Exposed, drivers, exposed, exposed_to_mosquitto
from tests.system.oracle import DIRECT
from tests.system.rig import FULL

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600 if FULL else 120)]

Fault = Callable[[Faults], object]
ROUNDS = 5 if FULL else 1


def late_and_twice(faults: Faults) -> None:
    faults.late_acks(1.0, share=0.3, seed=1)
    faults.repeat_acks(share=0.5, seed=2)


def never_and_of_another_packet(faults: Faults) -> None:
    faults.lose_pubacks(3)
    faults.wrong_acks(2)


ACKNOWLEDGEMENTS: list[Fault] = [late_and_twice, never_and_of_another_packet]
if FULL:
    ACKNOWLEDGEMENTS += [
        lambda faults: faults.late_acks(8.0, 3),
        lambda faults: faults.lose_pubacks(share=0.1, seed=4),
        lambda faults: faults.wrong_acks(share=0.1, seed=5),
    ]
REFUSALS = [Code.SERVER_UNAVAILABLE, Code.SERVER_BUSY, Code.NOT_AUTHORIZED]


async def through(it: Exposed, faults: Faults, fault: Fault, seconds: float) -> None:
    """Let the broker do wrong for a while, then be good; check that all gets through then."""
    fault(faults)
    await it.producer.accepted(60)
    await asyncio.sleep(seconds)
    faults.clear()
    await it.clean()


@drivers("awscrt")
async def test_acknowledgements_go_wrong(tmp_path: Path, driver: str) -> None:
    async with exposed(tmp_path, driver) as (it, cloud):
        await it.begin()
        for fault in ACKNOWLEDGEMENTS * ROUNDS:
            await through(it, cloud.faults, fault, 5 * SCALE)
        await it.finish()
        for what, least in (("late", 4), ("repeated", 1), ("wrong", 2), ("lost", 3)):
            assert cloud.counts[f"pubacks_{what}"] >= least


@drivers("paho")
async def test_publishes_that_are_refused_for_now_keep_their_order_in_a_window_of_one(
    tmp_path: Path, driver: str
) -> None:
    async with exposed(tmp_path, driver, more="  window: 1\n") as (it, cloud):
        await it.begin()
        refused = cloud.counts["refused"]
        cloud.faults.fail_acks(Code.QUOTA_EXCEEDED, 2)
        await cloud.until(lambda: cloud.counts["refused"] == refused + 2)
        await it.clean()
        verdict = await it.finish()
        assert verdict.repeats == 0


@drivers("paho")
async def test_connections_are_refused_cut_and_lost_in_restarts(tmp_path: Path, driver: str) -> None:
    def refuse(code: Code) -> Fault:
        def both(faults: Faults) -> None:
            faults.refuse(code)
            faults.drop()

        return both

    wrong: list[tuple[Fault, float]] = [
        *((refuse(code), 15 * SCALE) for code in (REFUSALS if FULL else REFUSALS[-1:])),
        (lambda faults: faults.restart(keep_sessions=True), 0),
        (lambda faults: faults.restart(keep_sessions=False), 0),
        (lambda faults: faults.freeze(), 30 * SCALE),
        (lambda faults: faults.cut(after=1, count=3), 20 * SCALE),
        (lambda faults: faults.cut(after=20, count=2, acked=True), 20 * SCALE),
    ]
    async with exposed(tmp_path, driver) as (it, cloud):
        await it.begin()
        for fault, seconds in wrong * ROUNDS:
            await through(it, cloud.faults, fault, seconds)
        await it.finish()
        assert cloud.counts["refused"] > 0


async def test_whoever_publishes_what_is_denied_is_thrown_out(tmp_path: Path) -> None:
    async with exposed(tmp_path, "paho", more="  version: 3.1.1\n") as (it, cloud):
        await it.host.start()
        it.site.produce()
        await it.producer.accepted(20)
        before = cloud.counts["connected"]
        await through(it, cloud.faults, lambda faults: faults.reject(DIRECT), 50 * SCALE)
        assert cloud.counts["connected"] >= before + 2
        await it.site.quiet()
        rows = (await it.host.ask("ledger"))["rows"]
        await it.host.stop()
        assert all((row["queued"], row["dead"], row["dropped"]) == (0, 0, 0) for row in rows)
        # MQTT 3.1.1 has no properties: what a message is, its payload says.
        sent = [payload for topic, payload in it.producer.promises.accepted.values() if topic == DIRECT]
        first = dict.fromkeys(published.payload for published in cloud.record if published.topic == DIRECT)
        assert [payload for payload in first if payload in set(sent)] == sent


@drivers("awscrt")
async def test_a_mosquitto_that_is_frozen(tmp_path: Path, driver: str) -> None:
    async with exposed_to_mosquitto(tmp_path, driver) as (it, broker):
        await it.begin()
        for _ in range(ROUNDS):
            broker.freeze()
            await it.producer.accepted(150)
            await asyncio.sleep(20 * SCALE)
            broker.thaw()
            await it.clean()
            before = len(it.net.connects)
            it.net.cut()
            broker.freeze()
            await it.producer.accepted(20)
            await asyncio.sleep(20 * SCALE)
            broker.thaw()
            await it.net.until(lambda before=before: len(it.net.connects) > before)  # type: ignore[misc]
            await it.clean()
        await it.finish()
