"""How fast a backlog drains: packed on loopback beside a mosquitto bridge, and one by one at 50 ms round trip.

python -m tests.benchmarks.bench_uplink
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from edge_runtime import plugin
from edge_runtime.app import QueueLimits, Uplink
from edge_runtime.clock import SystemClock, make_event
from edge_runtime.cloud.uplink import UplinkRunner
from edge_runtime.model import Feed
from edge_runtime.store.store import Store
from tests.benchmarks._figure import figure
from tests.benchmarks._mqtt import connect, packet, round_trips
from tests.brokers import start_mosquitto
from tests.latency import start_proxy_process

BACKLOG = 40_000
FAR_BACKLOG = 6_000
WINDOW = 100
PACK = 25
ONE_WAY_S = 0.025
PAYLOAD = b'{"n":"%06d","soil":0.4172,"unit":"ratio","text":"' + b"x" * 150 + b'"}'
ROUNDS = 3
RECEIVE_MAXIMUM = f"max_inflight_messages {WINDOW}\n"
"""What AWS IoT Core grants; mosquitto grants 20 unless it is told otherwise."""


async def _nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Store nothing: nothing comes down."""


async def fill(store: Store, clock: SystemClock, count: int) -> None:
    """Queue so many messages of one topic."""
    feeds = (Feed("uplink"),)
    for start in range(0, count, 500):
        await store.change(
            [
                (make_event(clock, "dt/station/soil", PAYLOAD % n, "function/soil"), feeds)
                for n in range(start, min(start + 500, count))
            ]
        )


async def drain(folder: Path, port: int, driver: str, count: int, spec: Uplink) -> tuple[float, int]:
    """Return messages a second from the first acknowledgement on, and the most that were unacknowledged at once."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(dir=folder) as state:
        store = await Store.open(Path(state), {"uplink": QueueLimits()}, clock=clock)
        await fill(store, clock, count)
        await store.close()
        store = await Store.open(Path(state), {"uplink": QueueLimits()}, clock=clock)  # as after a restart: all on disk
        link = plugin.load("links", driver).LINK(endpoint="127.0.0.1", port=port, client_id="drain")
        runner = UplinkRunner(store, link, spec, clock, deliver=_nothing)
        task = asyncio.create_task(runner.run())
        counters = store.counters("uplink")
        while not runner.state.published:  # noqa: ASYNC110 - what is measured shall not be hooked into
            await asyncio.sleep(0.0005)
        begin, first = time.perf_counter(), counters.delivered
        while counters.delivered < count:  # noqa: ASYNC110 - same
            await asyncio.sleep(0.002)
        rate = (count - first) / (time.perf_counter() - begin)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
    return rate, runner.state.most_inflight


def _count_arrivals(port: int, count: int) -> float:
    """Subscribe, and return messages a second from the first to the last of so many publishes of one size."""
    size = len(packet(0, b"dt/station/soil", PAYLOAD % 0)) - 2  # delivered with QoS 0: no packet id
    with connect(port, b"counter") as sock:
        topic = b"dt/#"
        body = b"\x00\x01" + len(topic).to_bytes(2, "big") + topic + b"\x00"
        sock.sendall(b"\x82" + bytes([len(body)]) + body)
        sock.recv(5)
        got, begin = 0, 0.0
        while got < count * size:
            data = sock.recv(1 << 20)
            begin = begin or time.perf_counter()
            got += len(data)
        return count / (time.perf_counter() - begin)


async def bridge(folder: Path, count: int) -> float:
    """Return the messages a second that mosquitto's bridge drains after an outage of its remote broker."""
    async with start_mosquitto(folder / "remote", extra=RECEIVE_MAXIMUM) as remote:
        port = remote.port
        await remote.kill()
        extra = (
            f"connection up\naddress 127.0.0.1:{port}\ntopic dt/# out 1\ncleansession false\n"
            f"restart_timeout 1\nmax_queued_messages 0\nmax_inflight_messages {WINDOW}\n"
        )
        async with start_mosquitto(folder / "local", extra=extra) as local:
            await asyncio.to_thread(_fill_broker, local.port, count)
            await remote.start()
            return await asyncio.to_thread(_count_arrivals, port, count)


def _fill_broker(port: int, count: int) -> None:
    with connect(port, b"filler") as sock:
        acked = 0
        for start in range(0, count, WINDOW):
            sock.sendall(b"".join([packet(n, b"dt/station/soil", PAYLOAD % n) for n in range(start, start + WINDOW)]))
            while acked < (start + WINDOW) * 4:
                acked += len(sock.recv(65536))


async def near(folder: Path) -> None:
    """Packed drain on loopback beside the bridge."""
    free = Uplink(window=WINDOW, publishes_per_s=0, bytes_per_s=0, pack=PACK, aws_quotas=False)
    ours, theirs = [], []
    for number in range(ROUNDS):
        for part in ("ours", "remote", "local"):
            (folder / f"{number}" / part).mkdir(parents=True)
        where = folder / str(number)
        async with start_mosquitto(where / "ours", extra=RECEIVE_MAXIMUM) as broker:
            ours.append((await drain(where, broker.port, "awscrt", BACKLOG, free))[0])
        theirs.append(await bridge(where, BACKLOG))
    figure(
        "drain", statistics.median(ours), "messages/s", reference="mosquitto bridge, 100 in flight",
        reference_value=statistics.median(theirs), goal=1.0, better="higher",
    )  # fmt: skip


async def far(folder: Path) -> None:
    """One message a publish through a path of 50 ms; the bound is the window over the round trip of a bare socket."""
    spec = Uplink(window=WINDOW, publishes_per_s=0, bytes_per_s=0, pack=1, aws_quotas=False)
    for driver in ("awscrt", "paho"):
        rates, trips, most = [], [], 0
        for number in range(ROUNDS):
            where = folder / f"far-{driver}-{number}"
            where.mkdir()
            async with (
                start_mosquitto(where, extra=RECEIVE_MAXIMUM) as broker,
                start_proxy_process("127.0.0.1", broker.port, one_way_s=ONE_WAY_S) as port,
            ):
                trips += await asyncio.to_thread(round_trips, port, 20, PAYLOAD % 0)
                rate, peak = await drain(where, port, driver, FAR_BACKLOG, spec)
            rates.append(rate)
            most = max(most, peak)
        name = "drain_rtt50" if driver == "awscrt" else f"drain_rtt50_{driver}"
        figure(
            name, statistics.median(rates), "messages/s", reference=f"window/RTT; most unacknowledged: {most}",
            reference_value=WINDOW / statistics.median(trips), goal=0.95, better="higher",
        )  # fmt: skip


async def _all(folder: Path) -> None:
    await near(folder)
    await far(folder)


def main() -> None:
    """Measure both."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        asyncio.run(_all(Path(name).resolve()))


if __name__ == "__main__":
    main()
