"""The mosquitto of a host: how it starts, dies, comes again and ends; and what is said when it cannot."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from edge_runtime.host import _addresses
from tests.host.hosting import site
from tests.host.lansite import NEEDS, is_alive, kill, lan, with_broker
from tests.lan import Came, Gadget, gadget

pytestmark = NEEDS
ADDRESS = "198.51.100.3"
"""Of no machine (RFC 5737)."""


async def address(verb: str) -> bool:
    """Give this machine an address, or take it away; return whether that worked."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    process = await asyncio.create_subprocess_exec(
        "ip", "address", verb, f"{ADDRESS}/32", "dev", "lo", stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


async def test_it_is_started_again_when_it_dies(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        lamp = await it.add("lamp")
        async with gadget(lamp) as one:
            before = kill(it)
            await one.was_cut()
            await it.site.until(lambda: "killed by signal 9" in it.site.part("mosquitto")[1])
            await it.is_open()
        assert it.keeper.row()["pid"] != before
        async with gadget(lamp) as one:
            assert await one.publish("lamp/a", b"1") == "Success"
            assert await it.arrive(1) == [("lan/lamp/a", b"1")]
        assert it.keeper.row()["starts"] == 2


async def test_a_device_that_is_quicker_than_the_host_has_to_wait(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        lamp = await it.add("lamp")
        kill(it)  # and with it goes what it knew of subscriptions
        while True:
            device = Gadget(lamp)
            try:
                if await device.connect() == "Success":
                    break
                device.close()
            except OSError:
                device.close()
        # Not "No matching subscribers", which is an acknowledgement as well.
        assert await device.publish("lamp/a", b"1") == "Success"
        assert await it.arrive(1) == [("lan/lamp/a", b"1")]
        device.close()


async def test_it_ends_with_the_host_and_keeps_what_it_holds(tmp_path: Path) -> None:
    one = with_broker(tmp_path)
    async with lan(one, tmp_path / "state") as it:
        lamp = await it.add("lamp")
        pid = it.keeper.row()["pid"]
        assert isinstance(pid, int)
        async with gadget(lamp) as device:
            assert await device.publish("lamp/state", b"on", retain=True) == "Success"
            await it.arrive(1)
    assert not is_alive(pid)
    async with lan(one, tmp_path / "state"), gadget(lamp) as device:  # the same password, the same authority
        await device.subscribe("lamp/state")
        assert await device.got() == Came("lamp/state", b"on", retained=True)


async def test_a_taken_port_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with site(with_broker(tmp_path, port=port), tmp_path / "state") as it:
            await it.until(lambda: it.part("mosquitto")[1])
            assert it.part("mosquitto")[1] == (
                f"port {port} of 127.0.0.1 is taken by another program (see who has it: sudo ss -ltnp; "
                f"or choose another: broker: {{port: {port + 1}}})"
            )
            await it.emit("lan/a", b"1")
            await it.settled("uplink", 1)
            assert (await it.ask("status"))["broker"]["state"] == "down"


async def test_an_old_mosquitto_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "mosquitto"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho mosquitto version 1.6.12\n", encoding="ascii")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    async with site(with_broker(tmp_path), tmp_path / "state") as it:
        await it.until(lambda: it.part("mosquitto")[1])
        assert it.part("mosquitto")[1].startswith("mosquitto 1.6.12 is too old; 2.0 is the first that will do")


async def test_a_new_address_of_the_machine_gets_into_the_certificate(tmp_path: Path) -> None:
    if not await address("add"):
        pytest.skip("this machine does not let its addresses be changed")
    await address("del")
    try:
        one = with_broker(tmp_path, address="0.0.0.0")  # noqa: S104 - that is what it is about
        async with lan(one, tmp_path / "state") as it:
            lamp = await it.add("lamp")
            assert ADDRESS not in lamp["names"]
            async with gadget(lamp) as device:
                await address("add")
                await it.site.until(lambda: ADDRESS in (tmp_path / "state" / "broker" / "server.json").read_text())
                await it.site.ask("broker", op="ls")  # when mosquitto has it, too
                assert await device.publish("lamp/a", b"1") == "Success", "nobody is cut off for it"
            async with gadget(lamp, address=ADDRESS) as device:
                assert await device.publish("lamp/a", b"2") == "Success"
            assert (await it.site.ask("broker", op="passwd", name="lamp"))["host"] in _addresses.addresses()
    finally:
        await address("del")


async def test_its_files_are_for_their_user_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with lan(with_broker(tmp_path), tmp_path / "state") as it:
            lamp = await it.add("lamp")
            folder = tmp_path / "state" / "broker"
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {"0o600"}
            assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in (folder, folder / "run")} == {"0o700"}
            assert not [path for path in files if lamp["password"].encode() in path.read_bytes()]
            assert not (folder / "run" / "ca.key").exists()
            if os.geteuid() == 0:
                assert os.stat(f"/proc/{it.keeper.row()['pid']}").st_uid != 0  # noqa: PTH116 - of a process
    finally:
        os.umask(old)
