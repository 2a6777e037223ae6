"""Records of the stream of an Amazon DynamoDB table.

Source of the shape: AWS Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB"; Amazon DynamoDB developer
guide, "DynamoDB Streams and Time to Live", for what a deletion by TTL has more.
"""

from __future__ import annotations

from typing import Any

from edge_runtime.pure.events.samples._parts import ACCOUNT, EPOCH_S, REGION, digest_of


def insert(*, table: str = "example-table", key: str = "device-1", value: str = "new") -> dict[str, Any]:
    """Return the record of an item that is new."""
    return _event("INSERT", table, key, {"NewImage": _image(key, value)})


def modify(
    *, table: str = "example-table", key: str = "device-1", value: str = "new", previous: str = "old"
) -> dict[str, Any]:
    """Return the record of an item that has changed."""
    return _event("MODIFY", table, key, {"NewImage": _image(key, value), "OldImage": _image(key, previous)})


def remove(
    *, table: str = "example-table", key: str = "device-1", previous: str = "old", ttl: bool = False
) -> dict[str, Any]:
    """Return the record of an item that was deleted, with --ttl because its time was over."""
    event = _event("REMOVE", table, key, {"OldImage": _image(key, previous)})
    if ttl:
        event["Records"][0]["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return event


def _image(key: str, value: str) -> dict[str, Any]:
    return {"id": {"S": key}, "value": {"S": value}}


def _event(name: str, table: str, key: str, images: dict[str, Any]) -> dict[str, Any]:
    record = {
        "eventID": digest_of(f"{name}{table}{key}"),
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": EPOCH_S,
            "Keys": {"id": {"S": key}},
            **images,
            "SequenceNumber": "4421584500000000017450439091",
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/2026-09-21T00:00:00.000",
    }
    return {"Records": [record]}
