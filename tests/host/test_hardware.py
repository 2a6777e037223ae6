"""Devices that cannot be opened, that hang, that tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App, Device
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.errors import ConfigError
from edge_runtime.host.hardware import Hardware, late_trigger
from edge_runtime.model import Emit, Trigger
from tests.host.hardwaresite import BUTTON, LAMP, flaky, site


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
