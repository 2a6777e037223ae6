"""Pinned functions: up with the pool, whatever their module does; restarted; their events."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from edge_runtime.app import Function
from edge_runtime.errors import HostError
from tests.workers.conftest import Hire, Log, exists, status, until, value
from tests.workers.conftest import call as ask
from tests.workers.programs import program, running
from tests.workers.test_runtimes import ECHO

HANDLER = "def handler(event, context):\n    return [event, os.getpid()]\n"


async def test_it_is_up_without_an_event_and_stays(hire: Hire, tmp_path: Path, log: Log) -> None:
    mark = tmp_path / "up"
    source = f"import os\nopen({str(mark)!r}, 'w').close()\nprint('module')\n{HANDLER}"
    pool = await hire(source, pinned=True, idle_s=0.01)
    await until(lambda: status(pool).state == "idle" and mark.exists())
    pid = status(pool).pid
    assert value(await ask(pool, 1)) == [1, pid]
    result = await ask(pool, 2)
    assert value(result) == [2, pid]
    assert result.init_ms == 0
    assert status(pool).workers == 1
    assert log.text().startswith("module\nSTART RequestId: r-1")


async def test_a_module_that_runs_for_ever_is_no_failure(hire: Hire, tmp_path: Path, log: Log) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    source = f"""
import os
print("begins")
while True:
    with open({str(fifo)!r}) as file:
        text = file.read()
    print("read", text)
    if text == "serve":
        break
{HANDLER}"""
    pool = await hire(source, pinned=True, init_s=0.01, status_timeout_s=5.0)
    await asyncio.to_thread(fifo.write_text, "one")
    await until(lambda: "read one\n" in log.text())
    assert (status(pool).state, status(pool).workers, status(pool).restarts) == ("busy", 1, 0)
    pid = status(pool).pid
    waiting = asyncio.create_task(ask(pool, "e"))
    given_up = asyncio.create_task(ask(pool, "x"))
    await until(lambda: status(pool).waiting == 1)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert not waiting.done()
    throttled = await ask(pool, wait=False)
    assert throttled.error == "TooManyRequestsException"
    await asyncio.to_thread(fifo.write_text, "serve")
    assert value(await waiting) == ["e", pid]
    assert log.text().startswith("begins\nread one\nread serve\nSTART")


async def test_what_it_prints_between_events_is_not_kept_but_written(hire: Hire, tmp_path: Path, log: Log) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    source = f"""
import os, threading
def chat():
    while True:
        with open({str(fifo)!r}) as file:
            print(file.read())
threading.Thread(target=chat, daemon=True).start()
{HANDLER}"""
    pool = await hire(source, pinned=True)
    assert value(await ask(pool, 1))[0] == 1
    for number in range(5):
        line = f"{number}" * 100_000
        await asyncio.to_thread(fifo.write_text, line)
        await until(lambda line=line: f"\n{line}\n" in log.text())  # type: ignore[misc]  # bound at once
    result = await ask(pool, 2)
    assert len(result.log) < 1000


async def test_it_is_restarted_when_it_ends_with_a_growing_wait(hire: Hire, tmp_path: Path, log: Log) -> None:
    count = tmp_path / "count"
    source = f"""
import os, sys
n = os.path.getsize({str(count)!r}) if os.path.exists({str(count)!r}) else 0
open({str(count)!r}, "a").write("x")
if n < 3:
    sys.exit(n)
{HANDLER}"""
    loop = asyncio.get_running_loop()
    began = loop.time()
    pool = await hire(source, pinned=True)
    await until(lambda: status(pool).state == "idle" and status(pool).workers == 1)
    assert loop.time() - began > 0.35  # half of 0.1 + 0.2 + 0.4
    assert status(pool).restarts == 3
    assert "its worker has ended: RequestId: - Error: Runtime exited without providing a reason\n" in log.text()
    assert "its worker has ended: RequestId: - Error: Runtime exited with error: exit status 2\n" in log.text()
    pid = status(pool).pid
    assert value(await ask(pool, 1)) == [1, pid]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: status(pool).pid not in (0, pid) and status(pool).state == "idle")
    assert value(await ask(pool, 1)) == [1, status(pool).pid]


async def test_a_module_that_cannot_be_loaded_shows_and_fails_its_invocations(hire: Hire) -> None:
    pool = await hire("import nowhere\n", pinned=True)
    result = await ask(pool)
    assert result.error == "Runtime.ImportModuleError"
    assert status(pool).last_error.startswith("Runtime.ImportModuleError: Unable to import module 'app'")


async def test_its_silence_with_an_event_in_hand_is_bounded(hire: Hire) -> None:
    source = f"import os, time\n{HANDLER.replace('return', 'return time.sleep(60) if event == 0 else')}"
    pool = await hire(source, pinned=True, timeout_s=0.05, status_timeout_s=0.4)
    late = await ask(pool, 0)
    assert late.error == "Sandbox.Timedout"
    assert "Task timed out after 0.40 seconds" in json.loads(late.payload)["errorMessage"]
    assert value(await ask(pool, 1))[0] == 1


async def test_closing_ends_it_whatever_it_does(hire: Hire, tmp_path: Path) -> None:
    mark = tmp_path / "bye"
    source = f"""
import signal, sys, time
def bye(number, frame):
    open({str(mark)!r}, "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print("up")
while True:
    time.sleep(1000)
"""
    pool = await hire(source, pinned=True)
    await until(lambda: "up\n" in pool_log(pool))
    waiting = asyncio.create_task(ask(pool))
    await asyncio.sleep(0)
    await pool.close(grace_s=1.0)
    with pytest.raises(HostError, match="closing"):
        await waiting
    assert mark.exists()


def pool_log(pool: object) -> str:
    """Return what a pool has logged so far."""
    log = pool._log  # type: ignore[attr-defined]  # a Pool
    (cell,) = [c.cell_contents for c in log.__closure__ if isinstance(c.cell_contents, Log)]
    return str(cell.text())


async def test_a_program_can_be_pinned(tmp_path: Path, log: Log) -> None:
    code = program(tmp_path / "code", ECHO)
    async with running(tmp_path, log, Function("f", code, "x", runtime="provided", pinned=True)) as pool:
        await until(lambda: status(pool).state == "idle" and status(pool).workers == 1)
        assert value(await ask(pool, 1))["pid"] == status(pool).pid
        assert value(await ask(pool, 2))["event"] == 2


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: apt install nodejs")
async def test_a_node_module_may_run_for_ever(tmp_path: Path, log: Log) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "index.mjs").write_text("console.log('up'); await new Promise(() => setInterval(() => {}, 1000))\n")
    function = Function("f", code, "index.handler", runtime="nodejs20.x", pinned=True)
    async with running(tmp_path, log, function) as pool:
        await until(lambda: "\tINFO\tup\n" in log.text())
        pid = status(pool).pid
        assert status(pool).restarts == 0
    assert not exists(f"/proc/{pid}")
