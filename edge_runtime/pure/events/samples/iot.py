"""Life-cycle events of AWS IoT Core.

Source of the shapes: AWS IoT Core developer guide, "Lifecycle events". A handler gets them as they are published.
"""

from __future__ import annotations

from typing import Any, Literal

from edge_runtime.pure.events.samples._parts import EPOCH_S, some_id


def presence(
    event: Literal["connected", "disconnected"] = "connected",
    *,
    client: str = "my-thing",
    reason: str = "CLIENT_INITIATED_DISCONNECT",
) -> dict[str, Any]:
    """Return what AWS publishes on $aws/events/presence/EVENT/CLIENT."""
    head = {"clientId": client, "timestamp": EPOCH_S * 1000, "eventType": event, **_session(client)}
    if event == "connected":
        return {**head, "ipAddress": "192.0.2.1", "versionNumber": 0}
    asked = reason == "CLIENT_INITIATED_DISCONNECT"
    return {**head, "clientInitiatedDisconnect": asked, "disconnectReason": reason, "versionNumber": 0}


def subscription(
    event: Literal["subscribed", "unsubscribed"] = "subscribed",
    *,
    client: str = "my-thing",
    topic: str = "cmd/my-thing/#",
) -> dict[str, Any]:
    """Return what AWS publishes on $aws/events/subscriptions/EVENT/CLIENT."""
    head = {"clientId": client, "timestamp": EPOCH_S * 1000, "eventType": event, **_session(client)}
    return {**head, "topics": [topic]}


def _session(client: str) -> dict[str, str]:
    session = some_id("session", client)
    return {"sessionIdentifier": session, "principalIdentifier": some_id("principal", client).replace("-", "")}
