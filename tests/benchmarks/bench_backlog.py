"""What ten million queued messages cost: accepting, memory and start, beside ten thousand of them.

    python -m tests.benchmarks.bench_backlog [--rows N] [--folder DIR]

The rows are written in bulk with the store's own schema and checksums. Both stores are measured in turn, in slices so
short that a busy moment of the machine meets both; memory is that of a process for each.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edge_runtime.app import QueueLimits, StoreLimits
from edge_runtime.clock import SystemClock, make_event
from edge_runtime.model import Feed, Message
from edge_runtime.store import schema
from edge_runtime.store.counters import SAVE
from edge_runtime.store.store import Store
from edge_runtime.store.writer import Writer
from tests.benchmarks._figure import figure

ROWS = 10_000_000
FEW = 10_000
OPENINGS = 41
PROCESSES = 5
SLICES = 60
SLICE_S = 0.1
PRODUCERS = 100
PAYLOAD = bytes(range(100))
QUEUES = {"uplink": QueueLimits()}
LIMITS = StoreLimits(limit_bytes=60 << 30, keep_free=0.0)


def build(folder: Path, count: int) -> None:
    """Make a store in which so many messages wait."""
    clock = SystemClock()
    writer = Writer(folder, LIMITS, QUEUES, clock)
    counters = writer.add_target("uplink")
    writer.close()
    event = make_event(clock, "dt/station/soil", PAYLOAD, "bench")
    first, topic, payload, meta, _ = schema.to_row(schema.pack_id(counters.id, 5, 1), Message(event, "uplink", 5, 1))
    ids = range(first, first + count)
    db = sqlite3.connect(folder / "queue.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    rows = ((row_id, topic, payload, meta, schema.checksum(row_id, topic, payload, meta)) for row_id in ids)
    db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?)", rows)
    size = schema.size_of((first, topic, payload, meta, 0))
    counters.produced, counters.bytes = count, count * size
    db.execute(SAVE, counters.sealed())
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    (folder / "highwater").unlink()


async def accept(store: Store, seconds: float) -> float:
    """Return how many events a second 100 producers get accepted."""
    clock, count = SystemClock(), 0
    end_s = (began_s := time.perf_counter()) + seconds

    async def produce() -> None:
        nonlocal count
        while time.perf_counter() < end_s:
            await store.change([(make_event(clock, "dt/station/soil", PAYLOAD, "bench"), (Feed("uplink"),))])
            count += 1

    await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
    return count / (time.perf_counter() - began_s)


async def opened(folder: Path) -> tuple[Store, float]:
    """Return the store, and in how many milliseconds it was open."""
    began_s = time.perf_counter()
    store = await Store.open(folder, QUEUES, clock=SystemClock(), limits=LIMITS)
    return store, (time.perf_counter() - began_s) * 1000


async def starts(folders: Sequence[Path]) -> list[list[float]]:
    """Return how long opening took, for each folder in turn."""
    found: list[list[float]] = [[] for _ in folders]
    for _ in range(OPENINGS):
        for folder, times in zip(folders, found, strict=True):
            store, milliseconds = await opened(folder)
            times.append(milliseconds)
            await store.close()
    return found


async def rates(folders: Sequence[Path]) -> list[list[float]]:
    """Return the rates of short slices, of all folders in turn."""
    stores = [(await opened(folder))[0] for folder in folders]
    found: list[list[float]] = [[] for _ in folders]
    for number in range(-SLICES // 10, SLICES):
        turns = list(zip(stores, found, strict=True))
        for store, known in turns if number % 2 else reversed(turns):
            rate = await accept(store, SLICE_S)
            if number >= 0:  # before, the store learns how fast its disk is
                known.append(rate)
    for store in stores:
        await store.close()
    return found


async def memory(folder: Path) -> float:
    """Return what this process takes with the store open, when it has accepted for a while."""
    store, _ = await opened(folder)
    await accept(store, 0.5)
    found = rss_kb()
    await store.close()
    return found


def rss_kb() -> float:
    """Return how much memory this process has now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def apart(folder: Path) -> float:
    """Return the memory of a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_backlog", "--memory", str(folder)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def compare(folder: Path, rows: int) -> None:
    """Print the three figures."""
    folders = [folder / "few", folder / "many"]
    build(folders[0], FEW)
    build(folders[1], rows)
    took = [min(times) for times in asyncio.run(starts(folders))]  # a thread starts: the quickest tells most
    _say("backlog_growth_start", took, "ms", rows, goal=1.1)
    kilobytes = [[apart(where) for where in folders] for _ in range(PROCESSES)]
    _say(
        "backlog_growth_rss",
        [statistics.median(column) for column in zip(*kilobytes, strict=True)],
        "KB",
        rows,
        goal=1.1,
    )
    few, many = asyncio.run(rates(folders))
    found = [statistics.median(few), statistics.median(many)]
    ratio = statistics.median(one / two for one, two in zip(many, few, strict=True))  # of slices side by side
    _say("backlog_growth_rate", found, "events/s", rows, goal=0.9, ratio=ratio)


def _say(name: str, found: Sequence[float], unit: str, rows: int, *, goal: float, ratio: float | None = None) -> None:
    reference = f"the same with {FEW} rows queued, and not {rows}"
    better: Literal["lower", "higher"] = "lower" if goal > 1 else "higher"
    figure(name, found[1], unit, reference=reference, reference_value=found[0], goal=goal, better=better, ratio=ratio)


def main(arguments: list[str] | None = None) -> None:
    """Measure, with the rows and in the folder that the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--memory", type=Path)
    options = parser.parse_args(arguments or [])
    if options.memory:
        sys.stdout.write(str(asyncio.run(memory(options.memory))))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        compare(Path(name), options.rows)


if __name__ == "__main__":
    main(sys.argv[1:])
