"""A job at work, as the operation sees it that carries it out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from edge_runtime.clock import Clock
from edge_runtime.cloud._job_record import Record
from edge_runtime.errors import EdgeError, QueueFullError, StoreError
from edge_runtime.pure import jobs
from edge_runtime.pure.jobs import Order, RefusalError

_log = logging.getLogger(__name__)
T = TypeVar("T")


class StoppedError(EdgeError):
    """The cloud wants the job no more: leave things whole, and go."""


class Keep(Protocol):
    """What stores how a job stands."""

    async def __call__(self, record: Record, *, tell: bool) -> None:
        """Return when it is stored; with `tell`, the cloud is to be told. Raises: StoreError, QueueFullError."""


class Job:
    """One job. Its steps are named by the operation; after a restart it begins at the one that was reached last."""

    def __init__(self, record: Record, order: Order, clock: Clock, keep: Keep, ask: Callable[[], None]) -> None:
        """`ask` has a fresh copy of the document asked for, which `renew` then gets."""
        self.record = record
        self.order = order
        """What to do. The address of a bundle in it may be renewed meanwhile."""
        self.limit_s = None if order.step_minutes is None else order.step_minutes * 60.0
        self._clock = clock
        self._keep = keep
        self._ask = ask
        self._stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._fresh: asyncio.Future[None] | None = None
        self._since_ns = clock.now().mono_ns

    @property
    def step(self) -> str:
        """The step that was reached last, before a restart too; empty at first."""
        return self.record.step

    @property
    def kept(self) -> Mapping[str, str]:
        """What `reach` has kept."""
        return self.record.kept

    async def reach(self, step: str, **kept: str) -> None:
        """Store that a step begins, before anything of it is done, with what it needs to be repeated; tell the cloud.

        Raises: StoppedError when the cloud wants the job no more; StoreError, QueueFullError.
        """
        self._check()
        new = step != self.record.step
        if not new and not kept:
            return
        if new:
            self._since_ns = self._clock.now().mono_ns
        record = self.record
        before = record.step, dict(record.kept), record.begun
        record.step = step
        record.kept.update(kept)
        record.begun = 1  # it gets on
        try:
            await self._keep(record, tell=new)
        except (StoreError, QueueFullError):
            record.step, record.kept, record.begun = before  # nothing of it is stored
            raise

    async def unless_stopped(self, doing: Awaitable[T]) -> T:
        """Return what is awaited; when the cloud wants the job no more, cancel it and raise StoppedError."""
        task = asyncio.ensure_future(doing)
        either: set[asyncio.Future[Any]] = {task, self._stopped}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self._check()
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def fresh(self) -> None:
        """Return when `order` is of a fresh copy of the document: waits for a connection. Raises: StoppedError."""
        self._fresh = asyncio.get_running_loop().create_future()
        self._ask()
        await self.unless_stopped(self._fresh)

    def stop(self, why: str) -> None:
        """Have it stop at its next step."""
        if not self._stopped.done():
            self._stopped.set_result(why)

    def renew(self, document: object) -> None:
        """Take the document of the same job, as the cloud gives it now."""
        try:
            order = jobs.renewed(self.order, jobs.read(document))
        except RefusalError:
            order = None
        if order is None:
            _log.warning("job %s: its document has changed in the cloud; it is done as it was", self.record.id)
        else:
            self.order = order
            self.record.document = json.dumps(document, separators=(",", ":"))
        if self._fresh is not None and not self._fresh.done():
            self._fresh.set_result(None)

    def step_s(self) -> float:
        """Return how long the step has taken so far."""
        return (self._clock.now().mono_ns - self._since_ns) / 1e9

    def _check(self) -> None:
        if self._stopped.done():
            raise StoppedError(self._stopped.result())
