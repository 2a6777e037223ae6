"""A thread with an event loop on which a world goes on while a test, which is not async, looks on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from edge_runtime.errors import HostError
from edge_runtime.warp import WarpClock, WarpLoop

T = TypeVar("T")
_END_S = 30.0


class LoopThread:
    """A `WarpLoop` on a thread of its own, from its making to `close`."""

    def __init__(self, clock: WarpClock) -> None:
        self._runner = asyncio.Runner(loop_factory=partial(WarpLoop, clock))
        self._loop = self._runner.get_loop()  # made here: whoever starts the thread is told when that fails
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="edge", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        async def serve() -> None:
            await self._end.wait()

        with self._runner:
            self._runner.run(serve())

    def do(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Do something on the loop, and return what it returns. Raises: what it raises; HostError when it lasts."""
        doing = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return doing.result(within_s)
        except concurrent.futures.TimeoutError:
            if doing.done():
                raise  # its own
            doing.cancel()
            raise HostError(
                f"the host has not come to rest within {within_s:g} s of real time", hint="what runs for so long?"
            ) from None

    def close(self) -> None:
        """End the loop and the thread. What does not let itself be ended is left to the end of the process."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_END_S)
