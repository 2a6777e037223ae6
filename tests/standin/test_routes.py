"""Subscriptions and matching."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edge_runtime.standin.packets import Subscription
from edge_runtime.standin.routes import Routes, split_share


@dataclass(eq=False)
class Member:
    """A subscriber."""

    name: str
    online: bool = True


A, B = Member("a"), Member("b")


def names(routes: Routes[Member], topic: str) -> list[str]:
    return [f"{member.name}{one.qos}" for member, one in routes.find(topic).plain]


def test_every_member_once_with_its_highest_qos() -> None:
    routes: Routes[Member] = Routes()
    routes.add(A, Subscription("x/+", 0))
    routes.add(A, Subscription("x/y", 1))
    routes.add(B, Subscription("#", 0))
    assert sorted(names(routes, "x/y")) == ["a1", "b0"]
    assert names(routes, "z") == ["b0"]


def test_the_aws_rule_a_level_below_is_needed() -> None:
    routes: Routes[Member] = Routes()
    routes.add(A, Subscription("sensor/#"))
    assert names(routes, "sensor") == []
    assert names(routes, "sensor/") == ["a0"]
    assert names(routes, "sensor/temperature/room1") == ["a0"]


def test_changes_show_at_once_although_matches_are_cached() -> None:
    routes: Routes[Member] = Routes()
    assert names(routes, "x") == []
    routes.add(A, Subscription("x", 0))
    assert names(routes, "x") == ["a0"]
    routes.add(A, Subscription("x", 1))
    assert names(routes, "x") == ["a1"]
    routes.remove(A, "x")
    routes.remove(A, "x")
    routes.remove(A, "never/there")
    assert names(routes, "x") == []


def test_many_topics_do_not_grow_the_cache_without_bound() -> None:
    routes: Routes[Member] = Routes()
    routes.add(A, Subscription("#"))
    for number in range(5000):
        assert names(routes, f"t/{number}") == ["a0"]
    assert len(routes._cache) <= 4096


def test_shared_groups_take_turns_and_prefer_who_is_there() -> None:
    routes: Routes[Member] = Routes()
    one, two = Member("one"), Member("two")
    routes.add(one, Subscription("$share/pool/x"))
    routes.add(two, Subscription("$share/pool/x"))
    (group,) = routes.find("x").shared
    assert sorted(group.pick()[0].name for _ in range(4)) == ["one", "one", "two", "two"]
    two.online = False
    assert {group.pick()[0].name for _ in range(4)} == {"one"}
    one.online = False
    assert sorted(group.pick()[0].name for _ in range(4)) == ["one", "one", "two", "two"]
    routes.remove(one, "$share/pool/x")
    routes.remove(two, "$share/pool/x")
    assert routes.find("x").shared == ()


@pytest.mark.parametrize(
    ("topic_filter", "parts"),
    [("a/b", ("", "a/b")), ("$share/pool/a/#", ("pool", "a/#")), ("$shared/x", ("", "$shared/x"))],
)
def test_share_names(topic_filter: str, parts: tuple[str, str]) -> None:
    assert split_share(topic_filter) == parts
