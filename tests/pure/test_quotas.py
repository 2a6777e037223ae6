"""The quotas of AWS IoT Core."""

from __future__ import annotations

import pytest

from edge_runtime.errors import LimitError
from edge_runtime.pure.quotas import check_client_id, check_filters, check_publish


@pytest.mark.parametrize(
    ("topic", "size"),
    [
        ("a/b/c/d/e/f/g/h", 131072),
        ("x" * 256, 0),
        ("ü" * 128, 0),
        ("$aws/rules/my_rule/a/b/c/d/e/f/g/h", 0),
        ("$aws/rules/my_rule/" + "x" * 256, 0),
    ],
)
def test_what_just_fits(topic: str, size: int) -> None:
    check_publish(topic, size)


@pytest.mark.parametrize(
    ("topic", "size", "message"),
    [
        ("a/b/c/d/e/f/g/h/i", 0, "topic 'a/b/c/d/e/f/g/h/i' has 8 slashes; AWS IoT Core allows 7"),
        ("x" * 257, 0, f"topic '{'x' * 257}' has 257 bytes; AWS IoT Core allows 256"),
        ("ü" * 129, 0, f"topic '{'ü' * 129}' has 258 bytes; AWS IoT Core allows 256"),
        ("a", 131073, "the payload for 'a' has 131073 bytes; AWS IoT Core allows 131072"),
        (
            "$aws/rules/r/a/b/c/d/e/f/g/h/i",
            0,
            "topic '$aws/rules/r/a/b/c/d/e/f/g/h/i' has 8 slashes; AWS IoT Core allows 7",
        ),
        (
            "$aws/rules/r",
            0,
            "topic '$aws/rules/r' has nothing after the name of the rule: Basic Ingest needs a topic there",
        ),
        (
            "$aws/rules/r/",
            0,
            "topic '$aws/rules/r/' has nothing after the name of the rule: Basic Ingest needs a topic there",
        ),
        ("a/+", 0, "topic 'a/+' holds '+': wildcards belong in filters, not in the topic of a message"),
    ],
)
def test_what_breaks_a_quota_of_publishing(topic: str, size: int, message: str) -> None:
    with pytest.raises(LimitError) as error:
        check_publish(topic, size)
    assert str(error.value) == message


def test_fifty_filters_fit_and_a_repeated_one_counts_once() -> None:
    check_filters([f"a/{n}" for n in range(50)] + ["a/1"])
    check_filters(["$share/workers/a/b/c/d/e/f/g/#"])


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            [f"a/{n}" for n in range(51)],
            "51 topic filters; AWS IoT Core allows 50 subscriptions on a connection",
        ),
        (["a/b/c/d/e/f/g/h/#"], "topic filter 'a/b/c/d/e/f/g/h/#' has 8 slashes; AWS IoT Core allows 7"),
        (["x" * 257], f"topic filter '{'x' * 257}' has 257 bytes; AWS IoT Core allows 256"),
        (["a/#/b"], "topic filter 'a/#/b': '#' may only be the last level"),
        (["$share/g"], "topic filter '$share/g' is no shared subscription: write $share/<name>/<filter>"),
        (
            ["$aws/rules/r/a"],
            "topic filter '$aws/rules/r/a': Basic Ingest topics can be published to, not subscribed to",
        ),
    ],
)
def test_what_breaks_a_quota_of_subscribing(filters: list[str], message: str) -> None:
    with pytest.raises(LimitError) as error:
        check_filters(filters)
    assert str(error.value) == message


def test_client_ids() -> None:
    check_client_id("x" * 128)
    for bad, message in {
        "": "the MQTT client id is empty; AWS IoT Core needs one, usually the name of the thing",
        "$a": "the MQTT client id '$a' begins with '$', which AWS IoT Core keeps for itself",
        "x" * 129: f"the MQTT client id '{'x' * 129}' has 129 bytes; AWS IoT Core allows 128",
        "a\0": "the MQTT client id 'a\\x00' holds a NUL character, which MQTT does not allow",
        "a\ud800": "the MQTT client id 'a\\ud800' is not valid Unicode",
    }.items():
        with pytest.raises(LimitError) as error:
            check_client_id(bad)
        assert str(error.value) == message
