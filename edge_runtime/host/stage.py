"""A host in a world that is made: its time, its devices and its cloud do what they are told.

For `edge run --simulate --script` and for the tests that users write. The world's time is a `warp.WarpClock`, so all
of this runs on its `WarpLoop`. The cloud is a broker in this process, behind the link's own door: what the app's link
names is not dialled.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import os
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_runtime.app import App
from edge_runtime.clock import make_event
from edge_runtime.cloud import pack
from edge_runtime.errors import ConfigError, EdgeError, NotFoundError
from edge_runtime.host.bus import Watcher
from edge_runtime.host.host import Host
from edge_runtime.links.memory import Arrived, MemoryBroker, MemoryLink
from edge_runtime.model import Received
from edge_runtime.plugin import nearest
from edge_runtime.threads import hold
from edge_runtime.warp import WarpClock

if TYPE_CHECKING:
    from edge_runtime.devices import OpenDevice

_MORE_S = 12.0
"""What a worker may take to start, beside the time of its function. The world waits so long for one of which nothing is
heard."""
_HANGING_S = 0.5
_CONNECT_S = 127.0
"""tcp(7): with `tcp_syn_retries` as it is by default."""
_OFFLINE = "the world's link is cut"
NUMBER = "edge-number"


class Delivery(NamedTuple):
    """A message that reached the cloud; of a publish with several there are several."""

    topic: str
    payload: bytes
    id: str
    seq: int
    """Its number in the queue of the uplink; 0 for what is not of the queue, as a request of a shadow."""


class _Way(MemoryLink):
    """The way to the cloud. Where there is none, a try to connect takes as long as Linux takes to give it up."""

    def __init__(self, client_id: str, broker: MemoryBroker, clock: WarpClock) -> None:
        super().__init__(client_id=client_id, broker=broker)
        self.is_open = asyncio.Event()
        self.is_open.set()
        self._clock = clock

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect, as `Link.connect`."""
        if not self.is_open.is_set():
            opening = asyncio.create_task(self.is_open.wait(), name="world.way")
            giving_up = asyncio.create_task(self._clock.sleep(_CONNECT_S), name="world.no-way")
            try:
                await asyncio.wait([opening, giving_up], return_when=asyncio.FIRST_COMPLETED)
            finally:
                opening.cancel()
                giving_up.cancel()
        return await super().connect(down=down, received=received)


class Cloud:
    """What stands in for the cloud: it takes what comes, and sends what it is told to.

    A message that it sent is kept for the device, as AWS does for a persistent session, until the device has stored it.
    """

    def __init__(
        self,
        app: App,
        clock: WarpClock,
        keep: Callable[[Delivery], object],
        *,
        acked: Callable[[int], object] | None = None,
    ) -> None:
        """`keep` gets each message that arrives; `acked` the number of each one sent that the device has stored."""
        self._broker = MemoryBroker(
            keep=lambda arrived: [keep(each) for each in deliveries(arrived)],
            acked=None if acked is None else lambda sent: acked(int(sent.properties.get(NUMBER, "0"))),
        )
        self.link = _Way(app.thing, self._broker, clock)
        if app.link is not None:
            self._broker.expect(app.thing, app.link.uplink.down)

    def send(self, topic: str, payload: bytes, number: int = 0) -> None:
        """Send a message down; `number` is told to `acked`."""
        self._broker.send(topic, payload, {NUMBER: str(number)})

    def cut(self) -> None:
        """Let nothing through."""
        self.link.is_open.clear()
        self._broker.go_offline(_OFFLINE)

    def mend(self) -> None:
        """Let all through again."""
        self._broker.go_online()
        self.link.is_open.set()


def deliveries(arrived: Arrived) -> Iterator[Delivery]:
    """Yield the messages of a publish, as `cloud.pack` puts them together."""
    properties = arrived.properties
    if pack.PACKED not in properties:
        seq = int(properties.get(pack.SEQ, "0"))
        yield Delivery(arrived.topic, arrived.payload, properties.get(pack.ID, ""), seq)
        return
    raw = arrived.payload
    if properties.get(pack.ENCODING) == pack.GZIP:
        raw = zlib.decompress(raw, zlib.MAX_WBITS | 16)
    for item in json.loads(raw):
        whole = item.get("payload_base64")
        text = base64.b64decode(whole) if whole is not None else json.dumps(item["payload"]).encode()
        yield Delivery(arrived.topic, text, item["id"], item["seq"])


def payload_of(value: object) -> bytes:
    """Return what is published for a value: bytes and texts as they are, all else as JSON."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def check_device(app: App, name: str, *, where: str = "") -> None:
    """Return if an app declares a device. Raises: NotFoundError, which begins with `where`."""
    known = [device.name for device in app.devices]
    if name not in known:
        raise NotFoundError(
            f"{where}there is no device {name!r}{nearest(name, known)}", hint=f"declared: {', '.join(known) or 'none'}"
        )


class _Faulty:
    """A device that fails in some way, in front of the one that works."""

    def __init__(self, device: Any, how: str) -> None:  # noqa: ANN401 - an object without types
        self._device = device
        self._how = how
        self._over = threading.Event()

    @property
    def value(self) -> Any:  # noqa: ANN401 - any driver's value
        """Fail."""
        if self._how == "throws":
            raise OSError("the device does not answer")
        if self._how == "hangs":
            self._over.wait()
            return self._device.value
        return math.nan

    def mend(self) -> Any:  # noqa: ANN401 - an object without types
        """Let go of who hangs, and return the device that works."""
        self._over.set()
        return self._device

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return getattr(self._device, name)


_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there, by tempfile


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for as long as it is used: in memory where that can be, so that no disk is waited for or worn."""
    memory = str(_MEMORY) if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="edge-world-", dir=memory) as folder:
        yield Path(folder)


class Stage:
    """A host of a simulated world. `start`, then time may be made; `close` in the end."""

    def __init__(self, app: App, state: Path, clock: WarpClock, cloud: Cloud) -> None:
        self.host = Host(app, state, clock=clock, simulate=True, link=cloud.link if app.link is not None else None)
        self.clock = clock
        self.cloud = cloud
        self.error: EdgeError | None = None
        """What was wrong with a value that a device was to have when it was opened."""
        self._values: dict[str, object] = {}
        self._faults: dict[str, str] = {}
        self._releases: list[Callable[[], None]] = []

    async def start(self, watcher: Watcher | None = None) -> None:
        """Start the host, and return when its devices and its link are up, at the very time at which it began.

        `watcher` is shown what it accepts from then on, but for its first event, that it has started.

        Raises: as `Host.start`; ConfigError for a value that a device cannot measure.
        """
        hardware = self.host.hardware
        hardware.prepare, hardware.reading_patience_s = self._prepare, _HANGING_S
        await self.host.start()
        if watcher is not None:
            self.host.bus.join(watcher)
        store, pool = self.host.store, self.host.pool
        longest_s = max((function.timeout_s for function in self.host.app.functions), default=0.0) + _MORE_S
        self._releases += [hold(lambda: store.busy), hold(lambda: pool.busy, longest_s)]
        await self.clock.let(0)
        if self.error is not None:
            raise self.error

    async def close(self, grace_s: float = 5.0) -> None:
        """End the host in order, at this very time. Safe to call twice."""
        self.clock.stand()
        for name in list(self._faults):  # what hangs in a driver would hold up the end
            self.mend(name)
        for release in self._releases:
            release()
        await self.host.stop(grace_s)

    # -- what happens to it --------------------------------------------------------------------------------------

    def measure(self, name: str, value: object) -> None:
        """Let a device measure a value from now on, after a fault if it has one.

        Raises: NotFoundError for a device that is not declared, ConfigError for a value that it cannot measure.
        """
        check_device(self.host.app, name)
        self._values[name] = value
        opened = self._opened(name)
        if opened is None:
            return  # it is told when it is opened
        faulty = opened.device if isinstance(opened.device, _Faulty) else None
        if faulty is not None:
            opened.device = faulty._device  # noqa: SLF001 - two halves of one thing
        try:
            self.host.hardware.simulate(name, value)
        finally:
            if faulty is not None:
                opened.device = faulty

    def fail(self, name: str, how: str) -> None:
        """Let a device fail from now on: `throws`, `hangs` or `nan`.

        Raises: NotFoundError for a device that is not declared, ConfigError for one that nobody reads.
        """
        check_device(self.host.app, name)
        self.mend(name)
        self._faults[name] = how
        opened = self._opened(name)
        if opened is not None:
            self._break(opened, how)

    def mend(self, name: str) -> None:
        """Let a device work again. Raises: NotFoundError for a device that is not declared."""
        check_device(self.host.app, name)
        self._faults.pop(name, None)
        opened = self._opened(name)
        if opened is None:
            return
        if isinstance(opened.device, _Faulty):
            opened.device = opened.device.mend()
        elif opened.has_readings and name in self._values:
            self.host.hardware.simulate(name, self._values[name])

    async def command(self, name: str, payload: bytes) -> None:
        """Command an output here, and return when that is safe on disk.

        Raises: NotFoundError for a device that is not declared; as `Emit`.
        """
        check_device(self.host.app, name)
        await self.emit(f"device/{name}/set", payload)

    async def emit(self, topic: str, payload: bytes) -> None:
        """Emit an event here, as `edge publish` does. Raises: as `Emit`."""
        await self.host.bus.emit(make_event(self.clock, topic, payload, "cli"))

    # -- how it is -----------------------------------------------------------------------------------------------

    def value(self, name: str) -> Any:  # noqa: ANN401 - any driver's value
        """Return the value of a device now. Raises: NotFoundError; ConfigError when it is not open."""
        check_device(self.host.app, name)
        opened = self._opened(name)
        if opened is None:
            why = self.host.hardware.faults.get(name, "it is not open")
            raise ConfigError(f"device {name!r} has no value: {why}")
        return opened.device.value

    @property
    def waiting(self) -> int:
        """How many messages wait in all queues."""
        return sum(counters.queued for counters in self.host.store.ledger)

    def _opened(self, name: str) -> OpenDevice | None:
        return next((device for device in self.host.hardware.devices if device.name == name), None)

    def _prepare(self, opened: OpenDevice) -> None:
        try:
            if opened.name in self._values:
                self.host.hardware.simulate(opened.name, self._values[opened.name])
            if opened.name in self._faults:
                self._break(opened, self._faults[opened.name])
        except EdgeError as error:
            self.error = self.error or error

    def _break(self, opened: OpenDevice, how: str) -> None:
        if opened.has_readings:
            if how == "hangs":
                return  # then nothing comes, which is all that there is to see
            told = OSError("the device does not answer") if how == "throws" else math.nan
            opened.device.simulate(told)
        elif opened.spec.every_s > 0:
            opened.device = _Faulty(opened.device, how)
        else:
            raise ConfigError(
                f"device {opened.name!r} ({opened.spec.driver}) is not read, so it cannot fail",
                hint="faults are for devices with `every`",
            )
