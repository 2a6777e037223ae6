"""What a client is told when no policy allows what it does, and a certificate that is taken away."""

from __future__ import annotations

import pytest

from edge_runtime.standin.access import Caller, Identity, OnDenied, Thing
from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Will,
)
from edge_runtime.standin.policies import Policy
from tests.standin.harness import Bench, Client
from tests.standin.secure import document, statement

ID = "c" * 64
POLICY = document(
    statement("iot:Connect", "client/${iot:Connection.Thing.ThingName}"),
    statement("iot:Publish", "topic/up/*"),
    statement("iot:Subscribe", "topicfilter/down/*"),
    statement("iot:Receive", "topic/down/*"),
    statement("iot:Receive", "topic/down/secret", "Deny"),
)


class Directory:
    """One certificate."""

    def __init__(self) -> None:
        self.active = True
        self.policy = POLICY

    def identity(self, certificate_id: str) -> Identity | None:
        """Know it or not."""
        if certificate_id != ID:
            return None
        return Identity(ID, self.active, [Policy.parse(self.policy, anywhere=True)], [Thing("edge-1")])


class Guarded(Bench):
    """A broker that enforces policies."""

    def __init__(self, on_denied: OnDenied = "disconnect") -> None:
        super().__init__("none")
        self.directory = Directory()
        self.broker.directory = self.directory
        self.broker.on_denied = on_denied

    def device(self, packet: Connect | None = None, certificate: str = ID) -> tuple[Client, int]:
        """Return a client that sent its CONNECT, and the code it was answered with."""
        packet = packet or Connect("edge-1")
        client = self.open(packet.version)
        client.peer.caller = Caller("127.0.0.1", certificate)
        answer = client.say(packet)[0]
        assert isinstance(answer, Connack)
        return client, answer.code


def ending(client: Client, packets: list[Packet]) -> int:
    """Return the code of the DISCONNECT that came last; the connection must be closed."""
    assert client.pipe.closed
    if client.version == MQTT_3_1_1:
        assert not any(isinstance(one, Disconnect) for one in packets)
        return 0
    last = packets[-1]
    assert isinstance(last, Disconnect)
    return last.code


@pytest.mark.parametrize(
    ("client_id", "certificate", "words"),
    [
        ("edge-2", ID, "no policy allows iot:Connect as client 'edge-2'"),
        ("edge-1", "d" * 64, f"certificate {'d' * 64} is not registered and active"),
        ("edge-1", "", "there is no client certificate"),
    ],
)
@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
def test_who_may_not_connect(client_id: str, certificate: str, words: str, version: int) -> None:
    bench = Guarded()
    client, code = bench.device(Connect(client_id, version), certificate)
    assert code == (Code.NOT_AUTHORIZED if version == MQTT_5 else 5)
    assert client.pipe.closed
    assert words in bench.broker.refusals[-1]
    assert bench.device(Connect("edge-1", version))[1] == 0


def test_a_will_needs_the_right_to_publish_it() -> None:
    bench = Guarded()
    assert bench.device(Connect("edge-1", will=Will("elsewhere", b"")))[1] == Code.NOT_AUTHORIZED
    assert "with a will on 'elsewhere'" in bench.broker.refusals[-1]
    assert bench.device(Connect("edge-1", will=Will("up/gone", b"")))[1] == 0


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
def test_a_denied_publish_ends_the_connection(version: int) -> None:
    bench = Guarded()
    client, _ = bench.device(Connect("edge-1", version))
    assert len(client.publish("up/x")) == 1
    assert ending(client, client.publish("other")) == (Code.NOT_AUTHORIZED if version == MQTT_5 else 0)
    assert [one.topic for one in bench.record.entries] == ["up/x"]
    assert "no policy allows iot:Publish on topic 'other'" in bench.broker.refusals[-1]


def test_a_denied_publish_can_be_answered_instead() -> None:
    bench = Guarded("answer")
    client, _ = bench.device()
    (answer,) = client.publish("other")
    assert isinstance(answer, Ack)
    assert answer.code == Code.NOT_AUTHORIZED
    assert not client.pipe.closed
    assert ending(client, client.say(Publish("other", b""))) == Code.NOT_AUTHORIZED
    old, _ = bench.device(Connect("edge-1", MQTT_3_1_1))
    assert ending(old, old.publish("other")) == 0


def test_retaining_is_a_right_of_its_own() -> None:
    bench = Guarded()
    client, _ = bench.device()
    assert ending(client, client.publish("up/x", retain=True)) == Code.NOT_AUTHORIZED
    assert "iot:RetainPublish" in bench.broker.refusals[-1]


@pytest.mark.parametrize(("version", "code"), [(MQTT_3_1_1, 0x80), (MQTT_5, 0x87)])
def test_a_denied_subscription_is_answered_and_then_ends_the_connection(version: int, code: int) -> None:
    bench = Guarded()
    client, _ = bench.device(Connect("edge-1", version))
    packets = client.say(Subscribe(1, (Subscription("down/a", 1), Subscription("#", 1))))
    assert packets[0] == Suback(1, (1, code))
    assert ending(client, packets[1:]) == (Code.NOT_AUTHORIZED if version == MQTT_5 else 0)
    tolerant = Guarded("answer")
    client, _ = tolerant.device(Connect("edge-1", version))
    assert client.say(Subscribe(1, (Subscription("#", 1),))) == [Suback(1, (code,))]
    assert not client.pipe.closed


def test_what_may_not_be_received_is_not_delivered() -> None:
    bench = Guarded()
    client, _ = bench.device()
    client.subscribe("down/#")
    for topic in ("down/a", "down/secret", "down/b"):
        bench.broker.begin()
        bench.broker.say(topic, b"x")
        bench.broker.flush()
    assert client.messages() == [("down/a", b"x"), ("down/b", b"x")]
    assert bench.broker.counts["receive_denied"] == 1
    assert len(bench.broker.sessions["edge-1"].sent) == 2


def test_a_certificate_taken_away_ends_its_connection_and_refuses_the_next() -> None:
    bench = Guarded()
    client, _ = bench.device()
    bench.directory.active = False
    bench.broker.begin()
    bench.broker.recheck()
    bench.broker.flush()
    assert ending(client, client.heard()) == Code.NOT_AUTHORIZED
    assert "is no longer active" in bench.broker.refusals[-1]
    assert bench.device()[1] == Code.NOT_AUTHORIZED
    bench.directory.active = True
    assert bench.device()[1] == 0


def test_a_changed_policy_counts_at_once() -> None:
    bench = Guarded()
    client, _ = bench.device()
    bench.directory.policy = document(statement("iot:*", "topic/other"))
    bench.broker.begin()
    bench.broker.recheck()
    bench.broker.flush()
    assert client.heard() == []
    assert len(client.publish("other")) == 1
    assert ending(client, client.publish("up/x")) == Code.NOT_AUTHORIZED


def test_a_refused_client_is_told_of_by_no_event() -> None:
    bench = Bench("aws")
    observer = bench.connect("observer")
    observer.subscribe("$aws/events/presence/#")
    bench.broker.directory = Directory()
    client = bench.open()
    assert isinstance(client.say(Connect("stranger"))[0], Connack)
    client.peer.lost()
    assert observer.messages() == []
