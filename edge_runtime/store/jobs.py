"""What the writer is asked to do.

A job is made on the event loop, carried out on the writer's thread, and comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from edge_runtime.model import NO_HEADERS, Event, Feed, Message

if TYPE_CHECKING:
    from edge_runtime.store.writer import Writer

Entry = tuple[Event, Sequence[Feed]]
"""An event and the targets that it feeds."""


class Job:
    """Something to do, with the future of whoever waits for it."""

    __slots__ = ("error", "future")

    def __init__(self) -> None:
        self.future: asyncio.Future[object] | None = None
        self.error: Exception | None = None


class Change(Job):
    """One change of the queues, all of it or nothing: what is delivered, given up, failed, and newly accepted."""

    __slots__ = ("accepted", "dead", "done", "entries", "memo", "retried", "simple")

    def __init__(
        self,
        entries: Sequence[Entry] = (),
        *,
        done: Sequence[Message] = (),
        dead: Sequence[tuple[Message, str]] = (),
        retried: Sequence[Message] = (),
        memo: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        """`retried` are messages with their new count of tries; `dead` come with the reason."""
        self.future = None
        self.error = None
        self.entries = entries
        self.done = done
        self.dead = dead
        self.retried = retried
        self.memo = memo
        self.accepted: list[Message] = []
        self.simple = not (dead or retried or memo)
        """It only accepts, and deletes what is done."""


class Work(Job):
    """Anything else: `run` is called with the writer, after the changes of the batch and in its transaction.

    It may be called again when the transaction has to be repeated. One that does not write is spared a commit.
    """

    __slots__ = ("result", "run", "writes")

    def __init__(self, run: Callable[[Writer], object], *, writes: bool) -> None:
        super().__init__()
        self.run = run
        self.writes = writes
        self.result: object = None
