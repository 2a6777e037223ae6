"""S3 events, as AWS's own data classes read them."""

from __future__ import annotations

import pytest
from aws_lambda_powertools.utilities.data_classes import S3Event

from edge_runtime.pure.events.samples import s3
from tests.pure.events.samples.reading import read


def test_put() -> None:
    event = S3Event(read(s3.put(bucket="b", key="in box/ä+1.jpg", size=7)))
    assert (event.bucket_name, event.object_key) == ("b", "in box/ä+1.jpg")
    record = event.record
    assert (record.event_name, record.event_version, record.event_source) == ("ObjectCreated:Put", "2.1", "aws:s3")
    assert record.s3.get_object.key == "in+box/%C3%A4%2B1.jpg"
    assert (record.s3.get_object.size, len(record.s3.get_object.etag)) == (7, 32)
    assert record.s3.bucket.arn == "arn:aws:s3:::b"
    assert record.request_parameters.source_ip_address == "192.0.2.1"
    assert record.aws_region == "eu-west-1"


@pytest.mark.parametrize(("event", "name"), [(s3.copy(), "ObjectCreated:Copy"), (s3.delete(), "ObjectRemoved:Delete")])
def test_others_differ_by_name(event: dict[str, object], name: str) -> None:
    assert S3Event(read(event)).record.event_name == name


def test_what_was_deleted_has_no_size() -> None:
    assert set(read(s3.delete())["Records"][0]["s3"]["object"]) == {"key", "sequencer"}
