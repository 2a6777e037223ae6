"""Life-cycle events of AWS IoT Core."""

from __future__ import annotations

from edge_runtime.pure.events.samples import iot
from tests.pure.events.samples.reading import read

SESSION = ["sessionIdentifier", "principalIdentifier"]


def test_connected() -> None:
    event = read(iot.presence(client="pi-7"))
    assert list(event) == ["clientId", "timestamp", "eventType", *SESSION, "ipAddress", "versionNumber"]
    assert (event["clientId"], event["eventType"], event["timestamp"]) == ("pi-7", "connected", 1_789_985_730_000)


def test_disconnected() -> None:
    asked, lost = iot.presence("disconnected"), iot.presence("disconnected", reason="MQTT_KEEP_ALIVE_TIMEOUT")
    assert list(read(asked)) == [
        *["clientId", "timestamp", "eventType", *SESSION],
        *["clientInitiatedDisconnect", "disconnectReason", "versionNumber"],
    ]
    assert (asked["clientInitiatedDisconnect"], lost["clientInitiatedDisconnect"]) == (True, False)
    assert lost["disconnectReason"] == "MQTT_KEEP_ALIVE_TIMEOUT"


def test_subscribed() -> None:
    event = read(iot.subscription("unsubscribed", topic="a/#"))
    assert list(event) == ["clientId", "timestamp", "eventType", *SESSION, "topics"]
    assert (event["eventType"], event["topics"]) == ("unsubscribed", ["a/#"])
