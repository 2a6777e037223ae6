"""What the host tells of its devices: values with units, last events, listeners, and what drives the pins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from edge_runtime.app import App, Device, Measure, QueueLimits, Rule
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.host.bus import Bus
from edge_runtime.host.hardware import Hardware
from edge_runtime.store.store import Store

SOIL = Device("soil", "soil_rows", every_s=60.0, measures={"": Measure(scale=100, digits=1, unit="%")})
DRIVER = """
class Soil:
    unit = "V"

    @property
    def value(self):
        return 0.12345

    @classmethod
    def simulated(cls):
        return cls()
"""


async def test_a_row_tells_value_unit_last_event_and_listeners(tmp_path: Path) -> None:
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware/soil_rows.py").write_text(DRIVER, encoding="utf-8")
    clock = FakeClock()
    rules = (Rule("device/soil", ("function/water",)),)
    app = App("station", tmp_path, board="pi-4", devices=(SOIL,), rules=rules)
    store = await Store.open(tmp_path / "state", {"function/water": QueueLimits()}, clock=clock)
    bus = Bus(store, rules, aws_quotas=False)
    hardware = Hardware(app, clock, simulate=True)
    begun = asyncio.Event()

    def begin(name: str, run: Callable[[], Awaitable[None]], *, source: bool = False) -> None:
        assert (name, callable(run), source) == ("sample", True, True)
        begun.set()

    opening = asyncio.create_task(hardware.run(store, bus, begin))
    try:
        async with asyncio.timeout(20):
            await begun.wait()
        await bus.emit(make_event(clock, "device/soil", b'{"detail": {"event": "sample"}}', "sample"))
        await clock.advance(2.5)
        assert await hardware.rows() == [
            {
                "name": "soil",
                "driver": "soil_rows",
                "pin": "",
                "simulated": True,
                "every_s": 60.0,
                "value": 12.3,
                "unit": "%",
                "error": "",
                "event": "sample",
                "age_s": 2.5,
                "listeners": ["function/water"],
            }
        ]
        assert hardware.board() == {"board": "pi-4", "factory": "simulated"}
    finally:
        opening.cancel()
        await hardware.close()
        await store.close()


def test_what_drives_the_pins_is_known_when_a_device_wants_one(tmp_path: Path) -> None:
    hardware = Hardware(App("station", tmp_path), FakeClock(), simulate=False)
    assert hardware.board() == {"board": "", "factory": ""}
