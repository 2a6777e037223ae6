"""An endpoint in this process with a host behind it that only notes what it is asked, and clients in threads."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from edge_runtime.app import Function, Permissions
from edge_runtime.endpoints import Keys, Listener, Who
from edge_runtime.errors import EdgeError
from edge_runtime.model import Result
from edge_runtime.pure import shadow
from edge_runtime.pure.shadow import Accepted, Rejected

T = TypeVar("T")
TOKEN, NARROW_TOKEN = "token-of-nobody-in-particular", "token-of-a-worker"
ECHO = Function("echo", Path("/code"), "app.handler", timeout_s=7.0, memory_mb=64, concurrency=2)
NARROW = Function("narrow", Path("/code"), "app.handler", allow=Permissions(publish=("ok/#",), invoke=("echo",)))
RAW = Function("raw", Path("/code"), "app.handler", binary=True)


class FakeBackend:
    """Answers at once, as told."""

    def __init__(self) -> None:
        self.functions: Mapping[str, Function] = {one.name: one for one in (ECHO, NARROW, RAW)}
        self.who_is = {TOKEN: Who(), NARROW_TOKEN: Who(NARROW, "r-1", 2)}
        self.asked: list[tuple[Any, ...]] = []
        self.result = Result(b'{"ok": true}', log="START\nEND\n")
        self.failure: Exception | None = None
        self.documents: dict[str, shadow.Document] = {}
        self.expires_s = 4_000_000_000.0

    def who(self, token: str) -> Who | None:
        """Know two tokens."""
        return self.who_is.get(token)

    async def keys(self, who: Who, token: str) -> Keys:  # noqa: ARG002 - of the protocol
        """Give keys."""
        return Keys("ASIAKEY", "secret", token, self.expires_s)

    def may_invoke(self, who: Who, name: str) -> bool:
        """Go by the list."""
        return who.function is None or name in (who.function.allow.invoke or ())

    async def publish(self, who: Who, topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Note it."""
        self._note("publish", who, topic, payload, dict(properties))

    async def begin(self, who: Who, name: str, payload: bytes, client_context: str) -> str:
        """Note it."""
        self._note("begin", who, name, payload, client_context)
        return "id-of-the-event"

    async def call(self, who: Who, name: str, payload: bytes, context: Mapping[str, object]) -> tuple[str, Result]:
        """Note it."""
        self._note("call", who, name, payload, dict(context))
        return "id-of-the-call", self.result

    thing = "pi-7"

    async def shadow(self, who: Who, method: str, name: str, request: bytes) -> Accepted | Rejected:
        """Keep shadows in memory."""
        self._note("shadow", who, method, name)
        known = self.documents.get(name)
        if method == "update":
            answer = shadow.update(known, request, 1)
        else:
            answer = (shadow.get if method == "get" else shadow.delete)(known, request, 1, name=name or self.thing)
        if isinstance(answer, Accepted):
            self.documents[name] = answer.document
        return answer

    async def shadow_names(self, who: Who, after: str, most: int) -> tuple[Sequence[str], str]:
        """Return those in memory."""
        self._note("shadow_names", who)
        rest = sorted(name for name in self.documents if name > after)
        return rest[:most], rest[most - 1] if len(rest) > most else ""

    def _note(self, *what: object) -> None:
        if self.failure is not None:
            raise self.failure
        self.asked.append(what)


class Endpoint:
    """A listening endpoint."""

    def __init__(self, backend: FakeBackend, listener: Listener) -> None:
        self.backend = backend
        self.listener = listener
        self.port = listener.port

    async def boto(self, service: str, call: Callable[[Any], T], token: str = TOKEN, **more: Any) -> T:  # noqa: ANN401 - boto3's
        """Return what a boto3 client of a service makes of it."""

        def work() -> T:
            client = boto_client(service, self.listener.url, token, **more)
            try:
                return call(client)
            finally:
                client.close()

        return await asyncio.to_thread(work)

    async def http(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, token: str = TOKEN
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""

        def work() -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request(method, path, body, {"x-amz-security-token": token, **(headers or {})})
                answer = connection.getresponse()
                return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            finally:
                connection.close()

        return await asyncio.to_thread(work)

    async def raw(self, sent: bytes) -> bytes:
        """Return everything that comes back to these bytes until the endpoint closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        async with asyncio.timeout(20):
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    def fails_with(self, error: EdgeError | Exception) -> None:
        """Let the host raise this from now on."""
        self.backend.failure = error


def boto_client(service: str, url: str, token: str, **more: Any) -> Any:  # noqa: ANN401 - boto3's clients have no types
    """Return a client that tries once."""
    import boto3  # noqa: PLC0415 - a second, and not for every test
    from botocore.config import Config  # noqa: PLC0415 - same

    return boto3.client(
        service,
        endpoint_url=url,
        region_name="local",
        aws_access_key_id="ASIAKEY",
        aws_secret_access_key="secret",  # noqa: S106 - nobody checks it
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, **more),
    )


@asynccontextmanager
async def endpoint(*, patience_s: float = 20.0) -> AsyncIterator[Endpoint]:
    """Listen while the block runs."""
    backend = FakeBackend()
    listener = Listener(backend, patience_s=patience_s)
    listener.open()
    try:
        yield Endpoint(backend, listener)
    finally:
        await listener.close()
