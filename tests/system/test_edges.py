"""A thousand edges a second on one pin: each that survives the debounce is delivered exactly once."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.app import App, Device, LinkSpec, Rule, Uplink
from edge_runtime.clock import SystemClock
from edge_runtime.host import Host
from edge_runtime.links.memory import MemoryBroker, MemoryLink
from edge_runtime.model import Stamp
from edge_runtime.pure.hold import Holder
from tests.system.rig import FULL

SECONDS = 60 if FULL else 5
PERIOD_S = 0.001
UPLINK = Uplink(up=(Rule("device/#", ("uplink",)),), publishes_per_s=0, bytes_per_s=0, aws_quotas=False)


class PinClock(SystemClock):
    """The machine's clock, which notes at what times the thread that moves the pin asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.mover = 0
        self.asked: list[int] = []

    def now(self) -> Stamp:
        """Return this moment."""
        stamp = super().now()
        if threading.get_ident() == self.mover:
            self.asked.append(stamp.mono_ns)
        return stamp


def move(host: Host, clock: PinClock, waits_s: Sequence[float]) -> list[tuple[int, int]]:
    """Turn the pin's level over after each wait; return the edges as the trigger was told them."""
    (button,) = host.hardware.devices
    pin = button.device.pin
    clock.mover = threading.get_ident()
    level, due_s = 0, time.monotonic()
    levels = []
    for wait_s in waits_s:
        due_s += wait_s
        time.sleep(max(0.0, due_s - time.monotonic()))
        level = 1 - level
        levels.append(level)
        if level:
            pin.drive_low()  # pulled up: a closed contact is low
        else:
            pin.drive_high()
    clock.mover = 0
    return list(zip(clock.asked, levels, strict=True))


def surviving(edges: Sequence[tuple[int, int]], debounce_s: float) -> list[tuple[int, int]]:
    """Return time and level of what is steady for long enough, by the rule of the debounce alone."""
    holder = Holder(debounce_s, 0)
    changes = [change for edge in edges for change in holder.feed(*edge)]
    changes += holder.expire(edges[-1][0] + 10**10)
    return [(change.mono_ns, change.level) for change in changes if not change.held]


def bouncing(count: int) -> list[float]:
    """Return the waits of a contact that bounces: short ones, and now and then one that is long enough to count."""
    dice = random.Random(3)  # noqa: S311 - a test that can be repeated
    return [dice.choice((0.0003, 0.0007, 0.001, 0.001, 0.008)) for _ in range(count)]


@pytest.mark.long
@pytest.mark.timeout(SECONDS * 3 + 120)
@pytest.mark.parametrize(
    ("debounce_s", "waits_s"),
    [(0.0, [PERIOD_S] * int(SECONDS / PERIOD_S)), (0.004, bouncing(int(SECONDS / PERIOD_S / 2)))],
    ids=["no debounce", "bouncing"],
)
async def test_every_edge_that_survives_is_delivered_once(
    tmp_path: Path, debounce_s: float, waits_s: Sequence[float]
) -> None:
    button = replace(Device("b", "Button", {"pin": 17}), debounce_s=debounce_s)
    app = App("pi-7", tmp_path, devices=(button,), link=LinkSpec("memory", {}, UPLINK))
    clock, broker = PinClock(), MemoryBroker()
    host = Host(app, tmp_path / "state", clock=clock, simulate=True, link=MemoryLink(broker=broker))
    await host.start()
    try:
        while not any(part.name == "gpio" for part in host.parts):
            await host.store.work(lambda _: None)
        await host.store.work(lambda _: None)
        edges = await asyncio.to_thread(move, host, clock, waits_s)
        expected = surviving(edges, debounce_s)
        await asyncio.wait_for(broker.arrived(len(expected)), 60)
    finally:
        await host.stop()
    details = [json.loads(item.payload)["detail"] for item in broker.record]
    assert [(detail["mono_ns"], detail["value"]) for detail in details] == expected
    assert [detail["seq"] for detail in details] == list(range(1, len(expected) + 1))
    assert len({item.properties["edge-id"] for item in broker.record}) == len(expected)
    assert len(expected) == len(waits_s) if debounce_s == 0 else len(expected) > SECONDS
