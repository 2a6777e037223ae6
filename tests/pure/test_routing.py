"""The router: who gets an event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Rule
from edge_runtime.errors import LimitError
from edge_runtime.model import Feed
from edge_runtime.pure.routing import Router
from edge_runtime.pure.topics import matches

LEVEL = st.sampled_from(["", "a", "b", "$x"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(LEVEL | st.just("+"), max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)
TARGET = st.sampled_from(["f", "g", "uplink"])
RULE = st.builds(Rule, FILTER, st.lists(TARGET, max_size=3).map(tuple), st.integers(0, 9))


def brute_force(rules: list[Rule], topic: str) -> tuple[Feed, ...]:
    """Test every rule, one after the other."""
    hits = [(t, rule.priority) for rule in rules if matches(rule.filter, topic) for t in rule.targets]
    return tuple(Feed(t, min(p for name, p in hits if name == t)) for t in dict.fromkeys(name for name, _ in hits))


@given(st.lists(RULE, max_size=12), st.lists(TOPIC, min_size=1, max_size=8))
def test_equals_brute_force(rules: list[Rule], topics: list[str]) -> None:
    router = Router(rules)
    for topic in topics * 2:  # the second time from the cache
        assert router.feeds(topic) == brute_force(rules, topic)


def test_the_most_urgent_rule_wins_and_the_order_is_that_of_the_rules() -> None:
    router = Router(
        [
            Rule("device/#", ("log", "uplink"), 7),
            Rule("device/+/pressed", ("uplink",), 2),
            Rule("device/door/pressed", ("open", "log"), 9),
        ]
    )
    assert router.feeds("device/door/pressed") == (Feed("log", 7), Feed("uplink", 2), Feed("open", 9))
    assert router.feeds("device/door") == (Feed("log", 7), Feed("uplink", 7))


def test_nobody_is_fed_by_an_unknown_topic() -> None:
    assert Router([Rule("a", ("f",))]).feeds("b") == ()
    assert Router([]).feeds("a") == ()


def test_a_malformed_filter_is_refused() -> None:
    with pytest.raises(LimitError, match="'#' may only be the last level"):
        Router([Rule("a/#/b", ("f",))])


def test_a_repeated_topic_gives_the_very_same_answer() -> None:
    router = Router([Rule("a/+", ("f",))])
    assert router.feeds("a/b") is router.feeds("a/b")


def test_topics_that_never_come_again_do_not_pile_up() -> None:
    router = Router([Rule("a/+", ("f",))])
    for n in range(10_000):
        assert router.feeds(f"a/{n}") == (Feed("f"),)
    assert len(router._cache) <= 4096


def test_a_filter_deeper_than_the_recursion_limit_works() -> None:
    deep = "/".join("x" * 3000)
    router = Router([Rule(deep, ("f",)), Rule(f"{deep}/#", ("g",))])
    assert router.feeds(deep) == (Feed("f"),)
    assert router.feeds(f"{deep}/y") == (Feed("g"),)
