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
from edge_runtime.workers._worker import Fate, Reply, Worker
from edge_runtime.workers._yard import Journal, Yard
from edge_runtime.workers._zygote import Exit
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
    """`idle`, `busy`, `starting` or `BROKEN` (five failures in a row in ten minutes; it is tried on)."""
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
        self._free = function.concurrency
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._leaving: set[Worker] = set()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._health = Health()
        self._journal = Journal(function, yard.log)
        self._hiring = Hiring(function, yard, self._health, self._journal, self._joined)
        self._invocations = self._errors = self._restarts = 0
        self._last_error = b""
        self._usual_ns = FAST_NS
        self._idle_s = min(function.idle_s, _LONGEST_S)
        self._most_kb = function.memory_mb * 1024

    def quick(
        self, payload: bytes, request_id: str, context: Mapping[str, object] | None, timeout_s: float
    ) -> Result | Worker | None:
        """Run the handler while the event loop stands still, if it is usually fast and a worker is idle.

        Returns the result; or the worker, when it takes longer than usual: `finish` with it; or None, when nothing was
        done and `invoke` is the way.
        """
        if self._usual_ns >= FAST_NS or not self._idle or not self._free or len(payload) > LIMIT:
            return None
        worker = self._idle.pop()
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
        return await self._in_turn(self._answer(worker, request_id, timeout_s, timeout_s, 0.0))

    async def invoke(
        self, payload: bytes, request_id: str, context: Mapping[str, object] | None, timeout_s: float
    ) -> Result:
        """Run the handler once, when a worker is free, and return what it made of it.

        Cancelling kills the worker and returns when it is gone.

        Raises: HostError when the pool is closing.
        """
        if len(payload) > LIMIT:
            return report.refusal(report.TOO_LARGE, f"Exceeded maximum allowed payload size ({LIMIT} bytes).")
        if self.function.concurrency == 0:
            return report.refusal(report.THROTTLED, "ReservedFunctionConcurrentInvocationLimitExceeded")
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._turn()
        return await self._in_turn(self._invoke(payload, request_id, context, timeout_s))

    def status(self) -> Status:
        """Return how the function is doing now."""
        now = monotonic()
        busy = len(self._workers) > len(self._idle) + len(self._leaving)
        state = "starting" if self._hiring.underway else "busy" if busy else "idle"
        return Status(
            function=self.function.name,
            state="BROKEN" if self._health.broken(now) else state,
            pid=next((worker.pid for worker in self._workers), 0),
            workers=len(self._workers),
            waiting=len(self._waiting),
            invocations=self._invocations,
            errors=self._errors,
            last_error=_summary(self._last_error),
            restarts=self._restarts,
            next_start_s=max(0.0, self._health.next_start - now),
        )

    def close(self) -> None:
        """Let what waits for a worker raise HostError, and end the idle workers in the background."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(HostError("the worker pool is closing"))
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
        self, payload: bytes, request_id: str, context: Mapping[str, object] | None, timeout_s: float
    ) -> Result:
        while True:
            init_ms, left_s, worker = 0.0, timeout_s, self._idle.pop() if self._idle else None
            if worker is None:
                await self._wait_for_leavers()
                hired = await self._hiring.hire(request_id, timeout_s)
                if isinstance(hired, Result):
                    return self._counted(hired)
                worker, init_ms, left_s = hired
            if worker.send(self._frame(worker, payload, request_id, context, left_s)):
                return await self._answer(worker, request_id, timeout_s, left_s, init_ms)
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

    async def _answer(self, worker: Worker, request_id: str, timeout_s: float, left_s: float, init_ms: float) -> Result:
        try:
            reply = await worker.answer(worker.began_ns / 1e9 + left_s)
        except BaseException:
            await worker.dismiss()
            raise
        if isinstance(reply, tuple):
            return self._done(worker, reply, request_id, init_ms)
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
        log = self._journal.finish(worker, request_id, duration_ms, init_ms)
        if worker.peak_kb > self._most_kb:
            used = f"used {worker.peak_kb // 1024} MB of {self.function.memory_mb} MB"
            self._journal.say(f"{used}: its worker is replaced")
            self._restarts += 1
            self._leave(worker)
        else:
            self._idle.append(worker)
            worker.idle_since = monotonic()
            if self._idle_timer is None:
                self._idle_timer = asyncio.get_running_loop().call_later(self._idle_s, self._on_idle)
        return Result(payload, error, log, duration_ms, init_ms, worker.peak_kb)

    async def _failed(self, worker: Worker, fate: Fate, request_id: str, timeout_s: float, init_ms: float) -> Result:
        left = await worker.dismiss()
        if fate is Fate.EXPIRED:
            error, note, duration_ms = report.TIMED_OUT, report.timeout_text(request_id, timeout_s), timeout_s * 1e3
        else:
            if not left.fault:
                self._health.failed(monotonic(), at_start=False)
            error, note, duration_ms = report.EXITED, report.exit_text(request_id, left.status, left.fault), 0.0
        log = self._journal.finish(worker, request_id, duration_ms, init_ms, note)
        return Result(report.failure(error, note), error, log, duration_ms, init_ms, worker.peak_kb)

    # Workers come and go

    def _joined(self, worker: Worker) -> None:
        self._workers.add(worker)
        worker.ended.add_done_callback(lambda ended: self._left(worker, ended))

    def _left(self, worker: Worker, ended: asyncio.Task[Exit]) -> None:
        self._workers.discard(worker)
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
        self._end_idle(monotonic() - self._idle_s)
        if self._idle:
            due = min(worker.idle_since for worker in self._idle) + self._idle_s - monotonic()
            self._idle_timer = asyncio.get_running_loop().call_later(max(due, 0.001), self._on_idle)

    def _end_idle(self, since: float) -> None:
        for worker in [w for w in self._idle if w.idle_since <= since]:
            self._idle.remove(worker)
            self._leave(worker)


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
