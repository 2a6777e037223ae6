"""Devices that a shadow drives, and that report to one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.app import App, Device, Guard, QueueLimits, Rule, ShadowKey
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.cloud.shadows import Shadows
from edge_runtime.errors import EdgeError
from edge_runtime.host.bus import Bus
from edge_runtime.host.device_shadows import DeviceShadows
from edge_runtime.host.hardware import Hardware
from edge_runtime.model import NO_HEADERS
from edge_runtime.pure.shadow import Accepted, delta_of
from edge_runtime.store.store import Store

PUMP = Device("pump", "LED", {"pin": 27}, shadow=ShadowKey("", ("pump",)))
FAN = Device("fan", "PWMLED", {"pin": 22}, shadow=ShadowKey("station", ("fan", "speed")))
DOOR = Device("door", "Button", {"pin": 17}, shadow=ShadowKey("", ("door",)))
SOIL = Device("soil", "MCP3008", {"channel": 0}, every_s=1, shadow=ShadowKey("", ("soil",)))
OUTPUTS = ("pump", "fan")


class Site:
    """Devices and shadows at work."""

    def __init__(self, store: Store, clock: FakeClock, devices: tuple[Device, ...], folder: Path) -> None:
        self.store = store
        self.clock = clock
        self.bus = Bus(store, [Rule(f"device/{n}/set", (f"device/{n}",)) for n in OUTPUTS], aws_quotas=False)
        self.shadows = Shadows(store, "pi-7", clock, self.bus.emit)
        self.twins = DeviceShadows(devices, self.shadows, store, self.bus, clock)
        self.hardware = Hardware(App("pi-7", folder, devices=devices), clock, simulate=True)
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.begin("shadow-devices", self.twins.run)
        self.begin("devices", lambda: self.hardware.run(store, self.bus, self.begin, self.twins))

    def begin(self, name: str, run: Callable[[], Awaitable[None]], *, source: bool = False) -> None:
        """Start a part."""
        assert source or name
        self.tasks[name] = asyncio.ensure_future(run())

    async def until(self, happened: Callable[[], Awaitable[object]]) -> None:
        """Return when it has happened; time passes meanwhile."""
        async with asyncio.timeout(30):
            while not await happened():
                await self.store.work(lambda _: None)
                await self.clock.advance(0.25)

    async def state(self, name: str = "") -> Mapping[str, object]:
        """Return what a shadow holds."""
        document = await self.shadows.document(name)
        return {} if document is None else document.state

    async def becomes(self, name: str = "", **state: object) -> None:
        """Return when a shadow holds just this."""

        async def is_so() -> bool:
            return await self.state(name) == state

        try:
            await self.until(is_so)
        except TimeoutError:
            assert await self.state(name) == state

    async def settle(self) -> None:
        """Let everything come to rest."""
        for _ in range(40):
            await self.store.work(lambda _: None)
            await self.clock.advance(0.25)

    async def desire(self, name: str = "", headers: Mapping[str, str] = NO_HEADERS, **desired: object) -> None:
        """Set what is desired, as a function does."""
        request = json.dumps({"state": {"desired": desired}}).encode()
        assert isinstance(await self.shadows.update(name, request, headers=headers), Accepted)

    async def command(self, name: str, payload: bytes) -> None:
        """Emit a command for a device."""
        await self.bus.emit(make_event(self.clock, f"device/{name}/set", payload, "function/f"))

    async def value(self, name: str) -> object:
        """Return what a device does."""
        return next(row["value"] for row in await self.hardware.rows() if row["name"] == name)

    async def versions(self, name: str = "") -> int:
        """Return how often a shadow was updated."""
        document = await self.shadows.document(name)
        return 0 if document is None else document.version


@asynccontextmanager
async def site(folder: Path, *devices: Device, later_s: float = 0) -> AsyncIterator[Site]:
    clock = FakeClock(1_700_000_000 + later_s)
    queues = dict.fromkeys(["", *(f"device/{name}" for name in OUTPUTS)], QueueLimits())
    store = await Store.open(folder / "state", queues, clock=clock)
    it = Site(store, clock, devices, folder)
    try:
        yield it
    finally:
        for task in it.tasks.values():
            task.cancel()
        await asyncio.gather(*it.tasks.values(), return_exceptions=True)
        await it.hardware.close()
        await store.close()


async def test_what_is_desired_is_done_and_the_delta_vanishes(tmp_path: Path) -> None:
    async with site(tmp_path, PUMP, FAN) as it:
        await it.becomes(reported={"pump": 0})
        await it.becomes("station", reported={"fan": {"speed": 0}})
        await it.desire(pump="on")
        await it.desire("station", fan={"speed": 0.5})
        await it.becomes(desired={"pump": "on"}, reported={"pump": "on"})
        await it.becomes("station", desired={"fan": {"speed": 0.5}}, reported={"fan": {"speed": 0.5}})
        assert delta_of(await it.state()) == {}
        assert (await it.value("pump"), await it.value("fan")) == (1, 0.5)
        await it.settle()
        assert (await it.versions(), it.store.counters("device/pump").delivered) == (3, 1)  # and nothing goes on


async def test_a_command_from_elsewhere_is_reported_and_stands(tmp_path: Path) -> None:
    async with site(tmp_path, PUMP) as it:
        await it.desire(pump=True)
        await it.becomes(desired={"pump": True}, reported={"pump": True})
        await it.command("pump", b"off")
        await it.becomes(desired={"pump": True}, reported={"pump": False})
        await it.settle()
        assert await it.value("pump") == 0
        await it.desire(pump=True)  # once more: it is meant
        await it.becomes(desired={"pump": True}, reported={"pump": True})
        assert await it.value("pump") == 1


async def test_what_was_desired_while_the_host_was_down_is_done_at_the_start(tmp_path: Path) -> None:
    async with site(tmp_path, FAN) as it:  # the pump is not there
        await it.desire(pump="on")
    async with site(tmp_path, PUMP) as it:
        await it.becomes(desired={"pump": "on"}, reported={"pump": "on"})
        assert await it.value("pump") == 1
    async with site(tmp_path, PUMP) as it:  # a power cut: it is off, and was on
        await it.settle()
        assert (await it.state())["reported"] == {"pump": "on"}
        assert await it.value("pump") == 1
        await it.command("pump", b"off")
        await it.becomes(desired={"pump": "on"}, reported={"pump": "off"})
    async with site(tmp_path, PUMP) as it:  # somebody has overruled it
        await it.settle()
        assert await it.value("pump") == 0
        assert (await it.state())["reported"] == {"pump": "off"}


@pytest.mark.parametrize("bad", [7, "faster", [1, 0], "x" * 200])
async def test_what_a_device_does_not_take_stays_in_the_delta_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: object
) -> None:
    async with site(tmp_path, FAN) as it:
        await it.desire("station", fan={"speed": bad})
        await it.until(lambda: dead(it, "fan"))
        await it.settle()
        assert delta_of(await it.state("station")) == {"fan": {"speed": bad}}
        assert it.store.counters("device/fan").dead == 1
    async with site(tmp_path, FAN) as it:
        await it.settle()
        assert it.store.counters("device/fan").dead == 1
        await it.desire("station", fan={"speed": 0.25})
        await it.becomes("station", desired={"fan": {"speed": 0.25}}, reported={"fan": {"speed": 0.25}})
    assert len([r for r in caplog.records if re.search("does not take|knows no", r.getMessage())]) == 1


async def dead(it: Site, name: str) -> int:
    return it.store.counters(f"device/{name}").dead


@pytest.mark.parametrize(("bad", "why"), [("toggle", "is no state"), ({"on": 1}, "it is an object")])
async def test_what_no_device_can_be_is_not_even_commanded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: object, why: str
) -> None:
    async with site(tmp_path, PUMP) as it:
        await it.becomes(reported={"pump": 0})
        await it.desire(pump=bad)
        await it.desire(pump=bad)
        await it.settle()
        assert len([r for r in caplog.records if why in r.getMessage()]) == 1
        assert it.store.counters("device/pump").produced == 0


async def test_inputs_are_reported_and_take_no_commands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path, DOOR, SOIL) as it:
        await it.until(lambda: reported(it, soil=0.0))
        it.hardware.simulate("door", 1)
        it.hardware.simulate("soil", 0.5)
        await it.until(lambda: reported(it, soil=0.5, door=1))
        await it.desire(door=0)
        await it.settle()
        assert "it takes no commands" in caplog.text
        assert delta_of(await it.state()) == {"door": 0}


async def reported(it: Site, *, soil: float, door: int = 0) -> bool:
    found = (await it.state()).get("reported")
    return isinstance(found, dict) and found.get("door") == door and abs(found.get("soil", 9) - soil) < 0.01


async def test_many_changes_are_few_reports(tmp_path: Path) -> None:
    async with site(tmp_path, FAN) as it:
        await it.becomes("station", reported={"fan": {"speed": 0}})
        for n in range(1, 51):
            await it.command("fan", b'{"value": %g}' % (n / 50))
        await it.becomes("station", reported={"fan": {"speed": 1}})
        assert await it.versions("station") <= 4
        await it.command("fan", b"on")  # as it is
        await it.settle()
        assert await it.versions("station") <= 4


async def test_a_chain_of_functions_over_a_device_is_still_a_chain(tmp_path: Path) -> None:
    async with site(tmp_path, PUMP) as it:
        await it.becomes(reported={"pump": 0})
        watcher = it.bus.watch("$aws/things/pi-7/shadow/update/documents")
        await it.desire(pump="on", headers={"edge-depth": "3"})
        await it.becomes(desired={"pump": "on"}, reported={"pump": "on"})
        shown = watcher.entries()
        depths = [(await anext(shown))[0].headers.get("edge-depth") for _ in range(2)]
        assert depths == ["3", "3"]


async def test_a_report_that_is_refused_is_said_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(tmp_path, PUMP) as it:
        full = json.dumps({"state": {"reported": {"x": "y" * 8180}}}).encode()
        assert isinstance(await it.shadows.update("", full), Accepted)
        await it.settle()
        assert "not reported: 413" in caplog.text
        await it.command("pump", b"on")
        await it.settle()
        assert isinstance(await it.shadows.delete(""), Accepted)
        await it.command("pump", b"off")
        await it.becomes(reported={"pump": 0})


LEASED = replace(PUMP, guard=Guard(lease_s=30))


async def test_what_a_guard_ends_is_reported_and_stays_desired_and_is_not_commanded_again(tmp_path: Path) -> None:
    async with site(tmp_path, LEASED) as it:
        await it.becomes(reported={"pump": 0})
        await it.desire(pump="on")
        await it.becomes(desired={"pump": "on"}, reported={"pump": "on"})
        await it.becomes(desired={"pump": "on"}, reported={"pump": "off"})  # the lease is over
        await it.settle()
        assert (await it.value("pump"), it.store.counters("device/pump").produced) == (0, 1)
        await it.desire(pump="on")  # once more: it is meant, for one lease more
        await it.becomes(desired={"pump": "on"}, reported={"pump": "on"})
    async with site(tmp_path, LEASED, later_s=5) as it:  # the lease would go on, but the host has ended it
        await it.settle()
        assert (await it.value("pump"), it.store.counters("device/pump").produced) == (0, 2)
        assert (await it.state())["desired"] == {"pump": "on"}


@pytest.mark.parametrize(("later_s", "starts"), [(20, True), (40, False), (-3600, False)])
async def test_what_was_desired_while_a_guarded_output_was_not_there_is_done_if_it_is_not_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, later_s: float, *, starts: bool
) -> None:
    async with site(tmp_path, FAN) as it:  # the pump is not there
        await it.desire(pump="on")
    async with site(tmp_path, LEASED, later_s=later_s) as it:
        await it.becomes(desired={"pump": "on"}, reported={"pump": "on" if starts else "off"})
        assert await it.value("pump") == (1 if starts else 0)
    assert ("it was for a time that is over" in caplog.text) is not starts


class Frail(Shadows):
    """Shadows on a disk that fails at first."""

    failures = 2

    async def update(self, *args: object, **more: object) -> Accepted:
        """Fail at first."""
        if self.failures:
            self.failures -= 1
            raise EdgeError("the disk is gone")
        answer = await super().update(*args, **more)  # type: ignore[arg-type]  # as it came
        assert isinstance(answer, Accepted)
        return answer


async def test_a_report_that_cannot_be_stored_is_repeated(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        frail = Frail(it.store, "pi-7", it.clock, it.bus.emit)
        twins = DeviceShadows((PUMP,), frail, it.store, it.bus, it.clock)
        hardware = Hardware(App("pi-7", tmp_path, devices=(PUMP,)), it.clock, simulate=True)
        it.begin("twins", twins.run)
        it.begin("others", lambda: hardware.run(it.store, it.bus, it.begin, twins))
        await it.becomes(reported={"pump": 0})
        assert frail.failures == 0
        await hardware.close()
