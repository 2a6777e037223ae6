"""A network namespace for a program under test: a cable to it that can be pulled, and name servers that fail.

    async with start_namespace() as space:
        run(*space.inside, "program")        reaches servers of ours at space.address
        space.unplug()

Making one needs root and a kernel that allows it; where that is not so, the test is skipped with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

NAME = "broker.test"
"""The one name that there is."""
_ANSWER = b"\x81\x80"
_NO_SUCH_NAME = b"\x81\x83"
_A = b"\x00\x01"


class Names(asyncio.DatagramProtocol):
    """A name server for `NAME`."""

    def __init__(self, address: str) -> None:
        self.mode = "works"
        """`works`, `denies` (there is no such name) or `silent`."""
        self.asked = 0
        self._address = bytes(int(part) for part in address.split("."))
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question, as RFC 1035 has it."""
        self.asked += 1
        if self.mode == "silent" or self._transport is None:
            return
        end = data.index(b"\0", 12) + 5
        question, kind = data[12:end], data[end - 4 : end - 2]
        known = question.startswith(b"\6broker\4test\0") and self.mode == "works"
        answer = b""
        if known and kind == _A:
            answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + self._address
        counts = b"\x00\x01" + (b"\x00\x01" if answer else b"\x00\x00") + bytes(4)
        self._transport.sendto(data[:2] + (_ANSWER if known else _NO_SUCH_NAME) + counts + question + answer, addr)


class Namespace:
    """The namespace."""

    def __init__(self, name: str, cable: str, address: str, names: Names) -> None:
        self.inside = ("ip", "netns", "exec", name)
        """What a command is to begin with to be run in it."""
        self.address = address
        """Ours, as it is seen from there."""
        self.names = names
        self._cable = cable

    def unplug(self) -> None:
        """Lose every packet, and tell no connection."""
        _ip("link", "set", self._cable, "down")

    def plug(self) -> None:
        """Lose no packet any more."""
        _ip("link", "set", self._cable, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)  # noqa: S607 - from the PATH of root


@contextlib.asynccontextmanager
async def start_namespace() -> AsyncIterator[Namespace]:
    """Make a namespace, joined to this one by a cable."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace needs root and iproute2")
    number = os.getpid() & 0xFFFF
    name, cable = f"edge-{number}", f"edge{number}"
    net = f"10.{number >> 8}.{number & 0xFF}"
    address = f"{net}.1"
    folder = Path("/etc/netns") / name
    try:
        try:
            _ip("netns", "add", name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("address", "add", f"{address}/24", "dev", cable)
            _ip("link", "set", cable, "up")
            for words in (
                ("address", "add", f"{net}.2/24", "dev", "eth0"),
                *(("link", "set", i, "up") for i in _LINKS),
            ):
                _ip("-n", name, *words)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this kernel gives no network namespace: {error.stderr.strip()}")
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(f"nameserver {address}\noptions timeout:2\n", encoding="utf-8")
        names = Names(address)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: names, local_addr=(address, 53))
        try:
            yield Namespace(name, cable, address, names)
        finally:
            transport.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for words in (("link", "delete", cable), ("netns", "delete", name)):
            with contextlib.suppress(subprocess.CalledProcessError):  # it was not made
                _ip(*words)


_LINKS = ("lo", "eth0")
