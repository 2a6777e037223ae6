"""A loop that is blocked for real, and outputs that are safe all the same."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from edge_runtime.app import Device, Guard
from edge_runtime.devices import OpenDevice
from edge_runtime.host._hand import Hand
from edge_runtime.host.watchdog import MOST_S, Watchdog, silence_of
from tests.host.hardwaresite import site

ROOM_S = 1.0
"""How much later than it should be something may happen on a busy machine."""


class Pump:
    """An output that writes down when it was put to which value."""

    def __init__(self, *, hangs: bool = False, failures: int = 0) -> None:
        self._hangs = hangs
        self._failures = failures
        self.history: list[tuple[float, float]] = []

    @property
    def value(self) -> float:
        """What it does."""
        return self.history[-1][1] if self.history else 0

    @value.setter
    def value(self, value: float) -> None:
        if self._hangs:
            threading.Event().wait()
        if self._failures:
            self._failures -= 1
            raise OSError("not now")
        self.history.append((time.monotonic(), value))


def hand(name: str, pump: Pump) -> Hand:
    return Hand(OpenDevice(name, Device(name, "Pump"), pump, simulated=True, pin="", driver=Pump), None)


def block_until(happened: Callable[[], object], most_s: float) -> float:
    """Keep the loop from running until something has happened, and return how long that took."""
    began_s = time.monotonic()
    while not happened():
        assert time.monotonic() - began_s < most_s
        time.sleep(0.005)
    return time.monotonic() - began_s


async def test_an_output_is_safe_when_its_time_is_over_though_the_loop_is_blocked() -> None:
    pump, bitten, dog = Pump(), threading.Event(), Watchdog(10)
    dog.arm(hand("pump", pump), 0.5, bitten.set)
    took_s = block_until(bitten.is_set, 0.5 + ROOM_S)
    assert took_s >= 0.49
    assert pump.value == 0
    assert [value for _, value in pump.history] == [0]
    dog.close()


async def test_an_output_without_an_end_is_safe_when_the_loop_is_silent_for_too_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pump, other, bitten, dog = Pump(), Pump(), threading.Event(), Watchdog(0.4)
    dog.arm(hand("pump", pump), None, bitten.set)
    one = hand("other", other)
    dog.arm(one, None, bitten.set)
    dog.disarm(one)  # it is safe already
    assert block_until(bitten.is_set, 0.4 + ROOM_S) >= 0.39
    assert (len(pump.history), len(other.history)) == (1, 0)
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage().startswith("the event loop is silent for 0.4")
    assert record.getMessage().endswith("s: device 'pump' was made safe")
    dog.close()


async def test_a_loop_that_lives_is_left_alone_also_when_its_clock_stands_still() -> None:
    """The time of the output is over by the machine's clock, but not by the app's: that is for the loop to say."""
    pump, dog = Pump(), Watchdog(0.4)
    dog.arm(hand("pump", pump), 0.2, lambda: None)
    await asyncio.sleep(0.9)  # the real time is what is tested
    assert pump.history == []
    dog.close()


async def test_one_that_hangs_and_one_that_fails_do_not_keep_another_on() -> None:
    hanging, failing, well = Pump(hangs=True), Pump(failures=1), Pump()
    seen: list[str] = []
    dog = Watchdog(10)
    for name, pump in (("hanging", hanging), ("failing", failing), ("well", well)):
        dog.arm(hand(name, pump), 0.2, lambda name=name: seen.append(name))  # type: ignore[misc]  # a default binds it
    assert block_until(lambda: len(seen) == 2, 0.2 + 1.0 + 2 * ROOM_S) >= 0.19
    assert seen == ["well", "failing"]  # it was tried again
    dog.close()


async def test_it_sleeps_while_everything_is_safe() -> None:
    dog = Watchdog(0.4)
    one = hand("pump", Pump())
    dog.arm(one, None, lambda: None)
    dog.disarm(one)
    assert dog._look(time.monotonic()) is None
    thread = cast("threading.Thread", dog._thread)
    dog.close()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("guards", "silence_s"),
    [
        ([], MOST_S),
        ([None, Guard()], MOST_S),
        ([Guard(lease_s=30), Guard(lease_s=4, max_on_s=60)], 4),
        ([Guard(max_on_s=2)], 2),
        ([Guard(lease_s=0.05)], 0.5),
    ],
)
def test_it_is_as_patient_as_the_shortest_time(guards: list[Guard | None], silence_s: float) -> None:
    assert silence_of([Device(f"d{n}", "LED", guard=guard) for n, guard in enumerate(guards)]) == silence_s


async def test_a_blocked_host_and_its_pump(tmp_path: Path) -> None:
    """The whole way: the lease holds while the loop is blocked, and the loop says afterwards who ended it."""
    device = Device("pump", "stubborn", guard=Guard(lease_s=1))
    async with site(tmp_path, device) as it:
        await it.until(lambda: it.hardware.devices)
        board: Any = it.hardware.devices[0].device
        await it.command("pump", b"1")
        await it.until(lambda: board.value == 1)
        await it.emitted(2)
        took_s = block_until(lambda: board.value == 0, 1 + ROOM_S)
        assert took_s <= 1 + ROOM_S
        (event,) = await it.emitted(3)
        detail = json.loads(event.payload)["detail"]
        assert (detail["value"], detail["why"], detail["asked_by"]) == (0, "watchdog", "host")
