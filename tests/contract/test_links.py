"""What every link promises, whatever is behind it: each plug-in, against each broker it can reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from edge_runtime import plugin
from edge_runtime.errors import LinkError, RefusedError, StoreError
from edge_runtime.model import Link
from tests.clouds import FORBIDDEN, Cloud, MemoryCloud, pairs, start_cloud

Make = Callable[..., Link]
PAIRS = pairs()


class Inbox:
    """A `received` that keeps what it is given, and can be told to wait or to fail."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes, dict[str, str]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self._news = asyncio.Event()

    async def __call__(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Keep a message."""
        self.got.append((topic, payload, dict(properties)))
        self._news.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error

    async def until(self, count: int) -> list[tuple[str, bytes, dict[str, str]]]:
        """Return all messages as soon as there are so many."""
        while len(self.got) < count:
            self._news.clear()
            await self._news.wait()
        return self.got


async def refusing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    raise AssertionError("nothing was to come down")


@pytest.fixture(params=PAIRS, ids=["-".join((link, cloud, *map(str, more.values()))) for link, cloud, more in PAIRS])
def pair(request: pytest.FixtureRequest) -> tuple[str, str, dict[str, object]]:
    found: tuple[str, str, dict[str, object]] = request.param
    return found


@pytest.fixture
async def cloud(pair: tuple[str, str, dict[str, object]], tmp_path: Path) -> AsyncIterator[Cloud]:
    async with start_cloud(pair[1], tmp_path) as started:
        yield started


@pytest.fixture
async def make(pair: tuple[str, str, dict[str, object]], cloud: Cloud) -> AsyncIterator[Make]:
    made: list[Link] = []

    def build(client_id: str = "device", **more: object) -> Link:
        link: Link = plugin.load("links", pair[0]).LINK(**cloud.settings, **pair[2], client_id=client_id, **more)
        made.append(link)
        return link

    yield build
    for link in made:
        await link.close()


@pytest.fixture
async def watch(make: Make) -> Inbox:
    """Return the inbox of an observer that sees every publish under `up/`."""
    inbox = Inbox()
    await make("observer").connect(down=["up/#"], received=inbox)
    return inbox


@pytest.fixture
def has_properties(pair: tuple[str, str, dict[str, object]]) -> bool:
    return pair[2].get("version") != "3.1.1"


async def test_a_publish_returns_when_the_broker_has_it(make: Make, watch: Inbox, has_properties: bool) -> None:  # noqa: FBT001 - a fixture
    link = make()
    assert await link.connect(down=[], received=refusing) is False
    await link.publish("up/soil", b"\x00 41 \xff", {"id": "7", "größe": "maß"})
    expected = {"id": "7", "größe": "maß"} if has_properties else {}
    assert await watch.until(1) == [("up/soil", b"\x00 41 \xff", expected)]


async def test_a_hundred_at_once_arrive_in_the_order_of_the_calls(make: Make, watch: Inbox) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    await asyncio.gather(*[link.publish("up/soil", str(n).encode(), {}) for n in range(100)])
    assert [int(payload) for _, payload, _ in await watch.until(100)] == list(range(100))


@pytest.mark.parametrize("size", [0, 128 * 1024, 3_000_000])
async def test_payloads_of_any_size_arrive_whole(make: Make, watch: Inbox, size: int) -> None:
    payload = bytes(range(256)) * (size // 256)
    link = make()
    await link.connect(down=[], received=refusing)
    await link.publish("up/picture", payload, {})
    assert (await watch.until(1))[0][1] == payload


async def test_more_can_be_subscribed_to_while_connected(make: Make, watch: Inbox) -> None:
    inbox = Inbox()
    link, other = make(), make("other")
    await link.connect(down=["down/a"], received=inbox)
    await other.connect(down=[], received=refusing)
    await link.subscribe(["down/b", *(f"down/many/{n}" for n in range(20))])
    for topic in ("down/a", "down/b", "down/c", "down/many/19"):
        await other.publish(topic, topic.encode(), {})
    await link.publish("up/soil", b"1", {})
    assert [topic for topic, _, _ in await inbox.until(3)] == ["down/a", "down/b", "down/many/19"]
    assert len(await watch.until(1)) == 1


async def test_a_later_subscription_that_is_refused_leaves_the_connection(make: Make, cloud: Cloud) -> None:
    if not cloud.refuses_subscriptions:
        pytest.skip("this broker grants every subscription and only withholds the messages")
    assert isinstance(cloud, MemoryCloud)
    cloud.broker.refuse_subscription(FORBIDDEN)
    link = make()
    await link.connect(down=[], received=refusing)
    with pytest.raises(RefusedError, match=FORBIDDEN):
        await link.subscribe([FORBIDDEN])
    with pytest.raises(RefusedError, match="#"):
        await link.subscribe(["a/#/b"])
    await link.publish("up/soil", b"1", {})
    await link.close()
    with pytest.raises(LinkError, match="not connected"):
        await link.subscribe(["down/a"])


async def test_a_cancelled_publish_disturbs_no_other(make: Make, watch: Inbox) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    futures = [asyncio.ensure_future(link.publish("up/soil", str(n).encode(), {})) for n in range(10)]
    futures[3].cancel()
    done = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(d).__name__ for d in done] == ["NoneType"] * 3 + ["CancelledError"] + ["NoneType"] * 6
    await link.publish("up/soil", b"last", {})
    await watch.until(11)


async def test_a_topic_that_is_not_allowed_is_refused_for_good(make: Make, has_properties: bool) -> None:  # noqa: FBT001 - a fixture
    link = make()
    await link.connect(down=[], received=refusing)
    if not has_properties:  # MQTT 3.1.1 has no way to say no: a broker acknowledges, or hangs up
        outcome = await asyncio.gather(link.publish(FORBIDDEN, b"", {}), return_exceptions=True)
        assert type(outcome[0]) in (type(None), LinkError)
        return
    with pytest.raises(RefusedError, match=r"refused the publish on 'secret/topic': not authorized \(0x87\)") as caught:
        await link.publish(FORBIDDEN, b"", {})
    assert caught.value.code == 0x87
    assert caught.value.hint == "the policy must allow iot:Publish on this topic"


@pytest.mark.parametrize(
    "topic", ["up/#", "+/soil", "", "up\0soil", "x" * 65536], ids=["#", "+", "empty", "nul", "long"]
)
async def test_what_is_no_topic_is_refused_and_hurts_nobody(make: Make, topic: str) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    with pytest.raises(RefusedError) as caught:
        await link.publish(topic, b"", {})
    assert caught.value.code == 0x90
    await link.publish("up/soil", b"", {})


async def test_a_message_is_acknowledged_only_once_it_is_stored(make: Make) -> None:
    inbox, link, sender = Inbox(), make(), make("sender")
    await sender.connect(down=[], received=refusing)
    await link.connect(down=["down/#"], received=inbox)
    inbox.open.clear()  # `received` does not return: a commit that takes its time
    await sender.publish("down/lamp", b"on", {})
    await sender.publish("down/lamp", b"off", {})
    await inbox.until(1)
    await link.close()
    assert [payload for _, payload, _ in inbox.got] == [b"on"]

    inbox.open.set()
    assert await link.connect(down=["down/#"], received=inbox) is True
    assert [payload for _, payload, _ in await inbox.until(3)] == [b"on", b"on", b"off"]
    await sender.publish("down/lamp", b"dim", {})
    await inbox.until(4)
    await link.publish("up/soil", b"", {})  # once this is answered, the acknowledgements before it have arrived too
    await link.close()
    assert await link.connect(down=["down/#"], received=inbox) is True
    await sender.publish("down/lamp", b"last", {})
    assert [payload for _, payload, _ in (await inbox.until(5))[3:]] == [b"dim", b"last"]


async def test_a_message_that_cannot_be_stored_ends_the_connection_and_comes_again(make: Make) -> None:
    inbox, link, sender = Inbox(), make(), make("sender")
    await sender.connect(down=[], received=refusing)
    await link.connect(down=["down/#"], received=inbox)
    inbox.error = StoreError("the disk is full", hint="edge doctor")
    await sender.publish("down/lamp", b"on", {})
    error = await link.lost()
    assert str(error) == "a message on 'down/lamp' could not be stored, so it was not acknowledged: the disk is full"
    assert error.hint == "edge doctor"
    inbox.error = None
    assert await link.connect(down=["down/#"], received=inbox) is True
    assert [payload for _, payload, _ in await inbox.until(2)] == [b"on", b"on"]


async def test_messages_sent_while_away_come_after_the_reconnect(make: Make, has_properties: bool) -> None:  # noqa: FBT001 - a fixture
    inbox, link, sender = Inbox(), make(), make("sender")
    await sender.connect(down=[], received=refusing)
    await link.connect(down=["down/#"], received=inbox)
    await link.close()
    for n in range(20):
        await sender.publish("down/lamp", str(n).encode(), {"n": str(n)})
    again = make()  # a new object, as after a restart of the process
    assert await again.connect(down=["down/#"], received=inbox) is True
    expected = [("down/lamp", str(n).encode(), {"n": str(n)} if has_properties else {}) for n in range(20)]
    assert await inbox.until(20) == expected


async def test_more_filters_than_fit_one_packet(make: Make) -> None:
    inbox, link, sender = Inbox(), make(), make("sender")
    await sender.connect(down=[], received=refusing)
    await link.connect(down=[f"down/{n}/+" for n in range(20)], received=inbox)
    for n in range(20):
        await sender.publish(f"down/{n}/lamp", b"", {})
    assert [topic for topic, _, _ in await inbox.until(20)] == [f"down/{n}/lamp" for n in range(20)]


async def test_a_refused_subscription_fails_the_connect(make: Make, cloud: Cloud) -> None:
    if not cloud.refuses_subscriptions:
        pytest.skip("this broker grants every subscription and only withholds the messages")
    link = make()
    with pytest.raises(RefusedError, match=r"the broker refused the subscription to 'secret/topic'") as caught:
        await link.connect(down=["down/#", FORBIDDEN], received=refusing)
    assert "iot:Subscribe" in caught.value.hint
    assert isinstance(await link.lost(), LinkError)
    assert await link.connect(down=["down/#"], received=refusing) in (True, False)


async def test_what_is_no_filter_is_refused_before_anything_is_sent(make: Make) -> None:
    with pytest.raises(RefusedError, match="'#' may only be the last level"):
        await make().connect(down=["down/#/lamp"], received=refusing)


async def test_a_crash_fails_every_publish_that_waits(make: Make, cloud: Cloud) -> None:
    link = make()
    await link.connect(down=["down/#"], received=refusing)
    cloud.stall()
    futures = [asyncio.ensure_future(link.publish("up/soil", str(n).encode(), {})) for n in range(100)]
    await asyncio.sleep(0)
    assert not any(future.done() for future in futures)
    await cloud.crash()
    errors = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(error) for error in errors} == {LinkError}
    reason = await link.lost()
    assert {str(error) for error in errors} == {str(reason)}
    with pytest.raises(LinkError, match="not connected"):
        await link.publish("up/soil", b"", {})
    with pytest.raises(LinkError):
        await link.connect(down=["down/#"], received=refusing)


async def test_after_a_crash_the_session_is_gone_and_connect_subscribes_anew(make: Make, cloud: Cloud) -> None:
    inbox, link, sender = Inbox(), make(), make("sender")
    await link.connect(down=["down/#"], received=inbox)
    await cloud.crash()
    await link.lost()
    await cloud.revive()
    assert await link.connect(down=["down/#"], received=inbox) is False
    await sender.connect(down=[], received=refusing)
    await sender.publish("down/lamp", b"on", {})
    assert await inbox.until(1)


async def test_close_fails_what_waits_and_can_be_called_twice(make: Make, cloud: Cloud) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    cloud.stall()
    future = asyncio.ensure_future(link.publish("up/soil", b"", {}))
    await asyncio.gather(link.close(), link.close())
    with pytest.raises(LinkError, match="was closed"):
        await future
    await link.close()
    assert "was closed" in str(await link.lost())


async def test_every_waiter_learns_that_the_connection_is_lost(make: Make, cloud: Cloud) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    waiters = [asyncio.create_task(link.lost()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    await cloud.crash()
    errors = await asyncio.gather(*waiters[1:])
    assert errors[0] is errors[1]
    assert isinstance(errors[0], LinkError)


async def test_before_connect_there_is_nothing_to_lose_or_to_close(make: Make) -> None:
    link = make()
    assert "not connected" in str(await link.lost())
    with pytest.raises(LinkError, match="not connected"):
        await link.publish("up/soil", b"", {})
    await link.close()


async def test_one_object_has_one_connection(make: Make) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    with pytest.raises(LinkError, match=r"is connected to .* already") as caught:
        await link.connect(down=[], received=refusing)
    assert caught.value.hint == "call close first"
    await link.publish("up/soil", b"", {})


async def test_a_client_id_has_one_connection(make: Make) -> None:
    first, second = make(), make()
    await first.connect(down=[], received=refusing)
    await second.connect(down=[], received=refusing)
    assert isinstance(await first.lost(), LinkError)
    await second.publish("up/soil", b"", {})


async def test_one_object_connects_again_and_again(make: Make, watch: Inbox) -> None:
    link = make()
    for n in range(5):
        assert await link.connect(down=["down/#"], received=refusing) is (n > 0)
        await link.publish("up/soil", str(n).encode(), {})
        await link.close()
    assert [payload for _, payload, _ in await watch.until(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_connect_that_is_cancelled_leaves_an_object_that_connects(make: Make) -> None:
    link = make()
    for turns in range(6):
        task = asyncio.create_task(link.connect(down=["down/#"], received=refusing))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()
    await link.connect(down=["down/#"], received=refusing)
    await link.publish("up/soil", b"", {})
