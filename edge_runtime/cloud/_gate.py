"""What must be so before a connection is worth a try."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from edge_runtime.clock import Clock

_LEAST_S = 1.0
"""Between two tries, whatever happens."""


class Gate(Protocol):
    """Keeps a link from trying what cannot work yet."""

    async def passed(self, say: Callable[[str], None]) -> None:
        """Return when a try makes sense; `say` is told what is waited for. Raises: LinkError."""

    async def moved(self) -> None:
        """Return when something has changed that may make a failed try succeed."""


async def pause(clock: Clock, gate: Gate | None, seconds: float) -> None:
    """Return after that many seconds, or soon after the gate has moved."""
    if gate is None or seconds <= _LEAST_S:
        await clock.sleep(seconds)
        return
    sleeping = asyncio.create_task(_sleep(clock, seconds), name="uplink.pause")
    moving = asyncio.create_task(_moved(clock, gate), name="uplink.gate")
    try:
        await asyncio.wait((sleeping, moving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        moving.cancel()
        await asyncio.gather(sleeping, moving, return_exceptions=True)


async def _moved(clock: Clock, gate: Gate) -> None:
    await gate.moved()
    await clock.sleep(_LEAST_S)


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
