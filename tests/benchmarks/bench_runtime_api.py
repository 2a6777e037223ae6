"""How long an invocation of a program takes that speaks the Runtime API.

    python -m tests.benchmarks.bench_runtime_api

`Pool.invoke` of awslambdaric, started by a `bootstrap` script, against awslambdaric at a bare asyncio server that does
nothing but this; they take turns, a few dozen invocations each.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from edge_runtime.app import Function
from edge_runtime.workers._environment import environment
from edge_runtime.workers.isolation import Wanted
from edge_runtime.workers.pool import Pool
from tests.benchmarks._figure import figure
from tests.benchmarks.bench_invoke import CONTEXT, EVENT, HANDLER, quantile

ROUNDS, TURN = 30, 40
REQUEST_ID = "0191a2b3-4c5d-7e6f-8a9b-000000000000"
COMMAND = [sys.executable, "-m", "awslambdaric", "app.handler"]


class Bare(asyncio.Protocol):
    """The least that a server can do for awslambdaric."""

    transport: asyncio.Transport
    free: asyncio.Future[None]
    answered: asyncio.Future[bytes]
    data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it: there is one connection only."""
        Bare.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take a request for the next event, or a reply."""
        self.data += data
        if self.data.startswith(b"GET"):
            if self.data.endswith(b"\r\n\r\n"):
                self.data = b""
                if not Bare.free.done():
                    Bare.free.set_result(None)
            return
        head, _, body = self.data.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        if at < 0 or len(body) < int(head[at + 15 :].split(b"\r\n")[0]):
            return
        self.data = b""
        self.transport.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        Bare.answered.set_result(body)


async def bare_invoke() -> bytes:
    """Return the reply to EVENT."""
    loop = asyncio.get_running_loop()
    await Bare.free
    Bare.free, Bare.answered = loop.create_future(), loop.create_future()
    deadline = int(time.time() * 1000) + 3000
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: {REQUEST_ID}\r\n"
        f"Lambda-Runtime-Deadline-Ms: {deadline}\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n"
        'Lambda-Runtime-Client-Context: {"custom": {"subject": "device/soil"}}\r\n'
        f"Content-Length: {len(EVENT)}\r\n\r\n"
    )
    Bare.transport.write(head.encode() + EVENT)
    return await Bare.answered


async def measure(pool: Pool) -> tuple[list[float], list[float]]:
    """Return the times of our invocations and of the bare server's, in us."""
    ours: list[float] = []
    bare: list[float] = []
    clock = time.perf_counter
    for turn in range(ROUNDS + 1):
        for _ in range(TURN):
            began = clock()
            result = await pool.invoke("f", EVENT, request_id=REQUEST_ID, context=CONTEXT)
            ours.append((clock() - began) * 1e6)
            assert not result.error, result.payload
        for _ in range(TURN):
            began = clock()
            reply = await bare_invoke()
            bare.append((clock() - began) * 1e6)
            assert reply.startswith(b"{"), reply
        if turn == 0:  # to warm up
            ours.clear()
            bare.clear()
    return ours, bare


async def bench(folder: Path) -> None:
    """Print the figures."""
    (folder / "app.py").write_text(HANDLER, encoding="utf-8")
    script = folder / "bootstrap"
    script.write_text(f"#!/bin/sh\nexec {' '.join(COMMAND)}\n", encoding="utf-8")
    script.chmod(0o755)
    function = Function("f", folder, "app.handler", runtime="provided.al2023", timeout_s=10.0)
    # Off, since the interpreter of this run is not among the programs of the system.
    pool = Pool(
        {"f": function}, thing="bench", scratch=folder / "s", log=lambda _name, _text: None, isolation=Wanted("off")
    )
    await pool.start()
    loop = asyncio.get_running_loop()
    Bare.free = loop.create_future()
    server = await loop.create_server(Bare, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    same = environment(function, "bench", folder, folder, "bench")
    # In a session of its own, as our workers are: the scheduler may share out the processor by sessions.
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        cwd=folder,
        env={**same, "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ours, bare = await measure(pool)
    finally:
        process.kill()
        await process.wait()
        server.close()
        await pool.close()
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        figure(
            f"invoke_runtime_api_{name}",
            quantile(ours, share),
            "us",
            reference="awslambdaric at a bare asyncio Runtime API",
            reference_value=quantile(bare, share),
            goal=1.1 if name == "p50" else 2.0,
            better="lower",
        )


def main() -> None:
    """Print the figures, one JSON line each."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(bench(Path(folder)))


if __name__ == "__main__":
    main()
