"""Batches in the shape of SQS, and what a partial batch response means."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.events.sqs import Item, failed_items, sqs_event, sqs_record

ITEM = Item("an-id", "a-receipt", '{"n":"é"}', 2, 1_545_082_649_183, 1_545_082_649_185, "cli", {"subject": "in/a"})
IDS = ("a", "b", "c")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def test_the_shape_is_that_of_an_sqs_event_source() -> None:
    event = json.loads(sqs_event([sqs_record(ITEM, "f"), sqs_record(ITEM._replace(id="other"), "f")]))
    assert [record["messageId"] for record in event["Records"]] == ["an-id", "other"]
    assert event["Records"][0] == {
        "messageId": "an-id",
        "receiptHandle": "a-receipt",
        "body": '{"n":"é"}',
        "attributes": {
            "ApproximateReceiveCount": "2",
            "SentTimestamp": "1545082649183",
            "SenderId": "cli",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {
            "subject": {"stringValue": "in/a", "stringListValues": [], "binaryListValues": [], "dataType": "String"}
        },
        "md5OfBody": "39eef6b5b67d0684bb232a4635427104",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:local:000000000000:f",
        "awsRegion": "local",
    }


def test_an_empty_batch_is_a_list() -> None:
    assert sqs_event([]) == b'{"Records":[]}'


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"null",
        b"{}",
        b'{"batchItemFailures":[]}',
        b'{"batchItemFailures":null}',
        b'{"statusCode":200}',
        b'"ok"',
        b"7",
    ],
)
def test_nothing_has_failed(reply: bytes) -> None:
    assert failed_items(reply, IDS) == frozenset()


@pytest.mark.parametrize(
    "reply",
    [
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b'[{"itemIdentifier":"a"}]',
        b'{"batchItemFailures":{}}',
        b'{"batchItemFailures":"a"}',
        b'{"batchItemFailures":["a"]}',
        b'{"batchItemFailures":[{"itemIdentifier":""}]}',
        b'{"batchItemFailures":[{"itemIdentifier":null}]}',
        b'{"batchItemFailures":[{"itemIdentifier":["a"]}]}',
        b'{"batchItemFailures":[{"itemIdentifier":"z"}]}',
        b'{"batchItemFailures":[{"messageId":"a"}]}',
        b'{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"z"}]}',
    ],
)
def test_a_report_that_cannot_be_understood_stands_for_all(reply: bytes) -> None:
    assert failed_items(reply, IDS) is None


def test_only_those_that_are_named_have_failed() -> None:
    reply = b'{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"a"},{"itemIdentifier":"c"}]}'
    assert failed_items(reply, IDS) == frozenset({"a", "c"})


@given(st.lists(st.sampled_from(IDS)), st.lists(st.none() | st.text(max_size=2) | st.integers()))
def test_a_report_is_taken_by_the_word_or_not_at_all(named: list[str], others: list[object]) -> None:
    unknown = [one for one in others if one not in IDS]
    report = [{"itemIdentifier": one} for one in [*named, *unknown]]
    failed = failed_items(json.dumps({"batchItemFailures": report}).encode(), IDS)
    assert failed == (None if unknown else frozenset(named))


@given(JSON)
def test_whatever_a_handler_returns_the_answer_is_of_the_batch(reply: object) -> None:
    failed = failed_items(json.dumps(reply).encode(), IDS)
    assert failed is None or failed <= set(IDS)
    report = failed_items(json.dumps({"batchItemFailures": reply}).encode(), IDS)
    assert report is None or (report == frozenset()) is (reply in (None, []))
