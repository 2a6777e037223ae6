"""The broker for the devices around this host: a mosquitto that it starts, watches and ends, and its own part in it.

Three parts of the host: `mosquitto` (the child), `broker/local` (what devices publish is emitted) and, when there is
something that may go out, `broker` (what is emitted goes out, and leaves its queue when mosquitto has acknowledged).
One that fails is started again with back-off, and `edge status` says why; the others go on.

Devices are let in when the host has subscribed, anew after each start of mosquitto: what nobody is subscribed to it
acknowledges, and throws away. What goes out comes in again where `topics` matches it. It carries a mark, and is not
emitted a second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_runtime import plugin
from edge_runtime.app import Broker, LinkSpec, LocalBroker, Uplink
from edge_runtime.clock import Clock
from edge_runtime.errors import ConfigError, HostError, LinkError
from edge_runtime.host import _addresses
from edge_runtime.host._broker_child import Child
from edge_runtime.host._broker_folder import BrokerFolder
from edge_runtime.host._late_link import LateLink
from edge_runtime.model import NO_HEADERS, Event, Link, Received
from edge_runtime.pure import mosquitto
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.cloud.uplink import UplinkRunner
    from edge_runtime.host.bus import Bus
    from edge_runtime.host.hardware import Begin
    from edge_runtime.store.store import Store

_log = logging.getLogger(__name__)
_JOIN_S = 10.0
_AGAIN_S = 10.0
_SETTLE_S = 2.0
"""When an address changes, others do as well."""
_HINT = "edge status says how mosquitto does"
_ID = "edge-id"
MARK = "via"
"""The property of what went out from here: `edge/<thing>`."""


class BrokerKeeper:
    """The local broker of one host: `begin` starts its parts."""

    def __init__(self, spec: LocalBroker, thing: str, state: Path, clock: Clock) -> None:
        self.folder = BrokerFolder(state)
        self.up = asyncio.Event()
        """Set while mosquitto listens."""
        self.open = asyncio.Event()
        """Set while devices can connect."""
        self._subscribed = asyncio.Event()
        self.publisher: UplinkRunner | None = None
        self._spec = spec
        self._mark = f"edge/{thing}"
        self._clock = clock
        self._child: Child | None = None
        self._came_up = asyncio.Event()
        """Set when it comes up the next time, and replaced then."""
        self._starts = 0
        self._lock = asyncio.Lock()

    def begin(self, store: Store, bus: Bus, begin: Begin) -> None:
        """Begin its parts."""
        begin("mosquitto", self.run)
        begin(f"broker/{mosquitto.NAME}", self._listener(bus), source=True)
        if self._spec.publish:
            from edge_runtime.cloud.uplink import UplinkRunner  # noqa: PLC0415 - only where something goes out

            self.publisher = UplinkRunner(
                store,
                _Outbound(self._options, self._spec.prefix, self._mark),
                Uplink(publishes_per_s=0.0, bytes_per_s=0.0, aws_quotas=False, target=mosquitto.TARGET),
                self._clock,
                deliver=_nothing_comes,
                driver=mosquitto.TARGET,
                gate=self,
            )
            begin(mosquitto.TARGET, self.publisher.run)

    # -- the child -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep one mosquitto running until it ends.

        Raises: HostError when it has ended; ConfigError, StoreError when it cannot start.
        """
        child = self._child = Child(self._spec, self.folder, self._clock)
        hosts = await in_thread("broker.hosts", partial(_addresses.hosts, self._spec))
        try:
            async with self._lock:
                await child.start(hosts)
            self._starts += 1
            _log.info("devices find the broker at %s port %d (TLS)", self._spec.address, self._spec.port)
            if self._spec.plain_port:
                _log.warning("on port %d the passwords of devices go in clear text", self._spec.plain_port)
            self.up.set()
            self._came_up.set()
            self._came_up = asyncio.Event()
            tasks = [
                asyncio.create_task(self._let_in(child), name="broker.open"),
                asyncio.create_task(self._follow_addresses(hosts), name="broker.addresses"),
            ]
            try:
                raise HostError(await child.ended(), hint="its log tells more: EDGE_LOG=debug edge run")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self.up.clear()
            self.open.clear()
            await child.stop()

    async def _let_in(self, child: Child) -> None:
        """Let devices connect once the host has subscribed, to this mosquitto and not to the one before it."""
        with contextlib.suppress(TimeoutError):  # a version that has other words for it must not lock them out
            async with asyncio.timeout(_JOIN_S):
                await child.joined.wait()
        await self._subscribed.wait()
        while True:
            try:
                async with self._lock:
                    await self._tell()
                    self.open.set()
            except (ConfigError, OSError) as error:
                _log.warning("devices cannot be let in yet: %s", error)
                await self._clock.sleep(_AGAIN_S)
            else:
                return

    async def _follow_addresses(self, known: Sequence[str]) -> None:
        """Have the certificate name each new address, as one that came after the start."""
        async for _ in _addresses.changes():
            await self._clock.sleep(_SETTLE_S)
            hosts = await in_thread("broker.hosts", partial(_addresses.hosts, self._spec))
            if set(hosts) <= set(known):
                continue
            known = hosts
            try:
                now_s = self._clock.now().wall_ns / 1e9
                async with self._lock:
                    if await in_thread("broker.certify", partial(self.folder.certify, hosts, now_s)):
                        if self.open.is_set():
                            await self._tell()
                        _log.info("the broker has a new certificate, for %s", ", ".join(hosts))
            except (ConfigError, OSError) as error:
                _log.warning("the broker's certificate cannot be renewed: %s", error)

    async def _tell(self) -> None:
        """Have mosquitto read who may connect, and its certificate."""
        child = self._child
        if child is not None and child.pid:
            await in_thread("broker.files", partial(self.folder.refresh, self._spec, child.user))
            await child.reload()

    # -- a gate for what connects ---------------------------------------------------------------------------------

    async def passed(self, say: Callable[[str], None]) -> None:  # noqa: ARG002 - its part says why it does not
        """Return when mosquitto listens, as `Gate.passed`."""
        await self.up.wait()

    async def moved(self) -> None:
        """Return when it listens anew, as `Gate.moved`."""
        await self._came_up.wait()

    # -- in and out ----------------------------------------------------------------------------------------------

    def _options(self, user: str) -> dict[str, object]:
        """Return how the host connects as one of its users."""
        return {
            "username": user,
            "password": self.folder.own()[user],
            "client_id": user,
            "ca": str(self.folder.ca),
            "tls": True,
            "keep_alive_s": 30,
            "port": self._spec.port,
            "endpoint": _addresses.near(self._spec),
        }

    def _listener(self, bus: Bus) -> Callable[[], Awaitable[None]]:
        async def emit(*events: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
            await bus.emit(*(event for event in events if event.headers.get(MARK) != self._mark), memo=memo)

        async def run() -> None:
            await self.up.wait()  # before, there may be no password
            options = await in_thread("broker.options", partial(self._options, mosquitto.READER))
            port, host = self._spec.port, str(options.pop("endpoint"))
            del options["port"]
            broker = Broker(mosquitto.NAME, host, port, self._spec.topics, self._spec.prefix, options)
            module = await in_thread("broker.trigger", partial(plugin.load, "triggers", "mqtt"))
            trigger = module.MqttTrigger(broker, self._clock, ready=self.up.wait)
            trigger.up = self._subscribed
            await trigger.run(emit)

        return run

    # -- for commands --------------------------------------------------------------------------------------------

    def row(self) -> Mapping[str, object]:
        """Return how it does, for `edge status`."""
        child, out = self._child, self.publisher.state if self.publisher is not None else None
        return {
            "state": "up" if self.open.is_set() else "starting" if self.up.is_set() else "down",
            "address": self._spec.address,
            "port": self._spec.port,
            "plain_port": self._spec.plain_port,
            "pid": child.pid if child is not None else 0,
            "version": child.version if child is not None else "",
            "starts": self._starts,
            "published": out.published if out is not None else 0,
            "last_error": out.last_error if out is not None and out.state != "up" else "",
        }

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what a command wants, see `act`, and return when mosquitto knows of it."""
        async with self._lock:
            answer = await in_thread("broker.act", partial(act, self.folder, self._spec, request))
            if request.get("op") != "ls" and self.open.is_set():
                await self._tell()
        return answer


def act(folder: BrokerFolder, spec: LocalBroker, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Do what a command wants with the devices of a broker. Blocks. A running mosquitto is not told.

    `op` is `ls`, `add` (with `name` and `topics`), `passwd` or `remove` (with `name`). The answer to `ls` is
    `devices`, to the others the device's `name`; `add` and `passwd` have all that it needs to connect, and its
    `password`, for the only time.

    Raises: ConfigError, NotFoundError, StoreError.
    """
    op, name, topics = request.get("op"), request.get("name"), request.get("topics", [])
    if op == "ls":
        return {"devices": [{"name": name, "topics": [*one.topics]} for name, one in folder.devices().items()]}
    if op not in ("add", "passwd", "remove"):
        raise ConfigError(f"{op!r} is nothing that a broker does", hint="known: ls, add, passwd, remove")
    if not isinstance(name, str) or not isinstance(topics, list) or not all(isinstance(one, str) for one in topics):
        raise ConfigError("the request names no device, or its topics are no list of texts")
    folder.open()
    if op == "remove":
        folder.remove(name)
        return {"name": name}
    folder.certify(_addresses.hosts(spec), 0.0)
    password = folder.add(name, topics) if op == "add" else folder.renew(name)
    return {
        "name": name,
        "password": password,
        "host": _addresses.best(spec),
        "names": _addresses.hosts(spec),
        "port": spec.port,
        "plain_port": spec.plain_port,
        "ca": str(folder.ca),
        "ca_sha256": folder.fingerprint(),
        "ca_pem": folder.ca.read_text(encoding="ascii"),
        "topics": [*folder.devices()[name].topics],
        "own_machine_only": spec.address in ("127.0.0.1", "::1"),
    }


class _Outbound:
    """The `model.Link` of what goes to devices: without the prefix, and marked."""

    def __init__(self, options: Callable[[str], dict[str, object]], prefix: str, mark: str) -> None:
        self._options = options
        self._prefix = prefix
        self._mark = mark
        self._link: Link | None = None

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect once, as `Link.connect`."""
        if self._link is None:
            options = await in_thread("broker.options", partial(self._options, mosquitto.WRITER))
            self._link = LateLink(LinkSpec("paho", options))
        return await self._link.connect(down=down, received=received)

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to nothing: what comes is the trigger's."""

    def most_bytes(self, topic: str) -> int:  # noqa: ARG002 - the signature of Link
        """Return the bound of a payload that is packed; nothing is."""
        return 1 << 20

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> Awaitable[None]:
        """Publish, as `Link.publish`."""
        assert self._link is not None  # noqa: S101 - for the type checker
        kept = {_ID: properties[_ID]} if _ID in properties else {}
        return self._link.publish(topic.removeprefix(self._prefix), payload, {**kept, MARK: self._mark})

    async def lost(self) -> LinkError:
        """Return when the connection has gone, as `Link.lost`."""
        assert self._link is not None  # noqa: S101 - for the type checker
        error = await self._link.lost()
        return LinkError(str(error), hint=_HINT, answered=error.answered, hung_up=error.hung_up)

    async def close(self) -> None:
        """Disconnect, as `Link.close`."""
        if self._link is not None:
            await self._link.close()


async def _nothing_comes(topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
    """Take what nobody has subscribed to."""
