"""Kinesis records, as AWS's own data classes read them."""

from __future__ import annotations

from aws_lambda_powertools.utilities.data_classes import KinesisStreamEvent

from edge_runtime.pure.events.samples import kinesis
from tests.pure.events.samples.reading import read


def test_a_batch() -> None:
    event = KinesisStreamEvent(read(kinesis.kinesis(stream="s", body='{"a": 1}', partition_key="k", count=2)))
    first, second = event.records
    assert first.kinesis.data_as_json() == {"a": 1}
    assert (first.kinesis.partition_key, first.kinesis.kinesis_schema_version) == ("k", "1.0")
    assert first.event_source_arn == "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
    assert first.event_id == f"shardId-000000000000:{first.kinesis.sequence_number}"
    assert int(second.kinesis.sequence_number) == int(first.kinesis.sequence_number) + 1
    assert first.kinesis.approximate_arrival_timestamp == 1_789_985_730.123
    assert (first.event_name, first.event_source) == ("aws:kinesis:record", "aws:kinesis")
