"""An output with a guard, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device, Guard, Interlock, QueueLimits
from edge_runtime.clock import make_event
from edge_runtime.errors import StoreError
from edge_runtime.host._hand import Hand
from edge_runtime.host._voice import Voice
from edge_runtime.host.activity import Activity
from edge_runtime.host.guard import GuardedActuator
from edge_runtime.host.watchdog import Watchdog
from edge_runtime.model import Event
from edge_runtime.store.store import Store
from tests.host.hardwaresite import BUTTON, Site, site


def pump(driver: str = "LED", **guard: Any) -> Device:  # noqa: ANN401 - fields of Guard
    return Device("pump", driver, {} if driver == "stubborn" else {"pin": 27}, guard=Guard(**guard))


def heater(**guard: Any) -> Device:  # noqa: ANN401 - fields of Guard
    return Device("heater", "LED", {"pin": 22}, guard=Guard(**guard) if guard else None)


class Told:
    """What outputs tell, one event after the other."""

    def __init__(self, it: Site) -> None:
        self.it = it
        self._queue = it.store.queue("uplink")

    async def next(self) -> tuple[Any, ...]:
        """Return the next event: topic, value, why or reason, asked_by."""
        event = await self.event()
        detail = json.loads(event.payload)["detail"]
        return event.topic, detail["value"], detail.get("why", detail.get("reason")), detail.get("asked_by", "")

    async def event(self) -> Event:
        """Return the next event as it is."""
        async with asyncio.timeout(20):
            (message,) = await self._queue.get(1)
        await self.it.store.change(done=[message])
        return message.event

    async def several(self, count: int) -> list[tuple[Any, ...]]:
        """Return the next events."""
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def guarded(folder: Path, *devices: Device) -> AsyncIterator[tuple[Site, Told]]:
    """Run devices; those with a guard have been put to their safe values when the block begins."""
    async with site(folder, *devices) as it:
        told = Told(it)
        waiting = {(f"device/{device.name}", "start", "host") for device in devices if device.guard is not None}
        while waiting:
            topic, _, why, by = await told.next()
            waiting.discard((topic, why, by))
        yield it, told


def value(it: Site, name: str = "pump") -> object:
    return next(device.device.value for device in it.hardware.devices if device.name == name)


async def advance(it: Site, seconds: float) -> None:
    """Let time pass once somebody waits for it."""
    await it.until(lambda: it.clock._sleepers)
    await it.clock.advance(seconds)


ON, OFF = ("device/pump", 1, "command", "function/f"), ("device/pump", 0, "command", "function/f")


async def test_a_lease_ends_what_nobody_asks_for_again(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump(lease_s=30)) as (it, told):
        command = await it.command("pump", b"on")
        event = await told.event()
        body = json.loads(event.payload)["detail"]
        assert event.headers == {"edge-cause": command.id, "edge-asked-by": "function/f"}
        assert (body["value"], body["previous"], body["asked_by"], body["why"]) == (1, 0, "function/f", "command")
        await advance(it, 29)
        await it.command("pump", b'{"value": 1, "for": "10s"}')
        assert await told.next() == ON
        await advance(it, 9.9)
        assert value(it) == 1
        await advance(it, 0.1)
        event = await told.event()
        body = json.loads(event.payload)["detail"]
        assert (body["value"], body["previous"], body["asked_by"], body["why"]) == (0, 1, "host", "lease")
        assert (event.topic, event.source, event.headers) == ("device/pump", "device/pump", {})
        assert value(it) == 0


async def test_max_on_ends_it_though_it_is_commanded_again_and_again(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump(lease_s=30, max_on_s=60)) as (it, told):
        for _ in range(6):
            await it.command("pump", b"on")
            assert await told.next() == ON
            await advance(it, 10)
        assert await told.next() == ("device/pump", 0, "max_on", "host")
        await it.command("pump", b"on")
        assert await told.next() == ("device/pump/deferred", 0, "min_off", "function/f")
        await advance(it, 6)
        assert await told.next() == ("device/pump", 1, "deferred", "function/f")


async def test_what_waits_is_not_settled_and_a_later_command_replaces_it(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump(min_off_s=10)) as (it, told):
        await it.command("pump", b"on")
        event = await told.event()
        detail = json.loads(event.payload)["detail"]
        assert (event.topic, detail["reason"], detail["wait_s"], detail["asked"]) == (
            "device/pump/deferred",
            "min_off",
            10,
            "on",
        )
        assert it.store.counters("device/pump").queued == 1
        await it.command("pump", b"toggle")  # it is going to be on: this turns it over
        assert await told.several(2) == [
            ("device/pump/refused", 0, "a later command replaced it", "function/f"),
            OFF,
        ]
        assert it.store.counters("device/pump").queued == 0


async def test_a_command_that_waits_when_the_host_ends_comes_again(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump(min_off_s=10)) as (it, told):
        await it.command("pump", b"on")
        assert (await told.next())[0] == "device/pump/deferred"
    async with site(tmp_path, pump(min_off_s=10)) as it:
        seen = await Told(it).several(3)
        assert [(topic, why) for topic, _, why, _ in seen] == [
            ("device/pump", "stop"),
            ("device/pump", "start"),
            ("device/pump/deferred", "min_off"),
        ]
        await advance(it, 10)
        await it.until(lambda: value(it) == 1)
        await it.until(lambda: it.store.counters("device/pump").delivered == 1)


async def test_min_on_defers_a_command_but_no_interlock(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump(min_on_s=5, interlocks=(Interlock("heater"),)), heater()) as (it, told):
        await it.until(lambda: it.hardware._activity._known["heater"] is False)
        await it.command("pump", b"on")
        assert await told.next() == ON
        await it.command("pump", b"off")
        assert await told.next() == ("device/pump/deferred", 1, "min_on", "function/f")
        await advance(it, 5)
        assert await told.next() == ("device/pump", 0, "deferred", "function/f")
        await it.command("pump", b"on")
        assert await told.next() == ON
        await it.command("heater", b"on")
        seen = set(await told.several(2))
        assert seen >= {("device/pump", 0, "interlock: heater is active", "host")}
        await it.command("pump", b"on")
        assert await told.next() == ("device/pump/refused", 0, "interlock: heater is active", "function/f")
        await it.command("heater", b"off")
        await told.event()
        await it.command("pump", b"on")
        assert await told.next() == ON


async def test_of_two_that_exclude_each_other_only_one_is_switched_on(tmp_path: Path) -> None:
    one = pump(interlocks=(Interlock("heater"),))
    other = heater(interlocks=(Interlock("pump"),))
    async with guarded(tmp_path, one, other) as (it, told):
        for _ in range(10):
            await asyncio.gather(it.command("pump", b"on"), it.command("heater", b"on"))
            kinds = sorted(topic.count("/") for topic, *_ in await told.several(2))
            assert kinds == [1, 2]  # one does it, one refuses
            assert {value(it), value(it, "heater")} == {0, 1}
            await asyncio.gather(it.command("pump", b"off"), it.command("heater", b"off"))
            await told.several(2)


async def test_an_input_breaks_an_interlock_before_its_event_is_on_disk(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump(interlocks=(Interlock("button"),)), BUTTON) as (it, told):
        await it.until(lambda: it.hardware._activity._known["button"] is False)
        await it.command("pump", b"on")
        assert await told.next() == ON
        it.hardware.simulate("button", 1)
        await advance(it, 0.02)
        topics = {(await told.event()).topic for _ in range(2)}
        assert topics == {"device/button/pressed", "device/pump"}
        assert value(it) == 0


async def test_a_sensor_that_fails_is_unknown_and_breaks_an_interlock(tmp_path: Path) -> None:
    level = tmp_path / "soil"
    level.write_text("1.5", encoding="utf-8")
    tank = Device("tank", "flaky_sensor", {"path": str(level)}, every_s=1)
    async with guarded(tmp_path, tank, pump(interlocks=(Interlock("tank", active=True),))) as (it, told):
        known = it.hardware._activity._known
        await it.until(lambda: known["tank"] is True)
        await it.command("pump", b"on")
        await it.until(lambda: value(it) == 1)
        while await told.next() != ON:
            pass  # the first reading of the tank
        level.write_text("mud", encoding="utf-8")
        await advance(it, 1)
        await it.until(lambda: known["tank"] is None)
        topics = {(await told.event()).topic for _ in range(2)}
        assert topics == {"device/tank/fault", "device/pump"}
        await it.command("pump", b"on")
        assert await told.next() == ("device/pump/refused", 0, "interlock: tank is unknown", "function/f")


async def test_a_command_of_long_ago_is_refused_and_done_with(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump(lease_s=30)) as (it, told):
        old = make_event(it.clock, "device/pump/set", b"on", "link")
        await it.clock.advance(31)
        await it.bus.emit(old)
        assert await told.next() == ("device/pump/refused", 0, "it is 31.0 s old and was for 30 s", "link")
        it.clock.reboot("boot-2")
        late = make_event(it.clock, "device/pump/set", b"on", "link")
        assert late.time.boot == "boot-2"
        await it.bus.emit(late)
        assert (await told.next())[2] == "it was given before the machine started anew"
        counters = it.store.counters("device/pump")
        assert (counters.delivered, counters.dead, counters.queued) == (2, 0, 0)


async def test_a_malformed_command_is_a_dead_letter_and_changes_nothing(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump("stubborn", lease_s=30)) as (it, told):
        for bad in (b"louder", b'{"volume": 11}', b'{"value": 1, "for": "soon"}', b'{"value": 1, "for": 0}', b"NaN"):
            await it.command("pump", bad)
        await it.command("pump", b"2")  # the driver itself refuses that, half way
        await it.until(lambda: it.store.counters("device/pump").dead == 6)
        await it.command("pump", b"1")
        assert await told.next() == ON
        await advance(it, 20)
        await it.command("pump", b"2")
        await it.until(lambda: it.store.counters("device/pump").dead == 7)
        await advance(it, 10)  # it has not prolonged the lease
        assert await told.next() == ("device/pump", 0, "lease", "host")


async def test_what_it_does_not_take_is_undone_if_it_was_safe_before(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump("stubborn")) as (it, told):
        board = it.hardware.devices[0].device
        board.moves.clear()
        await it.command("pump", b"2")
        await it.until(lambda: it.store.counters("device/pump").dead == 1)
        assert board.moves == [0]
        await it.command("pump", b"1")
        assert await told.next() == ON
        await it.command("pump", b"2")
        await it.until(lambda: it.store.counters("device/pump").dead == 2)
        assert board.moves == [0, 1]


async def test_the_watchdog_is_told_the_end_that_holds(tmp_path: Path) -> None:
    class Noted(Watchdog):
        """Writes down what it is told."""

        def __init__(self) -> None:
            super().__init__()
            self.told: list[object] = []

        def arm(self, hand: Hand, within_s: float | None, bitten: Callable[[], object]) -> None:
            self.told.append(within_s)
            super().arm(hand, within_s, bitten)

        def disarm(self, hand: Hand) -> None:
            self.told.append("safe")
            super().disarm(hand)

    device, dog = pump("stubborn", lease_s=30), Noted()
    async with guarded(tmp_path, device) as (it, told):
        it.tasks["device/pump"].cancel()
        assert (await told.next())[2] == "stop"
        voice = Voice(it.hardware.devices[0], "pi-7", it.clock, it.store, it.bus)
        it.begin("pump", GuardedActuator(voice, Activity([device]), dog).run)
        assert (await told.next())[2] == "start"
        await it.command("pump", b"2")  # the driver refuses that
        await it.until(lambda: it.store.counters("device/pump").dead == 1)
        await it.command("pump", b"1")
        assert await told.next() == ON
        await advance(it, 20)
        await it.command("pump", b"2")
        await it.until(lambda: it.store.counters("device/pump").dead == 2)
        assert dog.told == ["safe", 30, "safe", 30, 30, 10]
    dog.close()


async def test_a_command_that_is_overtaken_by_the_end_is_refused(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump("stubborn")) as (it, told):
        board = it.hardware.devices[0].device
        board.hangs = True
        await it.command("pump", b"1")
        await it.until(board.hanging.is_set)
        board.hangs = False
        it.tasks["device/pump"].cancel()
        assert await told.several(2) == [
            ("device/pump/refused", 0, "stop, before it was carried out", "function/f"),
            ("device/pump", 0, "stop", "host"),
        ]
        counters = it.store.counters("device/pump")
        assert (counters.delivered, counters.dead, counters.queued) == (1, 0, 0)
        board.go_on.set()  # the driver comes back, and switches on
        await it.until(lambda: board.moves[-2:] == [1, 0])


async def test_a_driver_that_fails_is_told_and_made_safe_as_soon_as_it_works(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump("stubborn", lease_s=30)) as (it, told):
        board = it.hardware.devices[0].device
        await it.command("pump", b"1")
        assert await told.next() == ON
        board.fails = True
        await advance(it, 30)
        topic, _, reason, _ = await told.next()
        assert topic == "device/pump/fault"
        assert reason == (
            "device 'pump': it does not go to its safe value: device 'pump' (stubborn) failed at the command 'off': "
            "the relay board is gone"
        )
        await it.command("pump", b"1")
        refused = ("device/pump/refused", 1, "it could not be put to its safe value", "function/f")
        assert await told.next() == refused
        await advance(it, 1)  # it is tried again, and that is not told again
        await it.until(lambda: it.clock._sleepers)
        board.fails = False
        await advance(it, 2)
        assert await told.next() == ("device/pump", 0, "lease", "host")


async def test_a_driver_that_hangs_when_it_is_switched_on_is_given_up_and_made_safe(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump("stubborn", lease_s=0.3)) as (it, told):
        board = it.hardware.devices[0].device
        board.hangs = True
        await it.command("pump", b"1")
        await it.until(board.hanging.is_set)
        board.hangs = False
        topic, _, reason, _ = await told.next()  # in real time
        assert (topic, reason) == (
            "device/pump/fault",
            "device 'pump': its driver does not come back within 0.3 s",
        )
        assert await told.next() == ("device/pump", 0, "fault", "host")
        assert it.store.counters("device/pump").dead == 1
        board.go_on.set()  # now it comes back, and switches on
        await it.until(lambda: board.moves[-2:] == [1, 0])


async def test_a_driver_that_hangs_for_long_is_not_left_behind_with_ever_more_threads(tmp_path: Path) -> None:
    device = pump("stubborn", lease_s=30)
    async with guarded(tmp_path, device) as (it, told):
        it.tasks["device/pump"].cancel()
        assert (await told.next())[2] == "stop"
        voice = Voice(it.hardware.devices[0], "pi-7", it.clock, it.store, it.bus)
        it.begin("pump", GuardedActuator(voice, Activity([device]), Watchdog(), patience_s=0.05).run)
        assert (await told.next())[2] == "start"
        await it.command("pump", b"1")
        assert await told.next() == ON
        board = it.hardware.devices[0].device
        board.hangs = True
        await it.command("pump", b"off")
        assert await told.next() == (
            "device/pump/fault",
            1,
            "device 'pump': its driver does not come back within 0.05 s",
            "host",
        )
        await it.until(lambda: it.store.counters("device/pump").dead == 1)  # the command has failed; the guard goes on
        for _ in range(8):
            await advance(it, 60)
            await asyncio.sleep(0.1)  # the driver's time is real
        assert len([t for t in threading.enumerate() if t.name == "safe[pump]"]) == 3
        board.hangs = False
        board.go_on.set()
        assert await told.next() == ("device/pump", 0, "command", "host")
        assert value(it) == 0


async def test_a_lease_ends_though_the_disk_is_gone(tmp_path: Path) -> None:
    class Broken:
        """A store that takes no more."""

        def __init__(self, store: Store) -> None:
            self.queue, self._store, self.is_broken = store.queue, store, False

        def change(self, *args: Any, **more: Any) -> Awaitable[object]:  # noqa: ANN401 - passed on
            if self.is_broken:
                raise StoreError("the disk is gone")
            return self._store.change(*args, **more)

    device = pump(lease_s=30)
    async with guarded(tmp_path, device) as (it, told):
        it.tasks["device/pump"].cancel()
        assert await told.next() == ("device/pump", 0, "stop", "host")
        store: Any = Broken(it.store)
        voice = Voice(it.hardware.devices[0], "pi-7", it.clock, store, it.bus)
        it.begin("pump", GuardedActuator(voice, Activity([device]), Watchdog()).run)
        assert await told.next() == ("device/pump", 0, "start", "host")
        await it.command("pump", b"on")
        await it.until(lambda: value(it) == 1)
        assert await told.next() == ON
        store.is_broken = True
        await it.command("pump", b"on")
        await it.until(lambda: len(it.clock._sleepers) >= 2)
        await it.clock.advance(30)
        await it.until(lambda: value(it) == 0)
        store.is_broken = False
        await it.clock.advance(1)
        assert await told.several(2) == [ON, ("device/pump", 0, "lease", "host")]


@pytest.mark.parametrize("stubborn", [False, True])
async def test_at_the_end_it_is_made_safe_and_that_is_on_disk(tmp_path: Path, *, stubborn: bool) -> None:
    async with guarded(tmp_path, pump("stubborn" if stubborn else "LED")) as (it, told):
        await it.command("pump", b"1")
        assert await told.next() == ON
        task = it.tasks["device/pump"]
        task.cancel()
        assert await told.next() == ("device/pump", 0, "stop", "host")
        await asyncio.wait([task])
        assert task.cancelled()
        assert value(it) == 0


async def test_a_safe_value_that_is_not_off(tmp_path: Path) -> None:
    async with guarded(tmp_path, pump("PWMLED", safe=0.25, lease_s=30)) as (it, told):
        assert value(it) == 0.25
        for command, said in (
            (b"0.25", ("device/pump", 0.25, "command", "function/f")),
            (b"off", ("device/pump", 0, "command", "function/f")),
        ):
            await it.command("pump", command)
            assert await told.next() == said
        await advance(it, 30)
        assert await told.next() == ("device/pump", 0.25, "lease", "host")


async def test_a_device_that_cannot_be_made_safe_is_not_open(tmp_path: Path) -> None:
    async with site(tmp_path, pump("stubborn", safe=2), BUTTON) as it:
        await it.until(lambda: "gpio" in it.tasks)
        assert "it does not go to its safe value" in it.hardware.faults["pump"]
        assert [device.name for device in it.hardware.devices] == ["button"]


async def test_a_full_queue_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    full = QueueLimits(limit_bytes=1)
    async with site(tmp_path, pump(lease_s=30), uplink=full) as it:
        await it.command("pump", b"on")
        await it.until(lambda: it.store.counters("device/pump").delivered == 1)
        await it.until(lambda: value(it) == 1)
        await advance(it, 30)
        await it.until(lambda: value(it) == 0)
