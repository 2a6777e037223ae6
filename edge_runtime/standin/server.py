"""The stand-in for AWS IoT Core: an MQTT broker with AWS's quotas, a record of all it accepted, and faults on demand.

    async with Standin(quotas="aws") as standin:
        connect("127.0.0.1", standin.port)
        standin.faults.lose_pubacks(3)
        await standin.until(lambda: len(standin.record) == 10)

It answers what a device asks of the message broker, and `account` what it asks of shadows, jobs and provisioning.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from edge_runtime.clock import Clock, SystemClock
from edge_runtime.errors import ConfigError
from edge_runtime.standin._listener import Listener
from edge_runtime.standin._registered import Registered
from edge_runtime.standin.access import OnDenied
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.certs import TlsFiles
from edge_runtime.standin.credentials import Credentials
from edge_runtime.standin.data import DataPlane
from edge_runtime.standin.doors import HTTP_ALPN, MQTT_ALPN, Door
from edge_runtime.standin.faults import Faults
from edge_runtime.standin.quotas import Mode, limits, most_packet
from edge_runtime.standin.record import Published, Record
from edge_runtime.standin.registry import Registry
from edge_runtime.standin.services.account import Account
from edge_runtime.standin.services.jobs import Jobs
from edge_runtime.standin.services.provisioning import Provisioning
from edge_runtime.standin.services.shadows import Shadows
from edge_runtime.standin.shadow_site import ShadowSite
from edge_runtime.standin.wire import Wire

_FRAME_MORE: Final = 64 * 1024
"""How much a WebSocket frame may be larger than an MQTT packet: it may hold several."""
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


class _Guests(set[asyncio.Transport]):
    """Connections that do not speak MQTT, or have not said so. After `close` there are none, nor any to come."""

    def __init__(self) -> None:
        super().__init__()
        self._closed = False

    def add(self, guest: asyncio.Transport) -> None:
        super().add(guest)
        if self._closed:  # its TLS handshake has outlived the listener
            guest.abort()

    def cut(self) -> None:
        for guest in list(self):
            guest.abort()

    def close(self) -> None:
        self._closed = True
        self.cut()


class Standin:
    """A stand-in for the message broker of AWS IoT Core.

    `quotas="aws"` enforces AWS's quotas with AWS's reactions; `"none"` is plain MQTT without QoS 2. What is accepted
    is kept in `record`, unless `keep_record` is False, and appended to `record_file` as lines of JSON. With
    `policies` a client needs a certificate that is in the registry, and may do what its policies say; `on_denied` is
    what follows when it does more.

    Raises: ConfigError when the record file cannot be opened.
    """

    def __init__(
        self,
        *,
        quotas: Mode = "aws",
        record_file: Path | None = None,
        keep_record: bool = True,
        clock: Clock | None = None,
        policies: bool = False,
        on_denied: OnDenied = "disconnect",
    ) -> None:
        clock = clock or SystemClock()
        self._brake = _Brake()
        self.faults = Faults(self)
        """What can be made to go wrong."""
        self._brake.faults = self.faults
        self._record = Record(record_file, keep=keep_record)
        self.broker = Broker(limits=limits(quotas), clock=clock, record=self._record, faults=self.faults)
        """Sessions, subscriptions and retained messages, to look at."""
        self.broker.changed = self._look
        self.broker.on_denied = on_denied
        self.registry = Registry()
        """Things, certificates, policies, role aliases."""
        self.registry.watchers.append(self._registry_changed)
        self.broker.directory = Registered(self.registry, lambda: clock.now().wall_ns / 1e9) if policies else None
        self.account = Account(self.broker, self.registry)
        """Shadows, jobs and fleet provisioning."""
        self.data = DataPlane(self.broker, self._make_wire, most_frame=most_packet(self.broker.limits) + _FRAME_MORE)
        """What the web port answers beside MQTT."""
        self.data.sites.append(ShadowSite(self.data, self.account.shadows).answer)
        self._wires: set[Wire] = set()
        self._guests = _Guests()
        self._count = 0
        self._mqtt = Listener(lambda: self._make_wire(""))
        self._web = Listener(
            lambda: Door(self._make_wire, self.data.answer, self._brake, clock=self.broker.clock, guests=self._guests)
        )
        self._keys = Listener(self._make_keys)
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def port(self) -> int:
        """The port it listens on, the same over `faults.refuse`; 0 before `start`."""
        return self._mqtt.port

    @property
    def shadows(self) -> Shadows:
        """The shadows of all things."""
        return self.account.shadows

    @property
    def jobs(self) -> Jobs:
        """The jobs for all things."""
        return self.account.jobs

    @property
    def provisioning(self) -> Provisioning:
        """Fleet provisioning."""
        return self.account.provisioning

    @property
    def web_port(self) -> int:
        """The port for WebSocket, HTTP and MQTT; 0 before `start_web`."""
        return self._web.port

    @property
    def credentials_port(self) -> int:
        """The port of the credentials endpoint; 0 before `start_credentials`."""
        return self._keys.port

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
        await self._mqtt.start(host, port, None if tls is None else server_context(tls))
        if tls is not None and tls.ca.with_suffix(".key").is_file():
            self.account.ca = tls.ca.parent

    async def start_web(self, host: str = "127.0.0.1", port: int = 0, tls: TlsFiles | None = None) -> None:
        """Listen for MQTT over WebSocket (path /mqtt), for HTTP, and for MQTT, as AWS does on port 443.

        With `tls` a client may show a certificate that `tls.ca` signed, and for plain MQTT it must.

        Raises: ConfigError as `start` does.
        """
        await self._web.start(host, port, None if tls is None else server_context(tls, web=True))

    async def start_credentials(self, host: str, port: int, tls: TlsFiles) -> None:
        """Listen for who wants credentials for a role alias of the registry; a client certificate is needed.

        Raises: ConfigError as `start` does.
        """
        await self._keys.start(host, port, server_context(tls, alpn=(HTTP_ALPN,)))

    async def close(self) -> None:
        """Say goodbye to the clients and end. Safe to call twice."""
        for listener in (self._mqtt, self._web, self._keys):
            await listener.close()
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
        self._guests.close()
        await asyncio.gather(*(wire.ended() for wire in wires))
        await self.account.close()
        await self.broker.close()
        self.faults.frozen = False
        self._brake.release()

    async def __aenter__(self) -> Self:
        if not self._mqtt.listens:
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
        """Refuse connections at TCP level; the ports stay ours."""
        for listener in (self._mqtt, self._web):
            if listener.port:
                listener.stop()

    def listen_again(self) -> None:
        """Accept connections on the same ports again."""
        for listener in (self._mqtt, self._web):
            listener.again()

    def stop_credentials(self) -> None:
        """Refuse connections to the credentials endpoint; nothing when there is none."""
        if self._keys.port:
            self._keys.stop()

    def resume_credentials(self) -> None:
        """Accept them again."""
        self._keys.again()

    def drop_connections(self) -> int:
        """Cut every connection and return how many there were."""
        wires = list(self._wires)
        for wire in wires:
            wire.abort()
            wire.peer.lost()
        self._guests.cut()
        return len(wires)

    def forget(self, *, sessions: bool) -> None:
        """Cut every connection without wills, and lose the sessions if asked to."""
        for wire in list(self._wires):
            wire.abort()
            wire.peer.lost(will=False)
        self._guests.cut()
        if sessions:
            self.broker.forget()
        self._look()

    def thaw(self) -> None:
        """Let go on what was frozen."""
        self._brake.release()

    # --- inside ---

    def _make_wire(self, iam: str) -> Wire:
        self._count += 1
        return Wire(self.broker, self._brake, self._count, self._wires, iam=iam)

    def _make_keys(self) -> Door:
        site = Credentials(self.broker, self.registry)
        return Door(None, site.answer, self._brake, clock=self.broker.clock, guests=self._guests)

    def _registry_changed(self, *_: str) -> None:
        # In a turn of its own: the registry may have been changed by a service, in the middle of a turn.
        if self._wires:
            asyncio.get_running_loop().call_soon(self._recheck)

    def _recheck(self) -> None:
        self.broker.begin()
        self.broker.recheck()
        self.broker.flush()


def server_context(files: TlsFiles, *, web: bool = False, alpn: Sequence[str] = MQTT_ALPN) -> ssl.SSLContext:
    """Return a context for TLS 1.2 or newer that asks every client for a certificate of the same CA.

    With `web` a client may do without, and may also choose HTTP.

    Raises: ConfigError when a file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL if web else ssl.CERT_REQUIRED
    # AWS IoT Core takes MQTT on port 443 under the first name.
    context.set_alpn_protocols([*alpn, HTTP_ALPN] if web else list(alpn))
    try:
        context.load_cert_chain(files.cert, files.key)
        context.load_verify_locations(files.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the TLS files {files.cert}, {files.key} and {files.ca} cannot be used: {error}",
            hint="`edge_runtime.standin.certs.make` writes a set that works",
        ) from error
    return context
