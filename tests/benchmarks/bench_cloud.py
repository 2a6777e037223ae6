"""What AWS IoT Core's quotas leave: a backlog drained within them, and how soon the first message is through.

python -m tests.benchmarks.bench_cloud
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_runtime import plugin
from edge_runtime.app import QueueLimits, Uplink
from edge_runtime.clock import SystemClock, make_event
from edge_runtime.cloud.uplink import UplinkRunner
from edge_runtime.errors import LinkError
from edge_runtime.model import Feed, Link, Received
from edge_runtime.pure.quotas import PUBLISHES_PER_S
from edge_runtime.standin.certs import Certificates, TlsFiles, make
from edge_runtime.store.store import Store
from tests.benchmarks._figure import figure
from tests.latency import start_proxy_process

SECONDS = 12
PACK = 25
DEVICES = 10
ONE_WAY_S = 0.025
ROUNDS = 8
PAYLOAD = b'{"n":%d,"soil":0.4172,"unit":"ratio","text":"' + b"x" * 40 + b'"}'
DRIVERS = ("awscrt", "paho")


class CloudProcess:
    """A stand-in in a process of its own, driven over its standard input."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process

    async def ask(self, command: Mapping[str, object]) -> dict[str, Any]:
        """Return the answer to a command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer


@contextlib.asynccontextmanager
async def start_standin(tls: TlsFiles | None = None, *, quotas: str = "aws") -> AsyncIterator[CloudProcess]:
    """Run a stand-in, with the quotas of AWS unless they are `none`."""
    files = [] if tls is None else ["--tls", str(tls.ca), str(tls.cert), str(tls.key)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_runtime.standin", "--port", "0", "--control", "stdin", "--quotas", quotas, *files,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready = json.loads(await process.stdout.readline())
        yield CloudProcess(process, ready["port"])
    finally:
        process.stdin.close()
        await process.wait()


async def _nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Store nothing: nothing comes down."""


@contextlib.asynccontextmanager
async def backlog(folder: Path, count: int) -> AsyncIterator[Store]:
    """Open a store with so many readings of ten devices in turn, all on disk, as after a restart."""
    clock = SystemClock()
    feeds = (Feed("uplink"),)
    with tempfile.TemporaryDirectory(dir=folder) as state:
        store = await Store.open(Path(state), {"uplink": QueueLimits()}, clock=clock)
        for start in range(0, count, 500):
            numbers = range(start, min(start + 500, count))
            topics = [f"dt/station-{n % DEVICES}/soil" for n in numbers]
            events = [
                make_event(clock, topic, PAYLOAD % n, "function/soil") for topic, n in zip(topics, numbers, strict=True)
            ]
            await store.change([(event, feeds) for event in events])
        await store.close()
        store = await Store.open(Path(state), {"uplink": QueueLimits()}, clock=clock)
        try:
            yield store
        finally:
            await store.close()


class Steady:
    """Rates from the second second on: the first begins with a burst."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._first: tuple[float, int, int] | None = None
        self._last = (0.0, 0, 0)

    def see(self, publishes: int, messages: int) -> None:
        """Take notice of the counts."""
        now = time.perf_counter()
        if self._first is None and now - self._began >= 1:
            self._first = now, publishes, messages
        self._last = now, publishes, messages

    @property
    def rates(self) -> tuple[float, float]:
        """Publishes and messages a second."""
        assert self._first is not None
        seconds = self._last[0] - self._first[0]
        return (self._last[1] - self._first[1]) / seconds, (self._last[2] - self._first[2]) / seconds


async def drain(folder: Path, spec: Uplink, count: int) -> tuple[float, float, str]:
    """Return publishes and messages a second, and what the stand-in had to say."""
    async with start_standin() as cloud, backlog(folder, count) as store:
        link = plugin.load("links", "awscrt").LINK(endpoint="127.0.0.1", port=cloud.port, client_id="drain")
        counted = Counted(link)
        runner = UplinkRunner(store, counted, spec, SystemClock(), deliver=_nothing)
        task = asyncio.create_task(runner.run())
        counters = store.counters("uplink")
        while not counters.delivered:  # noqa: ASYNC110 - what is measured shall not be hooked into
            await asyncio.sleep(0.001)
        steady = Steady()
        while counters.delivered < count:
            steady.see(counted.acked, counters.delivered)
            await asyncio.sleep(0.005)
        told = await cloud.ask({"counts": True})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        counts = told["counts"]
        said = ", ".join(f"{name} {counts.get(name, 0)}" for name in ("discarded", "refused", "connected"))
        return *steady.rates, said


class Counted:
    """A link that counts acknowledgements, and notes when it was to connect and when the first one came."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.acked = 0
        self.began = 0.0
        self.first = 0.0

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect the real link."""
        self.began, self.first = time.perf_counter(), 0.0
        return await self._link.connect(down=down, received=received)

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe with the real link."""
        await self._link.subscribe(filters)

    def most_bytes(self, topic: str) -> int:
        """Ask the real link."""
        return self._link.most_bytes(topic)

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> Awaitable[None]:
        """Publish, and count the acknowledgement."""
        future = asyncio.ensure_future(self._link.publish(topic, payload, properties))
        future.add_done_callback(self._note)
        return future

    async def lost(self) -> LinkError:
        """Tell when the real link is gone."""
        return await self._link.lost()

    async def close(self) -> None:
        """Close the real link."""
        await self._link.close()

    def _note(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.first = self.first or time.perf_counter()
            self.acked += 1


async def quota(folder: Path) -> None:
    """One by one, packed, and packed with gzip, within AWS's quotas: none discarded, none refused."""
    rate, _, said = await drain(folder, Uplink(), SECONDS * PUBLISHES_PER_S)
    figure(
        "drain_quota", rate, "publishes/s", reference=f"AWS's quota; {said}",
        reference_value=PUBLISHES_PER_S, goal=0.95, better="higher",
    )  # fmt: skip
    for name, spec in (
        ("drain_quota_packed", Uplink(pack=PACK)),
        ("drain_quota_gzip", Uplink(pack=2 * PACK, gzip=True)),
    ):
        publishes, messages, said = await drain(folder, spec, SECONDS * PUBLISHES_PER_S * spec.pack)
        words = f"{PACK} messages in 92 publishes; {DEVICES} topics in turn, {publishes:.1f} publishes/s, {said}"
        figure(
            name, messages, "messages/s", reference=words, reference_value=92 * PACK, goal=1.0, better="higher",
        )  # fmt: skip


def _handshake(port: int, files: TlsFiles) -> tuple[float, float]:
    """Return the seconds that a bare client takes to be encrypted, its files included, and of an MQTT round trip."""
    begin = time.perf_counter()
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.cert, files.key)
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            shaken = time.perf_counter() - begin
            name = b"handshake"
            body = b"\x00\x04MQTT\x04\x02\x00\x1e" + len(name).to_bytes(2, "big") + name
            tls.sendall(b"\x10" + bytes([len(body)]) + body)
            tls.recv(4)
            begin = time.perf_counter()
            tls.sendall(b"\xc0\x00")
            tls.recv(2)
            return shaken, time.perf_counter() - begin


async def first_ack(folder: Path, driver: str, port: int, files: TlsFiles) -> float:
    """Return the seconds from the attempt to connect to the first acknowledgement of what waits on disk."""
    async with backlog(folder, 300) as store:
        link = plugin.load("links", driver).LINK(
            endpoint="localhost", port=port, client_id="again", certificate=files.cert, key=files.key, ca=files.ca
        )
        counted = Counted(link)
        spec = Uplink(down=("cmd/again/#",))
        task = asyncio.create_task(UplinkRunner(store, counted, spec, SystemClock(), deliver=_nothing).run())
        while not counted.first:  # noqa: ASYNC110 - what is measured shall not be hooked into
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return counted.first - counted.began


async def reconnect(folder: Path) -> None:
    """Over a path of 50 ms with TLS: the handshake, then CONNECT and the first PUBLISH are a round trip each."""
    certificates: Certificates = await asyncio.to_thread(make, folder / "certs")
    async with (
        start_standin(certificates.server) as cloud,
        start_proxy_process("127.0.0.1", cloud.port, one_way_s=ONE_WAY_S) as port,
    ):
        for driver in DRIVERS:
            ours, handshakes, trips = [], [], []
            for number in range(ROUNDS + 1):
                shaken, trip = await asyncio.to_thread(_handshake, port, certificates.client)
                found = await first_ack(folder, driver, port, certificates.client)
                if number:  # the first one imports the library, and has no session to take up
                    ours.append(found)
                    handshakes.append(shaken)
                    trips.append(trip)
                await asyncio.sleep(1.05)  # AWS allows a client one CONNECT a second
            trip, shaken = statistics.median(trips) * 1000, statistics.median(handshakes) * 1000
            figure(
                "reconnect_to_first_ack" if driver == "awscrt" else f"reconnect_to_first_ack_{driver}",
                statistics.median(ours) * 1000, "ms",
                reference=f"2 x {trip:.1f} ms + TLS {shaken:.1f} ms", reference_value=2 * trip + shaken,
                goal=1.0, better="lower",
            )  # fmt: skip


async def _all(folder: Path) -> None:
    await quota(folder)
    await reconnect(folder)


def main() -> None:
    """Measure all."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        asyncio.run(_all(Path(name).resolve()))


if __name__ == "__main__":
    main()
