"""Hardware at work beside a store, without a host; drivers are files, as a user writes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from edge_runtime.app import App, Device, QueueLimits, Rule
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.host.bus import Bus
from edge_runtime.host.hardware import Hardware
from edge_runtime.model import Event
from edge_runtime.store.store import Store

BUTTON = Device("button", "Button", {"pin": 17})
LAMP = Device("lamp", "PWMLED", {"pin": 27})
OUTPUTS = ("lamp", "odd", "pump", "heater")
RULES = (
    Rule("device/lamp/set", ("device/lamp",)),
    Rule("device/odd/set", ("device/odd",)),
    Rule("device/+", ("uplink",)),
    Rule("device/button/#", ("uplink",)),
    Rule("device/pump/set", ("device/pump",)),
    Rule("device/heater/set", ("device/heater",)),
    *(Rule(f"device/+/{kind}", ("uplink",)) for kind in ("refused", "deferred", "fault")),
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
# An output that can be told to fail, or to hang until it is let go.
STUBBORN = '''
import threading

class Stubborn:
    """A relay board that has seen better days."""

    def __init__(self):
        self._value = 0
        self.moves = []
        self.fails = False
        self.hangs = False
        self.go_on = threading.Event()
        self.hanging = threading.Event()

    @classmethod
    def simulated(cls):
        return cls()

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        if self.fails:
            raise OSError("the relay board is gone")
        if self.hangs:
            self.hanging.set()
            self.go_on.wait()
        if value > 1:
            raise ValueError("it is on or off")
        self._value = value
        self.moves.append(value)

    def close(self):
        pass
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
    (drivers / "stubborn.py").write_text(STUBBORN, encoding="utf-8")
    (drivers / "odd_display.py").write_text(ODD, encoding="utf-8")
    clock = FakeClock()
    queues = dict.fromkeys(["", *(f"device/{name}" for name in OUTPUTS), "uplink"], QueueLimits())
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
