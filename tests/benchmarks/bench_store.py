"""How fast events become durable: with 100 producers, and with one.

    python -m tests.benchmarks.bench_store

Floors in the same run: SQLite itself at synchronous=FULL, and mosquitto, which acknowledges before anything is on disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from edge_runtime.app import QueueLimits
from edge_runtime.clock import SystemClock, make_event
from edge_runtime.model import Feed
from edge_runtime.store.store import Store
from tests.benchmarks._figure import figure
from tests.benchmarks._mqtt import publish_rate
from tests.brokers import start_mosquitto

ROUNDS = 7
SLICE_S = 0.6
PAYLOAD = bytes(range(200))
FEEDS = (Feed("uplink"),)


def sqlite_rate(folder: Path, batch: int) -> float:
    """Return the rows a second of SQLite alone, WAL and FULL, `batch` rows of 200 bytes a commit."""
    path = folder / "floor.db"
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE q (id INTEGER PRIMARY KEY, topic TEXT, payload BLOB, time INTEGER)")
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < SLICE_S:
        rows = [("dt/station/soil", PAYLOAD, count + n) for n in range(batch)]
        db.execute("BEGIN")
        db.executemany("INSERT INTO q (topic, payload, time) VALUES (?, ?, ?)", rows)
        db.execute("COMMIT")
        count += batch
    rate = count / (time.perf_counter() - begin)
    db.close()
    return rate


async def store_rate(folder: Path, producers: int) -> float:
    """Return the events a second that so many producers get accepted, each awaiting its own before the next."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(dir=folder) as state:
        store = await Store.open(Path(state), {"uplink": QueueLimits()}, clock=clock)
        count = 0
        end = time.perf_counter() + SLICE_S

        async def produce() -> None:
            nonlocal count
            while time.perf_counter() < end:
                await store.change([(make_event(clock, "dt/station/soil", PAYLOAD, "bench"), FEEDS)])
                count += 1

        for _ in range(50):  # until the store knows its disk
            await store.change([(make_event(clock, "dt/station/soil", PAYLOAD, "bench"), FEEDS)])
        begin = time.perf_counter()
        end = begin + SLICE_S
        await asyncio.gather(*(produce() for _ in range(producers)))
        rate = count / (time.perf_counter() - begin)
        await store.close()
    return rate


async def mosquitto_rate(folder: Path) -> float:
    """Return the QoS 1 publishes a second that mosquitto takes from 100 in flight for an absent subscriber."""
    async with start_mosquitto(folder, extra="max_queued_messages 0\n") as broker:
        return await asyncio.to_thread(publish_rate, broker.port, window=100, seconds=SLICE_S, payload=PAYLOAD)


def main() -> None:
    """Measure all in turn, so that a busy moment of the machine meets all of them."""
    rows = []
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        for number in range(ROUNDS):
            quiet = folder / str(number)
            quiet.mkdir()
            rows.append(
                (
                    sqlite_rate(quiet, 1),
                    asyncio.run(store_rate(quiet, 1)),
                    sqlite_rate(quiet, 100),
                    asyncio.run(store_rate(quiet, 100)),
                    asyncio.run(mosquitto_rate(quiet)),
                )
            )
    floor_1, ours_1, floor_100, ours_100, broker = (statistics.median(column) for column in zip(*rows, strict=True))
    figure(
        "accept_group", ours_100, "events/s", reference="SQLite FULL, 100 rows a commit", reference_value=floor_100,
        goal=0.3, better="higher",
    )  # fmt: skip
    figure(
        "accept_group_broker", ours_100, "events/s", reference="mosquitto, volatile, 100 in flight",
        reference_value=broker, goal=0.8, better="higher",
    )  # fmt: skip
    figure(
        "accept_single", ours_1, "events/s", reference="SQLite FULL, commit each", reference_value=floor_1,
        goal=0.7, better="higher",
    )  # fmt: skip


if __name__ == "__main__":
    main()
