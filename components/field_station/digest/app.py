"""Count button presses and keep the last reading of each sensor in this worker. Runs unchanged in AWS Lambda."""

from typing import Any

_seen: dict[str, int] = {}


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take a device event; return a short report."""
    detail = event["detail"]
    name = detail["device"]
    _seen[name] = _seen.get(name, 0) + 1
    return {"device": name, "event": detail["event"], "value": detail["value"], "seen_by_this_worker": _seen[name]}
