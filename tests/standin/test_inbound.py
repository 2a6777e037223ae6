"""What one connection may publish."""

from __future__ import annotations

import pytest

from edge_runtime.standin.codes import Code
from edge_runtime.standin.inbound import Inbound
from edge_runtime.standin.packets import MQTT_3_1_1, MQTT_5, Publish
from edge_runtime.standin.quotas import Mode, Reaction, Verdict
from tests.standin.harness import Bench


def inbound(quotas: Mode = "aws") -> Inbound:
    one = Inbound(Bench(quotas).broker)
    one.begin()
    return one


def verdict(outcome: Publish | Verdict) -> tuple[Reaction, Code]:
    assert isinstance(outcome, Verdict), outcome
    return outcome.reaction, outcome.code


def test_topic_aliases() -> None:
    one = inbound()
    assert one.judge(Publish("a", b"1", properties={"topic_alias": 8}), MQTT_5) == Publish(
        "a", b"1", properties={"topic_alias": 8}
    )
    assert one.judge(Publish("", b"2", properties={"topic_alias": 8}), MQTT_5) == Publish(
        "a", b"2", properties={"topic_alias": 8}
    )
    one.judge(Publish("b", b"", properties={"topic_alias": 8}), MQTT_5)
    assert one.judge(Publish("", b"3", properties={"topic_alias": 8}), MQTT_5)[0] == "b"


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (Publish("a", b"", properties={"topic_alias": 0}), Code.TOPIC_ALIAS_INVALID),
        (Publish("a", b"", properties={"topic_alias": 9}), Code.TOPIC_ALIAS_INVALID),
        (Publish("", b"", properties={"topic_alias": 1}), Code.PROTOCOL_ERROR),
        (Publish("", b""), Code.PROTOCOL_ERROR),
        (Publish("a", b"", properties={"subscription_ids": [1]}), Code.PROTOCOL_ERROR),
    ],
)
def test_broken_aliases(packet: Publish, code: Code) -> None:
    assert verdict(inbound().judge(packet, MQTT_5)) == (Reaction.DISCONNECT, code)


def test_qos_2_ends_mqtt_5_and_is_not_answered_in_mqtt_3_1_1() -> None:
    packet = Publish("a", b"", 2, packet_id=1)
    assert verdict(inbound().judge(packet, MQTT_5)) == (Reaction.DISCONNECT, Code.QOS_NOT_SUPPORTED)
    assert verdict(inbound().judge(packet, MQTT_3_1_1)) == (Reaction.DISCARD, Code.QOS_NOT_SUPPORTED)


async def test_a_hundred_unacknowledged_are_allowed() -> None:
    bench = Bench("aws")
    one = Inbound(bench.broker)
    packet = Publish("a", b"", 1, packet_id=1)
    for _ in range(2):
        one.begin()
        assert [one.judge(packet, MQTT_5) for _ in range(100)] == [packet] * 100
        await bench.clock.advance(1)
        bench.broker.begin()
    assert verdict(one.judge(packet, MQTT_5)) == (Reaction.DISCONNECT, Code.RECEIVE_MAXIMUM_EXCEEDED)
    assert one.judge(packet, MQTT_3_1_1) == packet  # cannot be told, and so waits


async def test_a_hundred_a_second_are_taken_and_the_rest_discarded() -> None:
    bench = Bench("aws")
    one = Inbound(bench.broker)
    one.begin()
    packet = Publish("a", b"")
    assert [one.judge(packet, MQTT_5) for _ in range(100)] == [packet] * 100
    assert verdict(one.judge(packet, MQTT_5)) == (Reaction.DISCARD, Code.MESSAGE_RATE_TOO_HIGH)
    await bench.clock.advance(0.5)
    bench.broker.begin()
    assert [one.judge(packet, MQTT_5) for _ in range(50)] == [packet] * 50
    assert verdict(one.judge(packet, MQTT_5)) == (Reaction.DISCARD, Code.MESSAGE_RATE_TOO_HIGH)


def test_topics_refused_on_purpose() -> None:
    bench = Bench()
    one = Inbound(bench.broker)
    bench.faults.reject("up/#", Code.PAYLOAD_FORMAT_INVALID)
    assert verdict(one.judge(Publish("up/x", b""), MQTT_5)) == (Reaction.REFUSE, Code.PAYLOAD_FORMAT_INVALID)
    assert one.judge(Publish("down/x", b""), MQTT_5) == Publish("down/x", b"")
