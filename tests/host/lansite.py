"""A host with a local broker in this process, and a real mosquitto below it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App, LocalBroker, Rule
from edge_runtime.host.broker import BrokerKeeper
from tests.brokers import free_port, mosquitto_path
from tests.host.hosting import Site, app, site

NEEDS = pytest.mark.skipif(mosquitto_path() is None, reason="needs mosquitto (apt-get install mosquitto)")


def with_broker(folder: Path, **more: Any) -> App:  # noqa: ANN401 - fields of LocalBroker
    """Return an app with a broker, whose messages go up with `lan/` before their topics; `+/set` goes out."""
    spec = LocalBroker(**{"port": free_port(), "prefix": "lan/", "publish": ("+/set",), **more})
    rules = (Rule("lan/#", ("uplink",)), *(Rule(f"lan/{one}", ("broker",)) for one in spec.publish))
    return app(folder, broker=spec, rules=rules)


class Lan:
    """A running host with a broker."""

    def __init__(self, it: Site) -> None:
        self.site = it
        assert it.host.broker is not None
        self.keeper: BrokerKeeper = it.host.broker

    async def add(self, name: str, *topics: str) -> dict[str, Any]:
        """Let a device connect; return its credentials."""
        return await self.site.ask("broker", op="add", name=name, topics=list(topics) or [f"{name}/#"])

    async def is_open(self) -> None:
        """Return when devices can connect."""
        await self.site.until(self.keeper.open.is_set)

    @property
    def arrived(self) -> list[tuple[str, bytes]]:
        """What has come of devices."""
        return self.site.arrived

    async def arrive(self, count: int) -> list[tuple[str, bytes]]:
        """Return what has come of devices, once it is so much."""
        await self.site.until(lambda: len(self.arrived) >= count)
        return self.arrived


@asynccontextmanager
async def lan(one: App, state: Path) -> AsyncIterator[Lan]:
    """Run a host with a broker; return when it listens."""
    async with site(one, state) as it:
        found = Lan(it)
        await found.is_open()
        yield found


def kill(it: Lan) -> int:
    """End mosquitto as a crash does; return its pid."""
    pid = it.keeper.row()["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    return pid


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
