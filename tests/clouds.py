"""Brokers as the links' contract test needs them: one face for the memory broker, a mosquitto and the stand-in.

async with start_cloud("mosquitto", tmp_path) as cloud:
    link = plugin.load("links", "paho").LINK(**cloud.settings, client_id="device")
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

from edge_runtime import plugin
from edge_runtime.links.memory import MemoryBroker
from edge_runtime.standin.server import Standin
from tests.brokers import Mosquitto, start_mosquitto

FORBIDDEN = "secret/topic"
"""No cloud lets anyone publish on this topic, or subscribe to it where it can refuse that."""

_ACL = f"topic readwrite #\ntopic deny {FORBIDDEN}\n"


class Cloud(Protocol):
    """A broker that can fail on demand."""

    settings: Mapping[str, object]
    """What a link needs in order to find it, besides a client id."""
    refuses_subscriptions: bool

    def stall(self) -> None:
        """Leave connections open and answer nothing any more."""

    async def crash(self) -> None:
        """Go away at once, and be unreachable."""

    async def revive(self) -> None:
        """Be there again."""


class MemoryCloud:
    """The memory broker."""

    refuses_subscriptions = True

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.refuse(FORBIDDEN)
        self.broker.refuse_subscription(FORBIDDEN)
        self.settings: Mapping[str, object] = {"broker": self.broker}

    def stall(self) -> None:
        """Hold every acknowledgement."""
        self.broker.hold()

    async def crash(self) -> None:
        """End all connections, and forget the sessions, as a broker without a disk does."""
        self.broker.go_offline()
        self.broker.forget()

    async def revive(self) -> None:
        """Acknowledge again."""
        self.broker.release()
        self.broker.go_online()


class MosquittoCloud:
    """A mosquitto process."""

    refuses_subscriptions = False

    def __init__(self, broker: Mosquitto) -> None:
        self.broker = broker
        self.settings: Mapping[str, object] = {"endpoint": broker.host, "port": broker.port}

    def stall(self) -> None:
        """Stop the process where it is."""
        self.broker.freeze()

    async def crash(self) -> None:
        """Kill the process."""
        await self.broker.kill()

    async def revive(self) -> None:
        """Start it anew."""
        await self.broker.start()


class StandinCloud:
    """The stand-in for AWS IoT Core, without AWS's quotas."""

    refuses_subscriptions = False

    def __init__(self, standin: Standin) -> None:
        self.standin = standin
        self.standin.faults.reject(FORBIDDEN)
        self.settings: Mapping[str, object] = {"endpoint": "127.0.0.1", "port": standin.port}

    def stall(self) -> None:
        """Accept bytes and answer nothing."""
        self.standin.faults.freeze()

    async def crash(self) -> None:
        """Cut all connections, lose the sessions and listen no more."""
        self.standin.faults.refuse()
        self.standin.faults.restart(keep_sessions=False)

    async def revive(self) -> None:
        """Listen again."""
        self.standin.faults.clear()


@contextlib.asynccontextmanager
async def start_cloud(name: str, tmp_path: Path) -> AsyncIterator[Cloud]:
    """Run the cloud `memory`, `mosquitto` or `standin`."""
    if name == "memory":
        yield MemoryCloud()
        return
    if name == "standin":
        async with Standin(quotas="none") as standin:
            yield StandinCloud(standin)
        return
    acl = tmp_path / "acl"
    acl.write_text(_ACL, encoding="utf-8")
    async with start_mosquitto(tmp_path, extra=f"acl_file {acl}\nmax_inflight_messages 0") as broker:
        yield MosquittoCloud(broker)


def pairs() -> list[tuple[str, str, dict[str, object]]]:
    """Return every link plug-in with every cloud it can reach and every variant: (link, cloud, extra settings).

    The nucleus of Greengrass has no sessions, no properties and limits of its own: the test of that link takes from the
    contract what holds there.
    """
    own: dict[str, list[str]] = {"memory": ["memory"], "greengrass": []}
    variants: dict[str, list[dict[str, object]]] = {"paho": [{}, {"version": "3.1.1"}]}
    found = []
    for link in plugin.names("links"):
        clouds = own.get(link, ["mosquitto", "standin"])
        found += [(link, cloud, extra) for cloud in clouds for extra in variants.get(link, [{}])]
    return found
