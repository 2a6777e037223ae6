"""Outputs that obey, whatever becomes of what they say."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device, Guard, Interlock, Overflow, QueueLimits
from edge_runtime.clock import make_event
from edge_runtime.errors import StoreError
from edge_runtime.host._voice import Voice
from edge_runtime.host.activity import Activity
from edge_runtime.host.actuator import Actuator
from edge_runtime.store.store import Store
from tests.host.hardwaresite import LAMP, site


async def test_a_command_that_cannot_be_obeyed_is_a_dead_letter_and_the_next_one_counts(tmp_path: Path) -> None:
    async with site(tmp_path, LAMP) as it:
        await it.command("lamp", b'{"volume": 11}')
        await it.command("lamp", b"on")
        (said,) = await it.emitted(1)
        assert json.loads(said.payload)["detail"]["value"] == 1
        counters = it.store.counters("device/lamp")
        assert (counters.delivered, counters.dead, counters.queued) == (1, 1, 0)


async def test_how_deep_functions_called_each_other_is_handed_on(tmp_path: Path) -> None:
    async with site(tmp_path, LAMP) as it:
        command = make_event(it.clock, "device/lamp/set", b"on", "function/f", {"edge-depth": "3", "own": "1"})
        await it.bus.emit(command)
        (said,) = await it.emitted(1)
        assert said.headers == {"edge-cause": command.id, "edge-asked-by": "function/f", "edge-depth": "3"}


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
        voice = Voice(lamp, "pi-7", it.clock, store, it.bus, synced=lambda: False)
        it.begin("lamp", Actuator(voice, Activity([])).run)
        await it.command("lamp", b"toggle")
        await it.until(lambda: it.clock._sleepers)
        await it.clock.advance(1)
        await it.clock.advance(1)
        await it.until(lambda: it.store.counters("device/lamp").delivered == 1)
        assert (await it.hardware.rows())[0]["value"] == 1
        (said,) = await it.store.queue("uplink").get(1)
        assert json.loads(said.event.payload)["detail"]["clock"] == "unsynced"


async def test_a_driver_that_hangs_is_said_and_what_waits_behind_it_is_obeyed_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pump = Device("pump", "stubborn")
    async with site(tmp_path, pump) as it:
        await it.until(lambda: "device/pump" in it.tasks)
        it.tasks["device/pump"].cancel()
        (board,) = it.hardware.devices
        voice = Voice(board, "pi-7", it.clock, it.store, it.bus)
        it.begin("pump", Actuator(voice, Activity([pump]), patience_s=0.01).run)
        board.device.hangs = True
        await it.command("pump", b"1")
        await it.until(lambda: caplog.messages)
        assert caplog.messages == ["device 'pump': its driver has not come back within 0.01 s"]
        await it.command("pump", b"0")
        board.device.hangs = False
        board.device.go_on.set()
        await it.until(lambda: it.store.counters("device/pump").delivered == 2)
        assert board.device.moves == [1, 0]


async def test_of_one_that_fails_or_hangs_nobody_knows_whether_it_is_active(tmp_path: Path) -> None:
    interlocked = Device("valve", "LED", guard=Guard(interlocks=(Interlock("pump"),)))
    activity, known = Activity([interlocked]), list[bool | None]()
    activity.follow(lambda _, active: known.append(active))
    async with site(tmp_path, Device("pump", "stubborn")) as it:
        await it.until(lambda: "device/pump" in it.tasks)
        it.tasks["device/pump"].cancel()
        (opened,) = it.hardware.devices
        board = opened.device
        it.begin("pump", Actuator(Voice(opened, "pi-7", it.clock, it.store, it.bus), activity, patience_s=0.01).run)
        await it.command("pump", b"1")
        await it.until(lambda: known[-1])
        board.fails = True
        await it.command("pump", b"0")
        await it.until(lambda: it.store.counters("device/pump").dead == 1)
        assert known[-1] is None
        board.fails = False
        await it.command("pump", b"1")
        await it.until(lambda: known[-1])
        board.hangs = True
        await it.command("pump", b"0")
        await it.until(lambda: known[-1] is None)
        board.hangs = False
        board.go_on.set()
        await it.until(lambda: known[-1] is False)
