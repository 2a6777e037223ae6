"""Records of an Amazon Kinesis data stream.

Source of the shape: AWS Lambda developer guide, "Using Lambda to process records from Amazon Kinesis Data Streams".
"""

from __future__ import annotations

import base64
from typing import Any

from edge_runtime.pure.events.samples._parts import ACCOUNT, EPOCH_S, REGION

_FIRST = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898


def kinesis(
    *, stream: str = "example-stream", body: str = '{"value": 1}', partition_key: str = "1", count: int = 1
) -> dict[str, Any]:
    """Return a batch of records of one shard."""
    return {"Records": [_record(stream, body, partition_key, number) for number in range(count)]}


def _record(stream: str, body: str, partition_key: str, number: int) -> dict[str, Any]:
    sequence = str(_FIRST + number)
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": partition_key,
            "sequenceNumber": sequence,
            "data": base64.b64encode(body.encode()).decode(),
            "approximateArrivalTimestamp": EPOCH_S + 0.123,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/example-role",
        "awsRegion": REGION,
        "eventSourceARN": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}",
    }
