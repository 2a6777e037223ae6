"""AWS IoT jobs: remote operations that a fleet is given in the cloud and that each device carries out when it can.

One job at a time. What the cloud wants is learnt by asking for the next job, on every connection and whenever the
service says that something has changed: the answer is the job in hand while it is still wanted, and if it is another
one or none, the one in hand was taken back. How a job goes is told by events in the queue of the uplink, stored
together with what is needed to go on after a power cut: nothing of it is lost offline, and a job goes on without a
connection.

Source: AWS IoT developer guide, "Jobs device MQTT API operations" and "Jobs and job execution states".
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from edge_runtime.app import Rule
from edge_runtime.clock import Clock, make_event
from edge_runtime.cloud._asking import Asking, first
from edge_runtime.cloud._job import Job, StoppedError
from edge_runtime.cloud._job_record import Record, from_text
from edge_runtime.cloud.agent import Say
from edge_runtime.errors import EdgeError, HostError, QueueFullError, StoreError
from edge_runtime.model import NO_HEADERS, Emit
from edge_runtime.pure import job_messages as messages
from edge_runtime.pure import jobs
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.job_messages import FAILED, IN_PROGRESS, REJECTED, SUCCEEDED, TERMINAL, Execution, Reply, Topics
from edge_runtime.pure.jobs import RefusalError
from edge_runtime.store.store import Store

__all__ = ["FAILED", "REJECTED", "SUCCEEDED", "Job", "JobState", "JobsAgent", "Outcome", "StoppedError", "job_rule"]

_log = logging.getLogger(__name__)
SOURCE = "jobs"
NEXT, GET = "start-next", "get"
MOST_BEGUN = 5
"""A job that was begun so often and never came to an end is given up: it may be what ends the host each time."""
CHASE_S = 60.0
"""So long the cloud may leave the end of a job unanswered; then it is asked what it thinks."""
_LATER = frozenset({"RequestThrottled", "InternalError"})


class Outcome(NamedTuple):
    """How a job ended."""

    status: str
    """SUCCEEDED, FAILED or REJECTED."""
    details: Mapping[str, str]
    """For a person who looks at the job in the cloud."""
    memo: Mapping[str, str] = NO_HEADERS
    """Written in the same transaction."""


@dataclass(frozen=True, slots=True)
class JobState:
    """The job in hand, for `edge status`."""

    id: str
    operation: str
    step: str
    status: str
    """IN_PROGRESS, or its end while the cloud has not said that it knows."""


Hands = Callable[[Job], Awaitable[Outcome]]
"""Carries out one job. After a restart it is called again with the job as it was left, so every step can be repeated.

Raises: StoppedError from the methods of the job; EdgeError, which fails the job with its text; HostError, StoreError
and QueueFullError mean that it is to be called again.
"""


def job_rule(thing: str) -> Rule:
    """Return the rule by which the status of jobs goes up, before anything else."""
    return Rule(Topics(thing).updates, ("uplink",), 0)


class JobsAgent:
    """Talks with the jobs service, see `cloud.agent`; `work` carries out what it is given."""

    name = "jobs"

    def __init__(
        self, store: Store, thing: str, clock: Clock, emit: Emit, hands: Hands, *, random: Random | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        self._hands = hands
        self._topics = Topics(thing)
        self._memo = f"job/{thing}"
        self._asking = Asking(clock, self._request, random)
        self._random = random
        self._loading = asyncio.Lock()
        self._loaded = False
        self._record: Record | None = None
        self._offer: Execution | None = None
        """What the cloud has started and is not taken up yet."""
        self._job: Job | None = None
        """What is at work."""
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        """Set while the end of a job is to be told."""
        self._token = ""
        """Of the last report."""
        self._version: int | None = None
        """The version of the execution in the cloud, when nothing is on its way that changes it."""
        self._plain = False
        """A report was refused for what it says; the next refusal is final."""

    @property
    def filters(self) -> Sequence[str]:
        """What is subscribed to."""
        return self._topics.filters

    def state(self) -> JobState | None:
        """Return the job in hand."""
        record = self._record
        if record is None or not record.open:
            return None
        operation = json.loads(record.document).get("operation", "")
        return JobState(record.id, operation, record.step, record.status or IN_PROGRESS)

    async def run(self, say: Say) -> None:
        """Talk while one connection stands."""
        await self._load()
        self._version = None
        self._asking.wish(NEXT)
        chase = asyncio.create_task(self._chase(), name="jobs.chase")
        try:
            await self._asking.run(say)
        finally:
            chase.cancel()
            await asyncio.gather(chase, return_exceptions=True)

    async def received(self, topic: str, payload: bytes) -> bool:
        """Take what the service says. Raises: StoreError, QueueFullError."""
        heard = self._topics.heard(topic)
        if heard is None:
            return False
        await self._load()
        try:
            reply = messages.reply(payload)
        except ValueError as error:
            _log.warning("what came on %s cannot be read: %s", topic, error)
            return True
        if heard.kind == "notify-next":
            self._asking.wish(NEXT)
        elif heard.kind == "update":
            await self._told(heard.job, reply, accepted=heard.accepted)
        elif self._asking.awaits(heard.kind, reply.token):
            if heard.kind == GET:
                well = self._got(reply)
            elif well := heard.accepted:
                await self._next(reply.execution)
            if not well:
                _log.warning("the jobs service refuses %s: %s %s", topic, reply.code, reply.message)
            self._asking.answered(well=well)
        return True

    async def work(self) -> None:
        """Carry out jobs, for ever. Raises: StoreError, QueueFullError, HostError; call it again then."""
        await self._load()
        while True:
            self._changed.clear()
            if self._record is not None and self._record.working:
                await self._carry_out(self._record)
            elif self._offer is not None:
                execution, self._offer = self._offer, None
                await self._take_up(execution)
            else:
                await self._changed.wait()

    # -- what the cloud says -----------------------------------------------------------------------------------------

    def _request(self, kind: str, token: str) -> tuple[str, bytes] | None:
        if kind == NEXT:
            return self._topics.start_next(), messages.ask(token)
        if self._job is None:
            return None
        record = self._job.record
        return self._topics.get(record.id), messages.ask(token, executionNumber=record.number, includeJobDocument=True)

    async def _next(self, execution: Execution | None) -> None:
        """Take note of the job that the cloud has for this thing, or that it has none."""
        record = self._record
        if record is None or execution is None or not record.same(execution):
            self._offer = execution
            if record is not None and record.telling:
                await self._close(record)
            elif self._job is not None:
                self._job.stop("the cloud has taken it back")
        elif record.status:
            self._offer = None
            record.open = True
            await self._report(record)  # it has not heard, or has answered before it did
        elif record.open:
            self._offer = None
            self._version = execution.state.version
            if self._job is not None:
                self._job.renew(execution.document)
        else:
            self._offer = execution  # one that was stopped, and is wanted all the same
        self._mark()

    def _got(self, reply: Reply) -> bool:
        """Take note of a fresh copy of the job in hand; False when it is to be asked for again."""
        execution, job = reply.execution, self._job
        if job is None:
            return True
        if execution is None:
            if not reply.code or reply.code in _LATER:
                return False
            job.stop(f"the cloud does not give it again: {reply.code} {reply.message}")
        elif not job.record.same(execution) or execution.state.status in TERMINAL:
            job.stop(f"it is {execution.state.status} in the cloud")
        else:
            job.renew(execution.document)
        return True

    async def _told(self, job: str, reply: Reply, *, accepted: bool) -> None:
        """Take note of what came of a report."""
        record, state = self._record, reply.state
        number, _, _ = reply.token.partition(".")
        if record is None or not record.open or (record.id, str(record.number)) != (job, number):
            return
        last = reply.token == self._token
        if accepted:
            self._asking.calm()
            if state is not None and last:
                self._version = state.version
            if record.status and (state.status == record.status if state is not None else last):
                await self._close(record)
                self._asking.wish(NEXT)
            return
        over = reply.code in {"TerminalStateReached", "ResourceNotFound"}
        if over or (state is not None and state.status in TERMINAL):
            how = state.status if state is not None else reply.code
            if record.status:
                if how != record.status:
                    _log.warning("job %s ended as %s here, and as %s in the cloud", job, record.status, how)
                await self._close(record)
            elif self._job is not None:
                self._job.stop(f"it is {how} in the cloud")
            self._asking.wish(NEXT)
        elif last:
            await self._refused(record, reply)

    async def _refused(self, record: Record, reply: Reply) -> None:
        """Say it again, as it is to be said: the last report was refused, and the job is not over in the cloud."""
        self._version = None
        state = reply.state
        if reply.code == "VersionMismatch" and state is not None:
            if record.status or state.details.get("step") != record.step:
                await self._report(record)  # without a version: whatever else changed there, this is how it stands
            else:
                self._token = ""
        elif reply.code in _LATER or reply.code == "InvalidStateTransition":
            self._asking.hold()
            self._asking.wish(NEXT)  # and what is answered tells whether it is to be said again
        else:
            _log.error("the report on job %s is refused: %s %s", record.id, reply.code, reply.message)
            if record.status and not self._plain:
                record.details = {}
                await self._report(record)
                self._plain = True
            elif record.status:
                await self._close(record)  # there is nothing else that could be said

    async def _chase(self) -> None:
        """Ask when the end of a job stays unanswered: the report or its answer may have got lost."""
        backoff = Backoff(CHASE_S, 3600.0, random=self._random)
        while True:
            await self._ended.wait()
            record = self._record
            await self._clock.sleep(CHASE_S + backoff.next())
            if record is self._record and record is not None and record.telling:
                self._asking.wish(NEXT)
            else:
                backoff.reset()

    # -- the job in hand ---------------------------------------------------------------------------------------------

    async def _take_up(self, execution: Execution) -> None:
        document, refusal = "{}", ""
        try:
            jobs.read(execution.document)
            document = json.dumps(execution.document, separators=(",", ":"))
        except RefusalError as error:
            refusal = str(error)
        record = Record(execution.id, execution.number, document)
        self._record, self._version, self._plain = record, execution.state.version, False
        if refusal:
            _log.error("job %s is rejected: %s", record.id, refusal)
            record.status, record.details = REJECTED, messages.details({"reason": refusal})
            try:
                await self._report(record)
            except (StoreError, QueueFullError):
                self._offer = self._offer or execution  # nobody knows yet: it is taken up once more
                raise
        else:
            await self._store.change(memo={self._memo: record.to_text()})
        self._mark()

    async def _carry_out(self, record: Record) -> None:
        try:
            order = jobs.read(json.loads(record.document))
        except RefusalError as error:  # a release before this one knew it
            await self._finish(record, Outcome(REJECTED, {"reason": str(error)}))
            return
        if record.begun >= MOST_BEGUN:
            reason = f"given up: it was begun {record.begun} times and never came to an end"
            await self._finish(record, Outcome(FAILED, {"reason": reason}))
            return
        record.begun += 1
        await self._store.change(memo={self._memo: record.to_text()})
        _log.info("job %s: %s%s", record.id, order.operation, f", goes on at {record.step!r}" if record.step else "")
        self._job = job = Job(record, order, self._clock, self._keep, lambda: self._asking.wish(GET))
        try:
            await self._finish(record, await self._within_steps(job))
        except (StoreError, QueueFullError, HostError):
            record.begun -= 1  # that was not the job's fault
            raise
        except StoppedError as error:
            _log.warning("job %s is stopped: %s", record.id, error)
            record.open = False
            self._record = None
            await self._store.change(memo={self._memo: record.to_text()})
            self._asking.wish(NEXT)
        finally:
            self._job = None

    async def _within_steps(self, job: Job) -> Outcome:
        """Let it be done, as long as no step takes longer than it may."""
        doing = asyncio.ensure_future(self._hands(job))
        try:
            while not await self._in_time(job, doing):
                limit = job.limit_s
                if limit is not None and job.step_s() >= limit:
                    reason = f"the step took longer than its {limit / 60:g} minutes"
                    return Outcome(FAILED, {"reason": reason})
            return await doing
        except (StoppedError, StoreError, QueueFullError, HostError):
            raise
        except EdgeError as error:
            return Outcome(FAILED, {"reason": f"{error}{f' ({error.hint})' if error.hint else ''}"})
        except Exception as error:  # noqa: BLE001 - a mistake in an operation fails its job and nothing else; it is logged
            _log.exception("job %s: a mistake", job.record.id)
            return Outcome(FAILED, {"reason": f"{type(error).__name__}: {error}"})
        finally:
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)

    async def _in_time(self, job: Job, doing: asyncio.Future[Outcome]) -> bool:
        if job.limit_s is None:
            await asyncio.wait({doing})
            return True
        return await first(self._clock.sleep(job.limit_s - job.step_s()), doing)

    async def _finish(self, record: Record, outcome: Outcome) -> None:
        level = logging.INFO if outcome.status == SUCCEEDED else logging.ERROR
        _log.log(level, "job %s: %s %s", record.id, outcome.status, outcome.details.get("reason", ""))
        step = {"step": record.step} if record.step else {}
        told = messages.details({**outcome.details, **step})
        status = record.status
        record.status, record.details = outcome.status, told
        try:
            await self._report(record, memo=outcome.memo)
        except BaseException:
            record.status = status
            raise
        self._mark()

    async def _keep(self, record: Record, *, tell: bool) -> None:
        if tell:
            await self._report(record)
        else:
            await self._store.change(memo={self._memo: record.to_text()})

    async def _report(self, record: Record, *, memo: Mapping[str, str] = NO_HEADERS) -> None:
        """Store how the job stands, and that the cloud is to be told so."""
        token = f"{record.number}.{secrets.token_hex(8)}"
        more: dict[str, object] = {} if self._version is None else {"expectedVersion": self._version}
        if not record.status and self._job is not None and self._job.order.step_minutes is not None:
            more["stepTimeoutInMinutes"] = self._job.order.step_minutes
        told = record.details if record.status else messages.details({"step": record.step})
        payload = messages.ask(
            token,
            status=record.status or IN_PROGRESS,
            statusDetails=told,
            executionNumber=record.number,
            includeJobExecutionState=True,
            **more,
        )
        event = make_event(self._clock, self._topics.update(record.id), payload, SOURCE)
        before = self._token, self._version
        self._token, self._version = token, None  # the answer may be here before the next line is done
        try:
            await self._emit(event, memo={self._memo: record.to_text(), **memo})
        except (StoreError, QueueFullError):
            self._token, self._version = before  # nothing was said: the last report is still the one before
            raise

    async def _close(self, record: Record) -> None:
        """Be done with a job whose end the cloud knows."""
        record.open = False
        try:
            await self._store.change(memo={self._memo: record.to_text()})
        except BaseException:
            record.open = True
            raise
        self._mark()

    async def _load(self) -> None:
        async with self._loading:
            if self._loaded:
                return
            text = await self._store.recall(self._memo)
            if text is not None:
                try:
                    self._record = from_text(text)
                except StoreError as error:
                    _log.error("%s; the cloud is asked for it", error)
            self._loaded = True
            self._mark()

    def _mark(self) -> None:
        """Wake who waits for what has changed."""
        self._changed.set()
        if self._record is not None and self._record.telling:
            self._ended.set()
        else:
            self._ended.clear()
