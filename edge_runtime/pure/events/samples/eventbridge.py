"""An event of a bus of Amazon EventBridge.

Source of the shape: Amazon EventBridge user guide, "Event structure reference".
"""

from __future__ import annotations

import json
from typing import Any

from edge_runtime.pure.events.samples._parts import ACCOUNT, REGION, TIME, some_id


def eventbridge(
    *, source: str = "example.app", detail_type: str = "Example Happened", detail: str = '{"value": 1}'
) -> dict[str, Any]:
    """Return an event that was put on a bus. DETAIL is JSON.

    Raises: ValueError when DETAIL is no JSON.
    """
    return {
        "version": "0",
        "id": some_id("eventbridge", source, detail_type),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": f"{TIME}Z",
        "region": REGION,
        "resources": [],
        "detail": json.loads(detail),
    }
