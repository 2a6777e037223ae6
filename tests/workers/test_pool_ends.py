"""How the pool ends: closed, or killed, or with its zygote killed; nothing is left, and nothing is lost unseen."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.errors import HostError
from edge_runtime.workers.pool import Pool
from tests.workers.conftest import COUNT, GATE, Hire, Log, call, marked, status, until, value

ROOT = Path(__file__).parents[2]
HOST = """
import asyncio, sys
from pathlib import Path
from edge_runtime.app import Function
from edge_runtime.workers.isolation import Wanted
from edge_runtime.workers.pool import Pool

async def main(folder):
    pool = Pool({"f": Function("f", folder, "app.handler", timeout_s=60.0, concurrency=2)}, thing="t",
                scratch=folder / "scratch", log=lambda name, text: None, isolation=Wanted("off"))
    await pool.start()
    await pool.invoke("f", b"null", request_id="r")
    print(pool._yard.zygote.token, flush=True)
    await pool.invoke("f", b"1", request_id="r")

asyncio.run(main(Path(sys.argv[1])))
"""
CHILDREN = """
import os, subprocess, time
def handler(event, context):
    if event:
        for n in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(1000)
                os._exit(0)
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        open("ready", "w").close()
        time.sleep(1000)
"""


async def test_closing_waits_for_what_runs_and_refuses_what_waits(hire: Hire, tmp_path: Path) -> None:
    pool = await hire(GATE, timeout_s=20.0)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    running, waiting = (asyncio.create_task(call(pool, str(gate))) for _ in range(2))
    await until(Path(f"{gate}.ready").exists)
    closing = asyncio.create_task(pool.close())
    with pytest.raises(HostError, match="closing"):
        await waiting
    await asyncio.to_thread(gate.write_text, "done")
    assert value(await running) == "done"
    await closing


async def test_closing_kills_what_does_not_end_in_time(hire: Hire, tmp_path: Path) -> None:
    pool = await hire(GATE, timeout_s=60.0)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    running = asyncio.create_task(call(pool, str(gate)))
    await until(Path(f"{gate}.ready").exists)
    await pool.close(grace_s=0.05)
    assert (await running).error == "Runtime.ExitError"


async def test_the_death_of_the_zygote_is_survived(hire: Hire, log: Log, tmp_path: Path) -> None:
    # The handler's child is in a session of its own, so no group and no parent death reaches it.
    source = """
import subprocess
def handler(event, context):
    if event:
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        open(event, "w").close()
        while True:
            pass
    return 1
"""
    pool = await hire(source, timeout_s=30.0)
    assert value(await call(pool)) == 1
    yard = pool._yard
    assert yard is not None
    zygote, mark = yard.zygote.pid, tmp_path / "mark"
    running = asyncio.create_task(call(pool, str(mark)))
    await until(mark.exists)
    # The child's environment can be read a moment after its parent knows that it was started.
    await until(lambda: len(marked(yard.zygote.token)) == 3)
    os.kill(zygote, signal.SIGKILL)
    result = await running
    assert result.error == "Runtime.ExitError"
    assert json.loads(result.payload)["errorMessage"].endswith("the zygote died and took it along")
    assert marked(yard.zygote.token) - {yard.zygote.pid} == set()
    assert value(await call(pool)) == 1
    assert yard.zygote.pid != zygote
    assert "the zygote ended with status -9; no worker is left\n" in log.text("workers")
    assert status(pool).next_start_s == 0


async def test_a_zygote_that_stands_still_is_replaced(hire: Hire) -> None:
    pool = await hire("import time\ndef handler(event, context):\n    return event or time.sleep(60)\n", timeout_s=0.1)
    assert value(await call(pool, 1)) == 1
    yard = pool._yard
    assert yard is not None
    os.kill(yard.zygote.pid, signal.SIGSTOP)
    assert (await call(pool)).error == "Sandbox.Timedout"
    assert value(await call(pool, 2, timeout_s=5.0)) == 2


async def test_a_zygote_found_dead_is_replaced_before_anything_is_lost(hire: Hire) -> None:
    pool = await hire(COUNT, idle_s=0.0)
    assert value(await call(pool)) == 1
    await until(lambda: status(pool).workers == 0)
    yard = pool._yard
    assert yard is not None
    zygote = os.pidfd_open(yard.zygote.pid)
    signal.pidfd_send_signal(zygote, signal.SIGKILL)
    select.select([zygote], [], [])  # the loop stands still, so the pool has not noticed
    os.close(zygote)
    assert value(await call(pool)) == 1


async def test_a_host_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CHILDREN, encoding="utf-8")
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, str(tmp_path), stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    )
    assert host.stdout is not None
    try:
        token = (await host.stdout.readline()).decode().strip()
        await until((tmp_path / "ready").exists)
        await until(lambda: len(marked(token)) >= 6)  # zygote, worker, three that detached, sleep
    finally:
        host.kill()
        await host.wait()
    await until(lambda: marked(token) == set())
    (left,) = (tmp_path / "scratch" / "tmp").iterdir()
    pool = Pool({}, thing="t", scratch=tmp_path / "scratch", log=lambda _name, _text: None)
    await pool.start()
    await pool.close()
    assert not left.exists()
