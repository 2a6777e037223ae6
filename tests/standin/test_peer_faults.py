"""Acknowledgements that go wrong, and connections that end in the middle of things."""

from __future__ import annotations

import pytest

from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import (
    MQTT_3_1_1,
    Ack,
    Connect,
    Disconnect,
    Kind,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Will,
)
from tests.standin.harness import Bench

NONE = Code.NO_MATCHING_SUBSCRIBERS


def puback(number: int, code: int = NONE) -> Ack:
    return Ack(Kind.PUBACK, number, code)


async def test_late_acknowledgements_come_late_and_others_do_not_wait() -> None:
    bench = Bench()
    client = bench.connect()
    bench.faults.late_acks(2, count=1)
    assert client.publish("a") == []
    assert client.publish("a") == [puback(2)]
    await bench.clock.advance(1.9)
    assert client.heard() == []
    await bench.clock.advance(0.2)
    assert client.heard() == [puback(1)]
    assert [entry.acked_ns > 0 for entry in bench.record.entries] == [False, True]
    bench.faults.late_acks(1, count=1)
    client.publish("a")
    client.peer.lost()
    await bench.clock.advance(2)
    assert client.heard() == []
    await bench.broker.close()


def test_wrong_acknowledgements_are_those_of_no_publish() -> None:
    bench = Bench()
    client = bench.connect()
    bench.faults.wrong_acks(1)
    assert client.publish("a") == [puback(0x8001)]
    assert client.publish("a") == [puback(2)]
    bench.faults.wrong_acks(1)
    assert client.say(Publish("a", b"", 1, packet_id=0x8000)) == [puback(0xFFFF)]
    assert [entry.acked_ns > 0 for entry in bench.record.entries] == [False, True, False]


def test_acknowledgements_can_come_twice() -> None:
    bench = Bench()
    client = bench.connect()
    bench.faults.repeat_acks(1)
    assert client.publish("a") == [puback(1), puback(1)]
    assert client.publish("a") == [puback(2)]


def test_acknowledgements_can_fail_whatever_the_topic() -> None:
    bench = Bench()
    client = bench.connect()
    bench.faults.fail_acks(Code.IMPLEMENTATION_ERROR, 2)
    answers = [client.publish(topic)[0] for topic in ("a", "b", "c")]
    assert [one.code for one in answers if isinstance(one, Ack)] == [0x83, 0x83, NONE]
    assert [entry.topic for entry in bench.record.entries] == ["c"]
    bench.faults.fail_acks(count=1)
    old = bench.connect("old", MQTT_3_1_1)
    assert old.publish("a") == []
    assert old.pipe.closed


@pytest.mark.parametrize(("acked", "answers"), [(False, [1]), (True, [1, 2])])
def test_a_connection_cut_after_a_publish(acked: bool, answers: list[int]) -> None:  # noqa: FBT001 - a parameter of the test
    bench = Bench()
    observer = bench.connect("observer")
    observer.subscribe("gone")
    client = bench.connect(will=Will("gone", b"will"))
    bench.faults.cut(2, acked=acked)
    packets = client.say(*(Publish("a", b"", 1, packet_id=number) for number in (1, 2, 3)))
    assert packets == [puback(number) for number in answers]
    assert not any(isinstance(one, Disconnect) for one in packets)
    assert client.pipe.closed
    assert [(entry.packet_id, entry.acked_ns > 0) for entry in bench.record.entries] == [(1, True), (2, acked)]
    assert observer.messages() == [("gone", b"will")]
    assert len(bench.connect("next").say(*(Publish("a", b"", 1, packet_id=number) for number in (1, 2, 3)))) == 3


def test_cuts_come_again_and_again() -> None:
    bench = Bench()
    bench.faults.cut(2, 3)
    ended = []
    for number in range(5):
        client = bench.connect(f"c{number}")
        client.publish("a")
        client.publish("a")
        ended.append(client.pipe.closed)
    assert ended == [True, True, True, False, False]
    assert bench.broker.counts["cut"] == 3


@pytest.mark.parametrize(("version", "code"), [(4, 0x80), (5, 0x97)])
def test_subscriptions_can_be_refused(version: int, code: int) -> None:
    bench = Bench()
    client = bench.connect(version=version)
    bench.faults.reject_filter("$aws/things/+/jobs/#", Code.QUOTA_EXCEEDED)
    bench.faults.reject_filter("x", Code.TOPIC_INVALID)
    wanted = ("a", "x", "$aws/things/edge-1/jobs/+/get/+")
    packets = client.say(Subscribe(1, tuple(Subscription(one, 1) for one in wanted)))
    assert packets[0] == Suback(1, (1, 0x80 if version == 4 else 0x90, code))


# --- the rate that both directions share ---


def test_what_goes_out_counts_against_what_comes_in() -> None:
    bench = Bench("aws")
    client = bench.connect("busy")
    client.subscribe("down")
    for _ in range(60):
        bench.broker.begin()
        bench.broker.say("down", b"x")
        bench.broker.flush()
    client.heard()
    for number in range(60):
        client.say(Ack(Kind.PUBACK, number + 1))
    answers = client.say(*(Publish("t", b"", 1, packet_id=number) for number in range(1, 51)))
    assert len(answers) == 40
    assert bench.broker.counts["discarded"] == 10


def test_qos_0_to_a_client_is_discarded_above_the_rate_and_qos_1_is_not() -> None:
    bench = Bench("aws")
    client = bench.connect("busy")
    client.subscribe(Subscription("zero", 0), Subscription("one", 1))
    for topic, count in (("zero", 110), ("one", 20)):
        for _ in range(count):
            bench.broker.begin()
            bench.broker.say(topic, b"x")
            bench.broker.flush()
    assert [topic for topic, _ in client.messages()] == ["zero"] * 100 + ["one"] * 20
    assert bench.broker.counts["discarded"] == 10


def test_all_clients_together_are_held_to_the_rates_of_the_account() -> None:
    bench = Bench("aws")
    client = bench.connect("first")
    answers = [bench.connack(Connect(f"c{number}")).code for number in range(500)]
    assert answers == [0] * 499 + [Code.QUOTA_EXCEEDED]
    assert all(bench.broker.publish_allowed() for _ in range(20_000))
    assert client.publish("a") == []
    assert "more than 20000 publishes a second by all clients" in bench.broker.refusals[-1]
