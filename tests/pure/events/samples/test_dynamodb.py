"""DynamoDB stream records, as AWS's own data classes read them."""

from __future__ import annotations

from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord

from edge_runtime.pure.events.samples import dynamodb
from tests.pure.events.samples.reading import read


def record(event: dict[str, object]) -> DynamoDBRecord:
    (found,) = DynamoDBStreamEvent(read(event)).records
    assert found.dynamodb is not None
    assert found.event_source_arn is not None
    assert found.event_source_arn.startswith("arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/")
    return found


def images(event: dict[str, object]) -> tuple[str, object, object]:
    found = record(event)
    assert found.dynamodb is not None
    assert found.dynamodb.keys == {"id": "k"}
    name = found.event_name
    assert name is not None
    return name.name, found.dynamodb.new_image or None, found.dynamodb.old_image or None


def test_each_kind_has_its_images() -> None:
    new, old = {"id": "k", "value": "n"}, {"id": "k", "value": "o"}
    assert images(dynamodb.insert(table="t", key="k", value="n")) == ("INSERT", new, None)
    assert images(dynamodb.modify(table="t", key="k", value="n", previous="o")) == ("MODIFY", new, old)
    assert images(dynamodb.remove(table="t", key="k", previous="o")) == ("REMOVE", None, old)


def test_a_deletion_by_its_time_to_live_says_so() -> None:
    assert record(dynamodb.remove(table="t")).user_identity == {}
    assert record(dynamodb.remove(table="t", ttl=True)).user_identity == {
        "type": "Service",
        "principalId": "dynamodb.amazonaws.com",
    }
