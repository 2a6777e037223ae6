"""The last messages of a broker, for people who watch, as AWS IoT's MQTT test client shows them."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from edge_runtime.pure.topics import check_filter, check_topic, matches
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.packets import Publish

MOST: Final = 500
"""How many are kept."""
MOST_BYTES: Final = 4096
"""How much of each payload is kept."""


class Seen(NamedTuple):
    """A message that was on its way to whoever subscribed to it."""

    topic: str
    payload: bytes
    """Its first `MOST_BYTES`."""
    client_id: str
    """Who published it; empty: AWS, or a person by `message publish`."""

    def shown(self) -> dict[str, object]:
        """Return it as JSON has it: the payload as what it means, text, or base64."""
        return {"topic": self.topic, "payload": _meaning(self.payload), "from": self.client_id or "aws"}


class Traffic:
    """The last messages that clients and services of a broker have published."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._last: deque[Seen] = deque(maxlen=MOST)
        broker.seen = self._take

    def last(self, topic_filter: str, count: int) -> Sequence[Seen]:
        """Return the last messages whose topics match, the oldest first.

        Raises: LimitError for a malformed filter.
        """
        check_filter(topic_filter)
        found = [one for one in self._last if matches(topic_filter, one.topic)]
        return found[max(0, len(found) - count) :]

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish a message with QoS 1, as a person does in the AWS console.

        Raises: LimitError for a topic that nobody can publish on.
        """
        check_topic(topic)
        with self._broker.turn():
            self._broker.publish(Publish(topic, payload, 1), "")

    def _take(self, packet: Publish, client_id: str) -> None:
        self._last.append(Seen(packet.topic, packet.payload[:MOST_BYTES], client_id))


def _meaning(payload: bytes) -> object:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode()
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found
