"""A host with a local broker, killed: no mosquitto is left behind, and the next start finds everything free."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import free_port, mosquitto_path
from tests.lan import Came, gadget
from tests.system.rig import HostProcess

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="needs mosquitto (apt-get install mosquitto)")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[HostProcess]:
    found = HostProcess(tmp_path, free_port(), driver="paho", more=f"broker: {{port: {free_port()}}}\n")
    await found.start()
    try:
        yield found
    finally:
        await found.close()


async def broker(host: HostProcess) -> dict[str, Any]:
    """Return how the broker does, once it is up."""
    async with asyncio.timeout(60):
        await host.up.wait()
        while (found := (await host.ask("status"))["broker"])["state"] != "up":
            await host.ask("broker", op="ls")
    return dict(found)


async def gone(pid: int) -> None:
    """Return when there is no such process."""
    async with asyncio.timeout(20):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, ended.set)
        try:
            await ended.wait()
        finally:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)


async def test_a_host_that_is_killed_leaves_no_broker_behind(host: HostProcess) -> None:
    before = await broker(host)
    lamp = await host.ask("broker", op="add", name="lamp", topics=["lamp/#"])
    async with gadget(lamp) as device:
        assert await device.publish("lamp/state", b"on", retain=True) == "Success"
        await host.kill()
        await device.was_cut()
    await gone(before["pid"])
    await host.start()
    assert (await broker(host))["pid"] != before["pid"]
    async with gadget(lamp) as device:
        await device.subscribe("lamp/#")
        assert await device.got() == Came("lamp/state", b"on", retained=True), "it was saved at the end"


async def test_ctrl_c_ends_both_in_order(host: HostProcess) -> None:
    pid = (await broker(host))["pid"]
    os.kill(host.pid, signal.SIGINT)
    assert await host.died() == 0
    await gone(pid)


async def test_a_broker_that_hangs_does_not_keep_the_host_from_ending(host: HostProcess) -> None:
    pid = (await broker(host))["pid"]
    os.kill(pid, signal.SIGSTOP)
    await host.kill()
    # SIGTERM does nothing to it: the next host has to end it.
    await host.start()
    found = await broker(host)
    assert found["pid"] != pid
    await gone(pid)
