"""Decide whether to water, from a reading of the soil sensor. Runs unchanged in AWS Lambda."""

import os
from typing import Any

THRESHOLD = float(os.environ.get("THRESHOLD", "0.3"))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take a device event; return what to report to the cloud."""
    detail = event["detail"]
    moisture = float(detail["value"])
    return {"device": detail["device"], "moisture": moisture, "water": moisture < THRESHOLD}
