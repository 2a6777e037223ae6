"""Devices that must be asked."""

from __future__ import annotations

import asyncio
import json
import math
import threading

import pytest

from edge_runtime.app import Device, Measure
from edge_runtime.clock import FakeClock
from edge_runtime.devices import close, open_devices
from edge_runtime.devices.simulation import Simulated
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Trigger
from tests.triggers.recorder import Recorder, running
from tests.triggers.sensors import Sensor, answered, device, trigger

_LOST = object()


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
    sample = trigger(clock, device(sensor))
    async with running(sample, recorder):
        await recorder.until(1)
        await clock.advance(1)  # what is asked for now comes at 4.3 s
        await clock.advance(3.3)
        sensor.give(1)
        await recorder.until(2)
        sensor.give(2)
        await clock.advance(0.7)
        await recorder.until(3)
    assert [e.time.mono_ns / 1e9 - 1 for e in recorder.events] == [0, 4.3, 5]
    assert sample.left_out == {"soil": 3}


async def test_while_the_store_is_busy_reading_goes_on() -> None:
    clock, recorder, sensor = FakeClock(), Recorder(), Sensor(0)
    sample = trigger(clock, device(sensor))
    async with running(sample, recorder):
        await recorder.until(1)
        recorder.gate.clear()
        for n in range(1, 4):
            sensor.give(n)
            await clock.advance(1)
            await answered(sample)
        assert len(recorder.events) == 1
        recorder.gate.set()
        await recorder.until(4)
    assert [len(call) for call in recorder.calls] == [1, 1, 2]
    assert [e.time.mono_ns / 1e9 - 1 for e in recorder.events] == [0, 1, 2, 3]
    assert sample.left_out == {}


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
        assert recorder.topics == []  # a twentieth of a second, of the machine's
        await recorder.until(1)
        assert recorder.topics == ["device/quick"]
        slow.give(7)
        await recorder.until(2)
    assert recorder.topics == ["device/quick", "device/slow"]


async def test_on_change_deadband_and_heartbeat() -> None:
    clock, recorder = FakeClock(), Recorder()
    sensor = Sensor()
    values = [5, 5, 5.2, 6, 6, 6, 6, 6]
    sample = trigger(clock, device(sensor, measures={"": Measure(deadband=0.5)}, heartbeat_s=3))
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
        (_LOST, f"the reading is {_LOST!r}, which has no form in JSON"),
    ],
    ids=["raises", "nan", "none", "no JSON"],
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
    topics = ["", "/fault", "/recovered", "", "/fault"]
    assert recorder.topics == [f"device/soil{topic}" for topic in topics]
    fault = json.loads(recorder.events[1].payload)
    assert fault["detail-type"] == "Sensor moisture Fault"
    assert (fault["detail"]["value"], fault["detail"]["previous"], fault["detail"]["reason"]) == (None, 1, reason)
    recovered = json.loads(recorder.events[2].payload)
    assert recovered["detail-type"] == "Sensor moisture Recovered"
    told = [recovered["detail"][key] for key in ("value", "previous", "held_s")]
    assert told == [1, 1, 5.0]  # tried again after waits of 1 and 2 s, each up to the next full second after it
    assert [detail["seq"] for detail in recorder.details] == [1, 2, 3, 4, 5]


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
    sample = trigger(clock, device(hung, "hung"), device(good, "good", every_s=2.0), patience_s=0.2)
    async with running(sample, recorder):
        good.give(0)
        await recorder.until(2)
        assert recorder.topics == ["device/good", "device/hung/fault"]
        assert recorder.details[1]["reason"] == "the reading has not come back for 0.2 s"
        for n in range(1, 4):
            await clock.advance(2)
            good.give(n)
            await recorder.until(2 + n)
        assert recorder.topics[2:] == ["device/good"] * 3
        assert (hung.reads, sample.awaited) == (1, {"hung"})
        assert sample.left_out == {"hung": 6}
        hung.give(3.5)
        await recorder.until(7)
    assert recorder.topics[5:] == ["device/hung/recovered", "device/hung"]


async def test_a_hung_device_is_not_asked_a_second_time_by_a_trigger_that_is_started_again() -> None:
    clock, sensor = FakeClock(), Sensor()
    sample = trigger(clock, device(sensor), patience_s=0.05)
    first, second = Recorder(), Recorder()
    async with running(sample, first):
        await first.until(1)
        assert await asyncio.to_thread(sensor.asked.wait, 10)
    async with running(sample, second):
        await clock.advance(1)
        assert sensor.reads == 1
        sensor.give(1, 2)  # the first answer belongs to the run that is over
        await second.until(2)
    assert first.topics == ["device/soil/fault"]
    assert second.topics == ["device/soil/recovered", "device/soil"]
    assert [detail["value"] for detail in second.details] == [2, 2]


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


async def test_with_nothing_to_read_it_waits() -> None:
    clock, recorder = FakeClock(), Recorder()
    async with running(trigger(clock), recorder):
        await clock.advance(60)
    assert recorder.tries == 0


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
