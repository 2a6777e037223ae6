"""How deep a JSON value is."""

from __future__ import annotations

import pytest

from edge_runtime.pure.nesting import levels


@pytest.mark.parametrize(
    ("value", "deep"),
    [(None, 0), ("[[", 0), ([], 1), ({}, 1), ({"a": 1}, 1), ([1, [2], {"a": [3]}], 3), ({"a": {}, "b": [[]]}, 3)],
)
def test_levels(value: object, deep: int) -> None:
    assert levels(value) == deep


def test_no_depth_is_too_much() -> None:
    value: object = 1
    for number in range(100_000):
        value = [value] if number % 2 else {"a": value}
    assert levels(value) == 100_000
