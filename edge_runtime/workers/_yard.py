"""What the functions of one pool share, and what they write to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.app import Function
from edge_runtime.workers._report import Usage, start_line, whole_log
from edge_runtime.workers._worker import Worker
from edge_runtime.workers._zygote import Zygote


@dataclass(slots=True)
class Yard:
    """What the functions of one pool share."""

    zygote: Zygote
    thing: str
    code: Path
    """Where archives are extracted."""
    tmp: Path
    """Where workers have their temporary folders."""
    log: Callable[[str, str], None]
    init_s: float
    """What a handler's module may take to load. Then it is loaded again within the function's own time, as in AWS."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    pruned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when archives may be extracted: what earlier ones left has been removed."""
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the pool is closing and nothing is in flight."""
    in_flight: int = 0
    waited_ns: int = 0
    """For how long the event loop has stood still for workers since it had its last turn."""
    count: int = 0
    """Of all workers so far."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def background(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run something that the pool waits for when it closes."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Journal:
    """The log of one function: AWS's lines, and what the handler prints with its request id before each line."""

    def __init__(self, function: Function, log: Callable[[str, str], None]) -> None:
        self._name = function.name
        self._memory_mb = function.memory_mb
        self._log = log

    def say(self, text: str) -> None:
        """Write a line of the runtime's own."""
        self._log(self._name, f"{text}\n")

    def publish(self, request_id: str, text: str, first: bool) -> None:  # noqa: FBT001 - the shape of `Publish`
        """Write what a running invocation has printed."""
        self._log(self._name, (start_line(request_id) if first else "") + _tagged(request_id, text))

    def finish(self, worker: Worker, request_id: str, duration_ms: float, init_ms: float, note: str = "") -> str:
        """Write what is left of an invocation, and return its whole log. `note` is a last line of the runtime's."""
        usage = Usage(duration_ms, self._memory_mb, worker.peak_kb, init_ms)
        text = worker.output.take()
        if text is None:
            log = whole_log(request_id, "", usage, note)
            self._log(self._name, log)
            return log
        rest = whole_log(request_id, _tagged(request_id, text.rest), usage, note)
        self._log(self._name, rest if text.unseen else rest.removeprefix(start_line(request_id)))
        return whole_log(request_id, text.whole, usage, note)


def _tagged(request_id: str, text: str) -> str:
    # By "\n" alone: the lines of one entry are joined by "\r".
    return "".join(f"{request_id}\t{line}\n" for line in text.removesuffix("\n").split("\n") if text)
