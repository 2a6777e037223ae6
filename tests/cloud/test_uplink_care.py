"""A publish for which the broker hangs up does not keep the others from getting through, and takes none with it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from edge_runtime import plugin
from edge_runtime.app import QueueLimits, Uplink
from edge_runtime.clock import FakeClock, SystemClock, make_event
from edge_runtime.cloud.agent import Agent, Say
from edge_runtime.cloud.uplink import UplinkRunner
from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.links.memory import MemoryBroker, MemoryLink
from edge_runtime.model import Feed
from edge_runtime.standin import certs
from edge_runtime.standin.access import ACCOUNT, REGION
from edge_runtime.standin.registry import Status
from edge_runtime.standin.server import Standin
from edge_runtime.store import inspect
from edge_runtime.store.store import Store
from tests.store.kit import FREE as ROOM

FREE = Uplink(publishes_per_s=0, bytes_per_s=0, aws_quotas=False)
WHY = "the broker closes the connection when something is published on 'dt/secret'"


class Touchy(MemoryLink):
    """A link to a broker that hangs up on what its policy denies, and has answered all that came before."""

    denied: frozenset[str] = frozenset()
    payloads: frozenset[bytes] = frozenset()
    filters: frozenset[str] = frozenset()
    deaf = False
    """It has made up its mind, and reads no more."""
    flights: list[list[str]]

    async def connect(self, **how: object) -> bool:
        """Connect, and begin a new flight."""
        self.flights, self.deaf = [*getattr(self, "flights", []), []], False
        return await super().connect(**how)  # type: ignore[arg-type]  # as the link has it

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe, or be thrown out."""
        if self.filters & set(filters):
            asyncio.get_running_loop().call_soon(self.hang_up)
            await asyncio.get_running_loop().create_future()
        await super().subscribe(filters)

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> asyncio.Future[None]:
        """Publish, or be thrown out."""
        self.flights[-1].append(topic)
        if self.deaf or topic in self.denied or any(one in payload for one in self.payloads):
            assert self._line is not None
            self.deaf = True
            asyncio.get_running_loop().call_soon(self.hang_up)
            return self._line.expect()
        return super().publish(topic, payload, properties)

    def hang_up(self) -> None:
        """Close the connection as the broker does."""
        if self._line is not None:
            self._line.end(LinkError("the broker closed the connection", hung_up=True))


class Site:
    """A store, an uplink and a touchy broker in memory."""

    def __init__(self, folder: Path, store: Store, spec: Uplink, agents: Sequence[Agent]) -> None:
        clock = FakeClock()
        self.folder = folder
        self.store = store
        self.clock = clock
        self.broker = MemoryBroker()
        self.link = Touchy(broker=self.broker)
        self.runner = UplinkRunner(store, self.link, spec, clock, deliver=self._deliver, agents=agents)
        self.task = asyncio.create_task(asyncio.sleep(0))

    async def _deliver(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Store nothing: nothing comes down."""

    def run(self) -> None:
        """Begin."""
        self.task = asyncio.create_task(self.runner.run())

    async def emit(self, *numbers: int, topic: str = "dt/a", priority: int = 5) -> None:
        """Accept a message for each number."""
        events = [make_event(self.clock, topic, b"%d" % number, "cli") for number in numbers]
        await self.store.change([(event, (Feed("uplink", priority),)) for event in events])

    async def until(self, so: Callable[[], object]) -> None:
        """Return when it is so, letting time pass meanwhile."""
        async with asyncio.timeout(60):
            while not so():
                await self.clock.advance(0.25)
                await self.store.work(lambda _: None)

    @property
    def delivered(self) -> int:
        """How many messages are delivered by the books."""
        return self.store.counters("uplink").delivered

    def reasons(self) -> dict[int, str]:
        """Return the dead letters' reasons by sequence number."""
        found = inspect.messages(self.folder / "queue.db", "uplink", dead=True)
        return {cast("int", letter["seq"]): str(letter["reason"]) for letter in found}


@asynccontextmanager
async def site(folder: Path, spec: Uplink = FREE, agents: Sequence[Agent] = ()) -> AsyncIterator[Site]:
    store = await Store.open(folder, {"uplink": QueueLimits()}, clock=FakeClock(), limits=ROOM)
    it = Site(folder, store, spec, agents)
    try:
        yield it
    finally:
        it.task.cancel()
        await asyncio.gather(it.task, return_exceptions=True)
        await store.close()


async def test_a_denied_publish_becomes_a_dead_letter_and_all_others_get_through_in_order(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.link.denied = frozenset({"dt/secret"})
        await it.emit(*range(40))
        await it.emit(40, topic="dt/secret")
        await it.emit(*range(41, 80))
        it.run()
        await it.until(lambda: it.delivered == 79)
        assert [int(item.payload) for item in it.broker.record] == [n for n in range(80) if n != 40]
        assert it.store.counters("uplink").dead == 1
        reasons = it.reasons()
        assert list(reasons) == [41]
        assert reasons[41].startswith(WHY)
        assert "edge doctor" in reasons[41]
        assert it.link.flights[-5:-2] == [["dt/secret"]] * 3
        assert it.link.flights[-2][-1] == "dt/secret", "the last try, when something else has got through"
        assert set(it.link.flights[-1]) == {"dt/a"}
        assert it.runner.state.connects == len(it.link.flights) <= 8


async def test_connections_are_a_second_apart_while_it_finds_out(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.link.denied = frozenset({"dt/secret"})
        await it.emit(1, topic="dt/secret")
        await it.emit(2)
        begins: list[float] = []
        it.run()
        async with asyncio.timeout(60):
            while not it.store.counters("uplink").dead:
                await it.clock.advance(0.05)
                await it.store.work(lambda _: None)
                if len(getattr(it.link, "flights", [])) > len(begins):
                    begins.append(it.clock.now().mono_ns / 1e9)
        assert len(begins) == 6
        assert min(b - a for a, b in pairwise(begins)) >= 0.95


async def test_what_comes_on_a_denied_topic_again_and_again_costs_no_more_connections(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.link.denied = frozenset({"dt/secret"})
        it.run()
        for number in range(30):
            await it.emit(number, topic="dt/secret")
            await it.emit(number)
            await it.until(lambda: it.delivered == number + 1)  # noqa: B023 - called before the next turn
        await it.until(lambda: it.store.counters("uplink").dead == 30)
        connects = it.runner.state.connects
        assert connects <= 8
        it.link.denied = frozenset()
        await it.emit(30, topic="dt/secret")
        await it.until(lambda: it.store.counters("uplink").dead == 31)
        it.runner.forgive()
        await it.emit(31, topic="dt/secret")
        await it.emit(32, topic="dt/secret")
        await it.until(lambda: it.delivered == 32)
        assert it.runner.state.connects == connects


async def test_a_topic_is_tried_again_every_hour(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.link.denied = frozenset({"dt/secret"})
        it.run()
        await it.emit(1, 2, 3, topic="dt/secret")
        await it.emit(0)
        await it.until(lambda: it.store.counters("uplink").dead == 3)
        connects = it.runner.state.connects
        await it.clock.advance(3601)
        await it.emit(4, 5, topic="dt/secret")
        await it.until(lambda: it.store.counters("uplink").dead == 5)
        assert it.runner.state.connects == connects + 1
        it.link.denied = frozenset()
        await it.clock.advance(3601)
        await it.emit(6, 7, topic="dt/secret")
        await it.until(lambda: it.delivered == 3)
        assert it.runner.state.connects == connects + 1


async def test_of_what_is_packed_only_the_one_to_blame_is_given_up(tmp_path: Path) -> None:
    spec = Uplink(publishes_per_s=0, bytes_per_s=0, aws_quotas=False, pack=25)
    async with site(tmp_path, spec) as it:
        it.link.payloads = frozenset({b"666"})
        await it.emit(*range(60), 666, *range(100, 160))
        await it.emit(160, topic="dt/b")
        it.run()
        await it.until(lambda: it.delivered == 121)
        assert list(it.reasons()) == [61]


async def test_a_network_that_breaks_makes_no_dead_letters(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.run()
        it.broker.hold()
        await it.emit(1)
        for _ in range(8):
            count = len(it.broker.record)
            await it.until(lambda: len(it.broker.record) > count)  # noqa: B023 - called before the next turn
            it.broker.go_offline("the cable was pulled")
            it.broker.go_online()
        it.broker.release()
        await it.until(lambda: it.delivered == 1)
        assert it.store.counters("uplink").dead == 0


async def test_a_subscription_for_which_the_broker_hangs_up_is_not_blamed_on_a_publish(tmp_path: Path) -> None:
    spec = Uplink(publishes_per_s=0, bytes_per_s=0, aws_quotas=False, down=("cmd/#",))
    async with site(tmp_path, spec) as it:
        it.link.filters = frozenset({"cmd/#"})
        it.broker.hold()
        await it.emit(1)
        it.run()
        await it.until(lambda: it.runner.state.connects >= 8)
        assert it.store.counters("uplink").dead == 0
        it.link.filters = frozenset()
        it.broker.release()
        await it.until(lambda: it.delivered == 1)


class Talker:
    """An agent that says what is denied, and something else."""

    name = "talker"
    filters = ("ask/answer",)

    def __init__(self) -> None:
        self.refused: list[RefusedError] = []
        self.through = 0

    async def run(self, say: Say) -> None:
        """Say it."""
        try:
            await say("dt/secret", b"let me in")
        except RefusedError as error:
            self.refused.append(error)
        await say("ask/question", b"?")
        self.through += 1

    async def received(self, _topic: str, _payload: bytes) -> bool:
        """Take nothing."""
        return False


async def test_what_an_agent_may_not_say_it_is_told_and_the_link_stays(tmp_path: Path) -> None:
    talker = Talker()
    async with site(tmp_path, agents=[talker]) as it:
        it.link.denied = frozenset({"dt/secret"})
        it.run()
        for number in range(400):
            await it.emit(number)
        await it.until(lambda: talker.through and it.delivered == 400)
        assert it.store.counters("uplink").dead == 0
        assert str(talker.refused[0]).startswith(WHY)
        connects = it.runner.state.connects
        await it.clock.advance(30)
        assert it.runner.state.connects == connects <= 8
        assert [int(one.payload) for one in it.broker.record if one.topic == "dt/a"] == list(range(400))


async def test_while_nothing_at_all_is_allowed_nothing_is_given_up(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.link.denied = frozenset({"dt/a", "dt/b"})
        await it.emit(*range(20))
        await it.emit(*range(20, 40), topic="dt/b")
        it.run()
        await it.until(lambda: it.runner.state.connects >= 12)
        assert it.store.counters("uplink").dead == 0
        it.link.denied = frozenset()
        await it.until(lambda: it.delivered == 40)
        assert it.store.counters("uplink").dead == 0
        for topic, numbers in (("dt/a", range(20)), ("dt/b", range(20, 40))):
            assert [int(one.payload) for one in it.broker.record if one.topic == topic] == list(numbers)


POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": f"arn:aws:iot:{REGION}:{ACCOUNT}:topic/dt/a"},
    ],
}


@pytest.mark.parametrize("driver", ["awscrt", "paho"])
async def test_what_the_policy_denies_does_not_block_a_real_link(tmp_path: Path, driver: str) -> None:
    tls = await asyncio.to_thread(certs.make, tmp_path / "tls")
    cloud = Standin(quotas="none", policies=True, on_denied="disconnect")
    cloud.registry.put_policy("device", POLICY)
    certificate = cloud.registry.register(tls.client.cert.read_text(), status=Status.ACTIVE)
    cloud.registry.attach_policy(certificate.id, "device")
    await cloud.start(tls=tls.server)
    clock = SystemClock()
    store = await Store.open(tmp_path, {"uplink": QueueLimits()}, clock=clock, limits=ROOM)
    for number in range(60):
        event = make_event(clock, "dt/secret" if number == 30 else "dt/a", b"%d" % number, "cli")
        await store.change([(event, (Feed("uplink"),))])
    link = plugin.load("links", driver).LINK(
        endpoint="localhost", port=cloud.port, client_id="device",
        certificate=tls.client.cert, key=tls.client.key, ca=tls.client.ca,
    )  # fmt: skip
    runner = UplinkRunner(store, link, FREE, clock, deliver=_nothing)
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(110):
            await cloud.until(lambda: len({item.payload for item in cloud.record}) == 59)
            while store.counters("uplink").delivered < 59 or store.counters("uplink").dead < 1:
                await store.work(lambda _: None)
        first = dict.fromkeys(int(item.payload) for item in cloud.record)
        assert list(first) == [number for number in range(60) if number != 30]
        assert cloud.counts["connected"] == runner.state.connects <= 10
        (letter,) = inspect.messages(tmp_path / "queue.db", "uplink", dead=True)
        assert (letter["seq"], str(letter["reason"]).startswith(WHY)) == (31, True)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
        await cloud.close()


class Asking:
    """An agent that subscribes and asks something on every connection."""

    name = "asking"
    filters = ("cmd/x",)

    def __init__(self) -> None:
        self.answered = asyncio.Event()

    async def run(self, say: Say) -> None:
        """Ask once."""
        await say("dt/a", b"question")
        self.answered.set()
        await asyncio.get_running_loop().create_future()

    async def received(self, topic: str, payload: bytes) -> bool:  # noqa: ARG002 - of the protocol
        """Take nothing."""
        return False


@pytest.mark.parametrize("driver", ["awscrt", "paho"])
async def test_an_agent_gets_through_beside_a_queue_that_is_denied(tmp_path: Path, driver: str) -> None:
    """While subscriptions are unanswered nobody can tell which of them, or which publish, the broker hangs up for."""
    tls = await asyncio.to_thread(certs.make, tmp_path / "tls")
    cloud = Standin(quotas="none", policies=True, on_denied="disconnect")
    more = {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": f"arn:aws:iot:{REGION}:{ACCOUNT}:topicfilter/*"}
    cloud.registry.put_policy("device", {**POLICY, "Statement": [*POLICY["Statement"], more]})
    certificate = cloud.registry.register(tls.client.cert.read_text(), status=Status.ACTIVE)
    cloud.registry.attach_policy(certificate.id, "device")
    await cloud.start(tls=tls.server)
    clock, asking = SystemClock(), Asking()
    store = await Store.open(tmp_path, {"uplink": QueueLimits()}, clock=clock, limits=ROOM)
    for number in range(20):
        event = make_event(clock, "dt/secret", b"%d" % number, "cli")
        await store.change([(event, (Feed("uplink"),))])
    link = plugin.load("links", driver).LINK(
        endpoint="localhost", port=cloud.port, client_id="device",
        certificate=tls.client.cert, key=tls.client.key, ca=tls.client.ca,
    )  # fmt: skip
    spec = dataclasses.replace(FREE, down=("cmd/y",))
    runner = UplinkRunner(store, link, spec, clock, deliver=_nothing, agents=[asking])
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(110):
            await asking.answered.wait()
            while store.counters("uplink").dead < 20:
                await store.work(lambda _: None)
        assert {item.payload for item in cloud.record} == {b"question"}
        assert runner.state.connects <= 15
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
        await cloud.close()


async def _nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Store nothing: nothing comes down."""
