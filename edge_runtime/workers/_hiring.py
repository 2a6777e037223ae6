"""Starting the workers of one function: its code, its back-off, the init phase."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from pathlib import Path
from time import monotonic
from typing import Protocol

from edge_runtime.app import Function
from edge_runtime.errors import ConfigError, EdgeError, HostError
from edge_runtime.model import Result
from edge_runtime.workers import _report as report
from edge_runtime.workers import runtimes
from edge_runtime.workers._environment import environment
from edge_runtime.workers._health import Health
from edge_runtime.workers._preload import packages
from edge_runtime.workers._program import ProgramWorker
from edge_runtime.workers._worker import Fate, PythonWorker, Reply, Worker
from edge_runtime.workers._yard import Caller, Journal, Yard, token_key
from edge_runtime.workers.layers import merged
from edge_runtime.workers.unpack import is_archive, task_root


class Employer(Protocol):
    """Whose workers they are."""

    def joined(self, worker: Worker) -> None:
        """Take note of a worker; called as soon as there is a process."""

    def caller(self, worker: Worker) -> Caller:
        """Return what the worker does now."""


class Hiring:
    """Starts workers."""

    def __init__(self, function: Function, yard: Yard, health: Health, journal: Journal, crew: Employer) -> None:
        self._function = function
        self._yard = yard
        self._health = health
        self._journal = journal
        self._crew = crew
        self._root: tuple[object, Path] | None = None
        self._opt: tuple[object, Path] | None = None
        self._boto: tuple[object, str] | None = None
        self._told = ""
        self._woken = asyncio.Event()
        self.underway = 0
        """How many workers are starting."""

    async def hire(self, request_id: str, timeout_s: float, depth: int) -> tuple[Worker, float, float] | Result:
        """Return a worker that is ready, how long it took in ms, and what is left of `timeout_s`; or the error result.

        Waits first when earlier workers failed. Cancelling kills the worker and returns when it is gone.

        Raises: HostError when the pool is closing.
        """
        if fault := self.fault():
            return report.refusal(report.NO_RUNTIME, fault)
        await self.back_off()
        init_s = self._yard.init_s
        self.underway += 1
        try:
            worker, began = await self.start(request_id, depth), monotonic()
            answer = await self._answer(worker, began + init_s)
            left_s = timeout_s
            if answer is Fate.EXPIRED:
                self._journal.say(f"INIT_REPORT Init Duration: {init_s * 1e3:.2f} ms\tPhase: init\tStatus: timeout")
                worker, began = await self.start(request_id, depth), monotonic()
                answer = await self._answer(worker, began + timeout_s)
                left_s = timeout_s - (monotonic() - began)
        except (EdgeError, OSError) as error:
            return self.refused(error)
        finally:
            self.underway -= 1
        init_ms = (monotonic() - began) * 1e3
        if isinstance(answer, tuple) and not answer[0]:
            return worker, init_ms, left_s
        return await self._failed(worker, answer, request_id, init_ms, timeout_s)

    def refused(self, error: EdgeError | OSError) -> Result:
        """Return the result of an invocation for which no worker could be started.

        Raises: HostError as it came: that is no fault of the function.
        """
        if isinstance(error, HostError):
            raise error
        self._health.failed(monotonic(), at_start=True)
        text = self._words(error)
        self._journal.say(text)
        return report.refusal(report.EXITED, text)

    def fault(self) -> str:
        """Return why nothing here can run the function, or nothing. Asked anew each time: it may come to be installed.

        Costs a look at a few folders for what is not Python.
        """
        try:
            runtimes.interpreter(self._function.runtime)
        except ConfigError as error:
            return self._words(error)
        return ""

    def _words(self, error: EdgeError | OSError) -> str:
        hint = getattr(error, "hint", "")
        return f"function {self._function.name!r} cannot be started: {error}" + (f"; {hint}" if hint else "")

    async def back_off(self) -> None:
        """Wait as long as earlier failures demand. Raises: HostError when the pool is closing."""
        while (wait := self._health.next_start - monotonic()) > 0:
            if not self._yard.closing.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), wait)
            if self._yard.closing.is_set():
                raise HostError("the worker pool is closing")

    def wake(self) -> None:
        """Let `back_off` look again: the pool is closing, or the code is new and its failures are forgotten."""
        self._woken.set()
        self._woken = asyncio.Event()

    async def start(self, request_id: str, depth: int) -> Worker:
        """Return a worker that has just been started and will tell when it is ready.

        Raises: EdgeError or OSError when that cannot be.
        """
        function, yard = self._function, self._yard
        root = await self._task_root()
        opt = await self._layers()
        command = runtimes.command(function, root, opt)
        zygote = yard.zygote_with("" if command else await self._packages(root, opt))
        yard.count += 1
        stream = f"{zygote.token}{yard.count:012x}"
        tmp = yard.tmp / stream
        token = secrets.token_urlsafe(32)
        spec: dict[str, object] = {
            "handler": function.handler,
            "root": str(root),
            "memory_mb": function.memory_mb,
            "environment": {
                **yard.services(function, token),
                **environment(function, yard.thing, root, tmp, stream, opt=opt),
            },
        }
        if opt is not None:
            spec["opt"] = str(opt)
        if command is not None:
            spec["exec"] = command.argv
            self._tell(command.argv[0])
        spec["jail"] = yard.terms.of(function.name, command.argv[0] if command else "", command.read if command else ())
        make = PythonWorker if command is None else ProgramWorker
        await zygote.start()
        try:
            worker: Worker = make(zygote, spec, tmp, self._journal.publish)
        except ConnectionError:  # the zygote was found dead
            await zygote.start()
            worker = make(zygote, spec, tmp, self._journal.publish)
        worker.output.begin(request_id)
        worker.depth = depth
        key = token_key(token)
        yard.callers[key] = lambda: self._crew.caller(worker)
        worker.ended.add_done_callback(lambda _: yard.callers.pop(key))
        self._crew.joined(worker)
        try:
            await worker.open()
        except BaseException:
            await worker.dismiss()
            raise
        return worker

    async def _packages(self, root: Path, opt: Path | None) -> str:
        """Return where the function's boto3 is to come from. Its code is looked at once."""
        key = (root, opt)
        if self._boto is None or self._boto[0] != key:
            big = opt is not None or is_archive(self._function.code)
            self._boto = key, await asyncio.to_thread(packages, root, opt) if big else packages(root, opt)
        return self._boto[1]

    async def _layers(self) -> Path | None:
        if not self._function.layers:
            return None
        await self._yard.pruned.wait()
        key = _seen(self._function.layers)
        if self._opt is None or self._opt[0] != key or key is None or not self._opt[1].is_dir():
            opt = await asyncio.to_thread(merged, self._function.layers, self._yard.layers.absolute())
            if opt is None:
                return None
            self._opt = key, opt
        return self._opt[1]

    def _tell(self, program: str) -> None:
        """Say once which Node runs what was declared for another."""
        runtime = self._function.runtime
        if self._told != program and runtimes.kind(runtime) is runtimes.Kind.NODE:
            self._told = program
            self._yard.background(self._tell_version(program), f"workers.{self._function.name}.version")

    async def _tell_version(self, node: str) -> None:
        try:
            found = await asyncio.to_thread(runtimes.version, node)
        except ConfigError as error:
            self._journal.say(str(error))
            return
        if found.partition(".")[0] != self._function.runtime.partition(".")[0]:
            self._journal.say(f"declared for {self._function.runtime}, runs on {found}")

    async def _task_root(self) -> Path:
        code = self._function.code
        if not is_archive(code):
            return task_root(code, self._yard.code).absolute()
        await self._yard.pruned.wait()
        key = _seen((code,))
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
            note = report.exit_text(request_id, left.status, left.fault or worker.fault)
            error, payload = report.EXITED, report.failure(report.EXITED, note)
        if not left.fault:
            self._health.failed(monotonic(), at_start=True)
        log = self._journal.finish(worker, request_id, 0.0, init_ms, report.Ending(error, note))
        return Result(payload, error, log, 0.0, init_ms, worker.peak_kb)


def _seen(paths: tuple[Path, ...]) -> object:
    """Return what changes when one of the files does; None when one is missing, and who needs it says so."""
    try:
        return [(seen.st_ino, seen.st_size, seen.st_mtime_ns) for seen in map(Path.stat, paths)]
    except OSError:
        return None
