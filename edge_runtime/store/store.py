"""The store, as the event loop sees it: what is awaited is on disk.

One thread writes. While it commits a batch, the loop gathers the next one: with many producers a commit is shared by
all who came meanwhile, and a lone producer waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
import queue as threads
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from edge_runtime import failpoint
from edge_runtime.clock import Clock
from edge_runtime.errors import StoreError
from edge_runtime.model import NO_HEADERS, Message, QueueLimits, StoreLimits
from edge_runtime.store.counters import Counters
from edge_runtime.store.expiry import sweep
from edge_runtime.store.jobs import Change, Entry, Job, Work
from edge_runtime.store.queue import Queue
from edge_runtime.store.writer import Writer

_log = logging.getLogger(__name__)
_BATCH = 512
_LEAST_WAIT_S = 0.05


class Store:
    """Every queue of every target. Make it with `open`; use it from the event loop that opened it."""

    def __init__(self, clock: Clock) -> None:
        """Prepare; `open` does the rest."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._inbox: threads.SimpleQueue[list[Job] | None] = threads.SimpleQueue()
        self._pending: list[Job] = []
        self._busy = False
        self._scheduled = False
        self._closing = False
        self._writer: Writer
        self._queues: dict[str, Queue] = {}
        self._ttl_wake = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        self._thread: threading.Thread

    @classmethod
    async def open(
        cls, folder: Path, queues: Mapping[str, QueueLimits], *, clock: Clock, limits: StoreLimits | None = None
    ) -> Store:
        """Open the store in `folder` with a queue for each target in `queues`; key `""` bounds all others.

        What waits from before is not read: the time this takes does not depend on it.

        Raises: HostError when another process has the folder, StoreError when the disk does not let it.
        """
        self = cls(clock)
        ready: asyncio.Future[dict[str, dict[int, int]]] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(folder, limits or StoreLimits(), dict(queues), ready), name="store-writer"
        )
        self._thread.start()
        try:
            heads = await ready
        except BaseException:
            self._inbox.put(None)
            raise
        for name, lanes in heads.items():
            self._queues[name] = Queue(self, name, lanes)
        self._sweeper = asyncio.create_task(self._sweep(), name="store.expiry")
        return self

    # -- for everybody -------------------------------------------------------------------------------------------

    def change(
        self,
        entries: Sequence[Entry] = (),
        *,
        done: Sequence[Message] = (),
        dead: Sequence[tuple[Message, str]] = (),
        retried: Sequence[Message] = (),
        memo: Mapping[str, str] = NO_HEADERS,
    ) -> asyncio.Future[object]:
        """Accept events, settle messages and remember things, in one transaction. Awaiting it means: on disk.

        Args:
            entries: events and the targets they feed.
            done: messages that were delivered.
            dead: messages given up, each with the reason.
            retried: messages that failed, with their new count of tries.
            memo: what `recall` shall return.

        Raises (when awaited): QueueFullError or StoreError; then nothing of it happened.
        """
        job = Change(entries, done=done, dead=dead, retried=retried, memo=memo)
        return self._submit(job)

    def work(self, run: Callable[[Writer], object], *, writes: bool = False) -> asyncio.Future[object]:
        """Call `run` on the writer's thread and return what it returns. It must be short: everybody waits for it."""
        return self._submit(Work(run, writes=writes))

    async def recall(self, key: str) -> str | None:
        """Return what was remembered under a key."""
        value = await self.work(lambda writer: writer.memo(key))
        return None if value is None else str(value)

    def queue(self, name: str) -> Queue:
        """Return the queue of a target. Raises: KeyError."""
        return self._queues[name]

    def counters(self, name: str) -> Counters:
        """Return the ledger of a target, live. Read only. Raises: KeyError."""
        return self._writer.targets[name]

    @property
    def ledger(self) -> list[Counters]:
        """The ledgers of all targets."""
        return list(self._writer.targets.values())

    @property
    def notes(self) -> Sequence[str]:
        """What happened to the data that a person should know."""
        return self._writer.notes

    @property
    def tight(self) -> bool:
        """The disk is nearly full, and the store may not grow."""
        return self._writer.budget.tight

    @property
    def limit_bytes(self) -> int:
        """The bound of the database file."""
        return self._writer.budget.limit_bytes

    async def close(self) -> None:
        """Commit what was submitted, write everything back, let go of the folder. Safe to call twice."""
        if self._closing:
            return
        failpoint.reach("close.begin")
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        while self._pending or self._busy:
            await self.work(lambda _: None)
        self._closing = True
        self._inbox.put(None)
        while self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    # -- between loop and thread ---------------------------------------------------------------------------------

    def _submit(self, job: Job) -> asyncio.Future[object]:
        future: asyncio.Future[object] = self._loop.create_future()
        if self._closing:
            future.set_exception(StoreError("the store is closed", hint="edge run"))
            return future
        job.future = future
        self._pending.append(job)
        if not self._busy and not self._scheduled:
            # Not at once: whoever else runs in this turn of the loop shares the commit.
            self._scheduled = True
            self._loop.call_soon(self._send)
        return future

    def _send(self) -> None:
        self._scheduled = False
        if self._pending and not self._busy:
            self._busy = True
            batch, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
            self._inbox.put(batch)

    def _run(
        self,
        folder: Path,
        limits: StoreLimits,
        queues: Mapping[str, QueueLimits],
        ready: asyncio.Future[dict[str, dict[int, int]]],
    ) -> None:
        """Be the writer's thread."""
        try:
            writer = Writer(folder, limits, queues, self._clock)
            try:
                heads = writer.heads()
            except BaseException:
                writer.close()
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is, `open` raises it
            self._loop.call_soon_threadsafe(_reject, ready, error)
            return
        self._writer = writer
        self._loop.call_soon_threadsafe(_resolve, ready, heads)
        while (jobs := self._inbox.get()) is not None:
            writer.process(jobs)
            self._loop.call_soon_threadsafe(self._finished, jobs)
        writer.close()

    def _finished(self, jobs: Sequence[Job]) -> None:
        self._busy = False
        self._send()
        for job in jobs:
            future = job.future
            if isinstance(job, Change):
                result: object = job.accepted
                if job.error is None:
                    self._put(job.accepted)
            else:
                result = job.result if isinstance(job, Work) else None
            if future is None or future.done():
                continue
            if job.error is None:
                future.set_result(result)
            else:
                future.set_exception(job.error)

    def _put(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._queues[message.target].put(message)
        if messages and not self._ttl_wake.is_set():
            self._ttl_wake.set()

    async def _sweep(self) -> None:
        """Expire what is due; sleep until the next is, or until something is accepted."""
        if not any(c.limits.ttl_s > 0 for c in self.ledger):
            return
        while True:
            try:
                wait = cast("float | None", await self.work(sweep, writes=True))
            except StoreError as error:
                _log.warning("expiry waits: %s", error)
                wait = 60.0
            if wait is None:
                self._ttl_wake.clear()
                await self._ttl_wake.wait()
                wait = min(c.limits.ttl_s for c in self.ledger if c.limits.ttl_s > 0)
            await self._clock.sleep(max(_LEAST_WAIT_S, wait))


def _resolve(future: asyncio.Future[dict[str, dict[int, int]]], heads: dict[str, dict[int, int]]) -> None:
    if not future.done():
        future.set_result(heads)


def _reject(future: asyncio.Future[dict[str, dict[int, int]]], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
