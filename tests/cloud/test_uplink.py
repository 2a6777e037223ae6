"""The uplink over a broker in memory: nothing is deleted before it is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_runtime.app import QueueLimits, Uplink
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.cloud.uplink import UplinkRunner
from edge_runtime.errors import StoreError
from edge_runtime.links.memory import MemoryBroker, MemoryLink
from edge_runtime.model import Feed
from edge_runtime.store.store import Store

FREE = Uplink(publishes_per_s=0, bytes_per_s=0, aws_quotas=False)


class Site:
    """A store, an uplink and a broker in memory."""

    def __init__(self, store: Store, clock: FakeClock, broker: MemoryBroker, spec: Uplink) -> None:
        self.store = store
        self.clock = clock
        self.broker = broker
        self.down: list[tuple[str, bytes]] = []
        self.runner = UplinkRunner(store, MemoryLink(broker=broker), spec, clock, deliver=self._deliver)
        self.task = asyncio.create_task(self.runner.run())

    async def _deliver(self, topic: str, payload: bytes, _: Mapping[str, str]) -> None:
        self.down.append((topic, payload))

    async def emit(self, *numbers: int, priority: int = 5, topic: str = "dt/a") -> None:
        """Accept a message for each number."""
        for number in numbers:
            event = make_event(self.clock, topic, b"%d" % number, "cli")
            await self.store.change([(event, (Feed("uplink", priority),))])

    async def settled(self, count: int) -> None:
        """Return when so many messages are delivered by the books."""
        while self.store.counters("uplink").delivered < count:
            await self.store.work(lambda _: None)

    @property
    def arrived(self) -> list[int]:
        """What the broker took, in order."""
        return [int(item.payload) for item in self.broker.record]


@asynccontextmanager
async def site(folder: Path, spec: Uplink = FREE, broker: MemoryBroker | None = None) -> AsyncIterator[Site]:
    clock = FakeClock()
    store = await Store.open(folder, {"uplink": QueueLimits()}, clock=clock)
    it = Site(store, clock, broker or MemoryBroker(), spec)
    try:
        yield it
    finally:
        it.task.cancel()
        await asyncio.gather(it.task, return_exceptions=True)
        await store.close()


async def test_what_is_emitted_arrives_in_order_with_its_identity(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.emit(*range(10))
        await it.settled(10)
        assert it.arrived == list(range(10))
        assert [a.properties["edge-seq"] for a in it.broker.record] == [str(n) for n in range(1, 11)]
        assert {a.properties["edge-target"] for a in it.broker.record} == {"uplink"}
        assert len(it.store.queue("uplink")) == 0


async def test_a_row_stays_until_the_acknowledgement(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.broker.hold()
        await it.emit(1, 2, 3)
        await it.broker.arrived(3)
        assert len(it.store.queue("uplink")) == 3
        it.broker.release(1)
        await it.settled(1)
        assert len(it.store.queue("uplink")) == 2


async def test_the_window_is_never_exceeded(tmp_path: Path) -> None:
    spec = Uplink(window=7, publishes_per_s=0, bytes_per_s=0)
    async with site(tmp_path, spec) as it:
        it.broker.hold()
        await it.emit(*range(50))
        await it.broker.arrived(7)
        assert it.broker.held == 7
        for _ in range(50):
            it.broker.release(1)
            it.broker.hold()
            await it.store.work(lambda _: None)
            assert it.broker.held <= 7
        it.broker.release()
        await it.settled(50)
        assert it.runner.state.most_inflight == 7
        assert it.arrived == list(range(50))


async def test_an_outage_loses_nothing_and_keeps_the_order_of_first_deliveries(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.broker.hold()
        await it.emit(*range(5))
        await it.broker.arrived(5)
        it.broker.go_offline("the cable was pulled")
        await it.emit(*range(5, 3000))  # more than memory holds: the rest is read back by the page
        it.broker.record.clear()
        it.broker.release()
        it.broker.go_online()
        while it.runner.state.state != "up":
            await it.clock.advance(1)
        await it.settled(3000)
        assert it.arrived == list(range(3000))
        assert it.runner.state.last_error == "the cable was pulled"


async def test_urgent_messages_leave_first(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.go_offline()
    async with site(tmp_path, broker=broker) as it:
        await it.emit(1, 2, priority=5)
        await it.emit(3, 4, priority=0)
        await it.emit(5, priority=9)
        broker.go_online()
        while it.runner.state.state != "up":
            await it.clock.advance(1)
        await it.settled(5)
        assert it.arrived == [3, 4, 1, 2, 5]


async def test_what_the_broker_refuses_for_good_becomes_a_dead_letter(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.broker.refuse("dt/secret")
        await it.emit(1, topic="dt/secret")
        await it.emit(2)
        await it.settled(1)
        while it.store.counters("uplink").dead < 1:
            await it.store.work(lambda _: None)
        assert it.arrived == [2]
        assert it.store.counters("uplink").queued == 0
        assert it.runner.state.refused == 1


async def test_a_refusal_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.broker.refuse("dt/a", code=0x97)  # quota exceeded
        await it.emit(1)
        for _ in range(20):
            await it.store.work(lambda _: None)
        assert it.runner.state.most_inflight == 1
        it.broker.refuse("dt/a", code=0)
        for _ in range(20):
            await it.store.work(lambda _: None)
        assert it.arrived == []  # not at once
        await it.clock.advance(2)
        await it.settled(1)
        assert it.arrived == [1]
        assert it.store.counters("uplink").dead == 0


async def test_the_quota_holds_in_any_second(tmp_path: Path) -> None:
    spec = Uplink(publishes_per_s=20, bytes_per_s=0)
    sent: list[float] = []
    async with site(tmp_path, spec) as it:
        await it.emit(*range(100))
        await it.broker.arrived(5)  # a quarter of a second's worth at once
        while len(it.broker.record) < 100:
            sent += [it.clock.now().mono_ns / 1e9] * (len(it.broker.record) - len(sent))
            await it.clock.advance(0.01)
        sent += [it.clock.now().mono_ns / 1e9] * (100 - len(sent))
        await it.settled(100)
        assert it.arrived == list(range(100))
    assert max(sum(t <= other < t + 1.0 for other in sent) for t in sent) <= 20
    assert 4.0 <= sent[-1] - sent[0] <= 5.2  # 95 at no less than 19 a second


async def test_packing_settles_every_message_of_a_publish(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.go_offline()
    spec = Uplink(publishes_per_s=0, bytes_per_s=0, pack=25)
    async with site(tmp_path, spec, broker) as it:
        await it.emit(*range(60))
        broker.go_online()
        while it.runner.state.state != "up":
            await it.clock.advance(1)
        await it.settled(60)
        assert [a.properties.get("edge-pack") for a in broker.record] == ["25", "25", "10"]
        assert len(it.store.queue("uplink")) == 0


async def test_messages_come_down(tmp_path: Path) -> None:
    spec = Uplink(publishes_per_s=0, bytes_per_s=0, down=("cmd/#",))
    async with site(tmp_path, spec) as it:
        while it.runner.state.state != "up":
            await it.store.work(lambda _: None)
        it.broker.send("cmd/pump", b"on")
        while not it.down:
            await it.store.work(lambda _: None)
        assert it.down == [("cmd/pump", b"on")]


class SlowToSubscribe(MemoryLink):
    """A link whose SUBACK waits until it is told."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker=broker)
        self.granted = asyncio.Event()

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe when it is granted."""
        await self.granted.wait()
        await super().subscribe(filters)


async def test_the_first_publish_does_not_wait_for_the_subscription(tmp_path: Path) -> None:
    spec = Uplink(publishes_per_s=0, bytes_per_s=0, down=("cmd/#",))
    async with site(tmp_path, spec) as it:
        link = SlowToSubscribe(it.broker)
        it.runner._link = link
        it.task.cancel()
        await asyncio.gather(it.task, return_exceptions=True)
        it.task = asyncio.create_task(it.runner.run())
        await it.emit(1)
        await it.settled(1)
        assert it.runner.state.state == "connecting"
        link.granted.set()
        while it.runner.state.state != "up":
            await it.store.work(lambda _: None)


async def test_a_subscription_that_is_refused_ends_the_connection_and_says_so(tmp_path: Path) -> None:
    spec = Uplink(publishes_per_s=0, bytes_per_s=0, down=("cmd/#",))
    broker = MemoryBroker()
    broker.refuse_subscription("cmd/#")
    async with site(tmp_path, spec, broker) as it:
        await it.emit(1)
        while it.runner.state.state != "waiting":
            await it.store.work(lambda _: None)
        assert it.runner.state.last_error.startswith("the broker refused the subscription to 'cmd/#'")
        broker.refuse_subscription("cmd/#", code=0)
        while it.runner.state.state != "up":
            await it.clock.advance(1)
        await it.settled(1)


async def test_a_link_that_acknowledges_nothing_is_left_and_made_anew(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.broker.hold()
        await it.emit(1, 2)
        await it.broker.arrived(2)
        await it.clock.advance(61)
        assert "no acknowledgement" in it.runner.state.last_error
        it.broker.release()
        await it.clock.advance(301)
        await it.settled(2)
        assert it.arrived == [1, 2, 1, 2]
        assert it.runner.state.connects == 2


async def test_one_publish_that_is_discarded_is_noticed_although_others_are_acknowledged(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.broker.hold()
        await it.emit(1)
        await it.broker.arrived(1)
        it.broker._held.clear()  # as AWS does above its quotas
        it.broker.release()
        for number in range(2, 7):
            await it.emit(number)
            await it.settled(number - 1)
            await it.clock.advance(1)
        assert it.runner.state.last_error == ""
        await it.clock.advance(1.1)
        assert "no acknowledgement for 6 s with 1 publishes" in it.runner.state.last_error
        await it.clock.advance(301)
        await it.settled(6)
        assert it.arrived == [1, 2, 3, 4, 5, 6, 1]


class FussyLink(MemoryLink):
    """A link whose library refuses to encode one topic."""

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> asyncio.Future[None]:
        """Publish, or raise."""
        if topic == "dt/odd":
            raise TypeError("it cannot be encoded")
        return super().publish(topic, payload, properties)


async def test_what_a_library_cannot_send_is_a_dead_letter_and_stops_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.runner._link = FussyLink(broker=it.broker)
        it.task.cancel()
        await asyncio.gather(it.task, return_exceptions=True)
        it.task = asyncio.create_task(it.runner.run())
        await it.emit(1, topic="dt/odd")
        await it.emit(2)
        await it.settled(1)
        while it.store.counters("uplink").dead < 1:
            await it.store.work(lambda _: None)
        assert it.arrived == [2]
        assert it.runner.state.inflight == 0


async def test_an_uplink_that_fails_does_not_say_that_it_is_up(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        while it.runner.state.state != "up":
            await it.store.work(lambda _: None)
        await it.store.close()
        it.runner._queue._lanes[5].behind = True
        it.runner._queue._wake()
        with pytest.raises(StoreError, match="closed"):
            await it.task
        assert it.runner.state.state == "down"


async def test_finish_waits_for_what_is_on_its_way(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.broker.hold()
        await it.emit(1, 2)
        await it.broker.arrived(2)
        finishing = asyncio.create_task(it.runner.finish())
        await it.emit(3)
        assert not finishing.done()
        it.broker.release()
        await finishing
        assert it.store.counters("uplink").delivered == 2
        assert len(it.store.queue("uplink")) == 1


@pytest.mark.parametrize("sent", [0, 3])
async def test_a_restart_sends_what_was_not_acknowledged(tmp_path: Path, sent: int) -> None:
    broker = MemoryBroker()
    async with site(tmp_path, broker=broker) as it:
        broker.hold()
        await it.emit(*range(5))
        await broker.arrived(5)
        broker.release(sent)
        broker.hold()
        await it.settled(sent)
    broker.record.clear()
    broker.release()
    async with site(tmp_path, broker=broker) as it:
        await it.settled(5)
        assert it.arrived == list(range(sent, 5))
