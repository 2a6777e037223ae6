"""AWS IoT's credentials provider: temporary keys for a role, for who shows a client certificate.

    GET /role-aliases/ALIAS/credentials      x-amzn-iot-thingname: THING

Answers and errors as AWS gives them: developer guide, "Authorizing direct calls to AWS services"; the messages are
those that the authors of aws-iot-core-credential-provider-session-helper saw. The keys only look like AWS's.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import re
from http import HTTPStatus
from typing import Final

from edge_runtime.standin.broker import Broker
from edge_runtime.standin.registry import Registry, RoleAlias
from edge_runtime.standin.web import Request, Response, failure, reply

DURATIONS_S: Final = range(900, 43_201)
"""What AWS takes as the duration of a role alias, in seconds: IoT API Reference, `CreateRoleAlias`."""
_PATH: Final = re.compile(r"/role-aliases/([\w=,@-]{1,128})/credentials")
_DENIED: Final = "AccessDeniedException"


class Credentials:
    """The site of the endpoint."""

    def __init__(self, broker: Broker, registry: Registry) -> None:
        self._broker = broker
        self._registry = registry

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        faults = self._broker.faults
        self._count("credentials_asked")
        if faults.credentials_s:
            await self._broker.clock.sleep(faults.credentials_s)
        if status := faults.credentials_status:
            self._count("credentials_failed")
            return failure(status, "InternalFailureException", "Internal Failure")
        found = _PATH.fullmatch(request.path)
        if found is None or request.method != "GET":
            return failure(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", "Not Found")
        response = self._denied(request, found[1]) or self._keys(found[1])
        self._count("credentials" if response.status == HTTPStatus.OK else "credentials_denied")
        return response

    def _count(self, what: str) -> None:
        """Count something, and let those know who wait for it."""
        with self._broker.turn():
            self._broker.counts[what] += 1

    def _denied(self, request: Request, alias: str) -> Response | None:
        """Return why the caller gets nothing. Variables of the thing have no value here: they are MQTT's."""
        access = self._broker.admit(request.caller, "")
        if access is None:
            return None
        thing = request.headers.get("x-amzn-iot-thingname", "")
        if not access.identity.active:
            return failure(HTTPStatus.FORBIDDEN, _DENIED, "Certificate is invalid on this endpoint")
        if thing and thing not in [one.name for one in access.identity.things]:
            return failure(HTTPStatus.FORBIDDEN, _DENIED, "Invalid thing name passed")
        if not access.may("iot:AssumeRoleWithCertificate", f"rolealias/{alias}"):
            return failure(HTTPStatus.FORBIDDEN, _DENIED, "Access Denied")
        return None

    def _keys(self, name: str) -> Response:
        alias = self._registry.role_aliases.get(name)
        if alias is None:
            return failure(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", "Role alias does not exist")
        return reply(HTTPStatus.OK, {"credentials": _credentials(alias, self._broker.clock.now().wall_ns)})


def _credentials(alias: RoleAlias, now_ns: int) -> dict[str, str]:
    """Return made-up keys of the right shape: ASIA and 16 signs, 40 signs, and a token of some hundred."""
    end = dt.datetime.fromtimestamp(now_ns // 1_000_000_000 + alias.duration_s, dt.UTC)
    return {
        "accessKeyId": "ASIA" + base64.b32encode(os.urandom(10)).decode(),
        "secretAccessKey": base64.b64encode(os.urandom(30)).decode(),
        "sessionToken": base64.b64encode(os.urandom(300)).decode(),
        "expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
