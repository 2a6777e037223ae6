"""Calls that may block for ever: name servers, TLS handshakes, drivers of hardware."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 2.0
"""How long made time stands still for a thread of which nothing is heard."""


def hold(busy: Callable[[], bool], patience_s: float = PATIENCE_S) -> Callable[[], None]:
    """Where time is made (`warp.WarpLoop`), let it stand still while `busy()`; return what ends that.

    Elsewhere nothing happens. Whoever stops being busy must wake the loop. Who is busy while the loop hears of nothing
    for `patience_s` of real time hangs, and is not waited for.
    """
    take = getattr(asyncio.get_running_loop(), "hold", None)
    end: Callable[[], None] = _nothing if take is None else take(busy, patience_s)
    return end


def _nothing() -> None:
    """Do nothing."""


def in_thread(name: str, call: Callable[[], T], undo: Callable[[T], object] | None = None) -> asyncio.Future[T]:
    """Return the future of a call that is made on a thread of its own.

    The thread is a daemon, unlike those of the loop's executor: what never answers must hold up neither the others nor
    the end of the process. Cancelling the future leaves the call alone; `undo` gets a result that nobody takes, on the
    loop, or on the thread when the loop has ended.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(_look)
    release = hold(lambda: not future.done())
    future.add_done_callback(lambda _: release())

    def finish(result: list[T], error: Exception | None) -> None:
        if future.done():
            _let_go(result, undo)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result[0])

    def work() -> None:
        result: list[T] = []
        error = None
        try:
            result.append(call())
        except Exception as raised:  # noqa: BLE001 - handed to whoever awaits
            error = raised
        try:
            loop.call_soon_threadsafe(finish, result, error)
        except RuntimeError:  # the loop has ended
            with contextlib.suppress(Exception):
                _let_go(result, undo)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future


def _let_go(result: list[T], undo: Callable[[T], object] | None) -> None:
    if undo is not None and result:
        undo(result[0])


def _look(future: asyncio.Future[T]) -> None:
    """Look at the outcome: nobody may be left who does, and that is no mistake."""
    if not future.cancelled():
        future.exception()
