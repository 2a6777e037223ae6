r"""Make S3 events of what S3-compatible storage on a Snowball Edge tells by MQTT. An AWS Lambda function.

The storage publishes on `s3SnowEvents/DEVICE/BUCKET` once it has a broker:

    snowballEdge put-notification-configuration --service-id s3-snow --enabled true \
      --broker-endpoint ssl://BROKER:8883 --ca-certificate file:ca.pem

A rule of the app leads those topics here, and `on_success` leads what this returns to whatever functions are written
for S3: `{"Records": [...]}` as Amazon S3 sends it. See deploy/snowball/edge.yaml.

What comes is no S3 event but a log of a call, one for every call that anybody makes (AWS Snowball Edge developer guide,
"Configuring Amazon S3 compatible storage on Snowball Edge event notifications"):

    {"eventDetails": {"eventName": "PutObject", "eventTime": "2026-11-23T02:30:00.123Z", "responseStatusCode": 200,
                      "requestParameters": {"bucketName": "pictures", "key": "in/a.jpg", "Content-Length": "1205"},
                      "responseElements": {"ETag": "\"0f3a...\""}, ...}}

Calls that failed, that change no object (GetObject: what functions for S3 do themselves) or that name none
(DeleteObjects) return None, which goes nowhere. So do events that nobody asked for: `EVENTS` in the environment says
which are wanted, as a notification of a bucket does: `s3:ObjectCreated:*` without it, more with commas between.

Keys are taken to be as they are, and are URL-encoded in the event, as Amazon S3 does it. S3 events of other storages
(MinIO, Ceph) are taken too: one event, a list of records or a single one, names with and without `s3:`. What has
neither shape raises.
"""

import fnmatch
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

CALLS = {
    "PutObject": "ObjectCreated:Put",
    "PostObject": "ObjectCreated:Post",
    "CopyObject": "ObjectCreated:Copy",
    "CompleteMultipartUpload": "ObjectCreated:CompleteMultipartUpload",
    "DeleteObject": "ObjectRemoved:Delete",
    "PutObjectTagging": "ObjectTagging:Put",
    "DeleteObjectTagging": "ObjectTagging:Delete",
}
"""The event of each call that changes an object."""
WANTED = "s3:ObjectCreated:*"
_FIXED = {"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "snow"}
_FAILED = 300


def handler(event: Any, _context: object = None) -> dict[str, Any] | None:  # noqa: ANN401 - whatever was published
    """Return the event as Amazon S3 would send it; None for one without records, or whose records nobody wants.

    Raises: ValueError for what is neither a log of a call nor an S3 event.
    """
    wanted = [one.strip().removeprefix("s3:") for one in os.environ.get("EVENTS", WANTED).split(",")]
    records = [
        one for one in _records(event) if any(fnmatch.fnmatchcase(one["eventName"], pattern) for pattern in wanted)
    ]
    return {"Records": records} if records else None


def _records(event: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - as above
    if isinstance(event, dict) and event.get("Event") == "s3:TestEvent":
        return
    found = event.get("Records", [event]) if isinstance(event, dict) else event
    if not isinstance(found, list) or not (found or isinstance(event, dict)):
        raise ValueError(f"no S3 event: {event!r:.200}")
    for one in found:
        record = _of_call(one["eventDetails"]) if isinstance(one, dict) and "eventDetails" in one else _record(one)
        if record is not None:
            yield record


def _of_call(call: Any) -> dict[str, Any] | None:  # noqa: ANN401 - as above
    """Return the record of a call; None for one that failed, changes no object or names none."""
    said = _members(call)
    if not said.get("eventName"):
        raise ValueError(f"eventDetails of no call: {call!r:.200}")
    name, status = CALLS.get(str(said["eventName"])), _number(said.get("responseStatusCode"))
    asked, answered, user = (
        _members(said.get(part)) for part in ("requestParameters", "responseElements", "userIdentity")
    )
    if name is None or (status is not None and status >= _FAILED):
        return None
    bucket, key = asked.get("bucketName"), asked.get("key")
    if not bucket or not key:
        raise ValueError(f"eventDetails of a {said['eventName']} that names no object: {call!r:.200}")
    about: dict[str, Any] = {"key": quote_plus(str(key), safe="/")}
    # A copy and the end of an upload in parts say how long the request was, not the object.
    if name in ("ObjectCreated:Put", "ObjectCreated:Post"):
        about["size"] = _number(asked.get("x-amz-decoded-content-length", asked.get("Content-Length")))
    if name.startswith("ObjectCreated:") and answered.get("ETag"):
        about["eTag"] = str(answered["ETag"]).strip('"')
    ids = {part: answered[part] for part in ("x-amz-request-id", "x-amz-id-2") if part in answered}
    record = {
        **_FIXED,
        "eventTime": said.get("eventTime"),
        "eventName": name,
        "userIdentity": {"principalId": user["principalId"]} if "principalId" in user else None,
        "requestParameters": {"sourceIPAddress": said["sourceIPAddress"]} if "sourceIPAddress" in said else None,
        "responseElements": ids or None,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": str(bucket), "arn": f"arn:aws:s3:::{bucket}"},
            "object": {part: value for part, value in about.items() if value is not None},
        },
    }
    return {part: value for part, value in record.items() if value is not None}


def _record(record: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    try:
        name, bucket, found = str(record["eventName"]), record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"a record of an S3 event has no {error}: {record!r:.200}") from error
    if not bucket or not found:
        raise ValueError(f"a record of an S3 event names no object: {record!r:.200}")
    return {**_FIXED, **record, "eventName": name.removeprefix("s3:")}


def _members(value: object) -> dict[str, Any]:
    """Return the members of an object; none of anything else."""
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int | None:
    """Return a number that may be written as a text; None for anything else."""
    try:
        return int(str(value))
    except ValueError:
        return None
