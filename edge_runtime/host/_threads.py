"""Calls that may block for ever, such as those into drivers of hardware."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_thread(name: str, call: Callable[[], T]) -> asyncio.Future[T]:
    """Return the future of a call that is made on a thread of its own.

    The thread is a daemon, unlike those of the loop's executor: what never answers must hold up neither the others nor
    the end of the process. Cancelling the future leaves the call alone; its result is then let go.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(_look)

    def finish(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # no error: this is the call's result

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:  # noqa: BLE001 - handed to whoever awaits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future


def _look(future: asyncio.Future[T]) -> None:
    """Look at the outcome: nobody may be left who does, and that is no mistake."""
    if not future.cancelled():
        future.exception()
