"""The memory broker's faults, which other tests rely on. What it shares with other links is in the contract test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.links.memory import LINK, Arrived, MemoryBroker, MemoryLink


async def nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Store a message somewhere else."""


async def connected(broker: MemoryBroker, client_id: str = "device", down: tuple[str, ...] = ()) -> MemoryLink:
    link = MemoryLink(broker=broker, client_id=client_id)
    await link.connect(down=down, received=nothing)
    return link


def test_the_host_finds_it_by_name() -> None:
    assert LINK is MemoryLink
    assert isinstance(LINK().broker, MemoryBroker)


async def test_the_record_holds_what_arrived() -> None:
    broker = MemoryBroker()
    link = await connected(broker)
    headers = {"id": "7"}
    await link.publish("up/soil", b"41", headers)
    headers["id"] = "8"  # the caller's mapping is the caller's
    assert broker.record == [Arrived("device", "up/soil", b"41", {"id": "7"})]


async def test_arrived_waits_for_so_many() -> None:
    broker = MemoryBroker()
    link = await connected(broker)
    waiting = asyncio.create_task(broker.arrived(2))
    await link.publish("up/soil", b"1", {})
    await asyncio.sleep(0)
    assert not waiting.done()
    await link.publish("up/soil", b"2", {})
    assert [one.payload for one in await waiting] == [b"1", b"2"]


async def test_held_acknowledgements_come_when_they_are_released() -> None:
    broker = MemoryBroker()
    link = await connected(broker)
    broker.hold()
    futures = [link.publish("up/soil", str(n).encode(), {}) for n in range(4)]
    await asyncio.sleep(0)
    assert broker.held == 4
    broker.release(1)
    await futures[0]
    assert [future.done() for future in futures] == [True, False, False, False]
    assert broker.held == 3
    broker.release()
    await asyncio.gather(*futures)
    await link.publish("up/soil", b"at once again", {})
    assert len(broker.record) == 5


async def test_going_offline_loses_what_is_held() -> None:
    broker = MemoryBroker()
    link = await connected(broker)
    broker.hold()
    future = link.publish("up/soil", b"", {})
    broker.go_offline("the cable is out")
    with pytest.raises(LinkError, match="the cable is out"):
        await future
    assert str(await link.lost()) == "the cable is out"
    assert broker.held == 0
    with pytest.raises(LinkError, match="the cable is out"):
        await link.connect(down=[], received=nothing)
    broker.go_online()
    broker.release()
    assert await link.connect(down=[], received=nothing) is True
    await link.publish("up/soil", b"", {})


async def test_refusals_can_be_taken_back() -> None:
    broker = MemoryBroker()
    link = await connected(broker)
    broker.refuse("up/+/secret", 0x99)
    with pytest.raises(RefusedError) as caught:
        await link.publish("up/a/secret", b"", {})
    assert caught.value.code == 0x99
    broker.refuse("up/#", 0x97)
    with pytest.raises(LinkError, match="quota exceeded"):
        await link.publish("up/soil", b"", {})
    broker.refuse("up/+/secret", 0)
    broker.refuse("up/#", 0)
    await link.publish("up/a/secret", b"", {})
    assert [one.topic for one in broker.record] == ["up/a/secret"]


async def test_a_subscription_is_granted_again() -> None:
    broker = MemoryBroker()
    broker.refuse_subscription("down/#")
    with pytest.raises(RefusedError):
        await connected(broker, down=("down/#",))
    broker.refuse_subscription("down/#", 0)
    await connected(broker, down=("down/#",))


async def test_messages_wait_for_a_session_and_are_gone_with_it() -> None:
    broker = MemoryBroker()
    broker.send("down/lamp", b"nobody is subscribed")
    link = await connected(broker, down=("down/#",))
    await link.close()
    broker.send("down/lamp", b"on", {"n": "1"})
    broker.send("other/lamp", b"on")
    assert broker.unacknowledged("device") == 1
    broker.forget()
    assert broker.unacknowledged("device") == 0
    assert await link.connect(down=["down/#"], received=nothing) is False


async def test_unacknowledged_counts_down_as_messages_are_stored() -> None:
    broker, stored = MemoryBroker(), asyncio.Event()
    link = MemoryLink(broker=broker)

    async def received(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
        await stored.wait()

    await link.connect(down=["down/#"], received=received)
    broker.send("down/lamp", b"same")
    broker.send("down/lamp", b"same")
    await asyncio.sleep(0)
    assert broker.unacknowledged("memory") == 2
    stored.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert broker.unacknowledged("memory") == 0
    await link.close()


async def test_a_second_connection_with_the_same_name_takes_over() -> None:
    broker = MemoryBroker()
    first = await connected(broker)
    await connected(broker)
    error = await first.lost()
    assert str(error) == "memory ended the connection: session taken over (0x8E)"
    assert error.hint == "another connection uses the same client_id; each device needs its own"


async def test_what_arrives_can_be_kept_elsewhere_and_acknowledgements_be_told() -> None:
    kept: list[Arrived] = []
    stored: list[Arrived] = []
    broker = MemoryBroker(keep=kept.append, acked=stored.append)
    link = MemoryLink(client_id="pi", broker=broker)
    broker.expect("pi", ["cmd/#"])
    broker.send("cmd/a", b"1")
    assert broker.unacknowledged("pi") == 1
    received: list[str] = []
    settled = asyncio.Event()

    async def receive(topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        received.append(f"{topic} {payload.decode()} {len(properties)}")
        settled.set()

    assert await link.connect(down=[], received=receive) is True
    await settled.wait()
    await link.publish("dt/a", b"2", {})
    assert (received, [one.topic for one in stored], [one.topic for one in kept]) == (
        ["cmd/a 1 0"],
        ["cmd/a"],
        ["dt/a"],
    )
    assert broker.record == []
    await link.close()
