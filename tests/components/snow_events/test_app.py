"""What a Snowball Edge tells by MQTT becomes what functions for S3 take."""

from __future__ import annotations

from typing import Any

import pytest

from components.snow_events.app import handler
from edge_runtime.pure.events.samples import s3

PUT = s3.put(bucket="pictures", key="in/a b.jpg")


def test_an_event_of_s3_stays_as_it_is() -> None:
    assert handler(PUT) == PUT


def test_what_is_missing_is_filled_in() -> None:
    small = {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": "pictures"}, "object": {"key": "a.jpg"}}}
    whole = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "snow",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "pictures"}, "object": {"key": "a.jpg"}},
    }
    for event in ({"Records": [small]}, [small], small):
        assert handler(event) == {"Records": [whole]}


@pytest.mark.parametrize("event", [{"Records": []}, {"Service": "Amazon S3", "Event": "s3:TestEvent"}])
def test_a_test_message_makes_no_event(event: dict[str, Any]) -> None:
    assert handler(event) is None


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("text", "no S3 event: 'text'"),
        (None, "no S3 event: None"),
        ([], r"no S3 event: \[\]"),
        ({}, "a record of an S3 event has no 'eventName'"),
        ([1], "a record of an S3 event has no"),
        ({"Records": [{"eventName": "x", "s3": {"bucket": {"name": "b"}}}]}, "has no 'object'"),
        ([{"eventName": "x", "s3": {"bucket": {"name": "b"}, "object": {"key": ""}}}], "names no object"),
    ],
)
def test_what_is_no_event_is_said(event: Any, message: str) -> None:  # noqa: ANN401 - anything may come
    with pytest.raises(ValueError, match=message):
        handler(event)
