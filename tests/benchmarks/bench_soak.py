"""A host under light faults, for minutes: does anything grow that should not?

    python -m tests.benchmarks.bench_soak         five minutes; EDGE_SOAK_S=3600 for an hour
    make soak                                     the same

About a thousand events a second from simulated devices go to the uplink, a part of them through a function that fails
now and then; the link is cut every few seconds and loses acknowledgements. The first third of the time is left out:
caches and the allocator's arenas fill. `make bench` leaves all of this out unless EDGE_SOAK_S is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.control import LINE_LIMIT, SOCKET, pack
from edge_runtime.control.wire import address, decode, encode
from tests.benchmarks._figure import figure
from tests.benchmarks.bench_cloud import CloudProcess, start_standin
from tests.benchmarks.bench_host import rss_mb

SECONDS = float(os.environ.get("EDGE_SOAK_S") or "300")
WARM_S = SECONDS / 3
DEVICES = 10
EVERY = "10ms"
CUT_S = 4.0
ASK_S = 0.05
LOOK_S = 1.0
APP = """thing: soak
devices:
{devices}
functions:
  watch:
    code: {code}
    handler: app.handler
    retries: 5
    retry_wait: 20ms
    events: [{{device: d0}}]
    on_success: dt/soak/watch
link:
  driver: awscrt
  endpoint: 127.0.0.1
  port: {port}
  up: ["device/#", "dt/#"]
  publishes_per_s: 0
  bytes_per_s: 0
queue: {{limit: 1GB}}
"""
HANDLER = """
calls = 0


def handler(event, context):
    global calls
    calls += 1
    if calls % 200 == 0:
        raise RuntimeError("now and then")
    return {"value": event["detail"]["value"], "calls": calls}
"""


class Look(NamedTuple):
    """What was seen of the host at one moment."""

    seconds: float
    events: int
    """Accepted so far, over all queues."""
    rss: float
    """Bytes, of the host."""
    workers: float
    """Bytes, of the processes below it."""
    descriptors: int
    threads: int
    wal: int
    """Bytes."""


class Slope(NamedTuple):
    """How steeply something rises, and how sure that is."""

    mean: float
    error: float
    """Half of the interval that has it with 95 %."""


def slope(pairs: Sequence[tuple[float, float]]) -> Slope:
    """Return the slope by least squares. Looks that follow each other are alike, and count as fewer (AR(1))."""
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    rise, base = statistics.linear_regression(xs, ys)
    rest = [y - base - rise * x for x, y in pairs]
    squares = sum(one * one for one in rest)
    alike = sum(a * b for a, b in itertools.pairwise(rest)) / squares if squares else 0.0
    alike = min(max(alike, 0.0), 0.99)
    count = max(3.0, len(pairs) * (1 - alike) / (1 + alike))
    middle = statistics.fmean(xs)
    spread = sum((x - middle) ** 2 for x in xs) * count / len(pairs)
    return Slope(rise, 1.96 * math.sqrt(squares * count / len(pairs) / (count - 2) / spread))


async def ask(state: Path, verb: str, **args: object) -> dict[str, Any]:
    """Ask the host."""
    with address(state / SOCKET) as name:
        reader, writer = await asyncio.open_unix_connection(name, limit=LINE_LIMIT)
    writer.write(encode({"verb": verb, **args}))
    answer = decode(await reader.readline())
    writer.close()
    await writer.wait_closed()
    return dict(answer["done"])


def children(pid: int) -> list[int]:
    """Return the processes below one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found + [below for child in found for below in children(child)]


def count(pid: int, what: str) -> int:
    """Return how many descriptors (`fd`) or threads (`task`) a process has."""
    return len(list(Path(f"/proc/{pid}/{what}").iterdir()))


async def look(began: float, pid: int, state: Path) -> Look:
    """See how the host does."""
    rows = (await ask(state, "ledger"))["rows"]
    below = 0.0
    for child in children(pid):
        with contextlib.suppress(OSError, LookupError):
            below += rss_mb(child)
    return Look(
        time.monotonic() - began,
        sum(row["produced"] for row in rows),
        rss_mb(pid) * (1 << 20),
        below * (1 << 20),
        count(pid, "fd"),
        count(pid, "task"),
        (state / "queue.db-wal").stat().st_size,
    )


async def often(every_s: float, act: Callable[[], Awaitable[None]]) -> None:
    """Act again and again, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        await act()


@contextlib.asynccontextmanager
async def start_host(folder: Path, port: int) -> AsyncIterator[tuple[int, Path]]:
    """Run a host; yield its process id and its state folder once it accepts events."""
    (folder / "code").mkdir()
    (folder / "code" / "app.py").write_text(HANDLER)
    devices = "\n".join(f"  d{n}: {{driver: MCP3008, channel: {n % 8}, every: {EVERY}}}" for n in range(DEVICES))
    (folder / "edge.yaml").write_text(APP.format(port=port, devices=devices, code=folder / "code"))
    state = folder / "state"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_runtime", "run", str(folder), "--state", str(state), "--simulate"),
        stdin=asyncio.subprocess.DEVNULL, stderr=(folder / "host.log").open("wb"),
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError, ValueError):
                    await ask(state, "ledger")
                    break
                await asyncio.sleep(0.05)
        yield process.pid, state
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def soak(folder: Path) -> tuple[list[Look], list[tuple[float, float]], dict[str, int]]:
    """Return what was seen, when each event was emitted by hand and how long that took, and what the cloud counted."""
    asked: list[tuple[float, float]] = []
    async with start_standin(quotas="none") as cloud, start_host(folder, cloud.port) as (pid, state):
        began = time.monotonic()
        looks: list[Look] = []

        async def see() -> None:
            looks.append(await look(began, pid, state))

        async def publish() -> None:
            begin = time.monotonic()
            await ask(state, "publish", topic="dt/soak/hand", payload=pack(b'{"by": "hand"}'))
            asked.append((begin - began, time.monotonic() - begin))

        async with asyncio.timeout(SECONDS + 120), asyncio.TaskGroup() as tasks:
            going = [
                tasks.create_task(often(*pair))
                for pair in ((LOOK_S, see), (ASK_S, publish), (CUT_S, lambda: harm(cloud)))
            ]
            await asyncio.sleep(SECONDS)
            for task in going:
                task.cancel()
        counts: dict[str, int] = (await cloud.ask({"counts": True}))["counts"]
    return looks, asked, counts


async def harm(cloud: CloudProcess) -> None:
    """Cut the link, and let the next connection lose an acknowledgement."""
    await cloud.ask({"fault": "drop"})
    await cloud.ask({"fault": "lose_pubacks", "count": 2})


def tell(looks: Sequence[Look], asked: Sequence[tuple[float, float]], counts: dict[str, int]) -> None:
    """Print the figures."""
    kept = [one for one in looks if one.seconds >= WARM_S]
    third = len(kept) // 3
    first, last = kept[:third], kept[-third:]
    events = kept[-1].events - kept[0].events
    rate = events / (kept[-1].seconds - kept[0].seconds)
    for name, who in (("rss", "the host"), ("workers", "the processes below it")):
        found = slope([(float(one.events), getattr(one, name)) for one in kept])
        figure(
            f"soak_{name}_slope", found.mean, "bytes/event",
            reference=f"the goal of a byte an event, {who}; 95 %: {found.mean - found.error:.3f} to "
            f"{found.mean + found.error:.3f}; {events} events, {rate:.0f}/s, {counts.get('connected', 0)} connections, "
            f"{getattr(kept[0], name) / 1e6:.1f} MB at first and {getattr(kept[-1], name) / 1e6:.1f} MB in the end",
            reference_value=1.0, goal=1.0, better="lower",
        )  # fmt: skip
    for name, unit, of, goal in (
        ("descriptors", "", min, 1.0), ("threads", "", min, 1.0), ("wal", "bytes", max, 1.25)
    ):  # fmt: skip
        figure(
            f"soak_{name}", float(of(getattr(one, name) for one in last)), unit,
            reference="before, after the caches were warm",
            reference_value=float(of(getattr(one, name) for one in first)), goal=goal, better="lower",
        )  # fmt: skip
    span = (SECONDS - WARM_S) / 3
    early = [took for at, took in asked if WARM_S <= at < WARM_S + span]
    late = [took for at, took in asked if at >= SECONDS - span]
    figure(
        "soak_accept_p99_drift", p99(late) * 1000, "ms",
        reference="before, after the caches were warm; a control client's own, connection included",
        reference_value=p99(early) * 1000, goal=1.5, better="lower",
    )  # fmt: skip


def p99(times: Sequence[float]) -> float:
    """Return what one in a hundred exceeds."""
    return statistics.quantiles(times, n=100)[98]


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        looks, asked, counts = asyncio.run(soak(Path(name).resolve()))
    if path := os.environ.get("EDGE_SOAK_LOOKS"):
        Path(path).write_text(json.dumps(looks))
    tell(looks, asked, counts)


if __name__ == "__main__":
    main()
