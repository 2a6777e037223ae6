"""Lifecycle events as a subscriber gets them."""

from __future__ import annotations

import json

import pytest

from edge_runtime.standin.access import Caller
from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import MQTT_3_1_1, Auth, Connect, Disconnect, Subscription, Unsubscribe
from edge_runtime.standin.presence import Presence, Reason, reason_of
from tests.standin.harness import Bench, Client


def watch(bench: Bench, *kinds: str) -> Client:
    observer = bench.connect("observer")
    observer.subscribe(*(Subscription(f"$aws/events/{kind}/#", 0) for kind in kinds or ("presence",)))
    observer.heard()
    return observer


def events(observer: Client) -> list[tuple[str, dict[str, object]]]:
    return [(topic, json.loads(payload)) for topic, payload in observer.messages()]


def test_coming_and_going_in_the_words_of_aws() -> None:
    bench = Bench("aws")
    observer = watch(bench)
    client = bench.open()
    client.peer.caller = Caller("192.0.2.1", "a" * 64)
    client.say(Connect("dev/1"))
    client.say(Disconnect())
    (came, first), (went, second) = events(observer)
    session = first["sessionIdentifier"]
    stamp = bench.clock.now().wall_ns // 1_000_000
    assert isinstance(session, str)
    assert len(session) == 32
    assert (came, first) == (
        "$aws/events/presence/connected/dev/1",
        {
            "clientId": "dev/1",
            "timestamp": stamp,
            "eventType": "connected",
            "sessionIdentifier": session,
            "principalIdentifier": "a" * 64,
            "ipAddress": "192.0.2.1",
            "versionNumber": 0,
        },
    )
    assert (went, second) == (
        "$aws/events/presence/disconnected/dev/1",
        {
            "clientId": "dev/1",
            "timestamp": stamp,
            "eventType": "disconnected",
            "sessionIdentifier": session,
            "principalIdentifier": "a" * 64,
            "clientInitiatedDisconnect": True,
            "disconnectReason": "CLIENT_INITIATED_DISCONNECT",
            "versionNumber": 0,
        },
    )


@pytest.mark.parametrize("version", [4, 5])
def test_a_client_id_taken_over(version: int) -> None:
    bench = Bench("aws")
    observer = watch(bench)
    bench.connect("twin", version)
    bench.broker._connects.clear()  # the second CONNECT within a second is another matter
    bench.connect("twin", version)
    told = [(one["eventType"], one.get("disconnectReason"), one["versionNumber"]) for _, one in events(observer)]
    assert told == [("connected", None, 0), ("disconnected", "DUPLICATE_CLIENTID", 0), ("connected", None, 1)]


def test_why_a_client_went() -> None:
    bench = Bench("aws")
    observer = watch(bench)
    clients = [bench.connect(f"c{number}") for number in range(6)]
    clients[0].peer.lost()
    clients[1].peer.silent()
    clients[2].say(Auth())
    clients[3].peer.shut_down()
    bench.broker.flush()
    clients[4].peer.hung_up("")
    clients[5].peer.hung_up("a frame without a mask")
    told = [
        (one["disconnectReason"], one["clientInitiatedDisconnect"]) for topic, one in events(observer) if "dis" in topic
    ]
    assert told == [
        ("CONNECTION_LOST", False),
        ("MQTT_KEEP_ALIVE_TIMEOUT", False),
        ("CLIENT_ERROR", False),
        ("SERVER_INITIATED_DISCONNECT", False),
        ("CLIENT_INITIATED_DISCONNECT", True),
        ("CLIENT_ERROR", False),
    ]


def test_reasons_of_codes() -> None:
    assert reason_of(Code.NOT_AUTHORIZED) is Reason.AUTH_ERROR
    assert reason_of(Code.QUOTA_EXCEEDED) is Reason.THROTTLED
    assert reason_of(Code.PACKET_TOO_LARGE) is Reason.CLIENT_ERROR


def test_subscriptions() -> None:
    bench = Bench("aws")
    observer = watch(bench, "subscriptions")
    client = bench.connect("dev")
    client.subscribe("a", "b/#", "x#")
    client.say(Unsubscribe(2, ("a", "never")))
    told = [(topic, one["eventType"], one["topics"]) for topic, one in events(observer)]
    assert told == [
        ("$aws/events/subscriptions/subscribed/dev", "subscribed", ["a", "b/#"]),
        ("$aws/events/subscriptions/unsubscribed/dev", "unsubscribed", ["a"]),
    ]


async def test_a_session_keeps_its_identifier_and_the_version_begins_anew_after_an_hour() -> None:
    bench = Bench("aws")
    observer = watch(bench)

    async def visit(after_s: float, *, clean: bool) -> tuple[object, object]:
        await bench.clock.advance(after_s)
        bench.connect("dev", MQTT_3_1_1, clean=clean).peer.lost()
        found = events(observer)
        return found[0][1]["versionNumber"], found[0][1]["sessionIdentifier"]

    first = await visit(1, clean=False)
    second = await visit(10, clean=False)
    third = await visit(10, clean=True)
    fourth = await visit(3600, clean=True)
    assert [version for version, _ in (first, second, third, fourth)] == [0, 1, 2, 0]
    assert first[1] == second[1]
    assert len({second[1], third[1], fourth[1]}) == 3
    await bench.broker.close()


def test_a_client_id_that_no_topic_can_hold_is_not_told_of_and_without_quotas_nobody_is() -> None:
    bench = Bench("aws")
    observer = watch(bench)
    bench.connect("a+b").say(Disconnect())
    assert events(observer) == []
    plain = Bench("none")
    observer = watch(plain)
    plain.connect("dev")
    assert events(observer) == []


async def test_client_ids_that_are_gone_are_forgotten() -> None:
    bench = Bench("aws")
    presence = Presence(bench.clock, None)
    for number in range(3000):
        presence.connected(f"c{number}", Caller(), None, resumed=False)
        presence.disconnected(f"c{number}", Caller(), None, Reason.CONNECTION_LOST, expiry_s=0)
        await bench.clock.advance(4) if number % 100 == 0 else None
    assert len(presence._known) == 3000
    await bench.clock.advance(4000)
    for number in range(1000):
        presence.connected(f"d{number}", Caller(), None, resumed=False)
    assert len(presence._known) <= 1001
