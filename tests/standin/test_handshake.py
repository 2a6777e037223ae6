"""What a CONNECT is answered with, mostly under AWS's quotas."""

from __future__ import annotations

import pytest

from edge_runtime.standin.access import Caller
from edge_runtime.standin.codes import Code
from edge_runtime.standin.handshake import Accepted, Refused, judge
from edge_runtime.standin.packets import MQTT_3_1_1, MQTT_5, Connect, Will
from edge_runtime.standin.properties import Properties
from edge_runtime.standin.quotas import Mode
from edge_runtime.standin.sessions import NEVER
from tests.standin.harness import Bench


def accepted(packet: Connect, quotas: Mode = "aws") -> Accepted:
    outcome = judge(Bench(quotas).broker, packet, Caller())
    assert isinstance(outcome, Accepted), outcome
    return outcome


def refused(packet: Connect) -> Refused:
    outcome = judge(Bench("aws").broker, packet, Caller())
    assert isinstance(outcome, Refused), outcome
    return outcome


def test_the_connack_that_aws_sends() -> None:
    """As seen in aws-iot-device-sdk-js-v2 issue 535."""
    assert accepted(Connect("thing", keep_alive=120, properties={"session_expiry": 1200})).properties == {
        "receive_maximum": 100,
        "maximum_qos": 1,
        "retain_available": 1,
        "maximum_packet_size": 149_504,
        "topic_alias_maximum": 8,
        "wildcards_available": 1,
        "subscription_ids_available": 0,
        "shared_available": 1,
        "server_keep_alive": 120,
    }


def test_without_quotas_nothing_is_bounded() -> None:
    outcome = accepted(Connect("thing"), "none")
    assert (outcome.keep_alive_s, outcome.expiry_s, outcome.window) == (0, 0, 65_535)
    assert "receive_maximum" not in outcome.properties
    assert "server_keep_alive" not in outcome.properties


@pytest.mark.parametrize(
    ("packet", "expiry_s", "told"),
    [
        (Connect("c", MQTT_5), 0, None),
        (Connect("c", MQTT_5, properties={"session_expiry": 604_800}), 604_800, None),
        (Connect("c", MQTT_5, properties={"session_expiry": 604_801}), 604_800, 604_800),
        (Connect("c", MQTT_5, properties={"session_expiry": NEVER}), 604_800, 604_800),
        (Connect("c", MQTT_3_1_1, clean_start=False), 3600, None),
        (Connect("c", MQTT_3_1_1), 0, None),
    ],
)
def test_session_expiry(packet: Connect, expiry_s: int, told: int | None) -> None:
    outcome = accepted(packet)
    assert (outcome.expiry_s, outcome.properties.get("session_expiry")) == (expiry_s, told)


def test_sessions_of_mqtt_3_1_1_last_for_ever_without_quotas() -> None:
    assert accepted(Connect("c", MQTT_3_1_1, clean_start=False), "none").expiry_s == NEVER


@pytest.mark.parametrize(
    ("asked", "window"), [({}, 100), ({"receive_maximum": 10}, 10), ({"receive_maximum": 500}, 100)]
)
def test_the_outbound_window_is_the_smaller_of_both(asked: Properties, window: int) -> None:
    assert accepted(Connect("c", properties=asked)).window == window


def test_a_name_is_made_up_as_aws_does() -> None:
    outcome = accepted(Connect(""))
    assert outcome.client_id.startswith("$GEN/")
    assert outcome.properties["assigned_client_id"] == outcome.client_id
    assert accepted(Connect("", MQTT_3_1_1)).client_id != accepted(Connect("", MQTT_3_1_1)).client_id


@pytest.mark.parametrize(
    ("packet", "code", "words"),
    [
        (Connect("$thing"), Code.CLIENT_ID_INVALID, "begins with"),
        (Connect("x" * 129), Code.CLIENT_ID_INVALID, "129 bytes"),
        (Connect("", MQTT_3_1_1, clean_start=False), Code.CLIENT_ID_INVALID, "needs a client id"),
        (Connect("c", will=Will("t", b"", 2)), Code.QOS_NOT_SUPPORTED, "QoS 2"),
        (Connect("c", will=Will("a/#", b"")), Code.TOPIC_INVALID, "the will: topic 'a/#'"),
        (Connect("c", will=Will("t", bytes(131_073))), Code.PACKET_TOO_LARGE, "131073 bytes"),
        (Connect("c", properties={"authentication_method": "x"}), Code.BAD_AUTHENTICATION_METHOD, "authentication"),
    ],
)
def test_refusals(packet: Connect, code: Code, words: str) -> None:
    outcome = refused(packet)
    assert outcome.code is code
    assert words in outcome.text


def test_one_connect_a_second_and_client_id() -> None:
    bench = Bench("aws")
    assert isinstance(judge(bench.broker, Connect("c"), Caller()), Accepted)
    outcome = judge(bench.broker, Connect("c"), Caller())
    assert isinstance(outcome, Refused)
    assert outcome.code is Code.QUOTA_EXCEEDED
    assert isinstance(judge(bench.broker, Connect("other"), Caller()), Accepted)


async def test_a_second_later_it_may_connect_again() -> None:
    bench = Bench("aws")
    judge(bench.broker, Connect("c"), Caller())
    await bench.clock.advance(1)
    bench.broker.begin()
    assert isinstance(judge(bench.broker, Connect("c"), Caller()), Accepted)


def test_refused_on_purpose() -> None:
    bench = Bench()
    bench.faults.refuse(Code.SERVER_BUSY)
    assert bench.connack(Connect("c")).code == Code.SERVER_BUSY
    assert bench.connack(Connect("c", MQTT_3_1_1)).code == 3
    bench.faults.clear()
    assert bench.connack(Connect("c")).code == 0
