"""A provisioning service for tests, as a link that answers by itself: what it says to each request can be changed.

cloud = Cloud(authority, state_folder)
enrolment = Enrolment(slots, wish, cloud.dial, clock, say=print)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_runtime.cloud.provisioning import Who
from edge_runtime.errors import LinkError
from edge_runtime.model import Link, Received
from edge_runtime.pure.certificates import parse
from tests.identities import Authority

CREATE = "$aws/certificates/create-from-csr/json"
PROVISION = "$aws/provisioning-templates/edge-runtime/provision/json"
Answer = tuple[str, object]
"""`accepted` or `rejected`, and what is said."""


class Cloud:
    """The service. It takes each token once, and remembers that in a file, so that it outlives a process."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        """Client id, topic and body of each."""
        self.dialed: list[Who] = []
        self.answers: dict[str, Callable[[dict[str, Any]], Answer | LinkError | None]] = {
            CREATE: self.create,
            PROVISION: self.provision,
        }
        """By topic: what is said, None for silence, an error for a connection that ends."""
        self.door: Callable[[Who], LinkError | None] = lambda _: None
        """Why somebody cannot connect."""
        self._authority = authority
        self._used = folder / "used"

    def dial(self, who: Who) -> Link:
        """Return a link, unconnected."""
        self.dialed.append(who)
        return Wire(self, who)

    def create(self, body: dict[str, Any]) -> Answer:
        """Sign a request."""
        pem = self._authority.sign(body["certificateSigningRequest"].encode()).decode()
        number = parse(pem.encode()).id
        return "accepted", {
            "certificateId": number,
            "certificatePem": pem,
            "certificateOwnershipToken": f"token-{number}",
        }

    def provision(self, body: dict[str, Any]) -> Answer:
        """Make a thing."""
        token = body["certificateOwnershipToken"]
        used = self._used.read_text().split() if self._used.exists() else []
        if token in used:
            return "rejected", {
                "statusCode": 400,
                "errorCode": "InvalidCertificateOwnershipToken",
                "errorMessage": "Certificate ownership token is not valid.",
            }
        self._used.write_text(" ".join([*used, token]))
        name = f"edge-{body['parameters']['SerialNumber']}"
        return "accepted", {"deviceConfiguration": {"role_alias": "edge-runtime"}, "thingName": name}


class Wire:
    """One connection to it."""

    def __init__(self, cloud: Cloud, who: Who) -> None:
        self._cloud, self._who = cloud, who
        self._down: set[str] = set()
        self._received: Received | None = None
        self._lost: asyncio.Future[LinkError] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Come in, if the door is open."""
        assert self._who.certificate.is_file()
        if (shut := self._cloud.door(self._who)) is not None:
            raise shut
        self._down, self._received = set(down), received
        return False

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to more."""
        self._down.update(filters)

    def most_bytes(self, topic: str) -> int:
        """Return what the quotas of AWS allow."""
        assert topic
        return 131_072

    async def publish(self, topic: str, payload: bytes, _properties: Mapping[str, str]) -> None:
        """Take a request, and answer in a while."""
        body = json.loads(payload)
        self._cloud.requests.append((self._who.client_id, topic, body))
        answer = self._cloud.answers[topic](body)
        if isinstance(answer, LinkError):
            if not self._lost.done():
                self._lost.set_result(answer)
        elif answer is not None:
            task = asyncio.ensure_future(self._answer(topic, *answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, topic: str, end: str, said: object) -> None:
        where = f"{topic}/{end}"
        assert where in self._down, "subscribed before it is asked"
        assert self._received is not None
        await self._received(where, said if isinstance(said, bytes) else json.dumps(said).encode(), {})

    async def lost(self) -> LinkError:
        """Return when the connection has ended."""
        return await asyncio.shield(self._lost)

    async def close(self) -> None:
        """Leave."""
        if not self._lost.done():
            self._lost.set_result(LinkError("closed"))
