"""SQS batches, as AWS's own data classes read them."""

from __future__ import annotations

from aws_lambda_powertools.utilities.data_classes import SQSEvent

from edge_runtime.pure.events.samples import sqs
from tests.pure.events.samples.reading import read


def test_a_batch() -> None:
    records = list(SQSEvent(read(sqs.batch(queue="q", body='{"a": 1}', count=3))).records)
    assert [r.json_body for r in records] == [{"a": 1}] * 3
    assert len({r.message_id for r in records}) == 3
    first = records[0]
    assert first.md5_of_body == "42b7b4f2921788ea14dac5566e6f06d0"
    assert first.event_source_arn == "arn:aws:sqs:eu-west-1:123456789012:q"
    assert (first.event_source, first.aws_region) == ("aws:sqs", "eu-west-1")
    assert (first.attributes.approximate_receive_count, first.attributes.sent_timestamp) == ("1", "1789985730000")
    assert first.attributes.message_group_id is None


def test_a_fifo_queue_has_groups_and_numbers() -> None:
    first, second = SQSEvent(read(sqs.batch(queue="q", fifo=True))).records
    assert first.event_source_arn.endswith(":q.fifo")
    assert first.attributes.message_group_id == "1"
    numbers = [first.attributes.sequence_number, second.attributes.sequence_number]
    assert numbers == ["18849496460467696128", "18849496460467696129"]
    assert sqs.batch(queue="q.fifo", fifo=True)["Records"][0]["eventSourceARN"].endswith(":q.fifo")
