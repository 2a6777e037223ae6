"""The one worker of a pinned function: started with the pool, and again whenever it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from edge_runtime.errors import EdgeError, HostError
from edge_runtime.model import Result
from edge_runtime.workers import _report as report
from edge_runtime.workers._health import Health
from edge_runtime.workers._hiring import Hiring
from edge_runtime.workers._worker import Fate, Reply, Worker
from edge_runtime.workers._yard import Journal, Yard

_LONGEST_S = 1e6  # a timer's: loops refuse infinity
_STEADY_S = 60.0
"""A worker that ran for so long has not failed to start: the back-off begins anew."""


class Keeper:
    """Keeps the worker of a pinned function running, until it is closed.

    The worker counts as up once there is a process. Its module may run for ever; when it ends, and the worker asks for
    an event, `ready` is called with it.
    """

    def __init__(
        self, yard: Yard, hiring: Hiring, health: Health, journal: Journal, ready: Callable[[Worker], None]
    ) -> None:
        self._yard = yard
        self._hiring = hiring
        self._health = health
        self._journal = journal
        self._ready = ready
        self._starting: Worker | None = None
        self._replaced: Worker | None = None
        """One that was told to end, which is no failure of its own."""
        self._closed = asyncio.get_running_loop().create_future()
        self._news: asyncio.Future[Result | None] | None = None

    async def news(self) -> Result | None:
        """Return when the worker is ready, or the error result when its module could not be loaded.

        Raises: HostError when the pool is closing.
        """
        if self._closed.done():
            raise HostError("the worker pool is closing")
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._news)

    def close(self) -> None:
        """Start no other worker, and end one that is still starting. Safe to call twice."""
        if self._closed.done():
            return
        self._closed.set_result(None)
        if self._starting is not None:
            self._yard.background(self._starting.terminate(), "workers.pinned.end")
        if self._news is not None and not self._news.done():
            self._news.set_exception(HostError("the worker pool is closing"))
            self._news.exception()  # it is no loss when nobody waits

    def refresh(self) -> None:
        """End a worker whose module still runs: the next one has the code as it is then."""
        if self._starting is not None:
            self._replaced = self._starting
            self._yard.background(self._starting.terminate(), "workers.pinned.refresh")

    async def run(self) -> None:
        """Work until closed."""
        while not self._closed.done():
            fault = self._hiring.fault()
            if fault:  # it will be asked for when something has been installed: by a start of the host
                self._tell(report.refusal(report.NO_RUNTIME, fault))
                self._health.failed(monotonic(), at_start=True)
            else:
                await self._run_one()
            if not self._closed.done():
                try:
                    await self._hiring.back_off()
                except HostError:
                    return

    async def _run_one(self) -> None:
        began = monotonic()
        try:
            worker = await self._hiring.start("", 0)
        except HostError:
            return
        except (EdgeError, OSError) as error:
            self._tell(self._hiring.refused(error))
            return
        self._starting = worker
        if self._closed.done():  # while it was being started
            await worker.terminate()
            return
        answer: Reply | Fate = Fate.EXPIRED
        while answer is Fate.EXPIRED:
            answer = await worker.answer(monotonic() + _LONGEST_S)
        self._starting = None
        if isinstance(answer, tuple) and not answer[0]:
            self._ready(worker)
            self._tell(None)
            await asyncio.wait([worker.ended, self._closed], return_when=asyncio.FIRST_COMPLETED)
        else:
            await self._never_ready(worker, answer)
        if monotonic() - began > _STEADY_S and self._health.row > 1:
            self._health.succeeded()

    async def _never_ready(self, worker: Worker, answer: Reply | Fate) -> None:
        left = await (worker.end() if isinstance(answer, tuple) else worker.dismiss())
        if self._closed.done() or worker is self._replaced:
            return
        if isinstance(answer, tuple):
            error, payload, _ = answer
        else:
            note = report.exit_text("-", left.status, left.fault or worker.fault)
            error, payload = report.EXITED, report.failure(report.EXITED, note)
            self._journal.say(f"its worker has ended: {note}")
        if not left.fault:
            self._health.failed(monotonic(), at_start=True)
        self._tell(Result(payload, error, peak_kb=worker.peak_kb))

    def _tell(self, news: Result | None) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(news)
        self._news = None
