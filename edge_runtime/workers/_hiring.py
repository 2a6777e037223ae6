"""Starting the workers of one function: its code, its back-off, the init phase."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from edge_runtime.app import Function
from edge_runtime.errors import EdgeError, HostError
from edge_runtime.model import Result
from edge_runtime.workers import _report as report
from edge_runtime.workers._environment import environment
from edge_runtime.workers._health import Health
from edge_runtime.workers._worker import Fate, Reply, Worker
from edge_runtime.workers._yard import Journal, Yard
from edge_runtime.workers.unpack import is_archive, task_root


class Hiring:
    """Starts workers. `hired` is called with each, as soon as there is a process."""

    def __init__(
        self, function: Function, yard: Yard, health: Health, journal: Journal, hired: Callable[[Worker], None]
    ) -> None:
        self._function = function
        self._yard = yard
        self._health = health
        self._journal = journal
        self._hired = hired
        self._root: tuple[object, Path] | None = None
        self.underway = 0
        """How many workers are starting."""

    async def hire(self, request_id: str, timeout_s: float) -> tuple[Worker, float, float] | Result:
        """Return a worker that is ready, how long it took in ms, and what is left of `timeout_s`; or the error result.

        Waits first when earlier workers failed. Cancelling kills the worker and returns when it is gone.

        Raises: HostError when the pool is closing.
        """
        await self._back_off()
        init_s = self._yard.init_s
        self.underway += 1
        try:
            worker, began = await self._start(request_id), monotonic()
            answer = await self._answer(worker, began + init_s)
            left_s = timeout_s
            if answer is Fate.EXPIRED:
                self._journal.say(f"INIT_REPORT Init Duration: {init_s * 1e3:.2f} ms\tPhase: init\tStatus: timeout")
                worker, began = await self._start(request_id), monotonic()
                answer = await self._answer(worker, began + timeout_s)
                left_s = timeout_s - (monotonic() - began)
        except (EdgeError, OSError) as error:
            if isinstance(error, HostError):
                raise
            self._health.failed(monotonic(), at_start=True)
            text = f"function {self._function.name!r} cannot be started: {error}"
            self._journal.say(text)
            return report.refusal(report.EXITED, text)
        finally:
            self.underway -= 1
        init_ms = (monotonic() - began) * 1e3
        if isinstance(answer, tuple) and not answer[0]:
            return worker, init_ms, left_s
        return await self._failed(worker, answer, request_id, init_ms, timeout_s)

    async def _back_off(self) -> None:
        while (wait := self._health.next_start - monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._yard.closing.wait(), wait)
            if self._yard.closing.is_set():
                raise HostError("the worker pool is closing")

    async def _start(self, request_id: str) -> Worker:
        function, yard = self._function, self._yard
        root = await self._task_root()
        yard.count += 1
        stream = f"{yard.zygote.token}{yard.count:012x}"
        tmp = yard.tmp / stream
        spec = {
            "handler": function.handler,
            "root": str(root),
            "memory_mb": function.memory_mb,
            "environment": environment(function, yard.thing, root, tmp, stream),
        }
        await yard.zygote.start()
        try:
            worker = Worker(yard.zygote, spec, tmp, self._journal.publish)
        except ConnectionError:  # the zygote was found dead
            await yard.zygote.start()
            worker = Worker(yard.zygote, spec, tmp, self._journal.publish)
        worker.output.begin(request_id)
        self._hired(worker)
        return worker

    async def _task_root(self) -> Path:
        code = self._function.code
        if not is_archive(code):
            return task_root(code, self._yard.code).absolute()
        await self._yard.pruned.wait()
        try:
            seen = code.stat()
            key: object = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
        except OSError:
            key = None  # task_root says what is wrong
        if self._root is None or self._root[0] != key or not self._root[1].is_dir():
            self._root = key, await asyncio.to_thread(task_root, code, self._yard.code.absolute())
        return self._root[1]

    async def _answer(self, worker: Worker, deadline: float) -> Reply | Fate:
        try:
            answer = await worker.answer(deadline)
        except BaseException:
            await worker.dismiss()
            raise
        if answer is Fate.EXPIRED:
            await worker.dismiss()
        return answer

    async def _failed(
        self, worker: Worker, answer: Reply | Fate, request_id: str, init_ms: float, timeout_s: float
    ) -> Result:
        if isinstance(answer, tuple):  # the handler could not be loaded: the worker ends by itself
            left = await worker.end()
            (error, payload, _), note = answer, ""
        elif answer is Fate.EXPIRED:
            left = await worker.dismiss()
            note = report.timeout_text(request_id, timeout_s)
            error, payload = report.TIMED_OUT, report.failure(report.TIMED_OUT, note)
        else:
            left = await worker.dismiss()
            note = report.exit_text(request_id, left.status, left.fault)
            error, payload = report.EXITED, report.failure(report.EXITED, note)
        if not left.fault:
            self._health.failed(monotonic(), at_start=True)
        log = self._journal.finish(worker, request_id, 0.0, init_ms, note)
        return Result(payload, error, log, 0.0, init_ms, worker.peak_kb)
