"""The store, as the event loop sees it: what is awaited is on disk.

One thread writes. While it commits a batch, the loop gathers the next one: with many producers a commit is shared by
all who came meanwhile, and a lone producer waits for nobody.

Waking another thread and being woken by it costs more than a commit on a fast disk does. So while commits are measured
to block for less than a millisecond, the loop carries out the batch itself; on a slower disk, as an SD card is, and for
every checkpoint, and when something is to be mended, it is the thread. Never both: there is one batch at a time.
"""

from __future__ import annotations

import asyncio
import logging
import queue as threads
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from edge_runtime import failpoint
from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.clock import Clock
from edge_runtime.errors import StoreError
from edge_runtime.model import NO_HEADERS, Message
from edge_runtime.store.counters import Counters
from edge_runtime.store.expiry import sweep
from edge_runtime.store.jobs import Change, Entry, Job, Work
from edge_runtime.store.queue import Queue
from edge_runtime.store.writer import Writer

_log = logging.getLogger(__name__)
_BATCH = 512
_LEAST_WAIT_S = 0.05
_RETRY_S = 60.0
_PATIENCE_S = 0.001
"""How long a commit may block the event loop, on average."""


class Store:
    """Every queue of every target. Make it with `open`; use it from the event loop that opened it."""

    def __init__(self, clock: Clock) -> None:
        """Prepare; `open` does the rest."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._inbox: threads.SimpleQueue[list[Job] | None] = threads.SimpleQueue()
        self._pending: list[Job] = []
        self._carried: dict[str, str] = {}
        """To be remembered with the next commit."""
        self._busy = False
        self._blocked_s = 0.01
        """How long a batch waits for the disk: a moving average, of which the first batches tell little."""
        self._scheduled = False
        self._resets = 0
        self._anew: dict[str, dict[int, int]] | None = None
        self._closing = False
        self._writer: Writer
        self._queues: dict[str, Queue] = {}
        self._thinned: list[Queue] = []
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
            target=self._run,
            args=(folder, limits or StoreLimits(), dict(queues), ready),
            name="store-writer",
            daemon=True,
        )
        self._thread.start()
        try:
            heads = await ready
        except BaseException:
            self._inbox.put(None)
            raise
        for name, lanes in heads.items():
            self._queues[name] = Queue(self, name, lanes)
            if self.counters(name).limits.when_full is Overflow.DOWNSAMPLE:
                self._thinned.append(self._queues[name])
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

    def carry(self, memo: Mapping[str, str]) -> None:
        """Remember things with the next commit that somebody causes, and for their sake cause none.

        A crash before that loses them, and so does a commit that fails.
        """
        self._carried.update(memo)

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

    def age_ns(self) -> int:
        """Return the running time by which `Message.age_ns` is told; time with the power off does not count."""
        return self._writer.age_ns()

    @property
    def ledger(self) -> list[Counters]:
        """The ledgers of all targets."""
        return list(self._writer.targets.values())

    @property
    def busy(self) -> bool:
        """Whether something was submitted that is not on disk yet."""
        return self._busy or bool(self._pending)

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
        if not self._closing:
            failpoint.reach("close.begin")
            if self._sweeper is not None:
                self._sweeper.cancel()
                await asyncio.wait([self._sweeper])
            while self._pending or self._busy:
                await asyncio.wait([self.work(lambda _: None)])
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
            if self._carried and not all(isinstance(job, Work) and not job.writes for job in batch):
                batch.append(Change(memo=self._carried))
                self._carried = {}
            for queue in self._thinned:  # what the loop does with them until the batch is done touches no backlog
                self._writer.targets[queue.name].backlog = dict(queue.backlog())
            if self._blocked_s < _PATIENCE_S and self._process(self._writer, batch, at_leisure=False):
                self._finished(batch)
            else:
                self._inbox.put(batch)

    def _process(self, writer: Writer, batch: Sequence[Job], *, at_leisure: bool) -> bool:
        began_s, worked_s = time.monotonic(), time.thread_time()
        done = writer.process(batch, at_leisure=at_leisure)
        blocked_s = time.monotonic() - began_s - (time.thread_time() - worked_s)
        self._blocked_s += (blocked_s - self._blocked_s) / 8
        if writer.resets != self._resets:
            self._look_again(writer)
        return done

    def _look_again(self, writer: Writer) -> None:
        """See what waits: after a salvage, the rows on disk are not the ones that were known."""
        resets = writer.resets
        try:
            self._anew = writer.heads()
        except (sqlite3.Error, StoreError) as error:
            _log.warning("what waits could not be read, the next batch tries again: %s", error)
        else:
            self._resets = resets

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
        try:
            self._loop.call_soon_threadsafe(_resolve, ready, heads)
            while (jobs := self._inbox.get()) is not None:
                self._process(writer, jobs, at_leisure=True)
                self._loop.call_soon_threadsafe(self._finished, jobs)
        except RuntimeError as error:  # the loop is closed: nobody waits any more
            _log.warning("the store was not closed before its event loop: %s", error)
        finally:
            writer.close()

    def _finished(self, jobs: Sequence[Job]) -> None:
        if self._anew is not None:
            for name, lanes in self._anew.items():
                self._queues[name].reset(lanes)
            self._anew = None
        self._busy = self._writer.checkpoint_due
        if self._busy:
            self._inbox.put([Work(Writer.checkpoint, writes=False)])
        elif self._pending and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._send)
        self._settle(jobs)

    def _settle(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            future = job.future
            if isinstance(job, Change):
                result: object = job.accepted
                if job.error is None:
                    for message in job.accepted:
                        self._queues[message.target].put(message)
            else:
                result = job.result if isinstance(job, Work) else None
            if future is None or future.done():
                continue
            if job.error is None:
                future.set_result(result)
            else:
                future.set_exception(job.error)
        if not self._ttl_wake.is_set():
            self._ttl_wake.set()

    async def _sweep(self) -> None:
        """Expire what is due; sleep until the next is, or until something is accepted that may be due before."""
        bounds = [c.limits.ttl_s for c in self.ledger if c.limits.ttl_s > 0]
        if not bounds:
            return
        while True:
            seen = self._produced()
            try:
                wait = cast("float | None", await self.work(sweep, writes=True))
            except StoreError as error:
                _log.warning("expiry waits: %s", error)
                wait = _RETRY_S
            if wait is None or wait > min(bounds):
                wait = await self._accepted(seen, wait, min(bounds))
            await self._clock.sleep(max(_LEAST_WAIT_S, wait))

    async def _accepted(self, seen: int, most: float | None, least: float) -> float:
        """Wait until something with a time to live is accepted, or `most` seconds. Return how long to sleep then."""
        timer = None if most is None else asyncio.ensure_future(self._clock.sleep(most))
        began_ns = self._clock.now().mono_ns
        try:
            while self._produced() == seen:
                self._ttl_wake.clear()
                wake = asyncio.ensure_future(self._ttl_wake.wait())
                try:
                    await asyncio.wait([wake] if timer is None else [wake, timer], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    wake.cancel()
                if timer is not None and timer.done():
                    return 0.0
        finally:
            if timer is not None:
                timer.cancel()
        return least if most is None else min(least, most - (self._clock.now().mono_ns - began_ns) / 1e9)

    def _produced(self) -> int:
        return sum(c.produced for c in self.ledger if c.limits.ttl_s > 0)


def _resolve(future: asyncio.Future[dict[str, dict[int, int]]], heads: dict[str, dict[int, int]]) -> None:
    if not future.done():
        future.set_result(heads)


def _reject(future: asyncio.Future[dict[str, dict[int, int]]], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
