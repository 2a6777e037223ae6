"""The event of a schedule, as the runtime itself makes it and as EventBridge does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from edge_runtime.pure.events.samples._parts import EPOCH_S, some_id
from edge_runtime.pure.events.schedule import scheduled_event


def schedule(*, rule: str = "example-rule") -> dict[str, Any]:
    """Return EventBridge's scheduled event."""
    when = datetime.fromtimestamp(EPOCH_S, UTC)
    event: dict[str, Any] = json.loads(scheduled_event(rule, when, some_id("schedule", rule)))
    return event
