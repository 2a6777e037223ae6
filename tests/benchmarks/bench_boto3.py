"""How long the first result of a handler takes that imports boto3 and makes a client.

    python -m tests.benchmarks.bench_boto3

From the call, with the zygote for such functions running, against a fresh interpreter that does the same, from the
start of its process to its result; they take turns.
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

from edge_runtime.app import Function
from edge_runtime.workers.pool import Pool
from tests.benchmarks._figure import figure

TRIALS = 9
HANDLER = """
import boto3

client = boto3.client("iot-data", endpoint_url="http://127.0.0.1:9")

def handler(event, context):
    return client.meta.service_model.service_name
"""
KEYS = {"AWS_DEFAULT_REGION": "local", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


def fresh(folder: Path) -> float:
    """Return the ms of a fresh interpreter."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", "import app; print(app.handler(None, None))"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **KEYS},
        capture_output=True,
        check=True,
    )
    took = (time.perf_counter() - began) * 1e3
    assert done.stdout == b"iot-data\n", done
    return took


async def bench(folder: Path) -> None:
    """Print the figure."""
    code = folder / "code"
    code.mkdir()
    (code / "app.py").write_text(HANDLER, encoding="utf-8")
    names = [f"c{number}" for number in range(TRIALS + 1)]
    functions = {name: Function(name, code, "app.handler", memory_mb=256, environment=KEYS) for name in names}
    pool = Pool(functions, thing="bench", scratch=folder / "pool", log=lambda _name, _text: None)
    await pool.start()
    ours, theirs = [], []
    for name in names:
        began = time.perf_counter()
        result = await pool.invoke(name, b"{}", request_id="r-1")
        ours.append((time.perf_counter() - began) * 1e3)
        assert result.payload == b'"iot-data"', result
        theirs.append(await asyncio.to_thread(fresh, code))
    await pool.close()
    figure(
        "boto3_cold",
        statistics.median(ours[1:]),  # the first waited for the zygote
        "ms",
        reference="a fresh interpreter: process start to result",
        reference_value=statistics.median(theirs[1:]),
        goal=0.1,
        better="lower",
    )


def main() -> None:
    """Print the figure, one JSON line."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(bench(Path(folder)))


if __name__ == "__main__":
    main()
