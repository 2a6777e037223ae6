"""Amazon S3 event notifications.

Source of the shape: Amazon S3 user guide, "Event message structure". The name of the event has no `s3:` before it, and
a key is URL-encoded (a space is `+`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

from edge_runtime.pure.events.samples._parts import ACCOUNT, REGION, TIME, digest_of


def put(*, bucket: str = "example-bucket", key: str = "photos/cat 1.jpg", size: int = 1024) -> dict[str, Any]:
    """Return the event of an object that was written."""
    return _record("ObjectCreated:Put", bucket, key, {"size": size, "eTag": digest_of(key)})


def copy(*, bucket: str = "example-bucket", key: str = "photos/cat 1.jpg", size: int = 1024) -> dict[str, Any]:
    """Return the event of an object that was copied."""
    return _record("ObjectCreated:Copy", bucket, key, {"size": size, "eTag": digest_of(key)})


def delete(*, bucket: str = "example-bucket", key: str = "photos/cat 1.jpg") -> dict[str, Any]:
    """Return the event of an object that was deleted."""
    return _record("ObjectRemoved:Delete", bucket, key, {})


def _record(event: str, bucket: str, key: str, more: dict[str, object]) -> dict[str, Any]:
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": f"{TIME}.123Z",
        "eventName": event,
        "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {
            "x-amz-request-id": "C3D13FE58DE4C810",
            "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "example",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": f"A{ACCOUNT}"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {"key": quote_plus(key, safe="/"), **more, "sequencer": "0055AED6DCD90281E5"},
        },
    }
    return {"Records": [record]}
