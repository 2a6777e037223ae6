"""From the edge of a pin to the broker's acknowledgement, through a Lambda handler.

    python -m tests.benchmarks.bench_path

The path has two commits before the publish (the event, then the reply that replaces it) and one process in between.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path

from edge_runtime import plugin
from edge_runtime.app import App, Destination, Device, Function, LinkSpec, Rule, Uplink
from edge_runtime.errors import LinkError
from edge_runtime.host import Host
from edge_runtime.model import Received
from tests.benchmarks._figure import figure
from tests.brokers import start_mosquitto

EDGES = 400
WARM = 60
ROUNDS = 3
HANDLER = "def handler(event, context):\n    return {'device': event['detail']['device'], 'on': True}\n"


class Timed:
    """A link that notes when each publish is acknowledged."""

    def __init__(self, port: int) -> None:
        self._link = plugin.load("links", "awscrt").LINK(endpoint="127.0.0.1", port=port, client_id="path")
        self.acked = asyncio.Event()
        self.at = 0.0

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect the real link."""
        return bool(await self._link.connect(down=down, received=received))

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe with the real link."""
        await self._link.subscribe(filters)

    def most_bytes(self, topic: str) -> int:
        """Ask the real link."""
        return int(self._link.most_bytes(topic))

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> Awaitable[None]:
        """Publish, and look at the clock when it is acknowledged."""
        future: asyncio.Future[None] = asyncio.ensure_future(self._link.publish(topic, payload, properties))
        future.add_done_callback(self._note)
        return future

    async def lost(self) -> LinkError:
        """Tell when the real link is gone."""
        error: LinkError = await self._link.lost()
        return error

    async def close(self) -> None:
        """Close the real link."""
        await self._link.close()

    def _note(self, _: object) -> None:
        self.at = time.perf_counter()
        self.acked.set()


def app(folder: Path, port: int) -> App:
    """Return an app of one button, one function and a link."""
    code = folder / "code"
    code.mkdir()
    (code / "app.py").write_text(HANDLER)
    return App(
        thing="bench",
        base=folder,
        devices=(Device("button", "Button", {"pin": 17}, debounce_s=0.0),),
        functions=(Function("react", code, "app.handler", on_success=Destination("dt/bench/react")),),
        rules=(Rule("device/button/pressed", ("function/react",)),),
        link=LinkSpec(
            "awscrt",
            {"endpoint": "127.0.0.1", "port": port, "client_id": "path"},
            Uplink(up=(Rule("dt/#", ("uplink",)),), publishes_per_s=0, bytes_per_s=0, aws_quotas=False),
        ),
    )


async def path(folder: Path, port: int) -> list[float]:
    """Return the seconds from edge to acknowledgement, one edge at a time."""
    link = Timed(port)
    host = Host(app(folder, port), folder / "state", simulate=True, link=link)
    await host.start()
    try:
        while not host.hardware.devices or host.uplink is None or host.uplink.state.state != "up":  # noqa: ASYNC110 - only a start
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        pin = host.hardware.devices[0].device.pin
        times = []
        for _ in range(WARM + EDGES):
            link.acked.clear()
            begin = time.perf_counter()
            pin.drive_low()
            await link.acked.wait()
            times.append(link.at - begin)
            pin.drive_high()
            await asyncio.sleep(0.003)
        return times[WARM:]
    finally:
        await host.stop()


async def round_trips(port: int) -> list[float]:
    """Return the seconds of a publish over the same kind of link, one at a time."""

    async def nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
        """Store nothing: nothing comes down."""

    link = plugin.load("links", "awscrt").LINK(endpoint="127.0.0.1", port=port, client_id="round-trips")
    await link.connect(down=(), received=nothing)
    times = []
    for _ in range(EDGES):
        begin = time.perf_counter()
        await link.publish("dt/bench/react", b"x" * 60, {})
        times.append(time.perf_counter() - begin)
        await asyncio.sleep(0.003)
    await link.close()
    return times


def commits(folder: Path) -> list[float]:
    """Return the seconds of commits of one row by SQLite alone, WAL and FULL."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE q (id INTEGER PRIMARY KEY, topic TEXT, payload BLOB, time INTEGER)")
    times = []
    for number in range(EDGES):
        begin = time.perf_counter()
        db.execute("INSERT INTO q (topic, payload, time) VALUES (?, ?, ?)", ("dt/bench/react", b"x" * 200, number))
        times.append(time.perf_counter() - begin)
        time.sleep(0.003)
    db.close()
    return times


async def _all(folder: Path) -> None:
    rows = []
    for number in range(ROUNDS):
        where = folder / str(number)
        where.mkdir()
        async with start_mosquitto(where) as broker:
            ours = await path(where, broker.port)
            trips = await round_trips(broker.port)
        rows.append([statistics.median(x) * 1e6 for x in (ours, trips, commits(where))])
    ours_us, trip_us, commit_us = (statistics.median(column) for column in zip(*rows, strict=True))
    figure(
        "event_to_puback_p50", ours_us, "us",
        reference=f"one SQLite FULL commit ({commit_us:.0f} us) + one QoS 1 round trip, same link ({trip_us:.0f} us)",
        reference_value=commit_us + trip_us, goal=3.0, better="lower",
    )  # fmt: skip


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        asyncio.run(_all(Path(name).resolve()))


if __name__ == "__main__":
    main()
