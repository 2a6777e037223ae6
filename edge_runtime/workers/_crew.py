"""The workers of one function: who runs next, and when a worker is ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from time import monotonic, monotonic_ns
from typing import Any

from edge_runtime.app import Function
from edge_runtime.errors import HostError
from edge_runtime.model import Result
from edge_runtime.workers import _report as report
from edge_runtime.workers._health import Health
from edge_runtime.workers._hiring import Hiring
from edge_runtime.workers._pinned import Keeper
from edge_runtime.workers._worker import Fate, Reply, Worker
from edge_runtime.workers._yard import Caller, Journal, PinnedJournal, Yard
from edge_runtime.workers._zygote import PROGRAM_MB, Exit
from edge_runtime.workers.inside.frames import JSON_CONTEXT, LIMIT, NO_CONTEXT, REQUEST, SUBJECT

FAST_NS = 200_000
"""A function that usually takes less than this is waited for on the event loop's own thread: that costs the loop less
time than to hand the wait over to it, and halves how long the invocation takes."""
WAIT_S = 0.0003
"""For so long at most."""
MISS_NS = 400_000
"""What is added to the usual time when that was not enough: the next few invocations are not waited for."""
SHARE_NS = 300_000
"""After so much waiting of this kind the loop gets a turn."""

_LONGEST_S = 1e6  # a timer's: loops refuse infinity


@dataclass(frozen=True, slots=True)
class Status:
    """How one function is doing."""

    function: str
    state: str
    """`idle`, `busy`, `starting` or `BROKEN` (five failures in a row in ten minutes, it is tried on; or its runtime is
    not installed). A pinned function is busy while its module runs."""
    pid: int
    """Of one of its workers, 0 when there is none."""
    workers: int
    waiting: int
    """Invocations that wait for a worker."""
    invocations: int
    errors: int
    last_error: str
    restarts: int
    """Workers that ended otherwise than for having nothing to do."""
    next_start_s: float
    """How long until a worker may be started again, 0 when it may now."""


class Crew:
    """The workers of one function. Up to its concurrency run at once, the rest wait first in, first out."""

    def __init__(self, function: Function, yard: Yard) -> None:
        self.function = function
        self._yard = yard
        self._free = min(function.concurrency, 1) if function.pinned else function.concurrency
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._leaving: set[Worker] = set()
        self._stale: set[Worker] = set()
        """Those that have code from before it was changed, and end after what they have in hand."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._health = Health()
        self._journal = (PinnedJournal if function.pinned else Journal)(function, yard.log)
        self._hiring = Hiring(function, yard, self._health, self._journal, self)
        self._invocations = self._errors = self._restarts = 0
        self._last_error = b""
        self._usual_ns = FAST_NS
        self.limit_s = function.status_timeout_s if function.pinned else function.timeout_s
        """What an invocation may take when its caller sets no time."""
        self._idle_s = _LONGEST_S if function.pinned else min(function.idle_s, _LONGEST_S)
        self._most_kb = function.memory_mb * 1024
        self._keeper: Keeper | None = None

    def start(self) -> None:
        """Begin what does not wait for an invocation. Call it once."""
        if self.function.pinned:
            self._keeper = Keeper(self._yard, self._hiring, self._health, self._journal, self._ready)
            self._yard.background(self._keeper.run(), f"workers.{self.function.name}.keep")

    def quick(
        self, payload: bytes, request_id: str, context: Mapping[str, object] | None, timeout_s: float, depth: int
    ) -> Result | Worker | None:
        """Run the handler while the event loop stands still, if it is usually fast and a worker is idle.

        Returns the result; or the worker, when it takes longer than usual: `finish` with it; or None, when nothing was
        done and `invoke` is the way.
        """
        if self._usual_ns >= FAST_NS or not self._idle or not self._free or len(payload) > LIMIT:
            return None
        worker = self._idle.pop()
        worker.depth = depth
        if not worker.send(self._frame(worker, payload, request_id, context, timeout_s)):
            return None
        reply = worker.wait(WAIT_S)
        self._yard.waited_ns += monotonic_ns() - worker.began_ns
        if reply is None:
            self._usual_ns += MISS_NS
            return worker
        return self._done(worker, reply, request_id, 0.0)

    async def finish(self, worker: Worker, request_id: str, timeout_s: float) -> Result:
        """Return the result of what `quick` began."""
        self._free -= 1
        return await self._in_turn(self._finish(worker, request_id, timeout_s))

    async def _finish(self, worker: Worker, request_id: str, timeout_s: float) -> Result:
        result = await self._answer(worker, request_id, timeout_s, timeout_s, 0.0)
        assert result is not None  # noqa: S101 - what `quick` has begun was seen
        return result

    async def invoke(
        self,
        payload: bytes,
        request_id: str,
        context: Mapping[str, object] | None,
        timeout_s: float,
        depth: int,
        *,
        wait: bool,
    ) -> Result:
        """Run the handler once, when a worker is free, and return what it made of it.

        Cancelling kills the worker and returns when it is gone. Without `wait` it is throttled when none is free.

        Raises: HostError when the pool is closing.
        """
        if len(payload) > LIMIT:
            return report.refusal(report.TOO_LARGE, f"Exceeded maximum allowed payload size ({LIMIT} bytes).")
        if self.function.concurrency == 0:
            return report.refusal(report.THROTTLED, "ReservedFunctionConcurrentInvocationLimitExceeded")
        if self._free and not self._waiting:
            self._free -= 1
        elif wait:
            await self._turn()
        else:
            return report.refusal(report.THROTTLED, "ReservedFunctionConcurrentInvocationLimitExceeded")
        return await self._in_turn(self._invoke(payload, request_id, context, timeout_s, depth))

    def status(self) -> Status:
        """Return how the function is doing now."""
        now = monotonic()
        busy = len(self._workers) > len(self._idle) + len(self._leaving)
        fault = self._hiring.fault()
        state = "starting" if self._hiring.underway else "busy" if busy else "idle"
        return Status(
            function=self.function.name,
            state="BROKEN" if fault or self._health.broken(now) else state,
            pid=next((worker.pid for worker in self._workers), 0),
            workers=len(self._workers),
            waiting=len(self._waiting),
            invocations=self._invocations,
            errors=self._errors,
            last_error=fault or _summary(self._last_error),
            restarts=self._restarts,
            next_start_s=max(0.0, self._health.next_start - now),
        )

    def close(self) -> None:
        """Let what waits for a worker raise HostError, and end the idle workers in the background."""
        if self._keeper is not None:
            self._keeper.close()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(HostError("the worker pool is closing"))
        self._hiring.wake()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._end_idle(math.inf)

    async def gone(self) -> None:
        """Return when no worker is left."""
        while self._workers:
            await asyncio.wait([worker.ended for worker in self._workers])
            await asyncio.sleep(0)  # the callbacks that take them from the set

    async def _turn(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(waiter)
            elif waiter.exception() is None:
                self._pass_on()  # the turn came and was not wanted any more
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    async def _in_turn(self, work: Coroutine[Any, Any, Result]) -> Result:
        yard = self._yard
        yard.in_flight += 1
        try:
            return await work
        finally:
            yard.in_flight -= 1
            if yard.in_flight == 0 and yard.closing.is_set():
                yard.quiet.set()
            self._pass_on()

    async def _invoke(
        self, payload: bytes, request_id: str, context: Mapping[str, object] | None, timeout_s: float, depth: int
    ) -> Result:
        while True:
            init_ms, left_s, worker = 0.0, timeout_s, self._idle.pop() if self._idle else None
            if worker is None and self._keeper is not None:
                failed = await self._keeper.news()
                if failed is not None:
                    return self._counted(failed)
                continue
            if worker is None:
                await self._wait_for_leavers()
                hired = await self._hiring.hire(request_id, timeout_s, depth)
                if isinstance(hired, Result):
                    return self._counted(hired)
                worker, init_ms, left_s = hired
            worker.depth = depth
            if worker.send(self._frame(worker, payload, request_id, context, left_s)):
                result = await self._answer(worker, request_id, timeout_s, left_s, init_ms)
                if result is not None:
                    return result
            # It ended while it was idle, and nothing was handed over: the next one gets it.

    def _frame(
        self, worker: Worker, payload: bytes, request_id: str, context: Mapping[str, object] | None, left_s: float
    ) -> bytes:
        kind, extra = _packed(context) if context else (NO_CONTEXT, b"")
        name = request_id.encode()
        worker.begin(request_id)
        deadline = worker.began_ns + int(left_s * 1e9)
        head = REQUEST.pack(worker.serial, len(payload), len(extra), len(name), kind, deadline)
        return b"".join((head, name, extra, payload))

    async def _answer(
        self, worker: Worker, request_id: str, timeout_s: float, left_s: float, init_ms: float
    ) -> Result | None:
        """Return the result; None when the worker ended before it had the request, which another may be given."""
        try:
            reply = await worker.answer(worker.began_ns / 1e9 + left_s)
        except BaseException:
            await worker.dismiss()
            raise
        if isinstance(reply, tuple):
            return self._done(worker, reply, request_id, init_ms)
        if reply is Fate.UNSEEN:
            left = await worker.dismiss()
            self._journal.say(f"an idle worker has ended: {report.exit_text('-', left.status, left.fault)}")
            self._health.failed(monotonic(), at_start=False)
            return None
        return self._counted(await self._failed(worker, reply, request_id, timeout_s, init_ms))

    def _counted(self, result: Result) -> Result:
        self._invocations += 1
        if result.error:
            self._errors += 1
            self._last_error = result.payload
        return result

    def _done(self, worker: Worker, reply: Reply, request_id: str, init_ms: float) -> Result:
        error, payload, busy_ns = reply
        self._usual_ns = busy_ns if init_ms else self._usual_ns + (busy_ns - self._usual_ns >> 2)
        self._invocations += 1
        if error:
            self._errors += 1
            self._last_error = payload
        if self._health.row:
            self._health.succeeded()
        duration_ms = busy_ns / 1e6
        ending = report.Ending(error) if error else report.WELL
        log = self._journal.finish(worker, request_id, duration_ms, init_ms, ending)
        if worker in self._stale:
            self._leave(worker)
        elif worker.peak_kb > self._most_kb:
            used = f"used {worker.peak_kb // 1024} MB of {self.function.memory_mb} MB"
            self._journal.say(f"{used}: its worker is replaced")
            self._restarts += 1
            self._leave(worker)
        else:
            self._rest(worker)
        return Result(payload, error, log, duration_ms, init_ms, worker.peak_kb)

    async def _failed(self, worker: Worker, fate: Fate, request_id: str, timeout_s: float, init_ms: float) -> Result:
        left = await worker.dismiss()
        if fate is Fate.EXPIRED:
            error, note, duration_ms = report.TIMED_OUT, report.timeout_text(request_id, timeout_s), timeout_s * 1e3
        else:
            if not left.fault:
                self._health.failed(monotonic(), at_start=False)
            error, note, duration_ms = report.EXITED, report.exit_text(request_id, left.status, left.fault), 0.0
        log = self._journal.finish(worker, request_id, duration_ms, init_ms, report.Ending(error, note))
        return Result(report.failure(error, note), error, log, duration_ms, init_ms, worker.peak_kb)

    # Workers come and go

    async def refresh(self) -> Result:
        """Let every worker end, each after what it has in hand, and start one with the code as it is now.

        Waits for a turn, as an invocation. The result has an error when the new code cannot be loaded. Of a pinned
        function another worker starts in the background.

        Raises: HostError when the pool is closing.
        """
        self._health.succeeded()
        self._hiring.wake()
        self._stale = self._workers - self._leaving - set(self._idle)
        self._end_idle(math.inf)
        if self._keeper is not None:
            self._keeper.refresh()
        if self._keeper is not None or self.function.concurrency == 0:
            return Result(b"")
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._turn()
        return await self._in_turn(self._start_ahead())

    async def _start_ahead(self) -> Result:
        if self._idle:  # an invocation that came first has started it
            return Result(b"")
        await self._wait_for_leavers()
        hired = await self._hiring.hire("reload", self.function.timeout_s, 0)
        if isinstance(hired, Result):
            return hired
        self._rest(hired[0])
        return Result(b"")

    def _ready(self, worker: Worker) -> None:
        """Take the worker of a pinned function, whose module has ended."""
        if worker in self._stale:
            self._leave(worker)
        else:
            self._idle.append(worker)

    def _rest(self, worker: Worker) -> None:
        self._idle.append(worker)
        worker.idle_since = monotonic()
        if self._idle_timer is None:
            self._idle_timer = asyncio.get_running_loop().call_later(self._idle_s, self._on_idle)

    def joined(self, worker: Worker) -> None:
        """Take note of a worker that has just been started."""
        self._workers.add(worker)
        worker.ended.add_done_callback(lambda ended: self._left(worker, ended))

    def caller(self, worker: Worker) -> Caller:
        """Return what a worker does now."""
        busy = worker not in self._idle and worker not in self._leaving
        return Caller(self.function.name, worker.request_id if busy else "", worker.depth)

    def _left(self, worker: Worker, ended: asyncio.Task[Exit]) -> None:
        self._workers.discard(worker)
        self._stale.discard(worker)
        if ended.cancelled():  # the loop ends, and the pool was not closed
            return
        left = ended.result()
        if worker in self._leaving:
            self._leaving.remove(worker)
            return
        self._restarts += 1
        if worker in self._idle:  # nobody was waiting for it, so nobody else tells
            self._idle.remove(worker)
            self._journal.say(f"an idle worker has ended: {report.exit_text('-', left.status, left.fault)}")
            if not left.fault:
                self._health.failed(monotonic(), at_start=False)

    def _leave(self, worker: Worker) -> None:
        self._leaving.add(worker)
        self._yard.background(worker.end(), f"workers.{self.function.name}.end")

    async def _wait_for_leavers(self) -> None:
        # Two workers at once would surprise a handler that owns a pin.
        while self._leaving and len(self._workers) >= self.function.concurrency:
            await asyncio.wait([worker.ended for worker in self._leaving], return_when=asyncio.FIRST_COMPLETED)

    def _on_idle(self) -> None:
        self._idle_timer = None
        if self.function.pinned:  # never ends for having nothing to do
            return
        self._end_idle(monotonic() - self._idle_s)
        if self._idle:
            due = min(worker.idle_since for worker in self._idle) + self._idle_s - monotonic()
            self._idle_timer = asyncio.get_running_loop().call_later(max(due, 0.001), self._on_idle)

    def _end_idle(self, since: float) -> None:
        for worker in [w for w in self._idle if w.idle_since <= since]:
            self._idle.remove(worker)
            self._leave(worker)


class ProgramCrew(Crew):
    """The workers of a function that are programs of their own: they answer through the event loop alone."""

    def __init__(self, function: Function, yard: Yard) -> None:
        super().__init__(function, yard)
        self._most_kb = max(function.memory_mb, PROGRAM_MB) * 1024

    def quick(
        self,
        payload: bytes,  # noqa: ARG002 - as in Crew, this one and the others
        request_id: str,  # noqa: ARG002 - as above
        context: Mapping[str, object] | None,  # noqa: ARG002 - as above
        timeout_s: float,  # noqa: ARG002 - as above
        depth: int,  # noqa: ARG002 - as above
    ) -> Result | Worker | None:
        """Return None: `invoke` is the way."""
        return None


def crew_of(function: Function, yard: Yard) -> Crew:
    """Return the crew that a function needs."""
    return Crew(function, yard) if function.runtime.startswith("python") else ProgramCrew(function, yard)


def _packed(context: Mapping[str, object]) -> tuple[int, bytes]:
    # Nearly every event has a topic and no more: that needs no JSON.
    if len(context) == 1 and isinstance(custom := context.get("custom"), dict) and len(custom) == 1:
        subject = custom.get("subject")
        if isinstance(subject, str):
            return SUBJECT, subject.encode()
    return JSON_CONTEXT, json.dumps(dict(context)).encode()


def _summary(payload: bytes) -> str:
    """Return `type: message` of an error object, which may be a handler's own and hold anything."""
    if not payload:
        return ""
    try:
        fault = json.loads(payload)
        return f"{fault['errorType']}: {fault['errorMessage']}"[:500]
    except (ValueError, LookupError, TypeError):
        return payload[:500].decode(errors="replace")
