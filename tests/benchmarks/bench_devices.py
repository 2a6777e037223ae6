"""What devices cost: a storm of edges and readings into a real store, one edge alone, and fifty that do nothing.

    python -m tests.benchmarks.bench_devices

EDGE_BENCH_S shortens the storm of 60 s. The storm counts: with a debounce of 0 each edge is an event, so that one that
is missing is a loss; of the readings, only the times that the grid left out may be missing, and they are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.app import Device, QueueLimits, Rule, StoreLimits
from edge_runtime.clock import SystemClock, new_id
from edge_runtime.devices import OpenDevice, close, open_devices
from edge_runtime.host.bus import Bus
from edge_runtime.model import NO_HEADERS, Emit, Event
from edge_runtime.store.store import Store
from edge_runtime.triggers.gpio import GpioTrigger
from edge_runtime.triggers.sample import SampleTrigger
from tests.benchmarks._figure import figure

SECONDS = min(60.0, float(os.environ.get("EDGE_BENCH_S", "60")))
PINS = 8
EDGES_HZ = 1000
SENSORS = 100
SENSORS_HZ = 10
ALONE = 400
WARM = 60
ROUNDS = 3
IDLE_S = 10.0
TARGET = "function/all"
_MOST = 1 << 20
"""More events than there are in a storm of 60 s."""


class Sensor:
    """A driver that answers at once, with a number that always differs."""

    def __init__(self) -> None:
        self.reads = 0

    @property
    def value(self) -> float:
        """How often it was read, as a temperature."""
        self.reads += 1
        return 20 + self.reads % 100 / 10


class Storm(NamedTuple):
    """What became of a storm."""

    edges: int
    edges_driven: int
    readings: int
    reads: int
    left_out: int
    cpu_share: float
    driver_share: float
    rss_mb: float
    behind_s: float


class Drain:
    """Takes what comes to the target, and counts it: nothing may come twice."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = bytearray(_MOST)
        self._first = int(new_id(SystemClock().now())[-12:], 16)  # ids count up
        self.edges = self.readings = self.twice = 0

    async def run(self) -> None:
        """Take, for ever."""
        queue = self._store.queue(TARGET)
        while True:
            messages = await queue.get(1000)
            for message in messages:
                place = (int(message.event.id[-12:], 16) - self._first) % _MOST
                self.twice += self._seen[place]
                self._seen[place] = 1
                if message.event.source.startswith("device/b"):
                    self.edges += 1
                else:
                    self.readings += 1
            await self._store.change(done=messages)


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[Store, Bus]]:
    """Open a store on disk with one target that gets everything from devices."""
    clock = SystemClock()
    store = await Store.open(folder, {TARGET: QueueLimits()}, clock=clock, limits=StoreLimits(1 << 30))
    try:
        yield store, Bus(store, (Rule("device/#", (TARGET,)),), aws_quotas=False)
    finally:
        await store.close()


@contextlib.contextmanager
def buttons(count: int) -> Any:  # noqa: ANN401 - a generator of devices
    """Open simulated buttons whose every edge counts. They are not held: each is pressed for 1 ms."""
    specs = [Device(f"b{n}", "Button", {"pin": 4 + n}, debounce_s=0.0) for n in range(count)]
    devices = open_devices(specs, simulate=True)
    try:
        yield devices
    finally:
        close(devices)


def _gpio(devices: list[OpenDevice]) -> GpioTrigger:
    """Make the trigger as the host does: it knows whether the clock is right, and asks nobody."""
    return GpioTrigger(devices, "bench", SystemClock(), synced=lambda: True)


def _sample(devices: list[OpenDevice]) -> SampleTrigger:
    """Make the trigger as the host does."""
    return SampleTrigger(devices, "bench", SystemClock(), synced=lambda: True)


@contextlib.asynccontextmanager
async def running(*runs: Awaitable[None]) -> AsyncIterator[None]:
    """Run triggers, and see that none has failed."""
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(run) for run in runs]
    await asyncio.sleep(0.05)
    try:
        yield
        for task in tasks:
            if task.done():
                await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def drive(devices: list[OpenDevice], seconds: float, spent: list[float]) -> None:
    """Drive each pin once a millisecond, by a schedule that does not drift: what is late is made up for."""
    pins = [device.device.pin for device in devices]
    begin, cpu = time.monotonic(), time.thread_time()
    for n in range(round(seconds * EDGES_HZ)):
        if (wait_s := begin + n / EDGES_HZ - time.monotonic()) > 0:
            time.sleep(wait_s)
        for pin in pins:
            if n % 2:
                pin.drive_high()
            else:
                pin.drive_low()
            pin.states.clear()  # the mock keeps each edge for ever
    spent += [time.thread_time() - cpu, time.monotonic() - begin]


async def storm(folder: Path) -> Storm:
    """Drive pins and read sensors for a while; return what arrived at the target."""
    drivers = [Sensor() for _ in range(SENSORS)]
    sensors = [
        OpenDevice(f"s{n}", Device(f"s{n}", "sensor", every_s=1 / SENSORS_HZ), driver, simulated=False, pin="")
        for n, driver in enumerate(drivers)
    ]
    spent: list[float] = []
    driven = PINS * round(SECONDS * EDGES_HZ)
    async with site(folder) as (store, bus):
        with buttons(PINS) as devices:
            gpio, sample, drain = _gpio(devices), _sample(sensors), Drain(store)
            thread = threading.Thread(target=drive, args=(devices, SECONDS, spent))
            async with running(drain.run(), gpio.run(bus.emit)):
                cpu, begin = time.process_time(), time.monotonic()
                thread.start()
                async with running(sample.run(bus.emit)):
                    await asyncio.sleep(SECONDS - 0.05 - 0.5 / SENSORS_HZ)  # `running` has waited, and half a tick
                    await caught_up(lambda: drain.readings == sum(driver.reads for driver in drivers))
                reads = sum(driver.reads for driver in drivers)
                await asyncio.to_thread(thread.join)
                behind_s = await caught_up(lambda: drain.edges >= driven)
                cpu, wall = time.process_time() - cpu, time.monotonic() - begin
        if drain.twice or gpio.refused or sample.refused:
            raise SystemExit(f"{drain.twice} came twice; refused: {gpio.refused} {sample.refused}")
    left_out = sum(sample.left_out.values())
    return Storm(
        drain.edges, driven, drain.readings, reads, left_out, cpu / wall, spent[0] / wall, rss_mb(), behind_s
    )  # fmt: skip


async def caught_up(is_so: Callable[[], bool]) -> float:
    """Return how long it takes until it is so; what is not so after 10 s is lost."""
    begin = time.monotonic()
    while not is_so() and time.monotonic() - begin < 10:  # noqa: ASYNC110 - how far behind is what is measured
        await asyncio.sleep(0.001)
    return time.monotonic() - begin


def rss_mb() -> float:
    """Return the resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


async def alone(folder: Path) -> tuple[float, float]:
    """Return the seconds from a pin's callback to the durable accept, and those of the same event's commit alone.

    The pin is driven on a thread of its own, as by gpiozero; the two are measured in turn.
    """
    done = asyncio.Event()
    times: list[float] = []
    commits: list[float] = []
    accepted: list[Event] = []
    async with site(folder) as (store, bus):

        async def emit(*events: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
            await bus.emit(*events, memo=memo)
            times.append(time.perf_counter() - began[0])
            accepted.extend(events)
            done.set()

        began = [0.0]
        with buttons(1) as devices:
            pin = devices[0].device.pin

            def press(level: int) -> None:
                began[0] = time.perf_counter()
                if level:
                    pin.drive_low()
                else:
                    pin.drive_high()

            call, stop = _thread()
            async with running(_gpio(devices).run(emit)):
                for n in range(WARM + ALONE):
                    done.clear()
                    call(lambda level=1 - n % 2: press(level))  # type: ignore[misc]  # its default is its argument
                    async with asyncio.timeout(10):  # a trigger that has failed would be waited for
                        await done.wait()
                    await asyncio.sleep(0.002)
                    begin = time.perf_counter()
                    await store.change([bus.route(accepted.pop())])
                    commits.append(time.perf_counter() - begin)
                    await asyncio.sleep(0.002)
            stop()
    return statistics.median(times[WARM:]), statistics.median(commits[WARM:])


def _thread() -> tuple[Callable[[Callable[[], None]], None], Callable[[], None]]:
    """Return what calls a function on another thread, and what ends that."""
    from queue import SimpleQueue  # noqa: PLC0415 - only here

    calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def work() -> None:
        while (one := calls.get()) is not None:
            one()

    threading.Thread(target=work, daemon=True).start()
    return calls.put, lambda: calls.put(None)


IDLE = (
    *(Device(f"button{n}", "Button", {"pin": 2 + n}) for n in range(8)),
    *(Device(f"motion{n}", "MotionSensor", {"pin": 10 + n}) for n in range(6)),
    *(Device(f"line{n}", "LineSensor", {"pin": 16 + n}) for n in range(3)),
    *(Device(f"led{n}", "LED", {"pin": 19 + n}) for n in range(4)),
    Device("knob", "RotaryEncoder", {"a": 23, "b": 24}),
    Device("board", "ButtonBoard", {"pins": [25, 26, 27]}),
    *(Device(f"load{n}", "LoadAverage") for n in range(4)),
    *(Device(f"disk{n}", "DiskUsage", every_s=60.0) for n in range(3)),
    *(Device(f"soil{n}", "sensor", every_s=60.0) for n in range(20)),
)
"""Fifty devices: 27 pins of one board with what can hang on them, and what needs none. A DistanceSensor and a
LightSensor are not among them: they measure all the time, that is how they work."""


def _kinds() -> str:
    """Return how many of each kind are idle."""
    kinds = Counter(f"{one.driver} every {one.every_s:g} s" if one.every_s else one.driver for one in IDLE)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


async def idle(seconds: float) -> float:
    """Return the share of a core that idle devices take."""
    real = [spec for spec in IDLE if spec.driver != "sensor"]
    devices = open_devices(real, simulate=True)
    devices += [OpenDevice(s.name, s, Sensor(), simulated=False, pin="") for s in IDLE if s.driver == "sensor"]

    async def emit(*_: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
        """Keep nothing: hardly anything comes."""

    take: Emit = emit
    sampled = [device for device in devices if device.spec.every_s]
    telling = [device for device in devices if not device.spec.every_s and device.has_events]
    try:
        async with running(
            _gpio(telling).run(take),
            _sample(sampled).run(take),
        ):
            await asyncio.sleep(1.0)
            cpu = time.process_time()
            await asyncio.sleep(seconds)
            return (time.process_time() - cpu) / seconds
    finally:
        close(devices)


async def _all(folder: Path) -> None:
    found = await storm(folder / "storm")
    figure(
        "edges_stored", found.edges, "events",
        reference=f"edges of {PINS} pins at 1 kHz for {SECONDS:g} s; at the end {found.behind_s * 1e3:.0f} ms behind",
        reference_value=found.edges_driven, goal=1.0, better="higher",
    )  # fmt: skip
    figure(
        "readings_stored", found.readings, "events",
        reference=f"{SENSORS} sensors read at 10 Hz for {SECONDS:g} s; the grid left out {found.left_out}",
        reference_value=found.reads, goal=1.0, better="higher",
    )  # fmt: skip
    figure(
        "storm_cpu", found.cpu_share, "s of CPU per s",
        reference=f"one core; {found.driver_share:.2f} of it drive the pins", reference_value=1.0, goal=1.0,
        better="lower",
    )  # fmt: skip
    figure(
        "storm_rss", found.rss_mb, "MB", reference="60 MB, drivers of the pins and of the bench included",
        reference_value=60.0, goal=1.0, better="lower",
    )  # fmt: skip
    rows = [await alone(folder / f"alone{n}") for n in range(ROUNDS)]
    edge_s, commit_s = (statistics.median(column) for column in zip(*rows, strict=True))
    figure(
        "edge_to_emit_p50", edge_s * 1e6, "us", reference="one group commit of the same event alone",
        reference_value=commit_s * 1e6, goal=1.5, better="lower",
    )  # fmt: skip
    figure(
        "devices_idle_cpu", await idle(IDLE_S) * 100, "% of a core",
        reference=f"1 % for {len(IDLE)} devices on simulated pins: {_kinds()}",
        reference_value=1.0, goal=1.0, better="lower",
    )  # fmt: skip


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        asyncio.run(_all(Path(name).resolve()))


if __name__ == "__main__":
    main()
