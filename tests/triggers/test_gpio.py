"""Devices that tell by themselves, on simulated pins."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.clock import FakeClock, SystemClock
from edge_runtime.devices import OpenDevice, close, open_devices
from edge_runtime.devices.simulation import Simulated
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Trigger
from edge_runtime.triggers.gpio import GpioTrigger
from tests.triggers.recorder import Recorder, running

MS = 1_000_000


@contextlib.contextmanager
def opened(*specs: Device) -> Iterator[tuple[list[OpenDevice], Simulated]]:
    """Open simulated devices for a test."""
    devices = open_devices(specs, simulate=True)
    try:
        yield devices, Simulated(devices)
    finally:
        close(devices)


def button(name: str = "door", pin: int = 17, debounce_s: float = 0.02, **options: object) -> Device:
    """Declare a button."""
    return Device(name, "Button", {"pin": pin, **options}, debounce_s=debounce_s)


def trigger(devices: list[OpenDevice], clock: FakeClock) -> GpioTrigger:
    """Make the trigger of a test, which is not about the clock's state."""
    return GpioTrigger(devices, "pi-7", clock, synced=lambda: True)


async def test_a_press_and_a_release() -> None:
    clock, recorder = FakeClock(wall_s=1_790_072_130), Recorder()
    with opened(button()) as (devices, world):
        gpio = trigger(devices, clock)
        assert isinstance(gpio, Trigger)
        async with running(gpio, recorder):
            world.set("door", 1)
            await clock.advance(0.019)
            assert recorder.events == []
            await clock.advance(0.001)
            await clock.advance(0.23)
            world.set("door", 0)
            await clock.advance(1)
    pressed, released = recorder.events
    assert (pressed.topic, pressed.source) == ("device/door/pressed", "device/door")
    assert pressed.time == (1_790_072_130_000_000_000, 1_000_000_000, "boot-1")  # the edge, not its acceptance
    assert json.loads(pressed.payload) == {
        "version": "0",
        "id": pressed.id,
        "detail-type": "GPIO Button Pressed",
        "source": "edge.gpio",
        "account": "000000000000",
        "time": "2026-09-22T10:15:30.000000Z",
        "region": "local",
        "resources": ["thing/pi-7/device/door"],
        "detail": {
            "device": "door",
            "class": "Button",
            "event": "pressed",
            "value": 1,
            "previous": 0,
            "pin": "GPIO17",
            "held_s": None,
            "seq": 1,
            "boot": "boot-1",
            "mono_ns": 1_000_000_000,
            "clock": "synced",
            "simulated": True,
        },
    }
    assert released.topic == "device/door/released"
    assert released.time.mono_ns == 1_250_000_000
    detail = json.loads(released.payload)["detail"]
    assert (detail["value"], detail["previous"], detail["held_s"], detail["seq"]) == (0, 1, 0.25, 2)
    assert pressed.id != released.id


async def test_bouncing_contacts_are_one_press() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button()) as (devices, world):
        async with running(trigger(devices, clock), recorder):
            for level in (1, 0, 1, 0, 1):
                world.set("door", level)
                await clock.advance(0.002)
            await clock.advance(0.5)
    assert recorder.topics == ["device/door/pressed"]
    assert recorder.events[0].time.mono_ns == 1_000_000_000 + 8 * MS


async def test_a_glitch_is_no_event() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button()) as (devices, world):
        async with running(trigger(devices, clock), recorder):
            world.set("door", 1)
            await clock.advance(0.01)
            world.set("door", 0)
            await clock.advance(10)
    assert recorder.events == []


async def test_held_and_held_again() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button(hold_time=2, hold_repeat=True)) as (devices, world):
        async with running(trigger(devices, clock), recorder):
            world.set("door", 1)
            await clock.advance(5)
            world.set("door", 0)
            await clock.advance(5)
    assert recorder.topics == [f"device/door/{what}" for what in ("pressed", "held", "held", "released")]
    assert [detail["held_s"] for detail in recorder.details] == [None, 2.0, 4.0, 5.0]


async def test_a_button_pressed_at_the_start_tells_its_release_only() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button(hold_time=1)) as (devices, world):
        world.set("door", 1)
        async with running(trigger(devices, clock), recorder):
            await clock.advance(5)
            assert recorder.events == []
            world.set("door", 0)
            await clock.advance(1)
    assert recorder.topics == ["device/door/released"]
    assert recorder.details[0]["held_s"] is None


@pytest.mark.parametrize(
    ("spec", "on", "off"),
    [
        (Device("x", "MotionSensor", {"pin": 4, "sample_rate": 200}), "motion", "no_motion"),
        (Device("x", "LineSensor", {"pin": 4, "queue_len": 1}), "no_line", "line"),
        (Device("x", "DistanceSensor", {"echo": 4, "trigger": 5, "queue_len": 1}), "out_of_range", "in_range"),
        (Device("x", "LightSensor", {"pin": 4, "queue_len": 1}), "light", "dark"),
        (Device("x", "DigitalInputDevice", {"pin": 4}, debounce_s=0), "active", "inactive"),
        (Device("x", "LoadAverage"), "active", "inactive"),
    ],
)
async def test_each_kind_of_device_has_its_own_words(spec: Device, on: str, off: str) -> None:
    recorder = Recorder()
    with opened(spec) as (devices, world):
        world.set("x", 0)
        async with running(GpioTrigger(devices, "pi-7", SystemClock()), recorder):
            if spec.driver != "LoadAverage" and hasattr(devices[0].device, "queue_len"):
                assert await asyncio.to_thread(lambda: devices[0].device.value) == 0  # it has looked once
            world.set("x", 1)
            await recorder.until(1)
            world.set("x", 0)
            await recorder.until(2)
    assert recorder.topics == [f"device/x/{on}", f"device/x/{off}"]
    assert [detail["value"] for detail in recorder.details] == [1, 0]


async def test_an_encoder_tells_every_step() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(Device("knob", "RotaryEncoder", {"a": 4, "b": 5, "threshold_steps": [10, 16]})) as (devices, world):
        async with running(trigger(devices, clock), recorder):
            world.set("knob", 0.125)
            world.set("knob", 0)
            await clock.advance(1)
    assert recorder.topics == ["device/knob/rotated"] * 4
    assert [(d["value"], d["previous"]) for d in recorder.details] == [(1, 0), (2, 1), (1, 2), (0, 1)]


async def test_several_edges_go_in_one_emit() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button("a", 4, 0), button("b", 5, 0), button("c", 6, 0)) as (devices, world):
        async with running(trigger(devices, clock), recorder):
            for name in "cab":
                world.set(name, 1)
            await clock.advance(0)
    assert [len(call) for call in recorder.calls] == [3]
    assert recorder.topics == ["device/c/pressed", "device/a/pressed", "device/b/pressed"]


async def test_every_edge_of_a_fast_pin_is_emitted_exactly_once() -> None:
    # Far above 1 kHz, from a thread as gpiozero's own, with a store that takes a turn of the loop for each batch.
    edges, recorder = 6000, Recorder()
    with opened(button(debounce_s=0)) as (devices, _):
        pin = devices[0].device.pin

        def drive() -> None:
            for n in range(edges):
                if n % 2:
                    pin.drive_high()
                else:
                    pin.drive_low()
                if n % 100 == 0:
                    time.sleep(0.0005)  # a signal, not a wait

        async with running(GpioTrigger(devices, "pi-7", SystemClock()), recorder):
            thread = threading.Thread(target=drive)
            thread.start()
            await recorder.until(edges)
            thread.join()
    assert len(recorder.events) == edges
    assert recorder.topics == ["device/door/pressed", "device/door/released"] * (edges // 2)
    assert [detail["seq"] for detail in recorder.details] == list(range(1, edges + 1))
    assert len({event.id for event in recorder.events}) == edges
    times = [event.time.mono_ns for event in recorder.events]
    assert times == sorted(times)
    assert len(recorder.calls) < edges / 2  # they travelled together


async def test_a_steady_kilohertz_with_debouncing_loses_no_real_edge() -> None:
    recorder = Recorder()
    clock = FakeClock()
    with opened(button(debounce_s=0.0005)) as (devices, world):
        async with running(trigger(devices, clock), recorder):
            for n in range(1000):
                world.set("door", 1 - n % 2)
                await clock.advance(0.001)
    assert recorder.topics == ["device/door/pressed", "device/door/released"] * 500
    assert [event.time.mono_ns for event in recorder.events] == [1_000_000_000 + n * MS for n in range(1000)]


@pytest.mark.parametrize("error", [QueueFullError("the queue of f is full"), StoreError("the disk is full")])
async def test_a_refused_event_is_counted_and_the_next_one_is_emitted(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button("a", 4, 0), button("b", 5, 0)) as (devices, world):
        gpio = trigger(devices, clock)
        async with running(gpio, recorder):
            recorder.refuse = error
            for level in (1, 0, 1):
                world.set("a", level)
                world.set("b", level)
                await clock.advance(0.01)
            assert gpio.refused == {"a": 3, "b": 3}
            recorder.refuse = None
            world.set("a", 0)
            await clock.advance(0.01)
        assert gpio.refused == {"a": 3, "b": 3}
    assert recorder.topics == ["device/a/released"]
    assert recorder.details[0]["seq"] == 4  # the gap shows what is missing
    assert [record.getMessage() for record in caplog.records] == [
        f"an event of a was refused, 1 in all since the start: {error}"
    ]


async def test_a_log_line_a_minute_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    clock, recorder = FakeClock(), Recorder()
    recorder.refuse = StoreError("the disk is full")
    with opened(button("a", 4, 0)) as (devices, world), caplog.at_level(logging.WARNING):
        async with running(trigger(devices, clock), recorder):
            for n in range(130):  # each press lasts for a second, and is reported as held too
                world.set("a", 1 - n % 2)
                await clock.advance(1)
    assert [record.getMessage() for record in caplog.records] == [
        f"an event of a was refused, {n} in all since the start: the disk is full" for n in (1, 91, 181)
    ]


async def test_edges_that_come_while_the_store_is_busy_wait() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button(debounce_s=0)) as (devices, world):
        async with running(trigger(devices, clock), recorder):
            recorder.gate.clear()
            for level in (1, 0, 1, 0):
                world.set("door", level)
                await clock.advance(0.01)
            assert recorder.events == []
            recorder.gate.set()
            await clock.advance(0.01)
    assert [len(call) for call in recorder.calls] == [1, 3]
    assert [e.time.mono_ns for e in recorder.events] == [1_000_000_000 + n * 10 * MS for n in range(4)]


async def test_after_a_flood_the_level_is_right() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button(debounce_s=0.02)) as (devices, world):
        gpio = GpioTrigger(devices, "pi-7", clock, synced=lambda: True, most=4)
        async with running(gpio, recorder):
            for level in (1, 0, 1, 0, 1):  # the last, which counts, finds no room
                world.set("door", level)
            await clock.advance(0.5)
        assert gpio.refused == {"door": 1}
    assert recorder.topics == ["device/door/pressed"]


async def test_the_clock_may_be_unsynced() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button(debounce_s=0)) as (devices, world):
        async with running(GpioTrigger(devices, "pi-7", clock, synced=lambda: False), recorder):
            world.set("door", 1)
            await clock.advance(0)
    assert recorder.details[0]["clock"] == "unsynced"


async def test_real_pins_are_stamped_with_the_time_of_the_kernel() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button(debounce_s=0)) as (devices, _):
        devices[0].simulated = False
        device: Any = devices[0].device
        async with running(trigger(devices, clock), recorder):
            handler = device.pin.when_changed
            for age_s in (0.25, 4000, -1):  # the last two are of some other clock, and so not believed
                handler(device.pin_factory.ticks() - age_s, 0)
                await clock.advance(0)
    late, old, early = (1_000_000_000 - event.time.mono_ns for event in sorted(recorder.events, key=lambda e: e.id))
    assert 250 * MS <= late < 350 * MS
    assert (old, early) == (0, 0)


async def test_when_it_ends_gpiozero_has_its_own_again() -> None:
    with opened(button(), Device("load", "LoadAverage")) as (devices, world):
        seen: list[str] = []
        devices[0].device.when_pressed = lambda: seen.append("pressed")
        async with running(trigger(devices, FakeClock()), Recorder()):
            world.set("door", 1)
        assert seen == []
        world.set("door", 0)
        world.set("door", 1)
        assert seen == ["pressed"]
        assert devices[1].device.when_activated is None
    assert len(asyncio.all_tasks()) == 1


async def test_a_device_that_will_not_stop_telling_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn:
        """A driver that fails when its event is taken away."""

        value = 0

        @property
        def when_activated(self) -> None:
            """Nothing was set."""

        @when_activated.setter
        def when_activated(self, handler: object) -> None:
            if handler is None:
                raise RuntimeError("the thread does not die")

        when_deactivated = when_activated

    with opened(button()) as (devices, _):
        spec = Device("odd", "odd")
        both = [OpenDevice("odd", spec, Stubborn(), simulated=True, pin=""), *devices]
        before = devices[0].device.pin.when_changed
        async with running(trigger(both, FakeClock()), Recorder()):
            assert devices[0].device.pin.when_changed != before
        assert devices[0].device.pin.when_changed == before
    assert caplog.text.count("device 'odd' did not stop telling") == 2


async def test_it_can_be_started_again() -> None:
    clock, recorder = FakeClock(), Recorder()
    with opened(button(debounce_s=0)) as (devices, world):
        gpio = trigger(devices, clock)
        for level in (1, 0):
            async with running(gpio, recorder):
                world.set("door", level)
                await clock.advance(0)
    assert recorder.topics == ["device/door/pressed", "device/door/released"]
