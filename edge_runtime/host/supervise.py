"""Keep a part of the host going: one that ends is started again, and the others do not notice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edge_runtime.clock import Clock
from edge_runtime.errors import EdgeError
from edge_runtime.pure.backoff import Backoff

_log = logging.getLogger(__name__)
_STEADY_S = 60.0
"""A part that ran this long is well: the next wait begins small again."""


@dataclass(slots=True)
class Part:
    """How one part does, for `edge status`."""

    name: str
    state: str = "running"
    """`running`, or `waiting` for its next start."""
    restarts: int = 0
    last_error: str = ""
    """Why it last ended; it may run well since."""


async def supervise(part: Part, run: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Run a part for ever, with a pause that grows after each failure. Ends only when cancelled."""
    backoff = Backoff(first_s=1.0, most_s=60.0)
    while True:
        began_ns = clock.now().mono_ns
        part.state = "running"
        try:
            await run()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            _note(part, RuntimeError("something that it waited for was cancelled"))
        except Exception as error:  # noqa: BLE001 - a mistake in one part must not end the host; it is logged
            _note(part, error)
        else:
            _note(part, RuntimeError("it ended by itself"))
        part.state = "waiting"
        part.restarts += 1
        if clock.now().mono_ns - began_ns >= _STEADY_S * 1e9:
            backoff.reset()
        await clock.sleep(backoff.next())


def _note(part: Part, error: Exception) -> None:
    """Log why a part ended: an error of ours in one line, a mistake with its trace, and either only when it is new."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = f"{error}{f' ({error.hint})' if isinstance(error, EdgeError) and error.hint else ''}" or type(error).__name__
    known, part.last_error = part.last_error == text, text
    trace = None if known or isinstance(error, EdgeError) else error
    _log.log(
        logging.DEBUG if known else logging.ERROR,
        "%s failed and will be started again: %s",
        part.name,
        text,
        exc_info=trace,
    )
