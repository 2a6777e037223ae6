"""What isolation costs: a first result and the memory of a warm worker, with it and without; and what it is worth.

    python -m tests.benchmarks.bench_isolation

Cold: functions with isolation and without take turns, so that what else the machine does is in both. Neighbour: warm
invocations of one function while another does its worst, against the same while nothing happens.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from edge_runtime.app import Function
from edge_runtime.workers.isolation import Wanted
from edge_runtime.workers.pool import Pool
from tests.benchmarks._figure import figure

TRIALS, WARM = 40, 2000
COST_MS = 6.0
MORE_MB = 0.5
HANDLER = """
import os, time
def handler(event, context):
    while event == "spin": pass
    while event == "flood": os.write(1, b"x" * 65536)
    return event
"""


def pool_of(functions: Mapping[str, Function], scratch: Path, level: str) -> Pool:
    """Return a pool that logs nothing."""
    return Pool(functions, thing="bench", scratch=scratch, log=lambda _name, _text: None, isolation=Wanted(level))


async def first_result(pool: Pool, name: str) -> float:
    """Return the ms until the first result of a function."""
    began = time.perf_counter()
    result = await pool.invoke(name, b"1", request_id="r")
    assert not result.error, result.payload
    return (time.perf_counter() - began) * 1e3


def pss_mb(pool: Pool) -> float:
    """Return the mean proportional share of memory of a pool's workers."""
    shares = []
    for status in pool.status()[:4]:
        lines = Path(f"/proc/{status.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        shares.append(int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024)
    return statistics.mean(shares)


async def cold(folder: Path) -> None:
    """Print what a cold start and a worker cost more."""
    functions = {f"c{n}": Function(f"c{n}", folder, "app.handler") for n in range(TRIALS + 1)}
    jailed = pool_of(functions, folder / "jailed", "default")
    free = pool_of(functions, folder / "free", "off")
    await jailed.start()
    await free.start()
    costs, bare = [], []
    for name in functions:
        without = await first_result(free, name)
        costs.append(await first_result(jailed, name) - without)
        bare.append(without)
    memory = {"jailed": pss_mb(jailed), "free": pss_mb(free)}
    found = jailed.isolation()
    await jailed.close()
    await free.close()
    value = statistics.median(costs[1:])  # the first waited for the zygotes
    level = found.level if found else "unknown"
    figure(
        "isolation_cost", value, "ms", reference=f"6 ms ({level})", reference_value=COST_MS, goal=1.0, better="lower"
    )
    more = memory["jailed"] - memory["free"]
    figure(
        "isolation_pss",
        memory["jailed"],
        "MB",
        reference="not isolated",
        reference_value=memory["free"],
        goal=1 + MORE_MB / memory["free"],
        better="lower",
        ratio=1 + more / memory["free"],
    )


async def p99_us(pool: Pool) -> float:
    """Return the 99th percentile of warm invocations."""
    times = []
    for _ in range(WARM):
        began = time.perf_counter()
        await pool.invoke("neighbour", b"1", request_id="r")
        times.append((time.perf_counter() - began) * 1e6)
    return sorted(times)[int(WARM * 0.99)]


async def neighbour(folder: Path) -> None:
    """Print what a function that does its worst costs its neighbour."""
    names = ("neighbour", "hostile")
    functions = {name: Function(name, folder, "app.handler", timeout_s=60.0) for name in names}
    pool = pool_of(functions, folder / "neighbour", "default")
    await pool.start()
    await pool.invoke("neighbour", b"1", request_id="r")
    quiet = await p99_us(pool)
    for what in ("spin", "flood"):
        hostile = asyncio.create_task(pool.invoke("hostile", f'"{what}"'.encode(), request_id="h"))
        value = await p99_us(pool)
        hostile.cancel()
        await asyncio.wait([hostile])
        name = f"neighbour_p99_{what}"
        figure(name, value, "us", reference="nobody else runs", reference_value=quiet, goal=2.0, better="lower")
    await pool.close()


async def bench(folder: Path) -> None:
    """Print all figures."""
    await cold(folder)
    await neighbour(folder)


def main() -> None:
    """Print the figures, one JSON line each."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        Path(folder, "app.py").write_text(HANDLER, encoding="utf-8")
        asyncio.run(bench(Path(folder)))


if __name__ == "__main__":
    main()
