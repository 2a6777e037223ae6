"""Devices that cannot be opened, that hang, that obey; drivers are files, as a user writes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App, Device, Overflow, QueueLimits, Rule
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.host.bus import Bus
from edge_runtime.host.hardware import Actuator, Hardware, late_trigger
from edge_runtime.model import Emit, Event, Trigger
from edge_runtime.store.store import Store

BUTTON = Device("button", "Button", {"pin": 17})
LAMP = Device("lamp", "PWMLED", {"pin": 27})
RULES = (
    Rule("device/lamp/set", ("device/lamp",)),
    Rule("device/odd/set", ("device/odd",)),
    Rule("device/+", ("uplink",)),
    Rule("device/button/#", ("uplink",)),
)
# Opens once its file is there, and then reads from it; with "hang" in the file reading never ends.
FLAKY = '''
import threading
from pathlib import Path

class Flaky:
    """A sensor that comes and goes."""

    def __init__(self, path, hang=False):
        if hang:
            threading.Event().wait()
        self._path = Path(path)
        self._path.stat()

    @classmethod
    def simulated(cls, path, hang=False):
        return cls(path, hang)

    @property
    def value(self):
        text = self._path.read_text()
        if text == "hang":
            threading.Event().wait()
        return float(text)
'''
# An output whose value JSON has no form for.
ODD = '''
class Odd:
    """A display that remembers what it was told."""

    value = property(lambda self: self._value, lambda self, value: setattr(self, "_value", complex(value)))

    def __init__(self):
        self._value = 0

    @classmethod
    def simulated(cls):
        return cls()
'''


class Site:
    """Hardware at work, with its parts as plain tasks."""

    def __init__(self, store: Store, clock: FakeClock, hardware: Hardware) -> None:
        self.store = store
        self.clock = clock
        self.hardware = hardware
        self.bus = Bus(store, RULES, aws_quotas=False)
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.sources: set[str] = set()
        self.begin("devices", lambda: hardware.run(store, self.bus, self.begin))

    def begin(self, name: str, run: Callable[[], Awaitable[None]], *, source: bool = False) -> None:
        """Start a part."""
        assert name not in self.tasks
        self.tasks[name] = asyncio.ensure_future(run())
        if source:
            self.sources.add(name)

    async def until(self, happened: Callable[[], object]) -> None:
        """Return when it has happened."""
        async with asyncio.timeout(20):
            while not happened():
                await self.store.work(lambda _: None)

    async def emitted(self, count: int) -> list[Event]:
        """Return what was emitted, once it is so many events."""
        queue = self.store.queue("uplink")
        await self.until(lambda: len(queue) >= count)
        return [message.event for message in await queue.get(100)]

    async def command(self, name: str, payload: bytes) -> Event:
        """Emit a command for a device."""
        event = make_event(self.clock, f"device/{name}/set", payload, "function/f")
        await self.bus.emit(event)
        return event


@asynccontextmanager
async def site(
    folder: Path, *devices: Device, uplink: QueueLimits | None = None, patience_s: float = 20
) -> AsyncIterator[Site]:
    drivers = folder / "hardware"
    drivers.mkdir(exist_ok=True)
    (drivers / "flaky_sensor.py").write_text(FLAKY, encoding="utf-8")
    (drivers / "odd_display.py").write_text(ODD, encoding="utf-8")
    clock = FakeClock()
    queues = dict.fromkeys(["", "device/lamp", "device/odd", "uplink"], QueueLimits())
    queues |= {"uplink": uplink or QueueLimits()}
    store = await Store.open(folder / "state", queues, clock=clock)
    app = App("pi-7", folder, devices=devices)
    hardware = Hardware(app, clock, simulate=True, patience_s=patience_s)
    it = Site(store, clock, hardware)
    try:
        yield it
    finally:
        for task in it.tasks.values():
            task.cancel()
        await asyncio.gather(*it.tasks.values(), return_exceptions=True)
        await hardware.close()
        await store.close()


def flaky(folder: Path, *, hang: bool = False) -> Device:
    return Device("soil", "flaky_sensor", {"path": str(folder / "soil"), "hang": hang}, every_s=1)


async def test_a_button_tells_and_a_lamp_obeys(tmp_path: Path) -> None:
    async with site(tmp_path, BUTTON, LAMP) as it:
        await it.until(lambda: {"gpio", "device/lamp"} <= set(it.tasks))
        assert it.sources == {"gpio"}
        await it.store.work(lambda _: None)
        it.hardware.simulate("button", 1)
        await it.until(lambda: it.clock._sleepers)
        await it.clock.advance(0.02)
        (pressed,) = await it.emitted(1)
        assert pressed.topic == "device/button/pressed"
        command = await it.command("lamp", b"0.5")
        said = (await it.emitted(2))[-1]
        assert (said.topic, said.source) == ("device/lamp", "device/lamp")
        assert said.headers == {"edge-cause": command.id, "edge-asked-by": "function/f"}
        body = json.loads(said.payload)
        assert body["detail-type"] == "GPIO PWMLED Set"
        assert body["detail"] | {"mono_ns": 0, "clock": ""} == {
            "device": "lamp",
            "class": "PWMLED",
            "event": "set",
            "value": 0.5,
            "previous": None,
            "pin": "GPIO27",
            "held_s": None,
            "seq": 1,
            "boot": "boot-1",
            "mono_ns": 0,
            "clock": "",
            "simulated": True,
        }
        rows = await it.hardware.rows()
        assert [(row["name"], row["value"], row["pin"], row["error"]) for row in rows] == [
            ("button", 1, "GPIO17", ""),
            ("lamp", 0.5, "GPIO27", ""),
        ]


async def test_a_command_that_cannot_be_obeyed_is_a_dead_letter_and_the_next_one_counts(tmp_path: Path) -> None:
    async with site(tmp_path, LAMP) as it:
        await it.command("lamp", b'{"volume": 11}')
        await it.command("lamp", b"on")
        (said,) = await it.emitted(1)
        assert json.loads(said.payload)["detail"]["value"] == 1
        counters = it.store.counters("device/lamp")
        assert (counters.delivered, counters.dead, counters.queued) == (1, 1, 0)


async def test_a_value_that_json_has_no_form_for_is_told_as_a_text(tmp_path: Path) -> None:
    async with site(tmp_path, Device("odd", "odd_display")) as it:
        await it.command("odd", b"3")
        (said,) = await it.emitted(1)
        assert json.loads(said.payload)["detail"]["value"] == "(3+0j)"
        (row,) = await it.hardware.rows()
        assert row["value"] == "(3+0j)"


async def test_a_command_is_obeyed_once_although_its_event_is_refused(tmp_path: Path) -> None:
    full = QueueLimits(limit_bytes=600, when_full=Overflow.REJECT_NEW)
    async with site(tmp_path, LAMP, uplink=full) as it:
        for value in (b"0.1", b"0.2", b"0.3"):
            await it.command("lamp", value)
        await it.until(lambda: it.store.counters("device/lamp").delivered == 3)
        assert it.store.counters("uplink").queued <= 1
        assert (await it.hardware.rows())[0]["value"] == 0.3


class _FailingStore:
    """A store whose first changes fail."""

    def __init__(self, store: Store, failures: int) -> None:
        self.queue, self._store, self._failures = store.queue, store, failures

    def change(self, *args: Any, **more: Any) -> Awaitable[object]:  # noqa: ANN401 - passed on
        if self._failures:
            self._failures -= 1
            raise StoreError("the disk is gone")
        return self._store.change(*args, **more)


async def test_a_command_is_obeyed_once_although_the_disk_fails(tmp_path: Path) -> None:
    async with site(tmp_path, LAMP) as it:
        await it.until(lambda: "device/lamp" in it.tasks)
        it.tasks["device/lamp"].cancel()
        store: Any = _FailingStore(it.store, 2)
        (lamp,) = it.hardware.devices
        it.begin("lamp", Actuator(lamp, "pi-7", it.clock, store, it.bus, synced=lambda: False).run)
        await it.command("lamp", b"toggle")
        await it.until(lambda: it.clock._sleepers)
        await it.clock.advance(1)
        await it.clock.advance(1)
        await it.until(lambda: it.store.counters("device/lamp").delivered == 1)
        assert (await it.hardware.rows())[0]["value"] == 1
        (said,) = await it.store.queue("uplink").get(1)
        assert json.loads(said.event.payload)["detail"]["clock"] == "unsynced"


async def test_a_device_that_cannot_be_opened_is_left_out_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(tmp_path, flaky(tmp_path), BUTTON, LAMP) as it:
        await it.until(lambda: "device/lamp" in it.tasks)
        assert set(it.tasks) == {"devices", "gpio", "device/lamp"}
        rows = {row["name"]: row for row in await it.hardware.rows()}
        assert str(rows["soil"]["error"]).startswith(
            "device 'soil' (flaky_sensor) cannot be opened: [Errno 2] No such file"
        )
        assert (rows["button"]["error"], rows["button"]["value"]) == ("", 0)
        for _ in range(5):
            await it.until(lambda: it.clock._sleepers)
            await it.clock.advance(60)
        assert len([r for r in caplog.records if "the others go on without it" in r.getMessage()]) == 1
        (tmp_path / "soil").write_text("0.25", encoding="utf-8")
        while "sample/soil" not in it.tasks:
            await it.clock.advance(60)
            await it.store.work(lambda _: None)
        assert it.sources == {"gpio", "sample/soil"}
        assert it.hardware.faults == {}
        (row,) = [row for row in await it.hardware.rows() if row["name"] == "soil"]
        assert (row["value"], row["error"]) == (0.25, "")


async def test_an_output_that_no_rule_feeds_is_just_there(tmp_path: Path) -> None:
    async with site(tmp_path, Device("siren", "Buzzer", {"pin": 5}), BUTTON) as it:
        await it.until(lambda: "gpio" in it.tasks)
        assert set(it.tasks) == {"devices", "gpio"}
        assert [row["error"] for row in await it.hardware.rows()] == ["", ""]


async def test_two_devices_on_one_pin_are_one_that_works_and_one_that_says_why(tmp_path: Path) -> None:
    async with site(tmp_path, BUTTON, Device("lamp", "PWMLED", {"pin": 17})) as it:
        await it.until(lambda: "gpio" in it.tasks)
        assert "device 'lamp' (PWMLED) cannot be opened: pin GPIO17 is already in use" in it.hardware.faults["lamp"]
        await it.command("lamp", b"on")
        assert it.store.counters("device/lamp").queued == 1  # it waits, and nothing is lost


async def test_a_device_that_hangs_when_it_is_opened_or_read_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "soil").write_text("hang", encoding="utf-8")
    hanging = Device("wet", "flaky_sensor", {"path": str(tmp_path / "soil")})
    async with site(tmp_path, flaky(tmp_path, hang=True), hanging, LAMP, patience_s=0.05) as it:
        await it.until(lambda: "device/lamp" in it.tasks)
        rows = {row["name"]: row["error"] for row in await it.hardware.rows()}
        assert rows == {"soil": "opening it does not end", "wet": "it does not answer", "lamp": ""}
        before = {thread.name for thread in _threads()}
        await it.hardware.rows()
        assert {thread.name for thread in _threads()} <= before  # and is not asked a second time


def _threads() -> list[Any]:
    import threading  # noqa: PLC0415 - only here

    return threading.enumerate()


async def test_a_sensor_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "soil").write_text("mud", encoding="utf-8")
    async with site(tmp_path, flaky(tmp_path)) as it:
        await it.until(lambda: "sample" in it.tasks)
        (row,) = await it.hardware.rows()
        assert (row["value"], row["error"]) == (None, "ValueError: could not convert string to float: 'mud'")


async def test_what_is_opened_after_the_end_is_closed_at_once(tmp_path: Path) -> None:
    hardware = Hardware(App("pi-7", tmp_path, devices=(LAMP,)), FakeClock(), simulate=True)
    await hardware.close()
    hardware._open(LAMP)
    assert hardware.devices == []
    other = Hardware(App("pi-7", tmp_path, devices=(LAMP,)), FakeClock(), simulate=True)
    other._open(LAMP)
    (lamp,) = other.devices
    await other.close()
    await other.close()
    assert lamp.device.closed


async def test_a_trigger_is_made_at_its_first_start_and_kept(tmp_path: Path) -> None:
    made: list[int] = []

    class Once:
        async def run(self, emit: Emit) -> None:
            await emit(make_event(FakeClock(), "device/x", b"1", "device/x"))

    def make() -> Trigger:
        made.append(1)
        if len(made) == 1:
            raise ConfigError("faulty")
        return Once()

    async with site(tmp_path) as it:
        run = late_trigger(make, it.bus)
        assert made == []
        with pytest.raises(ConfigError, match="faulty"):
            await run()
        await run()
        await run()
        assert made == [1, 1]
        assert len(await it.emitted(2)) == 2
