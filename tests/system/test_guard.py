"""Whatever dies, the pump is off within its lease.

The host is the real program in a process of its own. The pump's driver is a file of the app, and its wire another file:
what is on it stays there when the process is gone, as it does on a relay. Each test takes away one thing while the pump
is on, and measures by its own clock how long the wire stays on after the last command.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_runtime.control import pack
from edge_runtime.standin.server import Standin
from tests.system.rig import DRIVER, HostProcess
from tests.wires import Wire, install

pytestmark = pytest.mark.long
LEASE_S = 4
ROOM_S = 1.0
"""What a busy machine may need to notice and to measure."""
APP = """
thing: pi-7
devices:
  pump:
    driver: wire
    path: {wire}
    guard: {{safe: off, lease: {lease}s}}
    shadow: pump
functions:
  f:
    code: ./code
    handler: app.handler
    timeout: 60s
    retries: 0
    events: [{{topic: "in/#"}}]
link:
  driver: {driver}
  endpoint: 127.0.0.1
  port: {port}
  up: ["device/pump"]
"""
HANDLER = """
import json, os, time
import greengrasssdk

def handler(event, context):
    greengrasssdk.client("iot-data").publish(topic="device/pump/set", payload=json.dumps({"value": 1}))
    if event["then"] == "hang":
        time.sleep(3600)
    if event["then"] == "die":
        os._exit(3)
    return "done"
"""


class Site:
    """A host, its cloud, and the wire of its pump."""

    def __init__(self, host: HostProcess, standin: Standin, wire: Wire, folder: Path) -> None:
        self.host = host
        self.standin = standin
        self.wire = wire
        self.folder = folder
        self.on_s = 0.0
        """When the wire was seen to be switched on."""

    async def until(self, value: float, most_s: float) -> float:
        """Return when the wire has this value: how long after it was switched on. Not later than `most_s`."""
        async with asyncio.timeout(most_s):
            while self.wire.value != value:  # noqa: ASYNC110 - a file has no other way to tell
                await asyncio.sleep(0.01)
        return time.monotonic() - self.on_s

    async def command(self, payload: object) -> None:
        """Switch the pump on, and return when it is."""
        await self.publish("device/pump/set", payload)
        await self.is_on()

    async def call(self, then: str) -> None:
        """Have the function switch the pump on and then do something, and return when the pump is on."""
        await self.publish("in/x", {"then": then})
        await self.is_on()

    async def publish(self, topic: str, payload: object) -> None:
        """Emit an event."""
        await self.host.ask("publish", topic=topic, payload=pack(json.dumps(payload).encode()))

    async def is_on(self) -> None:
        """Return when the pump is on."""
        await self.until(1, 60)
        self.on_s = time.monotonic()

    async def judge(self) -> None:
        """Hold the time for which the wire is on against the lease."""
        took_s = await self.until(0, LEASE_S + ROOM_S)
        assert took_s <= LEASE_S + ROOM_S

    async def hook(self) -> str:
        """Run `edge safe`, as a service manager does after the host has ended; return what it prints."""
        command = [sys.executable, "-m", "edge_runtime", "safe", str(self.folder), "--state", str(self.host.state)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return out.decode()

    async def heard(self, *whys: str) -> None:
        """Return when the cloud has heard these reasons of the pump, the last ones in this order."""
        async with asyncio.timeout(60):
            await self.standin.until(lambda: tuple(self._whys())[-len(whys) :] == whys)

    def _whys(self) -> list[str]:
        told = [json.loads(one.payload) for one in self.standin.record if one.topic == "device/pump"]
        return [body["detail"]["why"] for body in told]


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Run a host with a pump, and a cloud above it; the pump is off when the block begins."""
    async with Standin(quotas="none") as standin:
        host, wire = HostProcess(folder, standin.port), Wire(folder / "pump.wire")
        app = folder / "app"
        text = APP.format(wire=wire.path, lease=LEASE_S, driver=DRIVER, port=standin.port)
        (app / "edge.yaml").write_text(text, encoding="utf-8")
        (app / "code" / "app.py").write_text(HANDLER, encoding="utf-8")
        install(app)
        it = Site(host, standin, wire, app)
        try:
            await host.start()
            await asyncio.wait_for(host.up.wait(), 60)
            await it.heard("start")
            yield it
        except BaseException:
            sys.stderr.write("\n".join([*host.log][-40:]) + "\n")
            raise
        finally:
            await host.close()


async def test_the_worker_is_killed(tmp_path: Path) -> None:
    """Injected: SIGKILL to the process of the function that has switched the pump on. Held: the lease, by the host."""
    async with site(tmp_path) as it:
        await it.call("hang")
        (function,) = (await it.host.ask("status"))["functions"]
        os.kill(function["pid"], signal.SIGKILL)
        await it.judge()
        await it.heard("start", "command", "lease")


@pytest.mark.parametrize("then", ["hang", "die"])
async def test_the_function_hangs_or_dies(tmp_path: Path, then: str) -> None:
    """Injected: the function hangs, or ends its process, after it has switched the pump on. Held: the lease."""
    async with site(tmp_path) as it:
        await it.call(then)
        await it.judge()
        await it.heard("start", "command", "lease")


async def test_the_link_is_cut(tmp_path: Path) -> None:
    """Injected: the cloud goes away. Held: the lease; the cloud hears of it when it is back."""
    async with site(tmp_path) as it:
        it.standin.stop_listening()
        it.standin.drop_connections()
        await it.command({"value": 1})
        await it.judge()
        it.standin.listen_again()
        await it.heard("start", "command", "lease")


async def test_the_host_is_killed_and_the_hook_of_its_service_runs(tmp_path: Path) -> None:
    """Injected: SIGKILL to the host. Held: `edge safe`, as ExecStopPost=, well within the lease.

    Without it nobody would: the wire keeps what was put on it. A host that starts anew does the same.
    """
    async with site(tmp_path) as it:
        await it.command({"value": 1})
        await it.host.kill()
        assert it.wire.value == 1  # which is why there is a hook
        assert await it.hook() == "pump is safe: 0.0\n"
        await it.judge()
        it.wire.put(1)
        await it.host.start()
        it.on_s = time.monotonic()
        await it.until(0, 60)
        await it.heard("command", "start")


async def test_the_host_is_stopped_in_order(tmp_path: Path) -> None:
    """Injected: SIGTERM. Held: the host puts the pump to its safe value before it ends, and the cloud hears why."""
    async with site(tmp_path) as it:
        await it.command({"value": 1})
        os.kill(it.host.pid, signal.SIGTERM)
        await it.judge()
        assert await it.host.died() == 0
        await it.host.start()
        await it.heard("start", "command", "stop", "start")


async def test_the_host_is_frozen_and_its_service_gives_it_up(tmp_path: Path) -> None:
    """Injected: SIGSTOP, then SIGKILL by whoever gives it up. Held: `edge safe`, as ExecStopPost=."""
    async with site(tmp_path) as it:
        await it.command({"value": 1})
        it.host.freeze()
        await it.host.kill()
        assert await it.hook() == "pump is safe: 0.0\n"
        await it.judge()


async def test_the_host_is_frozen_for_longer_than_the_lease(tmp_path: Path) -> None:
    """Injected: SIGSTOP, and SIGCONT when the lease is over. Held: the pump is off as soon as the host can do it."""
    async with site(tmp_path) as it:
        await it.command({"value": 1})
        it.host.freeze()
        await asyncio.sleep(LEASE_S)  # it is this time that is injected
        assert it.wire.value == 1
        it.host.thaw()
        thawed_s = time.monotonic()
        await it.until(0, 5)
        assert time.monotonic() - thawed_s < LEASE_S / 2  # and not a lease later
        await it.host.stop()


async def test_a_command_for_less_than_the_lease_and_then_everything_dies(tmp_path: Path) -> None:
    """Injected: the link is cut and the worker killed, after a command for a second. Held: that second."""
    async with site(tmp_path) as it:
        it.standin.stop_listening()
        it.standin.drop_connections()
        await it.command({"value": 1, "for": "1s"})
        for function in (await it.host.ask("status"))["functions"]:
            if function["pid"]:
                os.kill(function["pid"], signal.SIGKILL)
        assert await it.until(0, 1 + ROOM_S) <= 1 + ROOM_S
