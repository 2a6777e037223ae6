"""The records of a function's destinations."""

from __future__ import annotations

import json

import pytest

from edge_runtime.pure.events.destination import EXHAUSTED, SUCCESS, TOO_OLD, Outcome, invocation_record

WALL_NS = 1_574_014_565_168_999_999


def test_the_shape_is_that_of_lambda() -> None:
    outcome = Outcome(EXHAUSTED, 3, fault=True)
    record = invocation_record(
        "order", "an-id", b'{"n": 1}', b'{"errorMessage":"no"}', outcome=outcome, wall_ns=WALL_NS
    )
    assert record == (
        b'{"version":"1.0","timestamp":"2019-11-17T18:16:05.168Z","requestContext":{"requestId":"an-id",'
        b'"functionArn":"arn:aws:lambda:local:000000000000:function:order:$LATEST","condition":"RetriesExhausted",'
        b'"approximateInvokeCount":3},"requestPayload":{"n": 1},"responseContext":{"statusCode":200,'
        b'"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorMessage":"no"}}'
    )


@pytest.mark.parametrize(
    ("outcome", "condition", "context"),
    [
        (Outcome(SUCCESS, 1), "Success", {"statusCode": 200, "executedVersion": "$LATEST"}),
        (Outcome(TOO_OLD, 0, 429), "EventAgeExceeded", {"statusCode": 429, "executedVersion": "$LATEST"}),
    ],
)
def test_an_outcome_without_a_fault(outcome: Outcome, condition: str, context: dict[str, object]) -> None:
    record = json.loads(invocation_record("f", "an-id", b"1", b"2", outcome=outcome, wall_ns=WALL_NS))
    assert record["requestContext"]["condition"] == condition
    assert record["requestContext"]["approximateInvokeCount"] == outcome.invocations
    assert record["responseContext"] == context


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"plain text", "plain text"),
        (b"", ""),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
        (b"NaN", "NaN"),
        ('"é"'.encode(), "é"),
        ('{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-16").decode("utf-8", "replace")),
        (b"[" * 100_000, "[" * 100_000),
        (b" [1, 2.50] ", [1, 2.5]),
        (None, None),
    ],
)
def test_whatever_the_event_was_the_record_is_json(payload: bytes | None, value: object) -> None:
    outcome = Outcome(EXHAUSTED, 1, fault=True)
    record = json.loads(invocation_record("f", "an-id", payload, payload, outcome=outcome, wall_ns=WALL_NS))
    assert record["requestPayload"] == value
    assert record["responsePayload"] == value
