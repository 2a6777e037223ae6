"""What the functions of one pool share, and what they write to the log."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.app import Function
from edge_runtime.workers._report import WELL, Ending, Usage, rest_of_log, start_line, whole_log
from edge_runtime.workers._worker import Worker
from edge_runtime.workers._zygote import Zygote
from edge_runtime.workers.isolation import Terms, Wanted

Services = Callable[[Function, str], Mapping[str, str]]
"""Returns what a worker of a function gets in its environment beside its own: addresses, credentials.

The text is the worker's token, which nobody else knows. Called for each worker before it starts.
"""


class Caller(NamedTuple):
    """Who has called, told by its token."""

    function: str
    request_id: str
    """Of the invocation that the worker has in hand, empty when there is none."""
    depth: int
    """How many functions in a row have led to the invocation in hand, or to the last one."""


def no_services(_function: Function, _token: str) -> Mapping[str, str]:
    """Give a worker nothing beside its own."""
    return {}


@dataclass(slots=True)
class Yard:
    """What the functions of one pool share."""

    zygote: Zygote
    thing: str
    code: Path
    """Where archives are extracted."""
    layers: Path
    """Where layers are laid together."""
    tmp: Path
    """Where workers have their temporary folders."""
    log: Callable[[str, str], None]
    init_s: float
    """What a handler's module may take to load. Then it is loaded again within the function's own time, as in AWS."""
    services: Services = no_services
    terms: Terms = field(default_factory=lambda: Terms({}, Wanted()))
    """How the workers are kept apart."""
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
    callers: dict[bytes, Callable[[], Caller]] = field(default_factory=dict)
    """Who a live worker is, by the hash of its token: how long a look-up takes then says nothing about a token."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    kin: dict[str, Zygote] = field(default_factory=dict)
    """Zygotes with boto3 in them, by the folder it is from."""

    def zygote_with(self, packages: str) -> Zygote:
        """Return the zygote that has boto3 from this folder, not started; the plain one for no folder."""
        if not packages or self.closing.is_set():
            return self.zygote
        if packages not in self.kin:
            self.kin[packages] = self.zygote.with_packages(packages)
        return self.kin[packages]

    def background(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run something that the pool waits for when it closes."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def token_key(token: str) -> bytes:
    """Return what a worker's token is looked up by."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


class Journal:
    """The log of one function: AWS's lines, and what the handler prints with its request id before each line.

    Where the function's log format is JSON, its lines name their request themselves and stay as they are.
    """

    def __init__(self, function: Function, log: Callable[[str, str], None]) -> None:
        self._name = function.name
        self._memory_mb = function.memory_mb
        self._json = function.log_format.upper() == "JSON"
        self._log = log

    def say(self, text: str) -> None:
        """Write a line of the runtime's own."""
        self._log(self._name, f"{text}\n")

    def publish(self, request_id: str, text: str, first: bool) -> None:  # noqa: FBT001 - the shape of `Publish`
        """Write what a running invocation has printed."""
        if not request_id:  # printed outside of any invocation
            self._log(self._name, text)
            return
        start = start_line(request_id, as_json=self._json) if first else ""
        self._log(self._name, start + self._tagged(request_id, text))

    def finish(self, worker: Worker, request_id: str, duration_ms: float, init_ms: float, ending: Ending = WELL) -> str:
        """Write what is left of an invocation, and return its whole log."""
        usage = Usage(duration_ms, self._memory_mb, worker.peak_kb, init_ms)
        text = worker.output.take()
        if text is None:
            log = whole_log(request_id, "", usage, ending, as_json=self._json)
            self._log(self._name, log)
            return log
        make = whole_log if text.unseen else rest_of_log
        self._log(self._name, make(request_id, self._tagged(request_id, text.rest), usage, ending, as_json=self._json))
        return whole_log(request_id, text.whole, usage, ending, as_json=self._json)

    def _tagged(self, request_id: str, text: str) -> str:
        if self._json:
            return text
        # By "\n" alone: the lines of one entry are joined by "\r".
        return "".join(f"{request_id}\t{line}\n" for line in text.removesuffix("\n").split("\n") if text)


class PinnedJournal(Journal):
    """The log of a function whose worker also prints when it has no event in hand."""

    def finish(self, worker: Worker, request_id: str, duration_ms: float, init_ms: float, ending: Ending = WELL) -> str:
        """Write what is left of an invocation, and return its whole log."""
        log = super().finish(worker, request_id, duration_ms, init_ms, ending)
        worker.output.begin("")
        return log
