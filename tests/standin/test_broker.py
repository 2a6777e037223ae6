"""The same MQTT, whoever speaks it: each test here runs against the stand-in and against a real mosquitto.

The clients are paho and one made of our own codec, so that a mistake that codec and broker share shows too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Will,
)
from edge_runtime.standin.properties import Properties
from edge_runtime.standin.server import Standin
from tests.brokers import start_mosquitto
from tests.mqtt import RawClient, paho

VERSIONS = pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])


@pytest.fixture(params=["standin", "mosquitto"])
async def port(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[int]:
    if request.param == "standin":
        async with Standin(quotas="none") as standin:
            yield standin.port
    else:
        async with start_mosquitto(tmp_path) as broker:
            yield broker.port


def told(packets: list[Packet]) -> list[tuple[str, bytes]]:
    """Return the messages among the packets."""
    return [(packet.topic, packet.payload) for packet in packets if isinstance(packet, Publish)]


# --- paho ---


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1])
async def test_paho_hears_what_paho_says(port: int, version: int, qos: int) -> None:
    async with paho(port, "hears", version) as hears, paho(port, "says", version) as says:
        assert await hears.subscribe("up/+", qos) == [qos]
        for number in range(20):
            assert await says.publish("up/soil", b"%d" % number, qos) == 0
        messages = [await hears.message() for _ in range(20)]
    assert [message.payload for message in messages] == [b"%d" % number for number in range(20)]
    assert {(message.topic, message.qos, message.retain) for message in messages} == {("up/soil", qos, False)}


@VERSIONS
async def test_paho_and_the_raw_client_understand_each_other(port: int, version: int) -> None:
    raw = await RawClient.connect(port, "raw", MQTT_5 if version == MQTT_3_1_1 else MQTT_3_1_1)
    assert await raw.subscribe("a/#") == (1,)
    async with paho(port, "paho", version) as one:
        await one.subscribe("b/#", 1)
        await one.publish("a/1", b"from paho", 1)
        message = await raw.expect(Publish)
        raw.puback(message)
        await raw.publish("b/1", b"from raw")
        assert (message.topic, message.payload, (await one.message()).payload) == ("a/1", b"from paho", b"from raw")
    await raw.close()


async def test_user_properties_arrive_in_order(port: int) -> None:
    user = [("id", "thing/boot/7"), ("b", "2"), ("b", "é")]
    async with paho(port, "hears") as hears, paho(port, "says") as says:
        await hears.subscribe("up", 1)
        await says.publish("up", b"x", 1, user=user)
        message = await hears.message()
    assert vars(message.properties)["UserProperty"] == user


async def test_paho_gets_what_came_while_it_was_away(port: int) -> None:
    says = await RawClient.connect(port, "says")
    await (await _sleeper(port, MQTT_3_1_1)).close()
    for number in range(5):
        await says.publish("down/x", b"%d" % number)
    async with paho(port, "sleeper", MQTT_3_1_1, clean=False) as back:
        assert [(await back.message()).payload for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    await says.close()


# --- sessions ---


def _kept(version: int) -> Properties:
    return {} if version == MQTT_3_1_1 else {"session_expiry": 3600}


async def _sleeper(port: int, version: int) -> RawClient:
    """Connect a client with a persistent session that is subscribed to `down/#`."""
    client = await RawClient.connect(port, "sleeper", version, clean=False, properties=_kept(version))
    await client.subscribe("down/#")
    return client


@VERSIONS
async def test_a_persistent_session_queues_in_order_and_a_clean_start_ends_it(port: int, version: int) -> None:
    says = await RawClient.connect(port, "says", version)
    sleeper = await _sleeper(port, version)
    assert not sleeper.connack.session_present
    await sleeper.abort()
    for number in range(200):
        await says.publish(f"down/{number}", b"%d" % number)

    back = await RawClient.connect(port, "sleeper", version, clean=False, properties=_kept(version))
    assert back.connack.session_present
    for number in range(200):
        message = await back.expect(Publish)
        assert (message.topic, message.payload, message.qos) == (f"down/{number}", b"%d" % number, 1)
        back.puback(message)
    assert told(await back.rest()) == []
    await back.close()

    fresh = await RawClient.connect(port, "sleeper", version, clean=True)
    assert not fresh.connack.session_present
    await says.publish("down/x", b"nobody is subscribed any more")
    assert told(await fresh.rest()) == []
    await fresh.close()
    await says.close()


@VERSIONS
async def test_what_was_not_acknowledged_comes_again_with_dup(port: int, version: int) -> None:
    says = await RawClient.connect(port, "says", version)
    sleeper = await _sleeper(port, version)
    await says.publish("down/1", b"first")
    first = await sleeper.expect(Publish)
    assert not first.dup
    await sleeper.abort()
    back = await RawClient.connect(port, "sleeper", version, clean=False, properties=_kept(version))
    again = await back.expect(Publish)
    assert (again.payload, again.packet_id, again.dup) == (b"first", first.packet_id, True)
    back.puback(again)
    assert told(await back.rest()) == []
    await back.close()
    await says.close()


async def test_a_session_that_was_not_to_last_is_gone_with_its_connection(port: int) -> None:
    """The observer's message proves that the broker has seen the end of the first connection."""
    observer = await RawClient.connect(port, "observer")
    await observer.subscribe("gone")
    short = await RawClient.connect(port, "short", clean=False, will=Will("gone", b"now"))
    await short.subscribe("down/#")
    await short.abort()
    assert (await observer.expect(Publish)).payload == b"now"
    back = await RawClient.connect(port, "short", clean=False)
    assert not back.connack.session_present
    await back.close()
    await observer.close()


async def test_a_session_expires(port: int) -> None:
    """A will that is to wait longer than the session lives is published when the session ends: section 3.1.2.5."""
    observer = await RawClient.connect(port, "observer")
    await observer.subscribe("gone")
    will = Will("gone", b"session", properties={"will_delay": 3600})
    short = await RawClient.connect(port, "short", clean=False, will=will, properties={"session_expiry": 1})
    await short.subscribe("down/#")
    await short.abort()
    message = await observer.expect(Publish)
    assert message.payload == b"session"
    back = await RawClient.connect(port, "short", clean=False)
    assert not back.connack.session_present
    await back.close()
    await observer.close()


async def test_disconnect_may_change_the_session_expiry(port: int) -> None:
    client = await RawClient.connect(port, "c", clean=False, properties={"session_expiry": 3600})
    await client.close(properties={"session_expiry": 0})
    back = await RawClient.connect(port, "c", clean=False)
    assert not back.connack.session_present
    await back.close()


@VERSIONS
async def test_a_client_id_belongs_to_the_newest_connection(port: int, version: int) -> None:
    older = await RawClient.connect(port, "twin", version)
    newer = await RawClient.connect(port, "twin", version)
    await older.closed()
    # mosquitto 2.0 hangs up without a word here; MQTT 5.0 only says that a server may send the reason.
    if older.disconnect is not None:
        assert older.disconnect.code == Code.SESSION_TAKEN_OVER
    assert (await newer.publish("t", b"alive")).packet_id == 1
    await newer.close()


# --- wills ---


@VERSIONS
async def test_a_will_is_published_when_the_connection_breaks_and_not_when_it_is_closed(
    port: int, version: int
) -> None:
    observer = await RawClient.connect(port, "observer", version)
    await observer.subscribe("state/+")
    polite = await RawClient.connect(port, "polite", version, will=Will("state/polite", b"gone", 1))
    await polite.close()
    rude = await RawClient.connect(port, "rude", version, will=Will("state/rude", b"gone", 1, retain=True))
    await rude.abort()
    message = await observer.expect(Publish)
    assert (message.topic, message.payload, message.qos) == ("state/rude", b"gone", 1)
    late = await RawClient.connect(port, "late", version)
    await late.subscribe("state/rude")
    kept = await late.expect(Publish)
    assert (kept.payload, kept.retain) == (b"gone", True)
    await late.close()
    await observer.close()


async def test_disconnect_with_will_message(port: int) -> None:
    observer = await RawClient.connect(port, "observer")
    await observer.subscribe("state")
    client = await RawClient.connect(port, "c", will=Will("state", b"gone"))
    await client.close(code=Code.DISCONNECT_WITH_WILL)
    assert (await observer.expect(Publish)).payload == b"gone"
    await observer.close()


# --- retained messages ---


@VERSIONS
async def test_a_retained_message_is_kept_replaced_and_deleted(port: int, version: int) -> None:
    says = await RawClient.connect(port, "says", version)
    await says.publish("conf/a", b"1", retain=True)
    await says.publish("conf/a", b"2", retain=True)

    first = await RawClient.connect(port, "first", version)
    await first.subscribe("conf/a")
    kept = await first.expect(Publish)
    assert (kept.payload, kept.retain) == (b"2", True)
    first.puback(kept)
    await says.publish("conf/a", b"3", retain=True)
    live = await first.expect(Publish)
    assert (live.payload, live.retain) == (b"3", False)
    first.puback(live)

    await says.publish("conf/a", b"", retain=True)
    assert told(await first.rest()) == [("conf/a", b"")]
    second = await RawClient.connect(port, "second", version)
    await second.subscribe("conf/a")
    assert told(await second.rest()) == []
    for client in (first, second, says):
        await client.close()


@pytest.mark.parametrize(("handling", "first", "again"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
async def test_retain_handling(port: int, handling: int, first: int, again: int) -> None:
    client = await RawClient.connect(port, "c")
    await client.publish("conf", b"x", retain=True)
    for expected in (first, again):
        await client.subscribe(Subscription("conf", 0, retain_handling=handling))
        assert len(told(await client.rest())) == expected
    await client.close()


async def test_no_local_and_retain_as_published(port: int) -> None:
    client = await RawClient.connect(port, "c")
    await client.subscribe(Subscription("a", no_local=True), Subscription("b", retain_as_published=True))
    await client.publish("a", b"own")
    client.send(Publish("b", b"flag", retain=True))
    (message,) = await client.rest()
    assert isinstance(message, Publish)
    assert (message.topic, message.retain) == ("b", True)
    await client.close()


# --- matching and delivery ---


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matched"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a/", True),
        ("+/b", "/b", True),
        ("a/#", "a/b/c", True),
        ("#", "a", True),
        ("+", "a/b", False),
        ("a/+/c", "a/b/c", True),
        ("a/b", "a/B", False),
        ("#", "$aws/things/t/x", False),
        ("+/things/#", "$aws/things/t/x", False),
        ("$aws/#", "$aws/things/t/x", True),
        ("é/+", "é/☃", True),
    ],
)
async def test_wildcards(port: int, topic_filter: str, topic: str, *, matched: bool) -> None:
    client = await RawClient.connect(port, "c")
    await client.subscribe(topic_filter)
    client.send(Publish(topic, b"x"))
    assert told(await client.rest()) == ([(topic, b"x")] if matched else [])
    await client.close()


async def test_overlapping_subscriptions_deliver_once_with_the_highest_qos(port: int) -> None:
    client = await RawClient.connect(port, "c", MQTT_3_1_1)
    await client.subscribe(Subscription("a/+", 0), Subscription("a/b", 1), Subscription("#", 0))
    ack = await _publish_among(client, "a/b")
    assert [packet.qos for packet in ack if isinstance(packet, Publish)] == [1]
    await client.close()


async def _publish_among(client: RawClient, topic: str) -> list[Packet]:
    client.send(Publish(topic, b"x", 1, packet_id=1))
    return await client.rest()


async def test_unsubscribe(port: int) -> None:
    client = await RawClient.connect(port, "c")
    await client.subscribe("a")
    assert await client.unsubscribe("a", "b") == (Code.SUCCESS, Code.NO_SUBSCRIPTION_EXISTED)
    client.send(Publish("a", b"x"))
    assert await client.rest() == []
    await client.close()


async def test_a_shared_subscription_gives_each_message_to_one(port: int) -> None:
    says = await RawClient.connect(port, "says")
    workers = [await RawClient.connect(port, f"worker-{number}") for number in range(2)]
    for worker in workers:
        assert await worker.subscribe("$share/pool/jobs/+") == (1,)
    for number in range(10):
        await says.publish("jobs/x", b"%d" % number)
    got = [told(await worker.rest()) for worker in workers]
    assert sorted(payload for one in got for _, payload in one) == [b"%d" % number for number in range(10)]
    assert [len(one) for one in got] == [5, 5]
    for client in (*workers, says):
        await client.close()


@VERSIONS
@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 131_072, 1_000_000])
async def test_payloads_of_any_size_arrive_whole(port: int, version: int, size: int) -> None:
    client = await RawClient.connect(port, "c", version)
    await client.subscribe(Subscription("big", 0))
    payload = bytes(number % 251 for number in range(size))
    client.send(Publish("big", payload))
    assert (await client.expect(Publish)).payload == payload
    await client.close()


async def test_nobody_is_subscribed(port: int) -> None:
    client = await RawClient.connect(port, "c")
    assert (await client.publish("nobody/hears", b"x")).code == Code.NO_MATCHING_SUBSCRIBERS
    await client.subscribe("nobody/#")
    client.send(Publish("nobody/hears", b"x", 1, packet_id=9))
    assert any(getattr(packet, "code", None) == Code.SUCCESS for packet in await client.rest())
    await client.close()


async def test_a_receive_maximum_is_kept(port: int) -> None:
    says = await RawClient.connect(port, "says")
    slow = await RawClient.connect(port, "slow", properties={"receive_maximum": 3})
    await slow.subscribe("down")
    for number in range(10):
        await says.publish("down", b"%d" % number)
    # What mosquitto 2.0 sends after the first PUBACK is more than it may; the stand-in is judged in test_peer.
    assert told(await slow.rest()) == [("down", b"0"), ("down", b"1"), ("down", b"2")]
    await slow.close()
    await says.close()


async def test_a_message_too_large_for_a_client_is_left_out(port: int) -> None:
    client = await RawClient.connect(port, "c", properties={"maximum_packet_size": 100})
    await client.subscribe("a")
    client.send(Publish("a", bytes(200)), Publish("a", b"small"))
    assert told(await client.rest()) == [("a", b"small")]
    await client.close()


async def test_an_expired_message_is_not_delivered_and_a_live_one_says_what_is_left(port: int) -> None:
    says = await RawClient.connect(port, "says")
    await (await _sleeper(port, MQTT_5)).close()
    await says.publish("down/long", b"long", properties={"message_expiry": 3000})
    await says.publish("down/short", b"short", properties={"message_expiry": 1})
    # Another session that ends after the same second and a bit is the clock of this test.
    will = Will("time", b"is up", properties={"will_delay": 3600})
    timer = await RawClient.connect(port, "timer", clean=False, will=will, properties={"session_expiry": 2})
    await says.subscribe("time")
    await timer.abort()
    await says.expect(Publish)
    back = await RawClient.connect(port, "sleeper", clean=False, properties={"session_expiry": 3600})
    (message,) = await back.rest()
    assert isinstance(message, Publish)
    assert message.payload == b"long"
    assert 2980 < message.properties["message_expiry"] < 3000
    await back.close()
    await says.close()


async def test_properties_of_a_message_are_passed_on(port: int) -> None:
    client = await RawClient.connect(port, "c")
    await client.subscribe(Subscription("a", 0))
    client.send(
        Publish(
            "a",
            b"x",
            properties={
                "payload_format": 1,
                "content_type": "text/plain",
                "response_topic": "b",
                "correlation_data": b"\x00\x01",
                "user": [("k", "v")],
                "topic_alias": 1,
            },
        )
    )
    message = await client.expect(Publish)
    assert message.properties == {
        "payload_format": 1,
        "content_type": "text/plain",
        "response_topic": "b",
        "correlation_data": b"\x00\x01",
        "user": [("k", "v")],
    }
    client.send(Publish("", b"by alias", properties={"topic_alias": 1}))
    assert told(await client.rest()) == [("a", b"by alias")]
    await client.close()


# --- what ends a connection ---


@pytest.mark.long
async def test_silence_is_noticed(port: int) -> None:
    """After 1.5 keep-alives; mosquitto looks every few seconds."""
    client = await RawClient.connect(port, "c", keep_alive=1)
    await client.closed()
    assert client.disconnect is None or client.disconnect.code == Code.KEEP_ALIVE_TIMEOUT


async def test_a_second_connect_ends_the_connection(port: int) -> None:
    client = await RawClient.connect(port, "c")
    client.send(Connect("c"))
    await client.closed()


async def test_other_packets_before_connect_end_the_connection(port: int) -> None:
    client = await RawClient.open(port)
    client.send(Pingreq())
    await client.closed()


async def test_garbage_ends_the_connection_and_nobody_elses(port: int) -> None:
    bystander = await RawClient.connect(port, "bystander")
    for garbage in (b"\xff" * 64, b"\x10\x0c\x00\x06MQIsdp\x09\x02\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n"):
        client = await RawClient.open(port, MQTT_3_1_1)
        client.send_bytes(garbage)
        await client.closed()
    assert await bystander.rest() == []
    await bystander.close()


async def test_a_bad_topic_filter(port: int) -> None:
    """Mosquitto disconnects; the stand-in says which filter it was. No one subscribes."""
    client = await RawClient.connect(port, "c")
    client.send(Subscribe(1, (Subscription("a/#/b"),)))
    assert await client.next() in (Suback(1, (Code.FILTER_INVALID,)), Disconnect(Code.MALFORMED_PACKET))
    await client.close()


@VERSIONS
async def test_a_client_without_a_name_gets_one(port: int, version: int) -> None:
    client = await RawClient.connect(port, "", version)
    assert client.connack.code == 0
    if version == MQTT_5:
        assert client.connack.properties["assigned_client_id"]
    await client.close()


async def test_a_nameless_persistent_session_is_refused(port: int) -> None:
    client = await RawClient.connect(port, "", MQTT_3_1_1, clean=False)
    assert client.connack.code == 2
    await client.closed()
