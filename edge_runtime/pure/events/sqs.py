"""A batch of events in the shape that AWS Lambda hands over from an SQS queue, and how its reply is read.

Sources: AWS Lambda developer guide, "Using Lambda with Amazon SQS" (the event) and "Handling errors for an SQS event
source" (partial batch responses).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple


class Item(NamedTuple):
    """One message of a batch."""

    id: str
    receipt: str
    """Names this very delivery of it."""
    body: str
    received: int
    """How often it was handed over, this time included."""
    sent_ms: int
    """When it came, in milliseconds since the epoch."""
    first_ms: int
    """When it was first handed over."""
    sender: str
    attributes: Mapping[str, str]
    """What it carries beside its body."""


def sqs_record(item: Item, queue: str, *, region: str = "local", account: str = "000000000000") -> bytes:
    """Return compact JSON for one entry of `Records`; the attributes of the system are texts, as in AWS."""
    record = {
        "messageId": item.id,
        "receiptHandle": item.receipt,
        "body": item.body,
        "attributes": {
            "ApproximateReceiveCount": str(item.received),
            "SentTimestamp": str(item.sent_ms),
            "SenderId": item.sender,
            "ApproximateFirstReceiveTimestamp": str(item.first_ms),
        },
        "messageAttributes": {name: _attribute(value) for name, value in item.attributes.items()},
        "md5OfBody": hashlib.md5(item.body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{region}:{account}:{queue}",
        "awsRegion": region,
    }
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _attribute(value: str) -> dict[str, object]:
    return {"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String"}


def sqs_event(records: Iterable[bytes]) -> bytes:
    """Return the event that holds these records."""
    return b'{"Records":[%b]}' % b",".join(records)


def failed_items(reply: bytes, ids: Collection[str]) -> frozenset[str] | None:
    """Return which messages of a batch a reply reports as failed, of those with the ids `ids`; None: all of them.

    Nothing is reported by null, by what is no object and no list, and by an object whose `batchItemFailures` is
    missing, null or empty. A report that cannot be understood (an id that is empty, null or of no message of the
    batch, an entry without `itemIdentifier`, a list where the object should be) stands for all, for it must not lose
    a message.
    """
    try:
        answer = json.loads(reply) if reply else None
    except (ValueError, RecursionError):
        return None
    if isinstance(answer, list):
        return None
    found = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if found is None:
        return frozenset()
    if not isinstance(found, list):
        return None
    named = [entry.get("itemIdentifier") if isinstance(entry, dict) else None for entry in found]
    known = [one for one in named if isinstance(one, str) and one in ids]
    return frozenset(known) if len(known) == len(named) else None
