"""New code: the workers of a function are replaced, each after what it has in hand."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edge_runtime.app import Function
from edge_runtime.errors import HostError, NotFoundError
from edge_runtime.workers.pool import Pool
from tests.workers.conftest import COUNT, Hire, Log, call, status, until, value

GATED = """
import os, time
def handler(event, context):
    print("begun", flush=True)
    while not os.path.exists("gate"):
        time.sleep(0.005)
    return "old"
"""
"""A handler that returns once its folder holds the file `gate`."""


def save(folder: Path, source: str) -> None:
    (folder / "code" / "app.py").write_text(source, encoding="utf-8")


async def test_an_idle_worker_makes_room_for_one_with_the_new_code(hire: Hire, tmp_path: Path) -> None:
    pool = await hire(COUNT)
    assert [value(await call(pool)) for _ in range(2)] == [1, 2]
    old = status(pool).pid
    save(tmp_path, "def handler(event, context):\n    return 'new'\n")
    assert (await pool.refresh("f")).error == ""
    assert (status(pool).workers, status(pool).restarts) == (1, 0)
    assert status(pool).pid != old
    result = await call(pool)
    assert (value(result), result.init_ms) == ("new", 0)  # it was started ahead


async def test_a_running_invocation_ends_with_the_code_it_began_with(hire: Hire, log: Log, tmp_path: Path) -> None:
    pool = await hire(GATED, timeout_s=30)
    running = asyncio.create_task(call(pool))
    await until(lambda: "begun" in log.text())
    save(tmp_path, "def handler(event, context):\n    return 'new'\n")
    refresh = asyncio.create_task(pool.refresh("f"))
    waiting = asyncio.create_task(call(pool))
    await asyncio.sleep(0)
    assert not refresh.done()
    (tmp_path / "code" / "gate").touch()
    assert value(await running) == "old"
    assert (await refresh).error == ""
    assert value(await waiting) == "new"
    await until(lambda: status(pool).workers == 1)


async def test_code_that_cannot_be_loaded_says_so_at_once(hire: Hire, log: Log, tmp_path: Path) -> None:
    pool = await hire(COUNT)
    await call(pool)
    save(tmp_path, "def (\n")
    result = await pool.refresh("f")
    assert result.error == "Runtime.UserCodeSyntaxError"
    assert "Syntax error in module 'app'" in log.text()
    assert status(pool).workers == 0


async def test_earlier_failures_hold_up_nothing(hire: Hire, tmp_path: Path) -> None:
    pool = await hire("raise RuntimeError('no')\n", timeout_s=60)
    for _ in range(4):
        assert (await call(pool)).error == "RuntimeError"
    waiting = asyncio.create_task(call(pool))  # it waits for the back-off to end
    await asyncio.sleep(0)
    assert status(pool).next_start_s > 0.3
    save(tmp_path, COUNT)
    async with asyncio.timeout(10):
        assert (await pool.refresh("f")).error == ""
        assert value(await waiting) == 1
    assert status(pool).next_start_s == 0


async def test_a_zip_is_extracted_anew(pools: Callable[..., Awaitable[Pool]], tmp_path: Path) -> None:
    archive = tmp_path / "code.zip"

    def pack(answer: int) -> None:
        fresh = tmp_path / "fresh.zip"
        with zipfile.ZipFile(fresh, "w") as bundle:
            bundle.writestr("app.py", f"def handler(event, context):\n    return {answer}\n")
        fresh.replace(archive)

    pack(1)
    pool = await pools(Function("f", archive, "app.handler"))
    assert value(await call(pool)) == 1
    pack(2)
    assert (await pool.refresh("f")).error == ""
    assert value(await call(pool)) == 2


async def test_a_pinned_function_restarts(hire: Hire, log: Log, tmp_path: Path) -> None:
    forever = "import time\nprint({word!r}, flush=True)\nwhile True:\n    time.sleep(1)\n"
    pool = await hire(forever.format(word="old") + "def handler(event, context):\n    pass\n", pinned=True)
    await until(lambda: "old" in log.text())
    old = status(pool).pid
    save(tmp_path, COUNT)
    assert (await pool.refresh("f")).error == ""
    assert value(await call(pool)) == 1
    assert status(pool).pid != old
    save(tmp_path, "def handler(event, context):\n    return 'third'\n")
    assert (await pool.refresh("f")).error == ""
    assert value(await call(pool)) == "third"


async def test_a_function_that_is_throttled_starts_nothing(hire: Hire) -> None:
    pool = await hire(COUNT, concurrency=0)
    assert (await pool.refresh("f")).error == ""
    assert status(pool).workers == 0


async def test_what_cannot_be_refreshed(hire: Hire) -> None:
    pool = await hire(COUNT)
    with pytest.raises(NotFoundError, match="there is no function named 'g'"):
        await pool.refresh("g")
    await pool.close()
    with pytest.raises(HostError, match="not running"):
        await pool.refresh("f")
