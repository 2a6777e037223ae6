"""The event of a schedule, as AWS's own data class reads it."""

from __future__ import annotations

from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent

from edge_runtime.pure.events.samples import schedule
from tests.pure.events.samples.reading import read


def test_it_is_a_scheduled_event() -> None:
    event = EventBridgeEvent(read(schedule.schedule(rule="r")))
    assert (event.detail_type, event.source, event.detail) == ("Scheduled Event", "aws.events", {})
    assert event.resources == ["arn:aws:events:local:000000000000:rule/r"]
    assert event.time == "2026-09-21T10:15:30Z"
    assert len(event.get_id) == 36
