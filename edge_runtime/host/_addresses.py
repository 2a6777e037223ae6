"""The names and addresses by which others reach this machine, and word when they change."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

from edge_runtime.app import LocalBroker

_TRIE = Path("/proc/net/fib_trie")
_LOCAL = re.compile(r"\|-- ([0-9.]+)\n +/32 host LOCAL")
_ADDRESS_GROUP = 0x10
"""RTMGRP_IPV4_IFADDR (linux/rtnetlink.h)."""
_ROOM = 65_536


def addresses() -> list[str]:
    """Return the IPv4 addresses of this machine that others can reach it by; none where the kernel has no such list."""
    try:
        text = _TRIE.read_text(encoding="ascii")
    except OSError:
        return []
    return [one for one in dict.fromkeys(_LOCAL.findall(text)) if not ipaddress.ip_address(one).is_loopback]


def hosts(spec: LocalBroker) -> list[str]:
    """Return all names and addresses by which a broker can be reached, the host's name first."""
    name = socket.gethostname()
    found = [name, *([] if "." in name else [f"{name}.local"]), *spec.names, "localhost", "127.0.0.1", "::1"]
    address = ipaddress.ip_address(spec.address)
    if not address.is_unspecified:
        return list(dict.fromkeys([*found, spec.address]))
    return list(dict.fromkeys([*found, *addresses()]))


def near(spec: LocalBroker) -> str:
    """Return an address of the broker for a client on this machine."""
    address = ipaddress.ip_address(spec.address)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - IPv4
    return spec.address


def best(spec: LocalBroker) -> str:
    """Return how a device is best told to reach the broker: a name that was declared, or an address."""
    if spec.names:
        return spec.names[0]
    others = addresses() if ipaddress.ip_address(spec.address).is_unspecified else []
    return others[0] if others else near(spec)


async def changes() -> AsyncGenerator[None, None]:
    """Yield whenever an address of this machine has come or gone, as far as the system tells (rtnetlink(7))."""
    loop, some = asyncio.get_running_loop(), asyncio.Event()
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    except (AttributeError, OSError):
        sock = None

    def heard() -> None:
        with contextlib.suppress(OSError):  # ENOBUFS: so much has changed that some of it was lost
            while sock is not None and sock.recv(_ROOM):
                pass
        some.set()

    try:
        if sock is not None:
            sock.bind((0, _ADDRESS_GROUP))
            loop.add_reader(sock.fileno(), heard)
        while True:
            await some.wait()
            some.clear()
            yield
    finally:
        if sock is not None:
            loop.remove_reader(sock.fileno())
            sock.close()
