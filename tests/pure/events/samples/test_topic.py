"""A message on a topic is its payload."""

from __future__ import annotations

import pytest

from edge_runtime.pure.events.samples import topic


def test_the_payload_comes_unwrapped() -> None:
    assert topic.topic() == {"value": 1}
    assert topic.topic(body="[1, null]") == [1, None]


def test_a_body_that_is_no_json() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        topic.topic(body="on")
