"""How long an invocation takes, warm and cold, and what a warm worker costs.

    python -m tests.benchmarks.bench_invoke

Warm: `Pool.invoke` against a bare worker, an interpreter of its own that does the same JSON and the same handler over a
blocking Unix socket; they take turns, a hundred invocations each. Once where the kernel puts the processes: the figure
differs by a factor of two with whether host and worker come to share a processor. Once with all on one: there nothing
runs beside the host, and all it does costs the worker's caches too.

Cold: a function's first result, with the zygote running, against awslambdaric's first result, from the start of its
process, against a bare HTTP server.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.app import Function
from edge_runtime.workers.pool import Pool
from tests.benchmarks._figure import figure

ROUNDS, TURN = 60, 100
COLD_TRIALS = 9
IDLE_WORKERS = 4
EVENT = json.dumps(
    {
        "id": "0191a2b3-4c5d-7e6f-8a9b-0c1d2e3f4a5b",
        "device": "soil",
        "values": [0.1, 2.25, 3],
        "detail": {"unit": "%", "note": "n" * 120, "at": 1_700_000_000, "clock": "synced"},
    }
).encode()
CONTEXT = {"custom": {"subject": "device/soil"}}
HANDLER = """
def handler(event, context):
    return {"id": event["id"], "sum": sum(event["values"]), "ok": True}
"""
BARE = f"""
import json, socket, struct
{HANDLER}
sock, head = socket.socket(fileno=0), struct.Struct("=I")
while data := sock.recv(65536):
    size, = head.unpack_from(data)
    reply = json.dumps(handler(json.loads(data[4:4 + size]), None)).encode()
    sock.sendall(head.pack(len(reply)) + reply)
"""


@contextmanager
def bare_worker() -> Iterator[socket.socket]:
    """Give the socket of a bare worker."""
    mine, its = socket.socketpair()
    with mine, subprocess.Popen([sys.executable, "-I", "-S", "-c", BARE], stdin=its.fileno()):
        its.close()
        yield mine
        mine.shutdown(socket.SHUT_WR)


def quantile(values: list[float], share: float) -> float:
    """Return the value below which that share of them lies."""
    return sorted(values)[int(len(values) * share)]


async def measure_warm(pool: Pool, sock: socket.socket) -> tuple[list[float], list[float]]:
    """Return the times of our invocations and of the bare worker's, in us."""
    frame = struct.pack("=I", len(EVENT)) + EVENT
    ours: list[float] = []
    bare: list[float] = []
    clock = time.perf_counter
    for turn in range(ROUNDS + 1):
        for _ in range(TURN):
            began = clock()
            result = await pool.invoke("f0", EVENT, request_id="0191a2b3-4c5d-7e6f-8a9b-000000000000", context=CONTEXT)
            ours.append((clock() - began) * 1e6)
            assert not result.error, result.payload
        for _ in range(TURN):
            began = clock()
            sock.sendall(frame)
            sock.recv(65536)
            bare.append((clock() - began) * 1e6)
        if turn == 0:  # to warm up
            ours.clear()
            bare.clear()
    return ours, bare


async def warm(pool: Pool, suffix: str, goal: float) -> None:
    """Print the figures of warm invocations."""
    with bare_worker() as sock:
        ours, bare = await measure_warm(pool, sock)
    for name, share, bound in (("p50", 0.5, goal), ("p99", 0.99, 3.0)):
        figure(
            f"invoke_warm_{name}{suffix}",
            quantile(ours, share),
            "us",
            reference="bare blocking Unix socket worker",
            reference_value=quantile(bare, share),
            goal=bound,
            better="lower",
        )


def first_result_of_awslambdaric(folder: Path) -> float:
    """Return the ms from the start of the process to its first result."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}",
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
        }
        began = time.perf_counter()
        command = [sys.executable, "-m", "awslambdaric", "app.handler"]
        # Its complaint about being killed is of no interest.
        with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                return (_serve_first(server) - began) * 1e3
            finally:
                process.kill()


def _serve_first(server: socket.socket) -> float:
    """Answer requests for the next event with EVENT; return when a response has come."""
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: r-1\r\n"
        "Lambda-Runtime-Deadline-Ms: 9999999999999\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n"
        f"Content-Length: {len(EVENT)}\r\n\r\n"
    )
    while True:
        client, _ = server.accept()
        with client:
            while request := client.recv(65536):
                if request.startswith(b"GET"):
                    client.sendall(head.encode() + EVENT)
                else:
                    assert b"/invocation/r-1/response" in request, request
                    return time.perf_counter()


async def cold(folder: Path, scratch: Path) -> None:
    """Print the figures of first results."""
    names = [f"c{number}" for number in range(COLD_TRIALS + 1)]
    functions = {name: Function(name, folder, "app.handler") for name in names}
    pool = Pool(functions, thing="bench", scratch=scratch, log=lambda _name, _text: None)
    await pool.start()
    ours, theirs = [], []
    for name in names:
        began = time.perf_counter()
        await pool.invoke(name, EVENT, request_id="r-1")
        ours.append((time.perf_counter() - began) * 1e3)
        theirs.append(await asyncio.to_thread(first_result_of_awslambdaric, folder))
    await pool.close()
    value, reference = statistics.median(ours[1:]), statistics.median(theirs[1:])  # the first waited for the zygote
    figure(
        "invoke_cold",
        value,
        "ms",
        reference="awslambdaric: process start to first result",
        reference_value=reference,
        goal=0.1,
        better="lower",
    )
    figure("invoke_cold_limit", value, "ms", reference="5 ms", reference_value=5.0, goal=1.0, better="lower")


def pss_mb(pid: int) -> float:
    """Return a process's proportional share of memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


async def bench(folder: Path) -> None:
    """Print all figures."""
    (folder / "app.py").write_text(HANDLER, encoding="utf-8")
    functions = {f"f{n}": Function(f"f{n}", folder, "app.handler", timeout_s=10.0) for n in range(IDLE_WORKERS)}
    pool = Pool(functions, thing="bench", scratch=folder / "warm", log=lambda _name, _text: None)
    await pool.start()
    for name in functions:
        await pool.invoke(name, EVENT, request_id="r-1")
    shares = [pss_mb(status.pid) for status in pool.status()]
    figure("worker_pss", statistics.mean(shares), "MB", reference="3 MB", reference_value=3.0, goal=1.0, better="lower")
    await warm(pool, "", 1.3)
    await pool.close()
    await cold(folder, folder / "cold")


async def bench_on_one_processor(folder: Path) -> None:
    """Print the warm figures with host and workers on one processor."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})  # what is started from here on inherits it
    try:
        functions = {"f0": Function("f0", folder, "app.handler", timeout_s=10.0)}
        pool = Pool(functions, thing="bench", scratch=folder / "one", log=lambda _name, _text: None)
        await pool.start()
        await warm(pool, "_one_processor", 2.0)
        await pool.close()
    finally:
        os.sched_setaffinity(0, processors)


def main() -> None:
    """Print the figures, one JSON line each."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as code must be in AWS Lambda; one of 0700 costs 4 ms more
        asyncio.run(bench(Path(folder)))
        asyncio.run(bench_on_one_processor(Path(folder)))


if __name__ == "__main__":
    main()
