"""EventBridge's scheduled event."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from edge_runtime.pure.events.schedule import scheduled_event


def test_the_shape_is_that_of_eventbridge() -> None:
    payload = scheduled_event("irrigate", datetime(2026, 9, 21, 10, 15, tzinfo=UTC), "an-id")
    assert payload == (
        b'{"version":"0","id":"an-id","detail-type":"Scheduled Event","source":"aws.events","account":"000000000000",'
        b'"time":"2026-09-21T10:15:00Z","region":"local",'
        b'"resources":["arn:aws:events:local:000000000000:rule/irrigate"],"detail":{}}'
    )


def test_account_region_and_zone() -> None:
    when = datetime(2026, 9, 21, 12, 15, tzinfo=timezone(timedelta(hours=2)))
    body = json.loads(scheduled_event('a "b"', when, "an-id", account="123456789012", region="eu-west-1"))
    assert body["time"] == "2026-09-21T10:15:00Z"
    assert (body["account"], body["region"]) == ("123456789012", "eu-west-1")
    assert body["resources"] == ['arn:aws:events:eu-west-1:123456789012:rule/a "b"']
