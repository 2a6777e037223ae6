"""The stand-in for AWS IoT Core: an MQTT broker with AWS's quotas, a record of all it accepted, and faults on demand.

    async with Standin(quotas="aws") as standin:
        connect("127.0.0.1", standin.port)
        standin.faults.lose_pubacks(3)
        await standin.until(lambda: len(standin.record) == 10)

It answers what a device asks of the message broker. Shadows, jobs and provisioning would be clients of `Broker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from edge_runtime.clock import Clock, SystemClock
from edge_runtime.errors import ConfigError
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.certs import TlsFiles
from edge_runtime.standin.faults import Faults
from edge_runtime.standin.quotas import Mode, limits
from edge_runtime.standin.record import Published, Record
from edge_runtime.standin.wire import Wire

_BACKLOG: Final = 100
_GOODBYE_S: Final = 1.0
"""How long `close` waits for clients to take their DISCONNECT."""


class _Brake:
    """Holds all connections while the broker is frozen."""

    def __init__(self) -> None:
        self.faults: Faults | None = None
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def frozen(self) -> bool:
        return self.faults is not None and self.faults.frozen

    async def thawed(self) -> None:
        if self.frozen:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def release(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Standin:
    """A stand-in for the message broker of AWS IoT Core.

    `quotas="aws"` enforces AWS's quotas with AWS's reactions; `"none"` is plain MQTT without QoS 2. What is accepted
    is kept in `record`, unless `keep_record` is False, and appended to `record_file` as lines of JSON.

    Raises: ConfigError when the record file cannot be opened.
    """

    def __init__(
        self,
        *,
        quotas: Mode = "aws",
        record_file: Path | None = None,
        keep_record: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._brake = _Brake()
        self.faults = Faults(self)
        """What can be made to go wrong."""
        self._brake.faults = self.faults
        self._record = Record(record_file, keep=keep_record)
        self.broker = Broker(
            limits=limits(quotas), clock=clock or SystemClock(), record=self._record, faults=self.faults
        )
        """Sessions, subscriptions and retained messages, to look at."""
        self.broker.changed = self._look
        self._wires: set[Wire] = set()
        self._count = 0
        self._address: tuple[str, int] = ("", 0)
        self._family = socket.AF_INET
        self._context: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._opening: asyncio.Task[None] | None = None
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def port(self) -> int:
        """The port it listens on, the same over `faults.refuse`; 0 before `start`."""
        return self._address[1]

    @property
    def record(self) -> Sequence[Published]:
        """Every accepted PUBLISH, in order, each there before its PUBACK was sent. Do not change it."""
        return self._record.entries

    @property
    def counts(self) -> Counter[str]:
        """How many were `recorded`, `connected`, `delivered`, `discarded`, `refused` and so on, since the start.

        `connections` are those of now, `queue_full` the messages that found no room in a waiting session.
        """
        full = sum(session.dropped for session in self.broker.sessions.values())
        now = Counter(recorded=self._record.count, connections=len(self._wires), queue_full=full)
        return self.broker.counts + now

    @property
    def refusals(self) -> Sequence[str]:
        """Why clients were refused or disconnected, the latest last; the last 1,000."""
        return tuple(self.broker.refusals)

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: TlsFiles | None = None) -> None:
        """Listen; port 0 takes a free one. With `tls` clients need a certificate that `tls.ca` signed.

        `async with` does this by itself, with what is the default here. Started again, it moves to the new address.

        Raises: ConfigError when the address or the files cannot be used.
        """
        self._context = None if tls is None else server_context(tls)
        if self._server is not None:
            self._server.close()
            self._server = None
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._family, self._address = found[0][0], (str(found[0][4][0]), port)
            listener = self._bind()
            self._address = (self._address[0], listener.getsockname()[1])
            listener.listen(_BACKLOG)
            await self._open(listener)
        except OSError as error:
            raise ConfigError(
                f"the stand-in cannot listen on {host} port {port}: {error.strerror or error}",
                hint="choose another port, or 0 for a free one",
            ) from error

    async def close(self) -> None:
        """Say goodbye to the clients and end. Safe to call twice."""
        if self._opening is not None:
            await self._opening
        self.stop_listening()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        wires = list(self._wires)
        if not self.faults.frozen:
            self.broker.begin()
            for wire in wires:
                wire.peer.shut_down()
            self.broker.flush()
        if wires:
            await asyncio.wait([wire.gone for wire in wires], timeout=0 if self.faults.frozen else _GOODBYE_S)
        for wire in wires:
            wire.abort()
        await asyncio.gather(*(wire.ended() for wire in wires))
        await self.broker.close()
        self.faults.frozen = False
        self._brake.release()

    async def __aenter__(self) -> Self:
        if self._server is None:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds. It is asked now and after everything that happens; it must be quick."""
        if condition():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (condition, waiter)
        self._waiters.append(entry)
        try:
            await waiter
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(entry)

    async def recorded(self, count: int) -> Sequence[Published]:
        """Return the record once it holds at least `count` entries."""
        await self.until(lambda: self._record.count >= count)
        return self.record

    def _look(self) -> None:
        for condition, waiter in list(self._waiters):
            if not waiter.done() and condition():
                waiter.set_result(None)

    # --- what the faults need (faults.Machinery) ---

    def stop_listening(self) -> None:
        """Refuse connections at TCP level; the port stays ours."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # Bound and not listening: connecting is refused, and nobody else gets the port.
        self._reserved = self._bind()

    def listen_again(self) -> None:
        """Accept connections on the same port again."""
        if self._reserved is None:
            return
        listener, self._reserved = self._reserved, None
        listener.listen(_BACKLOG)  # from here on the kernel takes connections; asyncio follows
        self._opening = asyncio.get_running_loop().create_task(self._open(listener), name="standin.listen")

    def drop_connections(self) -> int:
        """Cut every connection and return how many there were."""
        wires = list(self._wires)
        for wire in wires:
            wire.abort()
            wire.peer.lost()
        return len(wires)

    def forget(self, *, sessions: bool) -> None:
        """Cut every connection without wills, and lose the sessions if asked to."""
        for wire in list(self._wires):
            wire.abort()
            wire.peer.lost(will=False)
        if sessions:
            self.broker.forget()
        self._look()

    def thaw(self) -> None:
        """Let go on what was frozen."""
        self._brake.release()

    # --- inside ---

    def _bind(self) -> socket.socket:
        listener = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(self._address)
        except OSError:
            listener.close()
            raise
        return listener

    async def _open(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=listener, ssl=self._context, backlog=_BACKLOG)
        if self.faults.closed:  # refused again in the meantime
            self.stop_listening()

    def _accept(self) -> Wire:
        self._count += 1
        return Wire(self.broker, self._brake, self._count, self._wires)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context for TLS 1.2 or newer that asks every client for a certificate of the same CA.

    Raises: ConfigError when a file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # AWS IoT Core takes MQTT on port 443 under the first name.
    context.set_alpn_protocols(["x-amzn-mqtt-ca", "mqtt"])
    try:
        context.load_cert_chain(files.cert, files.key)
        context.load_verify_locations(files.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the TLS files {files.cert}, {files.key} and {files.ca} cannot be used: {error}",
            hint="`edge_runtime.standin.certs.make` writes a set that works",
        ) from error
    return context
