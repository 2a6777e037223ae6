"""Devices of several pins, those that smooth, and many pins at once; on simulated pins."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.clock import FakeClock, SystemClock
from edge_runtime.devices import close, open_devices
from edge_runtime.devices.simulation import Simulated
from edge_runtime.triggers.gpio import GpioTrigger
from tests.triggers.recorder import Recorder, running

MS = 1_000_000
START = 1_000_000_000
"""The first steady time of a FakeClock."""


def rows(recorder: Recorder) -> list[tuple[object, ...]]:
    """Return what was told: the event, its part, the values before and after, and when, in ms since the start."""
    ends = [topic.rsplit("/", 1)[1] for topic in recorder.topics]
    times = [(event.time.mono_ns - START) // MS for event in recorder.events]
    found = zip(ends, recorder.details, times, strict=True)
    return [(end, d.get("part"), d["previous"], d["value"], at) for end, d, at in found]


async def test_each_button_of_a_board_tells_for_itself() -> None:
    clock, recorder = FakeClock(), Recorder()
    devices = open_devices([Device("keys", "ButtonBoard", {"pins": [4, 5, 6], "hold_time": 2})], simulate=True)
    world = Simulated(devices)
    async with running(GpioTrigger(devices, "pi-7", clock), recorder):
        world.set("keys", (0, 1, 0))
        await clock.advance(0.1)
        world.set("keys", (1, 1, 0))
        await clock.advance(0.1)
        world.set("keys", (1, 0, 0))
        await clock.advance(1.9)
    close(devices)
    assert rows(recorder) == [
        ("pressed", "1", [0, 0, 0], [0, 1, 0], 0),
        ("pressed", "0", [0, 1, 0], [1, 1, 0], 100),
        ("released", "1", [1, 1, 0], [1, 0, 0], 200),
        ("held", "0", [1, 0, 0], [1, 0, 0], 2100),
    ]
    assert [detail["held_s"] for detail in recorder.details] == [None, None, 0.2, 2.0]
    body = json.loads(recorder.events[0].payload)
    assert (body["detail-type"], body["detail"]["pin"]) == ("GPIO ButtonBoard Pressed", "GPIO4,GPIO5,GPIO6")


async def test_a_board_bounces_and_is_pressed_at_the_start() -> None:
    clock, recorder = FakeClock(), Recorder()
    spec = Device("keys", "ButtonBoard", {"pins": [4, 5]}, debounce_s=0.05)
    devices = open_devices([spec], simulate=True)
    world = Simulated(devices)
    world.set("keys", (1, 0))
    async with running(GpioTrigger(devices, "pi-7", clock), recorder):
        for level in (1, 0, 1, 0):
            world.set("keys", (1, level))
            await clock.advance(0.01)
        await clock.advance(1)
        world.set("keys", (0, 0))
        await clock.advance(1)
    close(devices)
    assert rows(recorder) == [("released", "0", [1, 0], [0, 0], 1040)]


async def test_buttons_with_names_tell_their_names() -> None:
    clock, recorder = FakeClock(), Recorder()
    spec = Device("keys", "ButtonBoard", {"up": 4, "down": 5}, debounce_s=0)
    devices = open_devices([spec], simulate=True)
    async with running(GpioTrigger(devices, "pi-7", clock), recorder):
        for button in reversed(list(devices[0].device)):
            button.pin.drive_low()
        await clock.advance(0)
    parts = [(end, part) for end, part, *_ in rows(recorder)]
    names = [name for name in devices[0].device.value._fields]  # noqa: C416 - a tuple's own names, as a list
    close(devices)
    assert parts == [("pressed", name) for name in reversed(names)]
    assert sorted(names) == ["down", "up"]


async def test_a_motion_sensor_is_smoothed_by_its_own_settings() -> None:
    clock, recorder = FakeClock(), Recorder()
    spec = Device("hall", "MotionSensor", {"pin": 4, "queue_len": 4, "sample_rate": 10})
    devices = open_devices([spec], simulate=True)
    world = Simulated(devices)
    async with running(GpioTrigger(devices, "pi-7", clock), recorder):
        assert devices[0].device.value == 0
        world.set("hall", 1)
        await clock.advance(0.15)
        world.set("hall", 0)  # one sample of four was active: it is nothing
        await clock.advance(1)
        world.set("hall", 1)
        await clock.advance(1)
        assert devices[0].device.value == 1
        world.set("hall", 0)
        await clock.advance(1)
        assert devices[0].device.value == 0
    close(devices)
    # Above a half are three of four samples; no longer above it are two.
    assert rows(recorder) == [("motion", None, 0, 1, 1400), ("no_motion", None, 1, 0, 2300)]


async def test_a_smoothing_device_that_is_still_has_no_thread_and_gets_it_back() -> None:
    devices = open_devices([Device("line", "LineSensor", {"pin": 4})], simulate=True)
    before = devices[0].device._queue
    async with running(GpioTrigger(devices, "pi-7", FakeClock()), Recorder()):
        assert not before.is_alive()
    after = devices[0].device._queue
    assert after.is_alive()
    assert (after.queue.maxlen, after.sample_wait, after.average) == (5, before.sample_wait, before.average)
    close(devices)
    assert not after.is_alive()


@pytest.mark.parametrize(
    ("driver", "options"),
    [("Button", {"pin": 4}), ("ButtonBoard", {"pins": [4, 5]})],
)
async def test_no_button_asks_itself_whether_it_is_held(driver: str, options: dict[str, object]) -> None:
    devices = open_devices([Device("b", driver, options)], simulate=True)
    device = devices[0].device
    threads = [part._hold_thread for part in (device, *(device if driver == "ButtonBoard" else ()))]
    async with running(GpioTrigger(devices, "pi-7", FakeClock()), Recorder()):
        for thread in threads:
            await asyncio.to_thread(thread.join, 10)
    close(devices)


async def test_eight_pins_at_a_kilohertz_lose_nothing_and_keep_their_order() -> None:
    edges, recorder = 500, Recorder()
    specs = [Device(f"b{n}", "Button", {"pin": 4 + n}, debounce_s=0) for n in range(8)]
    devices = open_devices(specs, simulate=True)
    pace = threading.Event()

    def drive() -> None:
        for n in range(edges):
            for opened in devices:
                pin: Any = opened.device.pin
                if n % 2:
                    pin.drive_high()
                else:
                    pin.drive_low()
            pace.wait(0.001)  # a signal, not a wait

    async with running(GpioTrigger(devices, "pi-7", SystemClock()), recorder):
        thread = threading.Thread(target=drive)
        thread.start()
        await recorder.until(8 * edges)
        thread.join()
    close(devices)
    for n in range(8):
        own = [event for event in recorder.events if event.source == f"device/b{n}"]
        ends = [event.topic.rsplit("/", 1)[1] for event in own]
        assert ends == ["pressed", "released"] * (edges // 2)
        times = [event.time.mono_ns for event in own]
        assert times == sorted(times)
        assert [json.loads(event.payload)["detail"]["seq"] for event in own] == list(range(1, edges + 1))
