"""Say once a day that the station lives. Runs unchanged in AWS Lambda."""

from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take a scheduled event; return what to report to the cloud."""
    return {"alive": True, "day": event["time"][:10]}
