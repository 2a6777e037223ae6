"""A host, a broker, and a cloud that keeps shadows: from offline to online and back, with a kill in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from edge_runtime import plugin
from edge_runtime.app import App, Device, LinkSpec, Rule, ShadowKey, ShadowSync, Uplink
from edge_runtime.clock import SystemClock
from edge_runtime.control import pack, unpack
from edge_runtime.endpoints import Outsider
from edge_runtime.errors import NotFoundError
from edge_runtime.host import Host
from edge_runtime.links.memory import MemoryBroker, MemoryLink
from edge_runtime.model import Link
from edge_runtime.pure.shadow import Accepted
from edge_runtime.standin.server import Standin
from tests.brokers import start_mosquitto
from tests.cloud.shadow_cloud import ROOT, Service, say, serve
from tests.host.hosting import FREE, Site, app, site

SYNC = ShadowSync(("", "station"))
FAN = Device("fan", "PWMLED", {"pin": 22}, shadow=ShadowKey("station", ("fan",)))


class Side(Protocol):
    """The cloud's side."""

    moved: asyncio.Event

    def state(self, name: str = "") -> object:
        """Return what a shadow holds there."""

    def change(self, name: str, **state: object) -> object:
        """Let somebody else change it."""


class StandinSide:
    """The stand-in's own shadows."""

    def __init__(self, standin: Standin) -> None:
        self._shadows = standin.account.shadows
        self.moved = asyncio.Event()
        self._shadows.changed = self.moved.set

    def state(self, name: str = "") -> object:
        """Return what a shadow holds there."""
        try:
            state: Any = self._shadows.get("pi-7", name)["state"]
        except NotFoundError:
            return None
        return {key: section for key, section in state.items() if key != "delta"}

    def change(self, name: str, **state: object) -> object:
        """Let somebody else change it."""
        return self._shadows.update("pi-7", name, state)


async def update(it: Site, name: str, **state: object) -> None:
    """Change a shadow as an SDK does."""
    request = json.dumps({"state": state}).encode()
    assert isinstance(await it.host.services.shadow(Outsider, "update", name, request), Accepted)


async def here(it: Site, name: str) -> object:
    document = await it.host.shadows.shadows.document(name)
    return document.state if document is not None and document.is_live else None


async def same(it: Site, side: Side, name: str, state: object) -> None:
    """Return when both sides hold just this."""
    watch = it.host.shadows.shadows.watch()
    try:
        async with asyncio.timeout(60):
            while True:
                side.moved.clear()
                if await here(it, name) == state == side.state(name):
                    return
                tasks = [asyncio.create_task(watch.take()), asyncio.create_task(side.moved.wait())]
                either: list[asyncio.Future[Any]] = [*tasks]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
    except TimeoutError:
        assert (await here(it, name), side.state(name)) == (state, state)
    finally:
        it.host.shadows.shadows.unwatch(watch)


@contextlib.asynccontextmanager
async def answering(link: Link) -> AsyncIterator[Service]:
    """Let a cloud answer at a broker."""
    service = Service(SystemClock())
    await serve(link, service)
    try:
        yield service
    finally:
        await link.close()


def app_with(folder: Path, driver: str, settings: dict[str, object], uplink: Uplink = FREE) -> App:
    link = LinkSpec(driver, settings, uplink, shadows=SYNC)
    return replace(app(folder), link=link, devices=(FAN,), rules=(Rule("device/fan/set", ("device/fan",)),))


async def from_offline_to_online(it: Site, side: Side) -> None:
    """Both sides have changed; the link has just come."""
    await same(it, side, "", {"desired": {"mode": "eco"}, "reported": {"level": 2}})
    # What was desired in the cloud was done, and its report is back there.
    await same(it, side, "station", {"desired": {"fan": "on"}, "reported": {"fan": "on"}})
    assert (await it.ask("devices"))["devices"][0]["value"] == 1
    while [row["state"] for row in (await it.ask("status"))["shadows"]] != ["in sync", "in sync"]:
        await it.host.store.work(lambda _: None)
    await update(it, "", reported={"level": 3})
    side.change("", desired={"mode": "turbo"})


async def test_offline_then_online_over_mosquitto(tmp_path: Path) -> None:
    async with start_mosquitto(tmp_path) as broker:
        settings = {"endpoint": broker.host, "port": broker.port}
        await broker.kill()
        one = app_with(tmp_path, "paho", {**settings, "client_id": "pi-7"})
        async with site(one, tmp_path / "state") as it:
            await it.open("fan")
            for level in (1, 2):
                await update(it, "", reported={"level": level})
            cloud: Link = plugin.load("links", "paho").LINK(**settings, client_id="cloud")
            await broker.start()
            async with answering(cloud) as service:
                service.change("", desired={"mode": "eco"})
                service.change("station", desired={"fan": "on"})
                await from_offline_to_online(it, service)
                # Nobody heard of that change; but the version tells when the next one goes up.
                await same(it, service, "", {"desired": {"mode": "turbo"}, "reported": {"level": 3}})


async def test_offline_then_online_with_the_stand_in(tmp_path: Path) -> None:
    async with Standin() as standin:
        standin.faults.refuse()
        settings = {"endpoint": "127.0.0.1", "port": standin.port, "client_id": "pi-7"}
        one = app_with(tmp_path, "paho", settings, Uplink())
        async with site(one, tmp_path / "state") as it:
            await it.open("fan")
            for level in (1, 2):
                await update(it, "", reported={"level": level})
            side = StandinSide(standin)
            side.change("", desired={"mode": "eco"})
            side.change("station", desired={"fan": "on"})
            standin.faults.clear()
            await from_offline_to_online(it, side)
            await same(it, side, "", {"desired": {"mode": "turbo"}, "reported": {"level": 3}})
            for level in range(200):  # as fast as a function can: the cloud is asked no more than it allows
                await update(it, "", reported={"level": level})
            await same(it, side, "", {"desired": {"mode": "turbo"}, "reported": {"level": 199}})
            assert [row["last_error"] for row in (await it.ask("status"))["shadows"]] == ["", ""]


async def test_while_connected_changes_go_up_and_down_at_once(tmp_path: Path) -> None:
    broker = MemoryBroker()
    cloud = MemoryLink(broker=broker, client_id="cloud")
    async with answering(cloud) as service, site(app_with(tmp_path, "memory", {}), tmp_path / "s", broker=broker) as it:
        await same(it, service, "station", {"reported": {"fan": 0}})
        await update(it, "", reported={"level": 1})
        await same(it, service, "", {"reported": {"level": 1}})
        await say(cloud, service.change("station", desired={"fan": 0.5}))
        await same(it, service, "station", {"desired": {"fan": 0.5}, "reported": {"fan": 0.5}})
        await say(cloud, service.delete(""))
        await same(it, service, "", None)
        assert (await it.ask("shadow.ls"))["names"] == ["station"]


async def test_a_kill_with_an_update_under_way(tmp_path: Path) -> None:
    """The cloud takes the update, and the host is gone before it hears so."""
    broker = MemoryBroker()
    one = replace(app_with(tmp_path, "memory", {}), devices=())
    cloud = MemoryLink(broker=broker, client_id="cloud")
    async with answering(cloud) as service:
        host = Host(one, tmp_path / "s", link=MemoryLink(broker=broker))
        await host.start()
        it = Site(host, broker)
        await update(it, "", reported={"level": 0})
        await same(it, service, "", {"reported": {"level": 0}})
        broker.hold()
        await update(it, "", reported={"level": 1})
        await same(it, service, "", {"reported": {"level": 1}})
        broker.go_offline()  # the answer is lost with the connection
        await host.stop(grace_s=0)
        broker.release()
        broker.go_online()
        await cloud.close()
        await serve(cloud, service)
        async with site(one, tmp_path / "s", broker=broker) as again:
            await update(again, "", reported={"level": 0})
            await same(again, service, "", {"reported": {"level": 0}})
            assert f"{ROOT}/update/accepted" in [topic for topic, _ in again.arrived]


async def test_the_verbs_of_a_shadow(tmp_path: Path) -> None:
    async with site(replace(app(tmp_path), link=None), tmp_path / "s") as it:
        assert await it.ask("shadow.ls") == {"names": []}
        request = pack(b'{"state":{"desired":{"a":1}}}')
        assert (await it.ask("shadow", method="update", name="", payload=request))["code"] == 200
        assert await it.ask("shadow.ls") == {"names": [""]}
        got = await it.ask("shadow", method="get", name="")
        assert json.loads(unpack(got["payload"]))["state"]["desired"] == {"a": 1}
        assert (await it.ask("shadow", method="delete", name="x"))["code"] == 404
        with pytest.raises(ValueError, match="no method of a shadow"):
            await it.ask("shadow", method="list", name="")
        assert (await it.ask("status"))["shadows"] == []
