"""An event of a bus, as AWS's own data class reads it."""

from __future__ import annotations

import pytest
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent

from edge_runtime.pure.events.samples import eventbridge
from tests.pure.events.samples.reading import read


def test_an_event() -> None:
    made = eventbridge.eventbridge(source="a.b", detail_type="It Is", detail='{"x": [1]}')
    event = EventBridgeEvent(read(made))
    assert (event.source, event.detail_type, event.detail) == ("a.b", "It Is", {"x": [1]})
    assert (event.version, event.account, event.region) == ("0", "123456789012", "eu-west-1")


def test_a_detail_that_is_no_json() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        eventbridge.eventbridge(detail="{")
