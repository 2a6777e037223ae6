"""Writing down what became of events: one transaction for each invocation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from edge_runtime.app import Function
from edge_runtime.clock import Clock
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Message
from edge_runtime.store.jobs import Entry
from edge_runtime.store.store import Store
from edge_runtime.workers import _retries as retries
from edge_runtime.workers._outcomes import Destinations, Failure

_log = logging.getLogger(__name__)
_MOST_SETTLING = 256
_DISK_PAUSE_S = 1.0


class Settling:
    """Settles the messages of one function. What is to run again goes into `room`."""

    def __init__(
        self,
        function: Function,
        store: Store,
        clock: Clock,
        room: retries.Room,
        *,
        destinations: Destinations,
        emitted: Callable[[Sequence[Entry]], None] | None,
        changed: asyncio.Event,
    ) -> None:
        """`emitted` is told what was accepted; `changed` is set whenever something is on disk."""
        self._function = function
        self._store = store
        self._clock = clock
        self._room = room
        self._destinations = destinations
        self._emitted = emitted
        self._changed = changed
        self._slots = asyncio.Semaphore(_MOST_SETTLING)
        self._underway: set[asyncio.Future[object]] = set()

    @property
    def idle(self) -> bool:
        """Whether everything that succeeded is on disk."""
        return not self._underway

    async def close(self) -> None:
        """Return when everything that succeeded is on disk."""
        if self._underway:
            await asyncio.wait(self._underway)

    async def succeeded(self, done: Sequence[Message], emitted: Sequence[Entry]) -> None:
        """Have messages deleted and what came of them stored, and do not wait for the disk.

        The next event need not wait for it either: the commits keep their order.
        """
        await self._slots.acquire()
        settled = self._store.change(emitted, done=done)
        self._underway.add(settled)
        settled.add_done_callback(lambda future: self._on_settled(future, done, emitted))

    def _on_settled(self, settled: asyncio.Future[object], done: Sequence[Message], emitted: Sequence[Entry]) -> None:
        self._slots.release()
        self._underway.discard(settled)
        self._changed.set()
        error = settled.exception()
        if error is not None:
            # The handler ran, but what it made could not be kept. Not kept here either: replies may be large.
            self._room.hold(done, f"the reply of function {self._function.name!r} was not accepted: {error}")
            return
        self._room.went_well()
        if emitted and self._emitted is not None:
            self._emitted(emitted)

    async def failed(self, failed: Sequence[tuple[Message, Failure]], *, done: Sequence[Message] = ()) -> None:
        """Let each message that failed run again after its wait, or give it up; delete those that are `done`.

        Returns when that is on disk; a disk that fails is waited for.
        """
        now = self._clock.now()
        again: dict[float, list[Message]] = {}
        dead: list[tuple[Message, str]] = []
        emitted: list[Entry] = []
        for message, failure in failed:
            tries = message.tries + failure.ran
            if not failure.hopeless and tries <= self._function.retries:
                wait_s = retries.retry_wait_s(self._function, tries)
                due_ns = self._store.age_ns() + int(wait_s * 1e9)
                again.setdefault(wait_s, []).append(retries.marked(message, failure.reason, due_ns, now.wall_ns))
            else:
                letter = retries.without(message)._replace(tries=tries)
                self._tell(letter, failure)
                dead.append((letter, failure.reason))
                emitted += self._destinations.failure(letter, failure)
        await self._write(emitted, done, dead, [message for messages in again.values() for message in messages])
        for wait_s, messages in again.items():
            self._room.park(messages, wait_s)

    async def _write(
        self,
        emitted: list[Entry],
        done: Sequence[Message],
        dead: Sequence[tuple[Message, str]],
        retried: Sequence[Message],
    ) -> None:
        name = self._function.name
        while True:
            try:
                await self._store.change(emitted, done=done, dead=dead, retried=retried)
            except StoreError as error:
                _log.warning("what became of events of function %r cannot be written yet: %s", name, error)
                await self._clock.sleep(_DISK_PAUSE_S)
            except QueueFullError as error:
                _log.warning("the failure record of function %r was not accepted: %s", name, error)
                emitted = []
            else:
                break
        if emitted and self._emitted is not None:
            self._emitted(emitted)

    def _tell(self, letter: Message, failure: Failure) -> None:
        name, event = self._function.name, letter.event
        _log.error(
            "function %r gave up on event %s (%s) after %d tries: %s; see: edge queue ls function/%s --dead",
            name, event.id, event.topic, letter.tries, failure.reason, name,
        )  # fmt: skip
