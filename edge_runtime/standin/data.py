"""What AWS IoT's data endpoint does over HTTP: publish a message, and open a WebSocket for MQTT.

Others add to it by `sites`: whoever has an answer to a path gives it.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, NamedTuple

from edge_runtime.standin.broker import Broker
from edge_runtime.standin.doors import PATH, MakeWire, credentials_in, upgrade
from edge_runtime.standin.packets import Publish
from edge_runtime.standin.web import Request, Response, failure, reply

_TOPICS: Final = "/topics/"

Answer = Callable[[Request], Awaitable[Response | None]]
"""Answers a request; None: it is for somebody else."""


class _Sender(NamedTuple):
    """Who the record says a message came from: no connection of MQTT, and no client id."""

    client_id: str = ""
    number: int = 0


class DataPlane:
    """The site of the endpoint."""

    def __init__(self, broker: Broker, make_wire: MakeWire, *, most_frame: int) -> None:
        self.sites: list[Answer] = []
        """Asked one after the other for paths that are not known here."""
        self._broker = broker
        self._make_wire = make_wire
        self._most_frame = most_frame

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        if request.path == PATH:
            return upgrade(request, self._make_wire, most=self._most_frame)
        if request.path.startswith(_TOPICS) and request.method == "POST":
            return self._publish(request)
        for site in self.sites:
            if (response := await site(request)) is not None:
                return response
        return failure(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", "Not Found")

    def may(self, request: Request, action: str, resource: str) -> bool:
        """Tell whether who asks may do that: a certificate by its policies, IAM credentials always."""
        iam = credentials_in(request)
        if iam and not request.caller.certificate_id:
            return True
        access = self._broker.admit(request.caller, "")
        return access is None or access.may(action, resource)

    def _publish(self, request: Request) -> Response:
        """Publish as AWS IoT data plane API Reference, `Publish`, says."""
        topic = request.path.removeprefix(_TOPICS)
        qos, retain = request.query.get("qos", "0"), request.query.get("retain", "false").lower()
        if qos not in ("0", "1") or retain not in ("true", "false"):
            return failure(
                HTTPStatus.BAD_REQUEST, "InvalidRequestException", "qos must be 0 or 1, retain true or false"
            )
        packet = Publish(topic, request.body, int(qos), retain == "true")
        if (verdict := self._broker.gate.judge(topic, len(packet.payload), retain=packet.retain)) is not None:
            return failure(HTTPStatus.BAD_REQUEST, "InvalidRequestException", verdict.text)
        actions = ["iot:Publish", "iot:RetainPublish"] if packet.retain else ["iot:Publish"]
        if not all(self.may(request, action, f"topic/{topic}") for action in actions):
            return failure(HTTPStatus.FORBIDDEN, "ForbiddenException", "Forbidden")
        before = self._broker.record.count
        self._broker.begin()
        self._broker.publish(packet, "")
        self._broker.note(packet, _Sender(), acked=True)
        self._broker.flush()
        if self._broker.record.count == before:
            return failure(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalFailureException", "it could not be recorded")
        return reply(HTTPStatus.OK, {"message": "OK", "traceId": str(uuid.uuid4())})
