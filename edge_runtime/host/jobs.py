"""What the operations of jobs do on this device: run a function, restart the host, take a bundle.

Nothing here runs a command that came from outside. A function runs when the app lists it under `link.jobs.run`, the
host ends when `link.jobs.restart` says that it may, and a bundle counts when one of `link.jobs.keys` has signed it.

An `Installer` puts a bundle in the place of what runs; `Host` takes one. Without, every `edge.deploy` is rejected.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from edge_runtime.app import App, Function, JobsSpec
from edge_runtime.clock import Clock, new_id
from edge_runtime.cloud.jobs import FAILED, REJECTED, SUCCEEDED, Job, JobsAgent, Outcome, job_rule
from edge_runtime.host._deploy import Deployments, Health, Installer, Verdict, release_memo
from edge_runtime.host.configuration import RESTART
from edge_runtime.model import Emit, Result
from edge_runtime.pure.jobs import Invoke, RefusalError, Restart
from edge_runtime.store.store import Store

__all__ = ["Health", "Installer", "Operations", "Verdict", "job_rule", "jobs_agent", "release_memo"]

_log = logging.getLogger(__name__)
_LIFE = secrets.token_hex(8)
"""Names this process."""


class Runner(Protocol):
    """What is needed of the pool of workers."""

    async def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """Run a function once."""


class Operations:
    """Carries out jobs: `cloud.jobs.Hands`."""

    def __init__(
        self,
        app: App,
        store: Store,
        state: Path,
        clock: Clock,
        *,
        pool: Runner,
        end: Callable[[int], None],
        installer: Installer | None = None,
        life: str = _LIFE,
    ) -> None:
        """`end` ends the host with an exit status, soon. `life` is another one in a process that was started anew."""
        self._thing = app.thing
        self._spec = (app.link.jobs if app.link is not None else None) or JobsSpec()
        self._functions: Mapping[str, Function] = {one.name: one for one in app.functions}
        self._deployments = Deployments(app, store, state, clock, installer=installer, restart=self._ended)
        self._clock = clock
        self._pool = pool
        self._end = end
        self._life = life

    async def __call__(self, job: Job) -> Outcome:
        """Carry out a job, or go on with it."""
        action = job.order.action
        try:
            if isinstance(action, Invoke):
                return await self._invoke(job, action)
            if isinstance(action, Restart):
                return await self._restart(job)
            return await self._deployments.carry_out(job)
        except RefusalError as error:
            return Outcome(REJECTED, {"reason": str(error)})

    # -- edge.invoke -------------------------------------------------------------------------------------------------

    async def _invoke(self, job: Job, action: Invoke) -> Outcome:
        """Run a function; once more when a power cut has kept it from saying what came of it, as Lambda does."""
        function = self._functions.get(action.function)
        if function is None or function.name not in self._spec.run:
            allowed = ", ".join(self._spec.run) or "none"
            raise RefusalError(f"function {action.function!r} may not be run by a job; link.jobs.run allows {allowed}")
        await job.reach("invoking")
        subject = f"$aws/things/{self._thing}/jobs/{job.record.id}"
        custom = {"subject": subject, "jobId": job.record.id, "executionNumber": job.record.number}
        more = {"content_type": "application/octet-stream"} if function.binary else {}
        result = await self._pool.invoke(
            function.name,
            action.payload,
            request_id=new_id(self._clock.now()),
            context={"custom": custom, **more},
            timeout_s=action.timeout_s,
        )
        told = {"function": function.name, "duration_ms": f"{result.duration_ms:.0f}"}
        text = result.payload.decode("utf-8", "replace")
        if not result.error:
            return Outcome(SUCCEEDED, {**told, "result": text})
        return Outcome(FAILED, {**told, "error": result.error, "reason": _message(text)})

    # -- edge.restart ------------------------------------------------------------------------------------------------

    async def _restart(self, job: Job) -> Outcome:
        if not self._spec.restart:
            raise RefusalError("the host may not be restarted by a job; link.jobs.restart would allow it")
        if job.step == "restarting" and job.kept.get("life") != self._life:
            return Outcome(SUCCEEDED, {"result": "restarted"})
        await job.reach("restarting", life=self._life)
        return await self._ended(job)

    async def _ended(self, job: Job) -> Outcome:
        """End the host; what is here ends with it."""
        _log.warning("job %s: the host ends with status %d, to be started again", job.record.id, RESTART)
        self._end(RESTART)
        await asyncio.get_running_loop().create_future()
        raise AssertionError  # pragma: no cover - nobody settles it


def jobs_agent(app: App, store: Store, clock: Clock, emit: Emit, operations: Operations) -> JobsAgent:
    """Return the agent that has jobs carried out by these operations."""
    return JobsAgent(store, app.thing, clock, emit, operations)


def _message(text: str) -> str:
    """Return the `errorMessage` of a Lambda error object, or all of it where it is something else."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, dict) and isinstance(found.get("errorMessage"), str):
            return str(found["errorMessage"])
    return text
