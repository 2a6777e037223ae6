"""Make S3 events of what S3-compatible storage on a Snowball Edge tells by MQTT. An AWS Lambda function.

The storage publishes on `s3SnowEvents/DEVICE/BUCKET` once it has a broker:

    snowballEdge put-notification-configuration --service-id s3-snow --enabled true \
      --broker-endpoint ssl://BROKER:8883 --ca-certificate file:ca.pem

A rule of the app leads those topics here, and `on_success` leads what this returns to whatever functions are written
for S3: `{"Records": [...]}` as Amazon S3 sends it. See deploy/snowball/edge.yaml.

AWS says that the messages are S3 events as JSON, and shows none; so this takes an event, a list of records or a single
one, names with and without `s3:`, and fills in what is missing: `eventVersion`, `eventSource`, `awsRegion`. What names
neither bucket nor key raises.
"""

from typing import Any

_FIXED = {"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "snow"}


def handler(event: Any, _context: object = None) -> dict[str, Any] | None:  # noqa: ANN401 - whatever was published
    """Return the event as Amazon S3 would send it; None for a test message, which has no records.

    Raises: ValueError for what is no S3 event.
    """
    if isinstance(event, dict) and (event.get("Event") == "s3:TestEvent" or event.get("Records") == []):
        return None
    records = event.get("Records", [event]) if isinstance(event, dict) else event
    if not isinstance(records, list) or not records:
        raise ValueError(f"no S3 event: {event!r:.200}")
    return {"Records": [_record(record) for record in records]}


def _record(record: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    try:
        name, bucket, found = str(record["eventName"]), record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"a record of an S3 event has no {error}: {record!r:.200}") from error
    if not bucket or not found:
        raise ValueError(f"a record of an S3 event names no object: {record!r:.200}")
    return {**_FIXED, **record, "eventName": name.removeprefix("s3:")}
