"""Calls on threads of their own."""

from __future__ import annotations

import asyncio
import threading

import pytest

from edge_runtime.threads import in_thread


async def test_the_result_comes_back_and_the_thread_has_the_name() -> None:
    assert await in_thread("dial", lambda: threading.current_thread().name) == "dial"


async def test_an_error_comes_back() -> None:
    def fail() -> None:
        raise OSError("no route")

    with pytest.raises(OSError, match="no route"):
        await in_thread("dial", fail)


async def test_what_nobody_waits_for_any_more_is_undone() -> None:
    go, undone = threading.Event(), asyncio.Event()
    results: list[int] = []

    def undo(result: int) -> None:
        results.append(result)
        undone.set()

    def call() -> int:
        go.wait(10)
        return 7

    future = in_thread("dial", call, undo)
    future.cancel()
    go.set()
    await asyncio.wait_for(undone.wait(), 10)
    assert results == [7]


async def test_a_thread_does_not_hold_up_the_end() -> None:
    go = threading.Event()
    future = in_thread("stuck", lambda: go.wait(10))
    assert [t.daemon for t in threading.enumerate() if t.name == "stuck"] == [True]
    future.cancel()
    go.set()


def test_what_comes_after_the_loop_has_ended_is_undone_on_the_thread() -> None:
    go, undone = threading.Event(), threading.Event()

    def call() -> bool:
        return go.wait(10)

    async def begin() -> None:
        in_thread("late", call, lambda _: undone.set()).cancel()

    asyncio.run(begin())
    go.set()
    assert undone.wait(10)
