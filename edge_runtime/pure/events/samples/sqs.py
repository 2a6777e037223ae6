"""Messages of an Amazon SQS queue.

Source of the shape: AWS Lambda developer guide, "Using Lambda with Amazon SQS". All attributes are texts.
"""

from __future__ import annotations

from typing import Any

from edge_runtime.pure.events.samples._parts import ACCOUNT, EPOCH_S, REGION, digest_of, some_id


def batch(
    *, queue: str = "example-queue", body: str = '{"value": 1}', count: int = 2, fifo: bool = False
) -> dict[str, Any]:
    """Return a batch of messages."""
    name = queue if not fifo or queue.endswith(".fifo") else f"{queue}.fifo"
    return {"Records": [_record(name, body, number, fifo=fifo) for number in range(count)]}


def _record(queue: str, body: str, number: int, *, fifo: bool) -> dict[str, Any]:
    attributes = {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": str(EPOCH_S * 1000 + number),
        "SenderId": "AIDAEXAMPLE",
        "ApproximateFirstReceiveTimestamp": str(EPOCH_S * 1000 + number + 5),
    }
    if fifo:
        attributes |= {
            "SequenceNumber": str(18_849_496_460_467_696_128 + number),
            "MessageGroupId": "1",
            "MessageDeduplicationId": digest_of(f"{number}{body}"),
        }
    return {
        "messageId": some_id("sqs", queue, number),
        "receiptHandle": f"AQEBexample{number}",
        "body": body,
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": digest_of(body),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
        "awsRegion": REGION,
    }
