"""Lifecycle events: who is connected, and who subscribed to what.

Topics and documents as in the AWS IoT Core developer guide, "Lifecycle events".
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_runtime.clock import Clock
from edge_runtime.standin.access import Access, Caller
from edge_runtime.standin.codes import Code

_EVENTS: Final = "$aws/events"
_HOUR_S: Final = 3600
_SWEEP: Final = 1000
_SECOND_NS: Final = 1_000_000_000
_MS_NS: Final = 1_000_000


class Reason(StrEnum):
    """Why a client was disconnected."""

    AUTH_ERROR = "AUTH_ERROR"
    CLIENT_ERROR = "CLIENT_ERROR"
    CLIENT_INITIATED_DISCONNECT = "CLIENT_INITIATED_DISCONNECT"
    CONNECTION_LOST = "CONNECTION_LOST"
    DUPLICATE_CLIENTID = "DUPLICATE_CLIENTID"
    MQTT_KEEP_ALIVE_TIMEOUT = "MQTT_KEEP_ALIVE_TIMEOUT"
    SERVER_INITIATED_DISCONNECT = "SERVER_INITIATED_DISCONNECT"
    THROTTLED = "THROTTLED"


_REASONS: Final = {
    Code.NOT_AUTHORIZED: Reason.AUTH_ERROR,
    Code.KEEP_ALIVE_TIMEOUT: Reason.MQTT_KEEP_ALIVE_TIMEOUT,
    Code.SESSION_TAKEN_OVER: Reason.DUPLICATE_CLIENTID,
    Code.SHUTTING_DOWN: Reason.SERVER_INITIATED_DISCONNECT,
    Code.QUOTA_EXCEEDED: Reason.THROTTLED,
}


def reason_of(code: Code) -> Reason:
    """Return the reason for a connection that the server closed with that code."""
    return _REASONS.get(code, Reason.CLIENT_ERROR)


@dataclass(slots=True)
class _Known:
    """What is remembered of a client id."""

    session: str
    version: int = 0
    forget_ns: int = 0
    """When the version begins anew, by the steady clock; 0: it is connected."""


class Presence:
    """Tells subscribers. Every method is called in a turn of the broker.

    `say` publishes a message; None: nobody is told anything.
    """

    def __init__(self, clock: Clock, say: Callable[[str, bytes], None] | None) -> None:
        self._clock = clock
        self._say = say
        self._known: dict[str, _Known] = {}

    def connected(self, client_id: str, caller: Caller, access: Access | None, *, resumed: bool) -> None:
        """Tell that a client connected; `resumed`: to the session it had."""
        known = self._known.get(client_id)
        now = self._clock.now().mono_ns
        if known is None or (known.forget_ns and now >= known.forget_ns):
            if len(self._known) % _SWEEP == _SWEEP - 1:
                self._forget(now)
            known = self._known[client_id] = _Known(uuid.uuid4().hex)
        else:
            known.version += 1
            known.forget_ns = 0
            if not resumed:
                known.session = uuid.uuid4().hex
        self._tell("presence", "connected", client_id, caller, access, ipAddress=caller.ip, versionNumber=known.version)

    def disconnected(
        self, client_id: str, caller: Caller, access: Access | None, reason: Reason, *, expiry_s: int
    ) -> None:
        """Tell that a client went; `expiry_s` is how long its session lives."""
        known = self._known.setdefault(client_id, _Known(uuid.uuid4().hex))
        known.forget_ns = self._clock.now().mono_ns + max(_HOUR_S, expiry_s) * _SECOND_NS
        details: dict[str, object] = {
            "clientInitiatedDisconnect": reason is Reason.CLIENT_INITIATED_DISCONNECT,
            "disconnectReason": reason.value,
            "versionNumber": known.version,
        }
        self._tell("presence", "disconnected", client_id, caller, access, **details)

    def subscribed(self, client_id: str, caller: Caller, filters: Sequence[str]) -> None:
        """Tell what a client subscribed to; nothing for no filters."""
        if filters:
            self._tell("subscriptions", "subscribed", client_id, caller, None, topics=list(filters))

    def unsubscribed(self, client_id: str, caller: Caller, filters: Sequence[str]) -> None:
        """Tell what a client no longer wants."""
        if filters:
            self._tell("subscriptions", "unsubscribed", client_id, caller, None, topics=list(filters))

    def _tell(
        self, group: str, kind: str, client_id: str, caller: Caller, access: Access | None, **details: object
    ) -> None:
        if self._say is None or "+" in client_id or "#" in client_id:
            return  # no topic can name it
        known = self._known.get(client_id)
        event: dict[str, object] = {
            "clientId": client_id,
            "timestamp": self._clock.now().wall_ns // _MS_NS,
            "eventType": kind,
            "sessionIdentifier": known.session if known else "",
            "principalIdentifier": caller.principal,
        }
        if access is not None and access.thing is not None and access.thing.exclusive:
            event["thingName"] = access.thing.name
        self._say(f"{_EVENTS}/{group}/{kind}/{client_id}", json.dumps(event | details, separators=(",", ":")).encode())

    def _forget(self, now_ns: int) -> None:
        """Make room: client ids that nobody uses any more would pile up."""
        for client_id in [one for one, known in self._known.items() if known.forget_ns and now_ns >= known.forget_ns]:
            del self._known[client_id]
