"""How fast a link publishes: QoS 1, 100 in flight, 200 bytes; on loopback, and 25 ms away each way.

    python -m tests.benchmarks.bench_link

The ratio is to what a window of 100 allows at the round trip time that a bare socket sees on the same path.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from edge_runtime import plugin
from edge_runtime.model import Link
from tests.benchmarks._figure import figure
from tests.benchmarks._mqtt import publish_rate, round_trips
from tests.brokers import start_mosquitto
from tests.latency import start_proxy_process

WINDOW = 100
PAYLOAD = b"x" * 200
PROPERTIES = {"id": "0190f3a2-7c11-7bd4-9a7e-3f1b6a1c2d3e"}
ONE_WAY_S = 0.025
ROUNDS = 3
LOOPBACK_GOALS = {"awscrt": 0.25, "paho": 0.08}
"""Share of what a bare socket does in the same run."""


async def publish_many(link: Link, count: int) -> float:
    """Publish so many messages, at most WINDOW unacknowledged, and return messages per second."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sent = acked = 0

    def send() -> None:
        nonlocal sent
        sent += 1
        asyncio.ensure_future(link.publish("edge/garden/up/soil", PAYLOAD, PROPERTIES)).add_done_callback(next_one)

    def next_one(future: asyncio.Future[None]) -> None:
        nonlocal acked
        acked += 1
        if future.exception() is not None and not done.done():
            done.set_exception(future.exception() or RuntimeError)
        elif sent < count:
            send()
        elif acked == count and not done.done():
            done.set_result(None)

    begin = time.perf_counter()
    for _ in range(WINDOW):
        send()
    await done
    return count / (time.perf_counter() - begin)


async def nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Store nothing: the benchmark subscribes to nothing."""


async def measure(driver: str, port: int, count: int) -> float:
    """Return messages per second, the median of the rounds."""
    link = plugin.load("links", driver).LINK(endpoint="127.0.0.1", port=port, client_id=f"bench-{driver}")
    await link.connect(down=[], received=nothing)
    await publish_many(link, count // 4)
    rates = [await publish_many(link, count) for _ in range(ROUNDS)]
    await link.close()
    return statistics.median(rates)


async def run() -> None:
    """Measure every network link against mosquitto."""
    with tempfile.TemporaryDirectory() as folder:
        async with start_mosquitto(Path(folder), extra="max_inflight_messages 0") as broker:
            bare = await asyncio.to_thread(publish_rate, broker.port, window=WINDOW, seconds=2, payload=PAYLOAD)
            for driver, goal in LOOPBACK_GOALS.items():
                figure(
                    f"link {driver}: publishes on loopback",
                    await measure(driver, broker.port, 8000),
                    "1/s",
                    reference="bare socket",
                    reference_value=bare,
                    goal=goal,
                    better="higher",
                )
            async with start_proxy_process(broker.host, broker.port, one_way_s=ONE_WAY_S) as port:
                trip = statistics.median(await asyncio.to_thread(round_trips, port, 40, PAYLOAD))
                for driver in LOOPBACK_GOALS:
                    figure(
                        f"link {driver}: publishes at 50 ms round trip",
                        await measure(driver, port, 4000),
                        "1/s",
                        reference="window / round trip",
                        reference_value=WINDOW / trip,
                        goal=0.95,
                        better="higher",
                    )


def main() -> None:
    """Print the figures."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
