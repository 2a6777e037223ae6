"""Who calls, told by its token; invocations that do not wait."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from edge_runtime.app import Function
from edge_runtime.workers.pool import Caller, Pool
from tests.workers.conftest import GATE, OFF, Hire, call, status, until, value

SOURCE = """
import os
def handler(event, context):
    if event:
        with open(event) as gate:
            gate.read()
    return os.environ["TOKEN"]
"""


async def test_a_token_tells_the_worker_its_invocation_and_its_depth(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SOURCE, encoding="utf-8")
    asked: list[str] = []

    def services(function: Function, token: str) -> Mapping[str, str]:
        asked.append(function.name)
        return {"TOKEN": token, "PATH": "never over the worker's own"}

    function = Function("f", tmp_path, "app.handler", timeout_s=20.0)
    pool = Pool(
        {"f": function}, thing="t", scratch=tmp_path / "s", log=lambda *_: None, services=services, isolation=OFF
    )
    assert pool.caller("x") is None
    await pool.start()
    token = value(await call(pool, depth=3))
    assert len(token) == 43
    assert asked == ["f"]
    assert pool.caller(token) == Caller("f", "", 3)
    assert pool.caller(token[:-1] + "é") is None
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    busy = asyncio.create_task(call(pool, str(gate), depth=5))
    await until(lambda: pool.caller(token) == Caller("f", "r-1", 5))
    await asyncio.to_thread(gate.write_text, "on")
    assert value(await busy) == token
    assert pool.caller(token) == Caller("f", "", 5)
    await pool.close()
    assert pool.caller(token) is None


async def test_each_worker_has_a_token_of_its_own(hire: Hire) -> None:
    pool = await hire("def handler(event, context):\n    raise SystemExit\n")
    yard = pool._yard
    assert yard is not None
    await call(pool)
    assert yard.callers == {}


async def test_who_does_not_wait_is_throttled_when_all_workers_are_busy(hire: Hire, tmp_path: Path) -> None:
    pool = await hire(GATE, timeout_s=20.0)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    running = asyncio.create_task(call(pool, str(gate), wait=False))
    await until(Path(f"{gate}.ready").exists)
    throttled = await call(pool, str(gate), wait=False)
    assert throttled.error == "TooManyRequestsException"
    assert status(pool).waiting == 0
    await asyncio.to_thread(gate.write_text, "on")
    assert value(await running) == "on"


async def test_nobody_gets_past_a_concurrency_of_nothing(hire: Hire) -> None:
    pool = await hire(GATE, concurrency=0)
    assert (await call(pool, wait=False)).error == "TooManyRequestsException"
    assert (await call(pool, wait=True)).error == "TooManyRequestsException"
