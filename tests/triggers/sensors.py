"""Sensors whose readings a test hands out."""

from __future__ import annotations

import asyncio
import queue
import threading
from random import Random
from typing import Any

from edge_runtime.app import Device
from edge_runtime.clock import Clock
from edge_runtime.devices import OpenDevice
from edge_runtime.triggers.sample import SampleTrigger


class Sensor:
    """A driver whose readings a test hands out: a value, an error to raise, or nothing yet (it hangs)."""

    def __init__(self, *readings: object) -> None:
        self._readings: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.give(*readings)
        self.reads = 0
        self.asked = threading.Event()
        """Set once somebody reads."""

    def give(self, *readings: object) -> None:
        """Hand out readings for the next questions."""
        for reading in readings:
            self._readings.put(reading)

    @property
    def value(self) -> object:
        """Take the next reading, and wait for it when there is none."""
        self.reads += 1
        self.asked.set()
        reading = self._readings.get()
        if isinstance(reading, Exception):
            raise reading
        return reading


class Highest(Random):
    """Draws the highest number each time."""

    def uniform(self, a: float, b: float) -> float:
        """Return the end of the range."""
        return max(a, b)


def device(sensor: Sensor, name: str = "soil", **spec: Any) -> OpenDevice:  # noqa: ANN401 - fields of Device
    """Wrap a test's sensor as an open device."""
    return OpenDevice(name, Device(name, "moisture", **{"every_s": 1.0, **spec}), sensor, simulated=False, pin="")


def trigger(clock: Clock, *devices: OpenDevice, patience_s: float | None = None, most: int = 1000) -> SampleTrigger:
    """Make the trigger of a test."""
    return SampleTrigger(
        devices, "pi-7", clock, synced=lambda: True, random=Highest(), patience_s=patience_s, most=most
    )


async def answered(sample: SampleTrigger, *, but: str = "") -> None:
    """Return when every device but one has answered and the trigger has dealt with it.

    The threads need real time, and a reading that is not emitted leaves nothing to be awaited.
    """
    while sample.awaited - {but}:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)
    await asyncio.sleep(0)
