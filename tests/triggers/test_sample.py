"""Devices that must be asked."""

from __future__ import annotations

import asyncio
import json
import math
import queue
import threading
from random import Random
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.clock import FakeClock
from edge_runtime.devices import OpenDevice, close, open_devices
from edge_runtime.devices.simulation import Simulated
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Trigger
from edge_runtime.triggers.sample import SampleTrigger
from tests.triggers.recorder import Recorder, running

_LOST = object()


class Sensor:
    """A driver whose readings a test hands out: a value, an error to raise, or nothing yet (it hangs)."""

    def __init__(self, *readings: object) -> None:
        self._readings: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.give(*readings)
        self.reads = 0

    def give(self, *readings: object) -> None:
        """Hand out readings for the next questions."""
        for reading in readings:
            self._readings.put(reading)

    @property
    def value(self) -> object:
        """Take the next reading, and wait for it when there is none."""
        self.reads += 1
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


def trigger(clock: FakeClock, *devices: OpenDevice) -> SampleTrigger:
    """Make the trigger of a test."""
    return SampleTrigger(devices, "pi-7", clock, synced=lambda: True, random=Highest())


async def answered(sample: SampleTrigger, *, but: str = "") -> None:
    """Return when every device but one has answered and the trigger has dealt with it.

    The threads need real time, and a reading that is not emitted leaves nothing to be awaited.
    """
    while any(s.asked_ns is not None for s in sample._sensors if s.opened.name != but):  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_reading_now_and_one_every_second() -> None:
    clock, recorder, sensor = FakeClock(wall_s=1_790_072_130), Recorder(), Sensor(0.25)
    sample = trigger(clock, device(sensor))
    assert isinstance(sample, Trigger)
    async with running(sample, recorder):
        await recorder.until(1)
        for n in range(2, 4):
            sensor.give(n)
            await clock.advance(1)
            await recorder.until(n)
    first = recorder.events[0]
    assert (first.topic, first.source) == ("device/soil", "device/soil")
    body = json.loads(first.payload)
    assert (body["id"], body["detail-type"], body["source"]) == (first.id, "Sensor moisture Reading", "edge.sample")
    assert body["time"] == "2026-09-22T10:15:30.000000Z"
    assert [(d["value"], d["previous"], d["seq"]) for d in recorder.details] == [
        (0.25, None, 1),
        (2, 0.25, 2),
        (3, 2, 3),
    ]
    assert [e.time.mono_ns for e in recorder.events] == [1_000_000_000, 2_000_000_000, 3_000_000_000]


async def test_the_grid_does_not_drift_and_missed_times_are_left_out() -> None:
    clock, recorder, sensor = FakeClock(), Recorder(), Sensor(0)
    async with running(trigger(clock, device(sensor)), recorder):
        await recorder.until(1)
        recorder.gate.clear()
        sensor.give(1)
        await clock.advance(1)
        await recorder.tried(2)  # the store is busy from 1.0 to 4.3 s
        await clock.advance(3.3)
        sensor.give(2)
        recorder.gate.set()
        await recorder.until(3)  # what is overdue is read once
        sensor.give(3)
        await clock.advance(0.7)
        await recorder.until(4)
    assert [e.time.mono_ns / 1e9 - 1 for e in recorder.events] == [0, 1, 4.3, 5]


async def test_readings_of_one_tick_go_in_one_emit() -> None:
    clock, recorder = FakeClock(), Recorder()
    sensors = [Sensor(n) for n in range(5)]
    async with running(trigger(clock, *(device(s, f"s{n}") for n, s in enumerate(sensors))), recorder):
        await recorder.until(5)
    assert len(recorder.calls) == 1
    assert sorted(recorder.topics) == [f"device/s{n}" for n in range(5)]


async def test_a_slow_device_holds_the_others_up_for_a_moment_only() -> None:
    clock, recorder, slow, quick = FakeClock(), Recorder(), Sensor(), Sensor(1)
    sample = trigger(clock, device(slow, "slow"), device(quick, "quick"))
    async with running(sample, recorder):
        await answered(sample, but="slow")
        await clock.advance(0.049)
        assert recorder.topics == []
        await clock.advance(0.001)
        assert recorder.topics == ["device/quick"]
        slow.give(7)
        await recorder.until(2)
    assert recorder.topics == ["device/quick", "device/slow"]


async def test_on_change_deadband_and_heartbeat() -> None:
    clock, recorder = FakeClock(), Recorder()
    sensor = Sensor()
    values = [5, 5, 5.2, 6, 6, 6, 6, 6]
    sample = trigger(clock, device(sensor, deadband=0.5, heartbeat_s=3))
    async with running(sample, recorder):
        for value in values:
            sensor.give(value)
            await answered(sample)
            await clock.advance(1)
    assert [
        (e.time.mono_ns // 10**9 - 1, d["value"]) for e, d in zip(recorder.events, recorder.details, strict=True)
    ] == [
        (0, 5),
        (3, 6),
        (6, 6),
    ]


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (OSError("bus is gone"), "OSError: bus is gone"),
        (math.nan, "the reading is nan"),
        (None, "the device gave no reading"),
        (_LOST, f"the reading {_LOST!r} has no form in JSON: Object of type object is not JSON serializable"),
    ],
)
async def test_a_fault_is_told_once_and_ends_with_the_next_good_reading(reading: object, reason: str) -> None:
    clock, recorder, sensor = FakeClock(), Recorder(), Sensor(1, reading, reading, 1, reading)
    sample = trigger(clock, device(sensor, on_change=True))
    async with running(sample, recorder):
        for _ in range(10):
            await answered(sample)
            if sensor.reads == 5:
                break
            await clock.advance(1)
    assert recorder.topics == ["device/soil", "device/soil/fault", "device/soil", "device/soil/fault"]
    fault = json.loads(recorder.events[1].payload)
    assert fault["detail-type"] == "Sensor moisture Fault"
    assert (fault["detail"]["value"], fault["detail"]["previous"], fault["detail"]["reason"]) == (None, 1, reason)
    assert [detail["seq"] for detail in recorder.details] == [1, 2, 3, 4]


async def test_a_failing_device_is_tried_with_back_off_on_its_grid() -> None:
    clock, recorder = FakeClock(), Recorder()
    sensor = Sensor(*[OSError("x")] * 4, 1)
    times: list[float] = []
    sample = trigger(clock, device(sensor))
    async with running(sample, recorder):
        for _ in range(20):
            await answered(sample)
            if sensor.reads > len(times):
                times.append(clock.now().mono_ns / 1e9 - 1)
            await clock.advance(1)
            if len(times) == 5:
                break
    # Waits of 1, 2, 4 and 8 s, each up to the next full second after them.
    assert times == [0, 2, 5, 10, 19]


async def test_a_hung_device_stops_nobody_and_is_asked_only_once() -> None:
    clock, recorder, hung, good = FakeClock(), Recorder(), Sensor(), Sensor()
    sample = trigger(clock, device(hung, "hung"), device(good, "good", every_s=2.0))
    async with running(sample, recorder):
        for n in range(6):
            good.give(n)
            await answered(sample, but="hung")
            await clock.advance(2)
        assert recorder.topics == ["device/good"] * 3 + ["device/hung/fault"] + ["device/good"] * 3
        assert recorder.details[3]["reason"] == "the reading has not come back for 5 s"
        assert hung.reads == 1
        hung.give(3.5)
        good.give(6)
        await answered(sample)
        await recorder.until(9)
    assert set(recorder.topics[7:]) == {"device/hung", "device/good"}


async def test_what_the_store_refuses_is_counted_and_reading_goes_on() -> None:
    for error in (QueueFullError("full"), StoreError("no disk")):
        clock, recorder, sensor = FakeClock(), Recorder(), Sensor(1)
        recorder.refuse = error
        sample = trigger(clock, device(sensor))
        async with running(sample, recorder):
            await recorder.tried(1)
            await clock.advance(0)
            assert sample.refused == {"soil": 1}
            recorder.refuse = None
            sensor.give(2)
            await clock.advance(1)
            await recorder.until(1)
        assert [detail["value"] for detail in recorder.details] == [2]


async def test_a_simulated_converter_and_real_load() -> None:
    specs = [
        Device("soil", "MCP3008", {"channel": 3}, every_s=1),
        Device("rgb", "RGBLED", {"red": 5, "green": 6, "blue": 13}, every_s=1),
        Device("load", "LoadAverage", every_s=1),
    ]
    devices = open_devices(specs, simulate=True)
    clock, recorder = FakeClock(), Recorder()
    try:
        Simulated(devices).set("soil", 0.5)
        async with running(trigger(clock, *devices), recorder):
            await recorder.until(3)
    finally:
        close(devices)
    found = {detail["device"]: detail for detail in recorder.details}
    assert found["soil"]["value"] == pytest.approx(0.5, abs=0.001)
    assert (found["soil"]["pin"], found["soil"]["simulated"]) == ("SPI0.0 channel 3", True)
    assert found["load"]["simulated"] is False
    assert found["rgb"]["value"] == [0, 0, 0]
    assert found["load"]["value"] >= 0


async def test_it_ends_and_leaves_no_thread_and_no_task() -> None:
    before = {thread.ident for thread in threading.enumerate()}
    sensor = Sensor(1)
    clock, recorder = FakeClock(), Recorder()
    async with running(trigger(clock, device(sensor)), recorder):
        await recorder.until(1)
        own = [thread for thread in threading.enumerate() if thread.ident not in before]
        assert [(thread.name, thread.daemon) for thread in own] == [("sample[soil]", True)]
    own[0].join(10)
    assert not own[0].is_alive()
    assert len(asyncio.all_tasks()) == 1
