"""In which words a device is desired and reported."""

from __future__ import annotations

import math

import pytest

from edge_runtime.app import ShadowKey
from edge_runtime.pure.shadow_device import clash, fulfils, nested, refusal, usable, worded


@pytest.mark.parametrize(
    ("value", "desired", "expected"),
    [
        (1, "on", True),
        (True, "on", True),
        (1.0, "on", True),
        (0.5, "on", False),
        (0, "off", True),
        (0, "on", False),
        ([1, 1], "on", True),
        ([1, 0], "on", False),
        ([], "on", False),
        ("on", "on", True),
        ("off", "on", False),
        (1, True, True),
        (0, True, False),
        (0.502, 0.5, True),
        (0.51, 0.5, False),
        ([0, 0.501], [0, 0.5], True),
        ([0], [0, 0.5], False),
        ("text", "text", True),
        ("1", 1, False),
        (None, "on", False),
        (1, {"x": 1}, False),
    ],
)
def test_a_device_is_as_desired(value: object, desired: object, expected: bool) -> None:  # noqa: FBT001 - a table
    assert fulfils(value, desired) is expected


@pytest.mark.parametrize(
    ("value", "like", "expected"),
    [
        (1, "on", "on"),
        (0, "on", "off"),
        (1, "off", "on"),
        (0.3, "on", 0.3),
        (1, True, True),
        (0, True, False),
        (0.502, 0.5, 0.5),
        (0.6, 0.5, 0.6),
        (1, None, 1),
        ([0, 0], "on", "off"),
        (1, "anything", 1),
        (1, {"x": 1}, 1),
    ],
)
def test_a_value_is_reported_in_the_words_of_who_asked(value: object, like: object, expected: object) -> None:
    assert (found := worded(value, like)) == expected
    assert type(found) is type(expected)


def test_what_no_device_can_be() -> None:
    assert "toggle" in refusal("toggle")
    assert "an object" in refusal({"value": 1})
    assert [refusal(value) for value in ("on", 0.5, [1, 0], True, "a text")] == [""] * 5


def test_what_a_shadow_can_hold() -> None:
    assert all(map(usable, [0, 0.5, "a", True, [0, 1]]))
    assert not any(map(usable, [None, math.nan, math.inf, [0, None], (0, (math.nan,))]))


def test_places() -> None:
    assert nested(("a", "b"), 1) == {"a": {"b": 1}}
    with pytest.raises(TypeError):
        nested((), 1)
    place = ShadowKey("s", ("a", "b"))
    assert [clash(place, ShadowKey("s", path)) for path in (("a", "b"), ("a",), ("a", "b", "c"), ("a", "c"))] == [
        True,
        True,
        True,
        False,
    ]
    assert not clash(place, ShadowKey("", ("a", "b")))
