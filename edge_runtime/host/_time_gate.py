"""TLS waits for the time: with a clock in 1970 no certificate holds, and a thousand tries would not change that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from edge_runtime.host.timekeeper import Timekeeper


class Dated(Protocol):
    """A link that may need the right time."""

    def valid_from_s(self) -> Awaitable[float | None]:
        """Return from when on its certificate holds, in seconds since the epoch, 0 for none; None: time is no matter.

        Raises (when awaited): LinkError when the link cannot be made.
        """

    def changed(self) -> Awaitable[None]:
        """Return (when awaited) when another certificate may lie on disk."""


class TimeGate:
    """A `Gate` for one link: closed while the clock is known to be too wrong for its certificates."""

    def __init__(self, keeper: Timekeeper, link: Dated) -> None:
        self._keeper = keeper
        self._link = link

    async def passed(self, say: Callable[[str], None]) -> None:
        """Return when TLS may work, or is not used. Raises: LinkError."""
        while True:
            begin_s = await self._link.valid_from_s()
            if begin_s is None:
                return
            why, again_s = await self._keeper.why_wait(int(begin_s * 1e9))
            if not why:
                return
            say(why)
            await self._either(again_s)

    async def moved(self) -> None:
        """Return when the clock was set, or another certificate may lie on disk."""
        await self._either()

    async def _either(self, within_s: float | None = None) -> None:
        tasks = [
            asyncio.create_task(self._keeper.moved(within_s), name="link.clock"),
            asyncio.ensure_future(self._link.changed()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
