"""The Jobs service: jobs for things, and the conversation in which a device carries them out.

    $aws/things/<thing>/jobs/get                     what is pending
    $aws/things/<thing>/jobs/start-next              begin, or go on with, the next one
    $aws/things/<thing>/jobs/{<job>|$next}/get       one execution with its document
    $aws/things/<thing>/jobs/<job>/update            how far it is
    .../accepted, .../rejected                       answers, to the client that asked alone
    $aws/things/<thing>/jobs/{notify|notify-next}    what is pending, or next, has changed

Source: AWS IoT developer guide, "Jobs device MQTT API operations". `executions` has the rules.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edge_runtime.errors import ConfigError, LimitError, NotFoundError
from edge_runtime.plugin import nearest
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.packets import Publish
from edge_runtime.standin.registry import Registry
from edge_runtime.standin.services import executions
from edge_runtime.standin.services.documents import DOCUMENT_BYTES, Presign, presigned, with_urls
from edge_runtime.standin.services.executions import Execution, RefusalError, State
from edge_runtime.standin.services.messages import THING, Tree, read, write

MOST_LISTED: Final = 15
"""Executions in a `notify`."""
_TOPIC: Final = re.compile(r"\$aws/things/([^/]+)/jobs/(.+)", re.DOTALL)
_NOT_ASKED: Final = ("/accepted", "/rejected")
_JOB: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NEXT: Final = "$next"
_ALARM: Final = "jobs: time-outs"
_GRACE_S: Final = 0.001
"""An alarm comes a little late, so that what is due is due."""
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done, and by whom. Its executions say how far it is."""

    id: str
    document: Tree
    targets: tuple[str, ...]
    """As they were given: things and groups."""
    created_s: int
    timeout_minutes: int = 0
    """How long an execution may be in progress; 0: as long as it takes."""
    is_canceled: bool = False


class Jobs:
    """The jobs of an account. Put it into `Broker.services`.

    `presign` makes the URL that replaces `${aws:iot:s3-presigned-url:...}` each time a device is given the document.
    """

    def __init__(self, broker: Broker, registry: Registry, *, presign: Presign = presigned) -> None:
        self.presign = presign
        self.changed: Callable[[], None] | None = None
        """Called after every change."""
        self.jobs: dict[str, Job] = {}
        """By id, the oldest first. Do not change it."""
        self.executions: dict[tuple[str, str], Execution] = {}
        """By thing and job, in the order they were queued. Do not change it."""
        self._broker = broker
        self._registry = registry

    # --- devices ---

    def serves(self, topic: str) -> bool:
        """Tell whether a topic is in the part of a thing's jobs, and no answer."""
        return _TOPIC.fullmatch(topic) is not None and not topic.endswith(_NOT_ASKED)

    def take(self, request: Publish, client_id: str) -> None:
        """Answer a request."""
        found = _TOPIC.fullmatch(request.topic)
        if found is None:
            return
        token: str | None = None
        with self._watching(found[1]):
            try:
                tree = _parsed(request.payload)
                token = executions.token_in(tree)
                outcome, answer = "accepted", self._carry_out(found[1], found[2].split("/"), tree)
            except RefusalError as refusal:
                outcome, answer = "rejected", _refusal(refusal)
            answer["timestamp"] = int(self._now())
            if token is not None:
                answer["clientToken"] = token
            self._broker.answer(client_id, f"{request.topic}/{outcome}", write(answer))

    def _carry_out(self, thing: str, path: Sequence[str], tree: Tree) -> dict[str, object]:
        if not THING.fullmatch(thing):
            raise RefusalError("InvalidTopic", "the topic has no name of a thing")
        match path:
            case ["get"]:
                return self._pending(thing)
            case ["start-next"]:
                return self._start_next(thing, tree)
            case [str(job_id), "get"]:
                return self._describe(thing, job_id, tree)
            case [str(job_id), "update"] if job_id != _NEXT:
                return self._update(thing, job_id, tree)
        raise RefusalError("InvalidTopic", f"there is no request {'/'.join(path)!r} of jobs")

    def _pending(self, thing: str) -> dict[str, object]:
        shown: dict[State, list[object]] = {State.IN_PROGRESS: [], State.QUEUED: []}
        for one in self.pending(thing):
            shown[one.state].append(executions.summary(one))
        return {"inProgressJobs": shown[State.IN_PROGRESS], "queuedJobs": shown[State.QUEUED]}

    def _start_next(self, thing: str, tree: Tree) -> dict[str, object]:
        change = executions.read_change(tree, needs_state=False)
        waiting = self.pending(thing)
        if not waiting:
            return {}
        job = self.jobs[waiting[0].job_id]
        started = self._put(executions.start(waiting[0], change, self._now(), job.timeout_minutes))
        return {"execution": self._whole(started)}

    def _describe(self, thing: str, job_id: str, tree: Tree) -> dict[str, object]:
        with_document = executions.flag_in(tree, "includeJobDocument", default=True)
        number = executions.number_in(tree, "executionNumber")
        if job_id == _NEXT:
            waiting = self.pending(thing)
            return {"execution": self._whole(waiting[0], with_document=with_document)} if waiting else {}
        found = self._known(thing, job_id)
        executions.check_number(found, number)
        if not found.state.is_pending:
            raise RefusalError("TerminalStateReached", f"job {job_id} is {found.state} on this thing")
        return {"execution": self._whole(found, with_document=with_document)}

    def _update(self, thing: str, job_id: str, tree: Tree) -> dict[str, object]:
        change = executions.read_change(tree, needs_state=True)
        job, found = self.jobs.get(job_id), self._known(thing, job_id)
        after = self._put(executions.update(found, change, self._now(), job.timeout_minutes if job else 0))
        answer: dict[str, object] = {}
        if change.wants_state:
            answer["executionState"] = executions.state_of(after)
        if change.wants_document:
            answer["jobDocument"] = self._document(job_id)
        return answer

    def _known(self, thing: str, job_id: str) -> Execution:
        found = self.executions.get((thing, job_id))
        if found is None:
            raise RefusalError("ResourceNotFound", f"there is no execution of job {job_id} on this thing")
        return found

    def _whole(self, execution: Execution, *, with_document: bool = True) -> dict[str, object]:
        shown = executions.whole(execution, self._now())
        return {**shown, "jobDocument": self._document(execution.job_id)} if with_document else shown

    def _document(self, job_id: str) -> object:
        return with_urls(self.jobs[job_id].document, self.presign)

    # --- people ---

    def create(
        self, targets: Sequence[str], document: Tree, job_id: str = "", *, timeout_minutes: int = 0
    ) -> Sequence[Execution]:
        """Create a job, queue it for every target, tell the devices, and return its executions.

        Args:
            targets: things and groups: `NAME` or `thing/NAME`, `thinggroup/NAME`, or ARNs that end so. The things
                that are in a group now are meant. A thing needs an entry in the registry once one has.
            document: what the devices get.
            job_id: at most 64 letters, digits, _ and -; one is made up when it is empty.
            timeout_minutes: how long an execution may be in progress, 1 to 10,080; 0: as long as it takes.

        Raises: ConfigError, LimitError or NotFoundError for what AWS would not take.
        """
        job_id = job_id or str(uuid.uuid4())
        self._check(job_id, document, timeout_minutes)
        things = [thing for target in targets for thing in self._things_of(target)]
        if not targets:
            raise ConfigError(f"job {job_id!r} has no targets")
        with self._broker.turn(), self._watching(*things):
            now = int(self._now())
            self.jobs[job_id] = Job(job_id, document, tuple(targets), now, timeout_minutes)
            return [self._put(Execution(job_id, thing, now, now)) for thing in dict.fromkeys(things)]

    def cancel(self, job_id: str, *, force: bool = False) -> int:
        """Cancel what is queued, with `force` also what is in progress; return how many executions that were.

        Raises: NotFoundError.
        """
        job = self._job(job_id)
        states = (State.QUEUED, State.IN_PROGRESS) if force else (State.QUEUED,)
        found = [one for one in self.executions_of(job_id) if one.state in states]
        with self._broker.turn(), self._watching(*(one.thing for one in found)):
            self.jobs[job_id] = replace(job, is_canceled=True)
            for one in found:
                self._put(executions.end(one, State.CANCELED, self._now()))
            self._note()
        return len(found)

    def delete(self, job_id: str) -> None:
        """Remove a job and its executions, whatever their state. Raises: NotFoundError."""
        self._job(job_id)
        found = [one.thing for one in self.executions_of(job_id)]
        with self._broker.turn(), self._watching(*found):
            for thing in found:
                del self.executions[thing, job_id]
            del self.jobs[job_id]
            self._note()

    def pending(self, thing: str) -> list[Execution]:
        """Return what a thing has to do: what is in progress first, then what is queued, each the oldest first."""
        found = [one for one in self.executions.values() if one.thing == thing and one.state.is_pending]
        return sorted(found, key=lambda one: one.state is not State.IN_PROGRESS)

    def executions_of(self, job_id: str) -> list[Execution]:
        """Return the executions of a job, in order of its targets. Raises: NotFoundError."""
        self._job(job_id)
        return [one for one in self.executions.values() if one.job_id == job_id]

    def status_of(self, job_id: str) -> str:
        """Return `IN_PROGRESS`, `COMPLETED` or `CANCELED`. Raises: NotFoundError."""
        if self._job(job_id).is_canceled:
            return "CANCELED"
        return "IN_PROGRESS" if any(one.state.is_pending for one in self.executions_of(job_id)) else "COMPLETED"

    def _job(self, job_id: str) -> Job:
        found = self.jobs.get(job_id)
        if found is None:
            raise NotFoundError(f"there is no job {job_id!r}{nearest(job_id, self.jobs)}")
        return found

    def _check(self, job_id: str, document: Tree, timeout_minutes: int) -> None:
        if not _JOB.fullmatch(job_id):
            raise ConfigError(f"{job_id!r} is no id of a job; allowed: 1 to 64 letters, digits, _ and -")
        if job_id in self.jobs:
            raise ConfigError(f"there is a job {job_id!r} already", hint="an id cannot be used twice")
        if (size := len(write(document))) > DOCUMENT_BYTES:
            raise LimitError(f"the document of job {job_id!r} has {size} bytes; AWS IoT allows {DOCUMENT_BYTES}")
        if not 0 <= timeout_minutes <= executions.MOST_MINUTES:
            raise ConfigError(f"a time-out of {timeout_minutes} minutes; AWS allows 1 to {executions.MOST_MINUTES}")

    def _things_of(self, target: str) -> Sequence[str]:
        kind, slash, name = target.rpartition(":")[2].rpartition("/")
        if kind == "thinggroup":
            if members := self._registry.members_of(name):
                return members
            raise NotFoundError(f"there is no thing in a group {name!r}")
        if kind not in ("", "thing") or not THING.fullmatch(name if slash else target):
            raise ConfigError(f"{target!r} is no target; write thing/NAME or thinggroup/NAME")
        name = name if slash else target
        if self._registry.things and name not in self._registry.things:
            raise NotFoundError(f"there is no thing {name!r}{nearest(name, self._registry.things)}")
        return [name]

    # --- inside ---

    def _now(self) -> float:
        return self._broker.now.wall_ns / _SECOND_NS

    def _put(self, execution: Execution) -> Execution:
        self.executions[execution.thing, execution.job_id] = execution
        self.watch()
        self._note()
        return execution

    def _note(self) -> None:
        if self.changed is not None:
            self.changed()

    @contextlib.contextmanager
    def _watching(self, *things: str) -> Iterator[None]:
        """Tell things what changes in here about what they have to do."""
        before = {thing: self.pending(thing) for thing in things}
        yield
        now = int(self._now())
        for thing, was in before.items():
            pending = self.pending(thing)
            root = f"$aws/things/{thing}/jobs"
            if {one.job_id for one in was} != {one.job_id for one in pending}:
                self._broker.say(f"{root}/notify", write({"timestamp": now, "jobs": _listed(pending)}))
            if [one.job_id for one in was[:1]] != [one.job_id for one in pending[:1]]:
                shown = {"execution": self._whole(pending[0])} if pending else {}
                self._broker.say(f"{root}/notify-next", write({"timestamp": now, **shown}))

    def watch(self) -> None:
        """Wake up when the next execution times out. Call it after executions were put in from outside."""
        due = min((one.due_s for one in self.executions.values() if one.due_s), default=0.0)
        if due:
            self._broker.later(_ALARM, max(due - self._now(), 0.0) + _GRACE_S, lambda _: self._time_out())

    def _time_out(self) -> None:
        now = self._now()
        late = [one for one in self.executions.values() if 0 < one.due_s <= now]
        with self._watching(*(one.thing for one in late)):
            for one in late:
                self._put(executions.end(one, State.TIMED_OUT, now))
        self.watch()


def _parsed(payload: bytes) -> Tree:
    try:
        return read(payload)
    except ValueError as error:
        raise RefusalError("InvalidJson", f"the request cannot be read: {error}") from None


def _refusal(refusal: RefusalError) -> dict[str, object]:
    shown: dict[str, object] = {"code": refusal.code, "message": str(refusal)}
    if refusal.execution is not None:
        shown["executionState"] = executions.state_of(refusal.execution)
    return shown


def _listed(pending: Sequence[Execution]) -> dict[str, list[object]]:
    shown: dict[str, list[object]] = {}
    for one in pending[:MOST_LISTED]:
        shown.setdefault(one.state, []).append(executions.summary(one))
    return shown
