"""AWS's quotas and reactions, judged without a connection."""

from __future__ import annotations

import pytest

from edge_runtime.standin.codes import Code
from edge_runtime.standin.quotas import (
    AWS,
    NONE,
    Gate,
    Reaction,
    client_id_fault,
    filter_fault,
    keep_alive,
    limits,
    message_expiry,
    most_packet,
)

DEEP = "/".join("abcdefghi")


@pytest.mark.parametrize(
    ("topic", "size", "retain", "reaction", "code"),
    [
        ("t", 131_073, False, Reaction.DISCONNECT, Code.PACKET_TOO_LARGE),
        ("t" * 257, 1, False, Reaction.REFUSE, Code.TOPIC_INVALID),
        (DEEP, 1, False, Reaction.REFUSE, Code.TOPIC_INVALID),
        ("$SYS/x", 1, False, Reaction.DISCONNECT, Code.NOT_AUTHORIZED),
        ("$aws/events/presence/connected/x", 1, False, Reaction.DISCONNECT, Code.NOT_AUTHORIZED),
        ("$aws/things/t/shadow/update", 1, True, Reaction.DISCONNECT, Code.RETAIN_NOT_SUPPORTED),
    ],
)
def test_what_aws_does_not_accept(topic: str, size: int, *, retain: bool, reaction: Reaction, code: Code) -> None:
    verdict = Gate(AWS).judge(topic, size, retain=retain)
    assert verdict is not None
    assert (verdict.reaction, verdict.code) == (reaction, code)


@pytest.mark.parametrize(
    ("topic", "size"),
    [
        ("t", 131_072),
        ("t" * 256, 1),
        (DEEP[:-2], 1),
        ("$aws/things/t/shadow/update", 1),
        (f"$aws/rules/r/{DEEP[:-2]}", 1),
    ],
)
def test_what_aws_just_accepts(topic: str, size: int) -> None:
    gate = Gate(AWS)
    assert gate.judge(topic, size, retain=False) is None
    assert gate.judge(topic, size, retain=False) is None


def test_a_topic_that_passed_once_is_still_held_to_the_size() -> None:
    gate = Gate(AWS)
    assert gate.judge("t", 1, retain=False) is None
    assert gate.judge("t", 131_073, retain=False) is not None


def test_without_quotas_only_mqtt_counts() -> None:
    gate = Gate(NONE)
    assert gate.judge(DEEP * 40, 10_000_000, retain=False) is None
    assert gate.judge("$SYS/x", 1, retain=False) is None


def test_the_gate_forgets_topics_rather_than_grow() -> None:
    gate = Gate(NONE)
    for number in range(5000):
        assert gate.judge(f"t/{number}", 1, retain=False) is None
    assert len(gate._passed) <= 4096


@pytest.mark.parametrize(("asked", "aws"), [(0, 1200), (1, 30), (29, 30), (30, 30), (60, 60), (1201, 1200)])
def test_keep_alive_is_brought_into_range(asked: int, aws: int) -> None:
    assert keep_alive(AWS, asked) == aws
    assert keep_alive(NONE, asked) == asked


@pytest.mark.parametrize(("asked", "aws"), [(0, 1), (1, 1), (604_800, 604_800), (604_801, 604_800)])
def test_message_expiry_is_brought_into_range(asked: int, aws: int) -> None:
    assert message_expiry(AWS, asked) == aws
    assert message_expiry(NONE, asked) == asked


@pytest.mark.parametrize(
    ("topic_filter", "plain", "aws"),
    [
        ("a/+/#", True, True),
        ("", False, False),
        ("a#", False, False),
        ("a/#/b", False, False),
        ("$share/pool/a/#", True, True),
        ("$share/pool", False, False),
        ("$share//a", False, False),
        ("$share/pool/", False, False),
        ("$share/p+/a", False, False),
        (f"$share/pool/{DEEP[:-2]}", True, True),
        (DEEP, True, False),
        ("f" * 257, True, False),
        ("$SYS/#", True, False),
        ("$aws/things/t/shadow/#", True, True),
        ("$aws/rules/r/x", True, False),
    ],
)
def test_filters(topic_filter: str, *, plain: bool, aws: bool) -> None:
    assert (filter_fault(NONE, topic_filter) == "") is plain
    assert (filter_fault(AWS, topic_filter) == "") is aws


def test_client_ids() -> None:
    assert client_id_fault(AWS, "thing") == ""
    assert "begins with '$'" in client_id_fault(AWS, "$GEN/x")
    assert "129 bytes" in client_id_fault(AWS, "x" * 129)
    assert client_id_fault(NONE, "$" * 200) == ""


def test_the_modes() -> None:
    assert limits("aws") is AWS
    assert limits("none") is NONE
    assert (most_packet(AWS), most_packet(NONE)) == (149_504, 268_435_455)
