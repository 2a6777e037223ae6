"""How long the host takes to accept its first event, and how big it is, with a backlog and without.

    python -m tests.benchmarks.bench_host

The clock starts before the process does, and stops when `edge publish`'s verb has answered that the event is safe.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge_runtime.app import QueueLimits, StoreLimits
from edge_runtime.clock import SystemClock, make_event
from edge_runtime.control import call, pack
from edge_runtime.errors import HostError
from edge_runtime.model import Feed
from edge_runtime.standin.server import Standin
from edge_runtime.store.jobs import Change
from edge_runtime.store.writer import Writer
from tests.benchmarks._figure import figure

BACKLOG = 1_000_000
STARTS = 9
LIMIT = 1 << 30
APP = """thing: bench
link: {{driver: awscrt, endpoint: 127.0.0.1, port: {port}, up: ["dt/#"]}}
queue: {{limit: 1GB}}
"""


def fill(state: Path, count: int) -> None:
    """Put a backlog into the queue of the uplink."""
    clock = SystemClock()
    writer = Writer(state, StoreLimits(LIMIT), {"uplink": QueueLimits()}, clock)
    writer.db.execute("PRAGMA synchronous = OFF")  # only here: what is measured comes later
    feeds = (Feed("uplink"),)
    for start in range(0, count, 10_000):
        entries = [
            (make_event(clock, "dt/bench/soil", b"%0200d" % n, "bench"), feeds) for n in range(start, start + 10_000)
        ]
        job = Change(entries)
        writer.process([job])
        if job.error is not None:
            raise job.error
        if writer.checkpoint_due:
            writer.checkpoint()
    writer.close()


def start(app: Path, state: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start a host; return it and the seconds until it had accepted an event."""
    # An installed package has its bytecode; a developer's environment may forbid it.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "run", str(app), "--state", str(state)],
        stderr=subprocess.DEVNULL,
        env=env,
    )
    while True:
        try:
            call(state, "publish", topic="dt/bench/first", payload=pack(b"1"))
        except HostError:
            if process.poll() is not None:
                raise
            time.sleep(0.001)
        else:
            return process, time.perf_counter() - begin


def starts(app: Path, *states: Path) -> list[float]:
    """Return the median seconds of a start on each state, in turn, without the first: it checks the app file."""
    times: list[list[float]] = [[] for _ in states]
    for _ in range(STARTS + 1):
        for state, row in zip(states, times, strict=True):
            process, seconds = start(app, state)
            row.append(seconds)
            process.terminate()
            process.wait()
    return [statistics.median(row[1:]) for row in times]


def interpreter() -> float:
    """Return the seconds that a Python takes to start with asyncio and sqlite3, and end."""
    times = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import asyncio, sqlite3"], check=True)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError(pid)


async def _with_link(app: Path, state: Path) -> float:
    """Return the memory of a host whose link is up and whose backlog cannot leave: the stand-in keeps its PUBACKs."""
    async with Standin(quotas="none", keep_record=False) as standin:
        standin.faults.lose_pubacks(share=1.0)
        await asyncio.to_thread(app.write_text, APP.format(port=standin.port))
        process, _ = await asyncio.to_thread(start, app, state)
        try:
            while (await asyncio.to_thread(call, state, "status"))["link"]["inflight"] < 100:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
            return rss_mb(process.pid)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        app = folder / "edge.yaml"
        app.write_text(APP.format(port=1))  # nobody listens there
        empty, full = folder / "empty", folder / "full"
        floor = interpreter()
        fill(full, BACKLOG)
        start_empty, start_full = starts(app, empty, full)
        memory = asyncio.run(_with_link(app, full))
        figure(
            "host_start", start_empty * 1000, "ms", reference="the goal of 250 ms", reference_value=250.0,
            goal=1.0, better="lower",
        )  # fmt: skip
        figure(
            "host_start_floor", start_empty * 1000, "ms", reference="python -c 'import asyncio, sqlite3'",
            reference_value=floor * 1000, goal=2.5, better="lower",
        )  # fmt: skip
        figure(
            "host_start_backlog", start_full * 1000, "ms", reference="the same with no backlog; here 1,000,000 rows",
            reference_value=start_empty * 1000, goal=1.1, better="lower",
        )  # fmt: skip
        figure(
            "host_rss", memory, "MB", reference="the goal of 45 MB; awscrt link up, 1,000,000 rows queued",
            reference_value=45.0, goal=1.0, better="lower",
        )  # fmt: skip


if __name__ == "__main__":
    main()
