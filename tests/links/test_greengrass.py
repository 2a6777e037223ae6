"""The link through a Greengrass nucleus: what the contract of all links says, and what is this one's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from edge_runtime.app import QueueLimits, Uplink
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.cloud.uplink import UplinkRunner
from edge_runtime.errors import ConfigError, LinkError, RefusedError
from edge_runtime.links.greengrass import LINK, SOCKET, TOKEN, GreengrassLink
from edge_runtime.model import Feed, Link
from edge_runtime.store.store import Store
from tests import nucleus as fake
from tests.contract import test_links as contract
from tests.contract.test_links import Inbox, refusing
from tests.nucleus import COMPONENT, Nucleus, Published, start_nucleus

Make = Callable[..., Link]


class NucleusCloud:
    """The nucleus as the contract of the links sees it."""

    def __init__(self, nucleus: Nucleus) -> None:
        self._nucleus = nucleus

    def stall(self) -> None:
        """Answer nothing any more."""
        self._nucleus.silent = True

    async def crash(self) -> None:
        """Go away at once."""
        self._nucleus.stop()

    async def revive(self) -> None:
        """Be there again."""
        await self._nucleus.start()


@pytest.fixture(params=["lite", "classic"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def nucleus(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nucleus]:
    async with start_nucleus(tmp_path, lite=kind == "lite") as started:
        monkeypatch.setenv(SOCKET, str(started.socket))
        monkeypatch.setenv(TOKEN, fake.TOKEN)
        yield started


@pytest.fixture
def cloud(nucleus: Nucleus) -> NucleusCloud:
    return NucleusCloud(nucleus)


@pytest.fixture
def has_properties(kind: str) -> bool:
    return kind == "classic"


@pytest.fixture
async def make(nucleus: Nucleus, kind: str) -> AsyncIterator[Make]:  # noqa: ARG001 - it sets the environment
    made: list[GreengrassLink] = []

    def build(_client_id: str = "", **more: object) -> Link:
        made.append(GreengrassLink(**{"nucleus": kind, "retry_s": 0.05, **more}))  # type: ignore[arg-type]  # options
        return made[-1]

    yield build
    for link in made:
        await link.close()


@pytest.fixture
async def link(make: Make) -> Link:
    connected = make()
    await connected.connect(down=[], received=refusing)
    return connected


lite_only = pytest.mark.parametrize("kind", ["lite"])

# What every link promises and this one keeps. It has no sessions: what a broker does for one that is away, it does not.
watch = contract.watch
test_publish = contract.test_a_publish_returns_when_the_broker_has_it
test_hundred = contract.test_a_hundred_at_once_arrive_in_the_order_of_the_calls
test_cancelled = contract.test_a_cancelled_publish_disturbs_no_other
test_no_topic = contract.test_what_is_no_topic_is_refused_and_hurts_nobody
test_filters = contract.test_more_filters_than_fit_one_packet
test_no_filter = contract.test_what_is_no_filter_is_refused_before_anything_is_sent
test_crash = contract.test_a_crash_fails_every_publish_that_waits
test_after_crash = contract.test_after_a_crash_the_session_is_gone_and_connect_subscribes_anew
test_close = contract.test_close_fails_what_waits_and_can_be_called_twice
test_waiters = contract.test_every_waiter_learns_that_the_connection_is_lost
test_before_connect = contract.test_before_connect_there_is_nothing_to_lose_or_to_close
test_one_connection = contract.test_one_object_has_one_connection
test_connect_cancelled = contract.test_a_connect_that_is_cancelled_leaves_an_object_that_connects


async def later(link: Link, topic: str, payload: bytes) -> asyncio.Future[None]:
    """Publish, and return what waits for the confirmation."""
    future = asyncio.ensure_future(link.publish(topic, payload, {}))
    await asyncio.sleep(0)
    return future


async def test_taken_is_not_delivered(link: Link, nucleus: Nucleus, make: Make) -> None:
    nucleus.lossy = True
    lost = await later(link, "up/soil", b"1")
    await nucleus.until(lambda: nucleus.unacked == [1])
    await link.close()
    with pytest.raises(LinkError, match="was closed"):
        await lost
    assert nucleus.published == []
    nucleus.reconnect()
    again = make()
    await again.connect(down=[], received=refusing)
    await again.publish("up/soil", b"1", {})
    assert nucleus.published == [Published("up/soil", b"1", "1")]


async def test_what_is_not_confirmed_comes_back_to_the_queue_alone(nucleus: Nucleus, make: Make) -> None:
    link = make(confirm_timeout_s=0.5)
    await link.connect(down=[], received=refusing)
    await link.publish("up/soil", b"0", {})
    nucleus.lossy = True
    lost = await later(link, "up/soil", b"1")
    await nucleus.until(lambda: nucleus.unacked == [1])
    nucleus.reconnect()
    await link.publish("up/soil", b"2", {})
    assert not lost.done()
    with pytest.raises(LinkError, match=r"^a publish on 'up/soil' was not confirmed in 0.5 s$") as caught:
        await lost
    assert not isinstance(caught.value, RefusedError)
    assert "iot:Receive" in caught.value.hint
    await link.publish("up/soil", b"1", {})
    assert [p.payload for p in nucleus.published] == [b"0", b"2", b"1"]


async def test_equal_messages_need_a_confirmation_each(link: Link, nucleus: Nucleus) -> None:
    await link.publish("up/soil", b"on", {})
    nucleus.lossy = True
    first = await later(link, "up/soil", b"on")
    second = await later(link, "up/soil", b"on")
    await nucleus.until(lambda: len(nucleus.unacked) == 2)
    nucleus.deliver("up/soil", b"on")
    await first
    assert not second.done()
    nucleus.deliver("up/soil", b"on")
    await second


async def test_each_topic_is_subscribed_to_once_and_at_qos_0(link: Link, nucleus: Nucleus) -> None:
    for topic in ("up/soil", "up/air", "up/soil"):
        await link.publish(topic, b"", {})
    assert nucleus.requests == [
        ("SubscribeToIoTCore", {"topicName": "up/soil", "qos": "0"}),
        ("PublishToIoTCore", {"topicName": "up/soil", "qos": "1", "payload": ""}),
        ("SubscribeToIoTCore", {"topicName": "up/air", "qos": "0"}),
        ("PublishToIoTCore", {"topicName": "up/air", "qos": "1", "payload": ""}),
        ("PublishToIoTCore", {"topicName": "up/soil", "qos": "1", "payload": ""}),
    ]


async def test_filters_for_echoes_and_what_comes_down_anyway_save_subscriptions(nucleus: Nucleus, make: Make) -> None:
    inbox, link = Inbox(), make(echo=["up/#", "both/#"])
    await link.connect(down=["both/#", "both/+", "both/#"], received=inbox)
    await link.publish("up/soil", b"1", {})
    await link.publish("both/soil", b"2", {})
    subscribed = [(r["topicName"], r["qos"]) for operation, r in nucleus.requests if operation.startswith("Subscribe")]
    assert subscribed == [("both/#", "1"), ("both/+", "1"), ("up/#", "0")]
    nucleus.deliver("both/last", b"3")
    await inbox.until(2)
    assert inbox.got == [("both/soil", b"2", {}), ("both/last", b"3", {})]


@lite_only
async def test_what_is_subscribed_to_later_comes_down_and_confirms_once(nucleus: Nucleus, make: Make) -> None:
    inbox = Inbox()
    link = make(echo=["up/#"])
    await link.connect(down=[], received=inbox)
    await link.publish("up/soil", b"1", {})
    await link.subscribe(["up/#", "down/#"])
    nucleus.lossy = True
    first = await later(link, "up/soil", b"on")
    second = await later(link, "up/soil", b"on")
    await nucleus.until(lambda: len(nucleus.unacked) == 2)
    nucleus.deliver("up/soil", b"on")
    await first
    assert [(topic, payload) for topic, payload, _ in await inbox.until(1)] == [("up/soil", b"on")]
    assert not second.done()
    nucleus.deliver("up/soil", b"on")
    await second


@pytest.mark.parametrize(
    ("settings", "lite", "classic"),
    [({}, 4_896, 131_072), ({"confirm_topic": "confirm"}, 7_000, 131_072)],
)
async def test_the_link_tells_how_much_may_be_packed(
    make: Make, kind: str, settings: Mapping[str, object], lite: int, classic: int
) -> None:
    assert make(**settings).most_bytes("dt/a") == (lite if kind == "lite" else classic)


async def test_so_many_topics_and_no_more(link: Link) -> None:
    for n in range(50):
        await link.publish(f"up/{n}", b"", {})
    with pytest.raises(RefusedError, match="50 topics are subscribed to already") as caught:
        await link.publish("up/50", b"", {})
    assert caught.value.hint == "name the topics by a filter in `echo`"
    await link.publish("up/0", b"", {})


def confirmation(published: Published) -> bytes:
    """Return what the rule in the documentation makes of a publish."""
    digest = hashlib.sha256(base64.b64encode(published.payload)).hexdigest()
    return json.dumps({"topic": published.topic, "sha256": digest}).encode()


async def test_a_rule_confirms_by_digest(nucleus: Nucleus, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    link = make(confirm_topic="edge/confirm")
    await link.connect(down=[], received=refusing)
    future = await later(link, "up/picture", bytes(7_000))
    await nucleus.until(lambda: len(nucleus.published) == 1)
    with caplog.at_level(logging.WARNING):
        for junk in (b"", b"[]", b'{"topic":1}', b"\xff"):
            nucleus.deliver("edge/confirm", junk)
        nucleus.deliver("edge/confirm", confirmation(Published("up/picture", b"other", "1")))
        nucleus.deliver("edge/confirm", confirmation(nucleus.published[0]))
        await future
    assert caplog.messages == ["link[greengrass]: what came on 'edge/confirm' confirms nothing"] * 4
    assert [r["topicName"] for operation, r in nucleus.requests if operation.startswith("Sub")] == ["edge/confirm"]


@lite_only
@pytest.mark.usefixtures("kind")
async def test_what_the_lite_nucleus_cannot_carry_is_refused(make: Make, nucleus: Nucleus) -> None:
    echo, digest = make(), make(confirm_topic="edge/confirm")
    nucleus.on_published = lambda published: nucleus.deliver("edge/confirm", confirmation(published))
    for link in (echo, digest):
        await link.connect(down=[], received=refusing)
        with pytest.raises(RefusedError) as caught:
            await link.publish("up/picture", bytes(7_001), {})
        assert str(caught.value) == "the message on 'up/picture' has 7001 bytes; the nucleus takes 7000"
        assert caught.value.code == 0x95
    await digest.publish("up/picture", bytes(7_000), {})
    await digest.publish("x" * 256, bytes(7_000), {})
    with pytest.raises(RefusedError) as caught:
        await echo.publish("up/picture", bytes(4_891), {})
    assert str(caught.value) == "the message on 'up/picture' has 4891 bytes; only 4890 can come back to confirm it"
    assert "confirm_topic" in caught.value.hint
    await echo.publish("up/picture", bytes(4_890), {})


@pytest.mark.parametrize("kind", ["classic"])
async def test_the_classic_nucleus_carries_what_the_cloud_takes(link: Link) -> None:
    await link.publish("up/picture", bytes(128 * 1024), {})
    with pytest.raises(RefusedError, match="131073 bytes; the nucleus takes 131072"):
        await link.publish("up/picture", bytes(128 * 1024 + 1), {})


@pytest.mark.parametrize("kind", ["classic"])
async def test_the_classic_nucleus_carries_properties_both_ways(make: Make, nucleus: Nucleus) -> None:
    link, inbox = make(), Inbox()
    await link.connect(down=["down/#"], received=inbox)
    await link.publish("up/soil", b"1", {"edge-seq": "7"})
    assert nucleus.published[-1].properties == (("edge-seq", "7"),)
    nucleus.deliver("down/lamp", b"on", [{"key": "who", "value": "me"}])
    async with asyncio.timeout(10):
        await inbox.until(1)
    assert inbox.got == [("down/lamp", b"on", {"who": "me"})]


@pytest.mark.parametrize("topic", ["x" * 257, "a/b/c/d/e/f/g/h/i", "$aws/rules/soil/up"])
async def test_topics_that_the_cloud_does_not_take_or_tell_of(link: Link, topic: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await link.publish(topic, b"", {})
    assert caught.value.code == 0x90


@lite_only
@pytest.mark.usefixtures("kind")
async def test_the_window_of_the_lite_nucleus_is_never_overrun(link: Link, nucleus: Nucleus) -> None:
    sizes = [4_000, 4_000, 10, 4_800, 4_800] * 10
    await asyncio.gather(*[link.publish("up/soil", bytes([n]) * size, {}) for n, size in enumerate(sizes)])
    assert [p.payload[0] for p in nucleus.published] == list(range(50))
    assert len(nucleus.requests) == 51  # none was refused and asked again


async def test_a_busy_nucleus_is_asked_again_in_order(make: Make, nucleus: Nucleus) -> None:
    link = make(retry_s=5.0)
    nucleus.busy = 2
    await link.connect(down=["down/#"], received=refusing)
    await link.publish("up/soil", b"0", {})
    nucleus.busy = 3
    await asyncio.gather(*[link.publish("up/soil", b"%d" % n, {}) for n in range(1, 4)])
    assert [p.payload for p in nucleus.published] == [b"0", b"1", b"2", b"3"]


async def test_without_a_network_there_is_no_link(link: Link, make: Make, nucleus: Nucleus) -> None:
    await link.publish("up/soil", b"0", {})
    nucleus.online = False
    futures = [await later(link, "up/soil", b"%d" % n) for n in range(5)]
    errors = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(error) for error in errors} == {LinkError}
    reason = await link.lost()
    assert str(reason).startswith("the nucleus takes no publishes: the nucleus refused PublishToIoTCore on 'up/soil'")
    assert reason.hint == "without a network the nucleus answers so; see the log of the nucleus"
    with pytest.raises(LinkError, match="refused SubscribeToIoTCore on 'down/#': ServiceError"):
        await make().connect(down=["down/#"], received=refusing)
    nucleus.reconnect()
    await link.connect(down=["down/#"], received=refusing)
    await link.publish("up/soil", b"1", {})


async def test_one_message_that_the_nucleus_does_not_take_holds_up_no_other(link: Link, nucleus: Nucleus) -> None:
    await link.publish("up/soil", b"0", {})
    nucleus.busy = 100
    poison = await later(link, "up/soil", b"1")
    with pytest.raises(LinkError, match="ServiceError"):
        await poison
    nucleus.busy = 0
    await link.publish("up/soil", b"2", {})


async def test_a_topic_that_the_nucleus_does_not_find_is_no_end(link: Link, nucleus: Nucleus) -> None:
    nucleus.missing = "up/gone"
    with pytest.raises(LinkError, match="ResourceNotFoundError"):
        await link.publish("up/gone", b"", {})
    await link.publish("up/soil", b"", {})


async def test_what_access_control_does_not_allow(link: Link, make: Make, nucleus: Nucleus) -> None:
    nucleus.allow = lambda operation, topic: (operation, topic) != ("PublishToIoTCore", "secret") and topic != "deaf"
    for topic, operation in (("secret", "PublishToIoTCore"), ("deaf", "SubscribeToIoTCore")):
        with pytest.raises(RefusedError, match=f"the nucleus refused {operation} on '{topic}'") as caught:
            await link.publish(topic, b"", {})
        assert caught.value.code == 0x87
        assert "accessControl" in caught.value.hint
    await link.publish("up/soil", b"", {})
    with pytest.raises(RefusedError, match="SubscribeToIoTCore on 'deaf'"):
        await make().connect(down=["down/#", "deaf"], received=refusing)


async def test_a_nucleus_that_stops_answering(make: Make, nucleus: Nucleus) -> None:
    link = make(confirm_timeout_s=0.1)
    await link.connect(down=[], received=refusing)
    nucleus.silent = True
    with pytest.raises(LinkError, match="the nucleus has stopped answering"):
        await link.publish("up/soil", b"", {})
    assert str(await link.lost()) == "the nucleus has stopped answering"


async def test_after_a_restart_the_environment_is_read_again(
    link: Link, nucleus: Nucleus, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = nucleus.restart()
    assert "closed the connection" in str(await link.lost())
    with pytest.raises(LinkError, match="does not accept this component"):
        await link.connect(down=[], received=refusing)
    monkeypatch.setenv(TOKEN, token)
    await link.connect(down=[], received=refusing)
    await link.publish("up/soil", b"", {})


async def test_the_name_does_where_the_token_is_void_on_lite_alone(make: Make, nucleus: Nucleus, kind: str) -> None:
    nucleus.restart()
    link = make(component=COMPONENT)
    if kind == "classic":
        with pytest.raises(LinkError, match="does not accept this component"):
            await link.connect(down=[], received=refusing)
        return
    await link.connect(down=[], received=refusing)
    assert nucleus.hellos == [{"authToken": fake.TOKEN}, {"componentName": COMPONENT}]
    await link.publish("up/soil", b"", {})


async def test_outside_of_greengrass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (SOCKET, TOKEN):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LinkError, match=f"no Greengrass component: {SOCKET} is not in the environment") as caught:
        await GreengrassLink().connect(down=[], received=refusing)
    assert "awscrt or paho" in caught.value.hint
    with pytest.raises(LinkError, match=f"no Greengrass component: {TOKEN} is not in the environment"):
        await GreengrassLink(socket=tmp_path / "s").connect(down=[], received=refusing)
    with pytest.raises(LinkError, match="cannot reach the nucleus at"):
        await GreengrassLink(socket=tmp_path / "s", component=COMPONENT).connect(down=[], received=refusing)


async def test_a_flood_from_above_waits_for_the_disk(link: Link, make: Make, nucleus: Nucleus) -> None:
    inbox, slow = Inbox(), make()
    inbox.open.clear()
    await slow.connect(down=["down/#"], received=inbox)
    for n in range(500):
        nucleus.deliver("down/lamp", b"%d" % n)
    await inbox.until(1)
    await link.publish("up/soil", b"", {})  # another connection is not held up
    inbox.open.set()
    assert [int(payload) for _, payload, _ in await inbox.until(500)] == list(range(500))
    await slow.publish("up/soil", b"", {})


@pytest.mark.parametrize("event", [{}, {"message": []}, {"message": {"topicName": "down/a", "payload": "?"}}])
async def test_a_message_that_is_none_ends_the_connection(
    make: Make, nucleus: Nucleus, event: Mapping[str, object]
) -> None:
    link = make()
    await link.connect(down=["down/#"], received=refusing)
    (peer,) = nucleus.peers
    peer.message(1, "IoTCoreMessage", event)
    assert "sent what is not Greengrass IPC" in str(await link.lost())


@lite_only
async def test_nothing_that_the_nucleus_forgets_is_lost(make: Make, nucleus: Nucleus, tmp_path: Path) -> None:
    clock = FakeClock()
    store = await Store.open(tmp_path / "state", {"uplink": QueueLimits()}, clock=clock)
    link = make(confirm_timeout_s=0.2)
    runner = UplinkRunner(store, link, Uplink(publishes_per_s=0, bytes_per_s=0), clock, deliver=refusing)
    task = asyncio.create_task(runner.run())
    nucleus.lossy = True
    for n in range(15):
        await store.change([(make_event(clock, "up/soil", b"%d" % n, "cli"), (Feed("uplink"),))])
    await nucleus.until(lambda: len(nucleus.unacked) == 10 and not nucleus.peers)
    assert (nucleus.published, store.counters("uplink").delivered) == ([], 0)
    nucleus.reconnect()
    while store.counters("uplink").delivered < 15:
        await clock.advance(1)
        await store.work(lambda _: None)
    assert sorted({int(p.payload) for p in nucleus.published}) == list(range(15))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nucleus": "v1"}, "link: nucleus is 'v1'; known are lite and classic"),
        ({"confirm_timeout_s": 51}, "link: confirm_timeout_s is 51; it must be a number from 0.1 to 50"),
        ({"retry_s": -1}, "link: retry_s is -1; it must be a number from 0 to 30"),
        ({"connect_timeout_s": True}, "link: connect_timeout_s is True; it must be a number from 0.1 to 600"),
        ({"echo": "up/#"}, "link: echo is 'up/#'; it must be a list of topic filters"),
        ({"echo": ["#/a"]}, "link: echo: topic filter '#/a': '#' may only be the last level"),
        ({"confirm_topic": "a/#"}, "link: confirm_topic: topic 'a/#' holds '#': wildcards belong in filters"),
        ({"echo": ["up/#"], "confirm_topic": "c"}, "link: echo and confirm_topic are both given"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LINK(**options)  # type: ignore[arg-type]  # a table of options
    assert str(caught.value).startswith(message)
