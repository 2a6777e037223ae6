"""How long after a save the new code runs, beside a cold start of Python with the same handler."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from edge_runtime.app import App, Function
from edge_runtime.host import Host
from tests.benchmarks._figure import figure

_ROUNDS = 10
_HANDLER = "def handler(event, context):\n    return {}\n"


async def _reloads(folder: Path) -> list[float]:
    """Return the seconds from each save to the first answer of the new code."""
    (folder / "edge.yaml").write_text("thing: a\n")
    function = Function("f", folder / "code", "app.handler")
    host = Host(App("a", folder, functions=(function,)), folder / ".edge", watch=folder / "edge.yaml")
    await host.start()
    took = []
    try:
        await asyncio.sleep(0.5)  # until it watches
        for number in range(_ROUNDS):
            began = time.perf_counter()
            (folder / "code" / "app.py").write_text(_HANDLER.format(number))
            while (await host.pool.invoke("f", b"{}", request_id=f"{number}-{began}")).payload != b"%d" % number:  # noqa: ASYNC110 - as a user asks
                await asyncio.sleep(0.001)
            took.append(time.perf_counter() - began)
    finally:
        await host.stop()
    return took


def _cold(folder: Path) -> float:
    """Return the seconds in which a new Python imports the handler and calls it."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import app; app.handler({}, None)"],
        cwd=folder / "code",
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "code").mkdir()
        (folder / "code" / "app.py").write_text(_HANDLER.format(-1))
        cold_s = median(_cold(folder) for _ in range(_ROUNDS))
        reload_s = median(asyncio.run(_reloads(folder)))
    figure(
        "reload",
        reload_s * 1e3,
        "ms",
        reference="a new Python",
        reference_value=cold_s * 1e3,
        goal=10.0,
        better="lower",
    )


if __name__ == "__main__":
    main()
