"""An agent for jobs over a real store and the scripted service; what goes up passes through the queue `uplink`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from edge_runtime.app import QueueLimits
from edge_runtime.clock import FakeClock
from edge_runtime.cloud.jobs import SUCCEEDED, Job, JobsAgent, Outcome, job_rule
from edge_runtime.errors import LinkError, QueueFullError
from edge_runtime.model import NO_HEADERS, Event, Feed
from edge_runtime.pure.topics import matches
from edge_runtime.store.store import Store
from tests.cloud.jobcloud import JobCloud, Sent

Hands = Callable[[Job], Awaitable[Outcome]]
INVOKE = {"version": "1.0", "operation": "edge.invoke", "function": "f"}
STEPS = [("IN_PROGRESS", "first"), ("IN_PROGRESS", "second"), ("IN_PROGRESS", "third"), ("SUCCEEDED", "third")]


async def at_once(_: Job) -> Outcome:
    """Be done."""
    return Outcome(SUCCEEDED, {"result": "done"})


class Steps:
    """An operation of three steps, each of which waits until it is let go; it tells what it does."""

    def __init__(self, *names: str) -> None:
        self.names = names or ("first", "second", "third")
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.at = ""

    async def __call__(self, job: Job) -> Outcome:
        """Go on where the job was left."""
        begin = self.names.index(job.step) if job.step else 0
        for name in self.names[begin:]:
            await job.reach(name)
            self.at = name
            await self.gate.wait()
            self.done.append(name)
        return Outcome(SUCCEEDED, {"steps": " ".join(self.done)})


class Site:
    """One life of a device."""

    def __init__(self, store: Store, clock: FakeClock, cloud: JobCloud, hands: Hands) -> None:
        self.store, self.clock, self.cloud = store, clock, cloud
        self.agent = JobsAgent(store, "pi-7", clock, self.emit, hands, random=Random(1))  # noqa: S311 - to be the same each time
        self.emitted: list[Event] = []
        self.full = 0
        """So many events find the queue full."""
        self.lost: Callable[[str], bool] = lambda _: False
        """Which messages of the service get lost on their way, by topic."""
        self.kept_back: list[Sent] = []
        self.keep_back = False
        """Messages of the service are kept back, to be brought late or out of order."""
        self.twice = False
        """Everything comes twice, both ways."""
        self.working = asyncio.create_task(self.agent.work())
        self._line: list[asyncio.Task[None]] = []

    async def emit(self, *events: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
        """Be the bus."""
        if self.full:
            self.full -= 1
            raise QueueFullError("the queue is full")
        rule = job_rule("pi-7")
        entries = []
        for event in events:
            assert matches(rule.filter, event.topic)
            assert event.source == "jobs"
            entries.append((event, [Feed(target, rule.priority) for target in rule.targets]))
        await self.store.change(entries, memo=memo)
        self.emitted.extend(events)

    @property
    def online(self) -> bool:
        """Whether there is a connection."""
        return bool(self._line)

    def connect(self) -> None:
        """Make a connection: the agent talks, and the queue drains."""
        self._line = [asyncio.create_task(self.agent.run(self.say)), asyncio.create_task(self._drain())]

    async def disconnect(self) -> None:
        """Lose it."""
        line, self._line = self._line, []
        for task in line:
            task.cancel()
        await asyncio.gather(*line, return_exceptions=True)

    async def say(self, topic: str, payload: bytes) -> None:
        """Publish a request."""
        if not self.online:
            raise LinkError("there is no connection")
        await self.take(topic, payload)

    async def take(self, topic: str, payload: bytes) -> None:
        """Bring a request to the service, and its answers back."""
        for _ in range(2 if self.twice else 1):
            await self.bring(self.cloud.handle(topic, payload))

    async def bring(self, sent: list[Sent]) -> None:
        """Bring messages of the service to the device."""
        if not self.online:
            return
        for topic, payload in sent:
            if self.lost(topic):
                continue
            if self.keep_back:
                self.kept_back.append((topic, payload))
                continue
            for _ in range(2 if self.twice else 1):
                assert await self._received(topic, payload)

    async def _received(self, topic: str, payload: bytes) -> bool:
        """Be the link: what the store refuses for now is offered again."""
        while True:
            try:
                return await self.agent.received(topic, payload)
            except QueueFullError:
                await self.store.work(lambda _: None)

    async def _drain(self) -> None:
        queue = self.store.queue("uplink")
        while True:
            (message,) = await queue.get(1)
            try:
                await self.take(message.event.topic, message.event.payload)
                await self.store.change(done=[message])
            except BaseException:
                queue.give_back([message])
                raise

    async def until(self, happened: Callable[[], object]) -> None:
        """Return when it has happened."""
        async with asyncio.timeout(30):
            while not happened():
                if self.working.done():
                    self.working.result()
                await self.store.work(lambda _: None)

    async def passes(self, happened: Callable[[], object], step_s: float = 10.0) -> None:
        """Let time pass until it has happened."""
        async with asyncio.timeout(30):
            while not happened():
                await self.clock.advance(step_s)
                await self.store.work(lambda _: None)

    async def rest(self) -> None:
        """Let everything that can happen by itself happen."""
        for _ in range(30):
            await self.store.work(lambda _: None)

    async def ended(self, job: str, status: str) -> None:
        """Return when a job has ended in the cloud, and the device knows."""
        await self.until(lambda: self.cloud.jobs[job].status == status and self.agent.state() is None)


@asynccontextmanager
async def site(folder: Path, cloud: JobCloud, hands: Hands = at_once, *, online: bool = True) -> AsyncIterator[Site]:
    """Live once; what ends it is like a power cut: nothing of the agent is asked to end well."""
    clock = FakeClock()
    store = await Store.open(folder, {"uplink": QueueLimits()}, clock=clock)
    it = Site(store, clock, cloud, hands)
    if online:
        it.connect()
    try:
        yield it
    finally:
        await it.disconnect()
        it.working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await it.working
        await store.close()
