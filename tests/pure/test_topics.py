"""Topics and filters, against the rules of AWS IoT Core."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import LimitError
from edge_runtime.pure.topics import check_filter, check_topic, matches

LEVEL = st.sampled_from(["", "a", "b", "ab", "$SYS", "é"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=5).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(LEVEL | st.just("+"), max_size=5),
    st.sampled_from([[], ["#"]]),
).filter(bool)


def reference(wanted: list[str], got: list[str]) -> bool:
    """Match by the words of the AWS page, one level at a time."""
    if not wanted or not got:
        return wanted == got
    if wanted == ["#"]:
        return True
    return wanted[0] in ("+", got[0]) and reference(wanted[1:], got[1:])


@given(FILTER, TOPIC)
def test_agrees_with_the_plain_recursive_definition(topic_filter: str, topic: str) -> None:
    hidden = topic.startswith("$") and topic_filter[0] in "+#"
    assert matches(topic_filter, topic) == (not hidden and reference(topic_filter.split("/"), topic.split("/")))


@given(TOPIC)
def test_a_topic_matches_itself(topic: str) -> None:
    assert matches(topic, topic)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("sensor/#", "sensor/", True),
        ("sensor/#", "sensor/temperature", True),
        ("sensor/#", "sensor/temperature/room1", True),
        ("sensor/#", "sensor", False),  # MQTT says true, AWS says false
        ("sensor/#", "sensors/temperature", False),
        ("#", "anything", True),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("+", "$SYS", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("$SYS/+", "$SYS/uptime", True),
        ("+", "", False),
        ("+", "a", True),
        ("+/+", "a", False),
        ("+/+", "a/", True),
        ("+/+", "/a", True),
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/d", False),
        ("a/+", "a/b/c", False),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("A", "a", False),
    ],
)
def test_matches(topic_filter: str, topic: str, *, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected if topic else not expected


@pytest.mark.parametrize("topic", ["a", "/", "a b", "device/soil", "$aws/things/x/shadow/get", "x" * 65535, "🌱/ü"])
def test_good_topics(topic: str) -> None:
    check_topic(topic)
    check_filter(topic)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("", "a topic may not be empty"),
        ("a\0b", "topic 'a\\x00b' holds a NUL character, which MQTT does not allow"),
        ("a\ud800", "topic 'a\\ud800' is not valid Unicode: a lone surrogate at 1"),
        ("a/+", "topic 'a/+' holds '+': wildcards belong in filters, not in the topic of a message"),
        ("a/#", "topic 'a/#' holds '#': wildcards belong in filters, not in the topic of a message"),
        ("ü" * 32768, f"topic '{'ü' * 40}'... has 65536 bytes; MQTT allows 65535"),
    ],
)
def test_bad_topics(topic: str, message: str) -> None:
    with pytest.raises(LimitError) as error:
        check_topic(topic)
    assert str(error.value) == message


@pytest.mark.parametrize("topic_filter", ["#", "+", "+/+/#", "a/+/b", "/+", "+/"])
def test_good_filters(topic_filter: str) -> None:
    check_filter(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "message"),
    [
        ("", "a topic filter may not be empty"),
        ("a/#/b", "topic filter 'a/#/b': '#' may only be the last level"),
        ("a+/b", "topic filter 'a+/b': a wildcard must be a whole level, 'a+' is not"),
        ("a/b#", "topic filter 'a/b#': a wildcard must be a whole level, 'b#' is not"),
        ("a/++", "topic filter 'a/++': a wildcard must be a whole level, '++' is not"),
        ("\0", "topic filter '\\x00' holds a NUL character, which MQTT does not allow"),
    ],
)
def test_bad_filters(topic_filter: str, message: str) -> None:
    with pytest.raises(LimitError) as error:
        check_filter(topic_filter)
    assert str(error.value) == message
