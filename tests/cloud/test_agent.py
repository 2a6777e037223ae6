"""Agents on the uplink: conversations beside the queue, each for itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_runtime.app import QueueLimits, Uplink
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.cloud.agent import Agent, Say
from edge_runtime.cloud.uplink import UplinkRunner
from edge_runtime.errors import LinkError, QueueFullError, RefusedError, StoreError
from edge_runtime.links.memory import MemoryBroker, MemoryLink
from edge_runtime.model import Feed
from edge_runtime.store.store import Store

FREE = Uplink(publishes_per_s=0, bytes_per_s=0)


class Asker:
    """An agent that asks one question on each connection, and takes the answers on its topics."""

    def __init__(self, name: str = "asker", filters: Sequence[str] = ("ask/answer",)) -> None:
        self.name = name
        self.filters = filters
        self.answers: list[tuple[str, bytes]] = []
        self.asked = 0
        self.ended = 0
        self.said: list[LinkError] = []
        self.faults: list[Exception] = []

    async def run(self, say: Say) -> None:
        """Ask, then wait for the end of the connection."""
        if self.faults:
            raise self.faults.pop()
        self.asked += 1
        try:
            await say("ask/question", b"%d" % self.asked)
        except LinkError as error:
            self.said.append(error)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended += 1

    async def received(self, topic: str, payload: bytes) -> bool:
        """Take the answers."""
        if topic not in self.filters:
            return False
        if self.faults:
            raise self.faults.pop()
        self.answers.append((topic, payload))
        return True


class Done(Asker):
    """An agent with nothing to say."""

    async def run(self, say: Say) -> None:
        """Return at once."""


class Site:
    """A store, an uplink with agents, and a broker in memory."""

    def __init__(self, store: Store, clock: FakeClock, broker: MemoryBroker, spec: Uplink, *agents: Agent) -> None:
        self.store = store
        self.clock = clock
        self.broker = broker
        self.down: list[str] = []
        link = MemoryLink(broker=broker)
        self.runner = UplinkRunner(store, link, spec, clock, deliver=self._deliver, agents=agents)
        self.task = asyncio.create_task(self.runner.run())

    async def _deliver(self, topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
        self.down.append(topic)

    @property
    def agents(self) -> dict[str, str]:
        """How the agents do."""
        return self.runner.state.agents

    async def until(self, so: Callable[[], object], step_s: float = 0.0) -> None:
        """Return when it is so, letting time pass meanwhile."""
        async with asyncio.timeout(20):
            while not so():
                await (self.clock.advance(step_s) if step_s else self.store.work(lambda _: None))


@asynccontextmanager
async def site(
    folder: Path, *agents: Agent, spec: Uplink = FREE, broker: MemoryBroker | None = None
) -> AsyncIterator[Site]:
    clock = FakeClock()
    store = await Store.open(folder, {"uplink": QueueLimits()}, clock=clock)
    it = Site(store, clock, broker or MemoryBroker(), spec, *agents)
    try:
        yield it
    finally:
        it.task.cancel()
        await asyncio.gather(it.task, return_exceptions=True)
        await store.close()


async def test_the_one_reason_of_a_group_is_told(tmp_path: Path) -> None:
    asker = Asker()
    asker.faults.append(ExceptionGroup("of its tasks", [ExceptionGroup("inner", [StoreError("the disk failed")])]))
    async with site(tmp_path, asker) as it:
        await it.until(lambda: it.agents["asker"] == "failed: the disk failed")
        await it.until(lambda: asker.asked == 1, 1.0)


async def test_an_agent_asks_on_each_connection_and_gets_its_answers(tmp_path: Path) -> None:
    asker = Asker()
    async with site(tmp_path, asker, spec=Uplink(down=("cmd/#",), publishes_per_s=0, bytes_per_s=0)) as it:
        await it.until(lambda: asker.asked)
        assert it.agents == {"asker": "running"}
        it.broker.send("ask/answer", b"42")
        it.broker.send("cmd/pump", b"on")
        await it.until(lambda: it.down)
        assert (asker.answers, it.down) == ([("ask/answer", b"42")], ["cmd/pump"])
        it.broker.go_offline()
        await it.until(lambda: it.agents == {"asker": "down"})
        assert asker.ended == 1
        it.broker.go_online()
        await it.until(lambda: asker.asked == 2, 1.0)
        assert [(a.topic, a.payload) for a in it.broker.record] == [("ask/question", b"1"), ("ask/question", b"2")]


async def test_a_refused_filter_turns_off_its_agent_and_nothing_else(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.refuse_subscription("ask/answer")
    refused, other = Asker(), Asker("other", ["other/answer"])
    async with site(tmp_path, refused, other, broker=broker) as it:
        await it.until(lambda: other.asked and it.agents["asker"] != "subscribing")
        assert it.agents["asker"].startswith("off: the broker refused the subscription to 'ask/answer': not authorized")
        assert (it.agents["other"], refused.asked, it.runner.state.state) == ("running", 0, "up")
        broker.go_offline()
        await it.until(lambda: other.ended)
        assert it.agents["asker"].startswith("off: ")
        broker.go_online()
        broker.refuse_subscription("ask/answer", code=0)
        await it.until(lambda: other.asked == 2, 1.0)
        await it.clock.advance(3000)
        assert refused.asked == 0
        await it.until(lambda: refused.asked, 100.0)  # after an hour it is asked for again
        assert it.agents == {"asker": "running", "other": "running"}


async def test_an_agent_that_fails_is_begun_again_with_growing_pauses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asker = Asker()
    asker.faults = [RuntimeError("a mistake"), RuntimeError("a mistake")]
    async with site(tmp_path, asker) as it:
        await it.until(lambda: it.agents["asker"] == "failed: a mistake")
        await it.until(lambda: asker.asked, 0.5)
        assert (it.agents["asker"], it.runner.state.state, it.runner.state.connects) == ("running", "up", 1)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "agent asker: failed: a mistake"
    ] * 2


async def test_an_agent_that_has_nothing_to_say_still_gets_what_comes(tmp_path: Path) -> None:
    done = Done()
    async with site(tmp_path, done) as it:
        await it.until(lambda: it.agents["asker"] == "done")
        it.broker.send("ask/answer", b"1")
        await it.until(lambda: done.answers)
        assert it.runner.state.state == "up"


@pytest.mark.parametrize("fault", [QueueFullError("full"), ValueError("what is this?")])
async def test_what_an_agent_cannot_take_ends_no_connection(tmp_path: Path, fault: Exception) -> None:
    done = Done()
    async with site(tmp_path, done) as it:
        await it.until(lambda: it.agents["asker"] == "done")
        done.faults = [fault]
        it.broker.send("ask/answer", b"1")
        await it.until(lambda: done.answers or it.down, 0.5)
        # A full store is asked again; a mistake is logged, and the message is for whoever else wants it.
        assert (len(done.answers), it.down) == ((1, []) if isinstance(fault, QueueFullError) else (0, ["ask/answer"]))
        assert it.runner.state.connects == 1


async def test_agents_share_the_window_and_the_quota_with_the_queue(tmp_path: Path) -> None:
    asker = Asker()
    broker = MemoryBroker()
    broker.hold()
    async with site(tmp_path, asker, spec=Uplink(window=3, publishes_per_s=0, bytes_per_s=0), broker=broker) as it:
        await it.until(lambda: asker.asked)
        for n in range(5):
            await it.store.change([(make_event(it.clock, "dt/a", b"%d" % n, "cli"), (Feed("uplink"),))])
        await broker.arrived(3)
        assert (broker.held, it.runner.state.inflight) == (3, 3)
        broker.release(1)
        await broker.arrived(4)
        assert it.runner.state.most_inflight == 3
        assert [a.topic for a in broker.record] == ["ask/question", "dt/a", "dt/a", "dt/a"]
        broker.release()
        await it.until(lambda: it.store.counters("uplink").delivered == 5)
        assert it.runner.state.published == 5  # of the queue


async def test_a_refused_request_is_for_the_agent_to_know(tmp_path: Path) -> None:
    asker = Asker()
    broker = MemoryBroker()
    broker.refuse("ask/question")
    async with site(tmp_path, asker, broker=broker) as it:
        await it.until(lambda: asker.said)
        assert isinstance(asker.said[0], RefusedError)
        assert (it.runner.state.state, it.runner.state.refused) == ("up", 0)


async def test_no_more_subscriptions_than_aws_grants_to_a_connection(tmp_path: Path) -> None:
    down = tuple(f"cmd/{n}" for n in range(47))
    fits, shares, many = Asker("fits", ["a", "b"]), Asker("shares", ["a", "cmd/0"]), Asker("many", ["c", "d"])
    async with site(tmp_path, fits, shares, many, spec=Uplink(down=down, publishes_per_s=0, bytes_per_s=0)) as it:
        await it.until(lambda: fits.asked and shares.asked and it.agents["many"] != "down")
        assert it.agents["many"] == "off: 51 topic filters; AWS IoT Core allows 50 subscriptions on a connection"
        assert (many.asked, it.runner.state.state) == (0, "up")


class HangUp(MemoryLink):
    """A link whose broker closes the connection instead of refusing a subscription."""

    async def subscribe(self, filters: Sequence[str]) -> None:
        """End the connection when it is about the secret."""
        if "secret" in filters:
            self.broker.go_offline("not authorized")
            self.broker.go_online()
        await super().subscribe(filters)


async def test_an_agent_on_which_the_broker_hangs_up_waits_so_that_the_rest_gets_through(tmp_path: Path) -> None:
    asker = Asker(filters=["secret"])
    async with site(tmp_path) as it:
        it.task.cancel()
        await asyncio.gather(it.task, return_exceptions=True)
        runner = UplinkRunner(it.store, HangUp(broker=it.broker), FREE, it.clock, deliver=it._deliver, agents=[asker])
        it.task = asyncio.create_task(runner.run())
        await it.until(lambda: runner.state.agents["asker"].startswith("waiting"), 0.25)
        # On a slow machine it has tried once more before anybody looks.
        said = "waiting: the last {} connections ended while it subscribed"
        assert runner.state.agents["asker"] in {said.format(2), said.format(3)}
        assert (runner.state.connects, runner.state.state) == (3, "up")
        await it.until(lambda: runner.state.agents["asker"].startswith("waiting: the last 3"), 0.25)
        assert (runner.state.connects, runner.state.state) == (4, "up")
