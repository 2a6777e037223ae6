"""What a function may do: by topic, by name, and by filters that lie inside one another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import NOTHING, Function, Permissions
from edge_runtime.errors import DeniedError
from edge_runtime.pure import permissions as may
from edge_runtime.pure.topics import matches

FREE = Permissions()
SOME = Permissions(publish=("dt/#", "+/alarm"), subscribe=("cmd/+/x",), invoke=("g",), devices=("pump",))
LEVELS = st.sampled_from(["a", "b", "", "$x", "+", "#"])
FILTERS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(lambda text: text and "#/" not in text)
TOPICS = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=5).map("/".join).filter(bool)


@pytest.mark.parametrize(
    ("topic", "some"),
    [
        ("dt/soil", True),
        ("dt", False),
        ("door/alarm", True),
        ("door/alarm/x", False),
        ("function/g/invoke", True),
        ("function/h/invoke", False),
        ("device/pump/set", True),
        ("device/led/set", False),
        ("device/pump", False),
    ],
)
def test_a_topic_is_judged_by_what_an_event_on_it_does(topic: str, some: bool) -> None:  # noqa: FBT001 - a table
    assert may.may_publish(SOME, topic) is some
    assert may.may_publish(FREE, topic) is True
    assert may.may_publish(NOTHING, topic) is False


def test_a_wide_publish_opens_no_way_around_the_other_lists() -> None:
    wide = Permissions(publish=("#",), invoke=(), devices=())
    assert may.may_publish(wide, "any/thing")
    assert not may.may_publish(wide, "function/g/invoke")
    assert not may.may_publish(wide, "device/pump/set")
    assert may.may_publish(Permissions(publish=()), "function/g/invoke")


def test_names_are_exact() -> None:
    assert may.may_invoke(SOME, "g")
    assert not may.may_invoke(SOME, "gg")
    assert may.may_invoke(FREE, "gg")
    assert may.may_use_device(SOME, "pump")
    assert not may.may_use_device(NOTHING, "pump")


@pytest.mark.parametrize(
    ("wide", "narrow", "inside"),
    [
        ("a/#", "a/b", True),
        ("a/#", "a/+/b", True),
        ("a/#", "a/#", True),
        ("a/#", "a", False),
        ("a/+", "a/#", False),
        ("a/+/#", "a/#", False),
        ("+/b", "a/b", True),
        ("a/b", "+/b", False),
        ("#", "+", True),
        ("#", "$aws/x", False),
        ("$aws/#", "$aws/x", True),
        ("a/b", "a/b/c", False),
    ],
)
def test_a_filter_inside_another(wide: str, narrow: str, inside: bool) -> None:  # noqa: FBT001 - a table
    assert may.covers(wide, narrow) is inside
    assert may.may_subscribe(Permissions(subscribe=(wide,)), narrow) is inside


@given(FILTERS, FILTERS, TOPICS)
def test_who_may_subscribe_to_a_filter_gets_no_topic_that_is_not_allowed(wide: str, narrow: str, topic: str) -> None:
    if may.covers(wide, narrow) and matches(narrow, topic):
        assert matches(wide, topic)


@given(FILTERS)
def test_every_filter_lies_inside_itself(one: str) -> None:
    assert may.covers(one, one)


@pytest.mark.parametrize(
    ("topic", "hint"),
    [
        ("else", "functions: {f: {allow: {publish: ['else']}}}"),
        ("function/h/invoke", "functions: {f: {allow: {invoke: ['h']}}}"),
        ("device/led/set", "functions: {f: {allow: {devices: ['led']}}}"),
    ],
)
def test_a_denial_says_what_to_allow(topic: str, hint: str) -> None:
    function = Function("f", Path(), "app.handler", allow=SOME)
    may.check_publish(function, "dt/soil")
    with pytest.raises(DeniedError, match=rf"function 'f' may not emit on topic '{topic}'") as caught:
        may.check_publish(function, topic)
    assert caught.value.hint.endswith(hint)


def test_the_topic_of_an_invocation() -> None:
    assert may.invoke_topic("f") == "function/f/invoke"
    assert may.invoked("function/f/invoke") == "f"
    assert may.invoked("function/f/invoke/x") == may.invoked("function/f") == may.invoked("dt/f/invoke") == ""


@pytest.mark.parametrize(
    ("headers", "depth"),
    [({}, 0), ({"edge-depth": "3"}, 3), ({"edge-depth": "x"}, 0), ({"edge-depth": "-1"}, 0), ({"edge-depth": ""}, 0)],
)
def test_each_function_in_a_row_is_one_deeper(headers: dict[str, str], depth: int) -> None:
    assert may.depth(headers) == depth
    assert may.caused("an-id", headers) == {"edge-cause": "an-id", "edge-depth": str(depth + 1)}
