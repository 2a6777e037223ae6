"""Devices that talk with the services of a stand-in without sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from edge_runtime.standin.packets import Packet, Publish
from tests.standin.harness import Bench, Client

NOW = 1_700_000_000
"""Seconds since the epoch at which a bench begins."""
Tree = Mapping[str, object]
Message = tuple[str, Tree]


class Device:
    """A client that asks and reads the answers as JSON."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def ask(self, topic: str, request: object = None) -> list[Message]:
        """Publish a request, bytes as they are, and return the messages that came back."""
        payload = request if isinstance(request, bytes) else b"" if request is None else json.dumps(request).encode()
        return _read(self.client.publish(topic, payload))

    def heard(self) -> list[Message]:
        """Return the messages that came since."""
        return _read(self.client.heard())


def _read(packets: list[Packet]) -> list[Message]:
    return [(one.topic, cast("Tree", json.loads(one.payload))) for one in packets if isinstance(one, Publish)]


def device(bench: Bench, *filters: str, client_id: str = "edge-1") -> Device:
    """Connect a device that has subscribed."""
    client = bench.connect(client_id)
    if filters:
        client.subscribe(*filters)
    return Device(client)
