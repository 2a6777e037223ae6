"""The payload of a schedule: EventBridge's scheduled event, so that a handler written for it runs unchanged."""

from __future__ import annotations

import json
from datetime import datetime

from edge_runtime.pure.events.iso import seconds


def scheduled_event(
    name: str, when: datetime, event_id: str, *, account: str = "000000000000", region: str = "local"
) -> bytes:
    """Return compact JSON in the shape of EventBridge's `Scheduled Event`.

    `when` (aware) is the time that the schedule names, not the time at which it was noticed. The rule's name is the
    last part of the one entry in `resources`, as in AWS. Source of the shape: Amazon EventBridge user guide,
    "Events from scheduled rules".
    """
    body = {
        "version": "0",
        "id": event_id,
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": account,
        "time": f"{seconds(int(when.timestamp()))}Z",
        "region": region,
        "resources": [f"arn:aws:events:{region}:{account}:rule/{name}"],
        "detail": {},
    }
    return json.dumps(body, separators=(",", ":")).encode()
