"""A pool over handler sources, and the proof that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from edge_runtime.app import Function
from edge_runtime.model import Result
from edge_runtime.workers.isolation import Wanted
from edge_runtime.workers.pool import Pool, Status

OFF = Wanted("off")
_count = itertools.count()


def jail() -> Wanted:
    """Return full isolation with users that nobody else has: a limit on processes counts all of a user's.

    Few of them, so that a bomb of them does not hold up the tests beside it.
    """
    return Wanted(processes=12, uid_base=100_000 + os.getpid() % 100_000 * 1000 + next(_count) % 100 * 10)


class Hire(Protocol):
    """Makes a started pool with the handler `app.handler` of this source as function `f`."""

    def __call__(
        self, source: str, *, init_s: float = 10.0, isolation: Wanted = OFF, **options: object
    ) -> Awaitable[Pool]:
        """Return the pool. `options` are fields of `Function`.

        Isolation is off unless a test is about it: most use files to tell what a handler does.
        """


class Log(list[tuple[str, str]]):
    """What a pool has logged."""

    def text(self, name: str = "f") -> str:
        """Return all of one function."""
        return "".join(text for of, text in self if of == name)


def marked(token: str) -> set[int]:
    """Return the processes whose environment holds the token."""
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and token.encode() in _read(path / "environ"):
            found.add(int(path.name))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


def exists(path: Path | str) -> bool:
    """Whether there is such a file: on /proc and in memory this does not block."""
    return Path(path).exists()


def descriptors() -> set[str]:
    """Return what this process's open descriptors lead to, those of files, pipes and sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the names are what is wanted
        try:
            found.add(f"{name} {Path('/proc/self/fd', name).readlink()}")
        except OSError:  # the one that listed them
            continue
    return found


COUNT = "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return n\n"
"""A handler that counts its invocations."""
GATE = """
import os
def handler(event, context):
    os.mkfifo(event + ".ready") if not os.path.exists(event + ".ready") else None
    with open(event) as gate:
        return gate.read()
"""
"""A handler that says it has begun and waits for the fifo that its event names."""


async def call(pool: Pool, event: object = None, **options: object) -> Result:
    """Invoke the function `f`."""
    return await pool.invoke("f", json.dumps(event).encode(), request_id="r-1", **options)  # type: ignore[arg-type]  # any


def value(result: Result) -> Any:  # noqa: ANN401 - whatever the handler returned
    """Return what the handler returned."""
    assert result.error == "", result.payload
    return json.loads(result.payload)


async def until(condition: Callable[[], bool]) -> None:
    """Return when a condition that the loop's own callbacks bring about holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the pool has no event for what only tests want to see
            await asyncio.sleep(0.001)


def status(pool: Pool) -> Status:
    """Return how the only function is doing."""
    (only,) = pool.status()
    return only


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def pools(tmp_path: Path, log: Log) -> AsyncIterator[Callable[..., Awaitable[Pool]]]:
    made: list[Pool] = []
    before = descriptors()

    async def make(*functions: Function, init_s: float = 10.0, isolation: Wanted = OFF) -> Pool:
        pool = Pool(
            {function.name: function for function in functions},
            thing="pi-7",
            scratch=tmp_path / "scratch",
            log=lambda name, text: log.append((name, text)),
            init_s=init_s,
            isolation=isolation,
        )
        made.append(pool)
        await pool.start()
        return pool

    yield make
    for pool in made:
        token = pool._yard.zygote.token if pool._yard else ""
        await pool.close()
        assert not token or marked(token) == set()
    assert list((tmp_path / "scratch" / "tmp").iterdir()) == []
    assert descriptors() <= before


@pytest.fixture
def hire(pools: Callable[..., Awaitable[Pool]], tmp_path: Path) -> Hire:
    async def make(source: str, *, init_s: float = 10.0, isolation: Wanted = OFF, **options: object) -> Pool:
        code = tmp_path / "code"
        code.mkdir()
        (code / "app.py").write_text(source, encoding="utf-8")
        function = replace(Function("f", code, "app.handler"), **options)  # type: ignore[arg-type]  # fields
        return await pools(function, init_s=init_s, isolation=isolation)

    return make
