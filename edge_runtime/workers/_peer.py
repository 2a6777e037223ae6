"""Whose end of a connection of this machine it is, told by /proc."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROC = Path("/proc")
_MAPPED = "0000000000000000FFFF0000"

Address = tuple[str, int]


def belongs(client: Address, server: Address, roots: Iterable[int], proc: Path = _PROC) -> bool | None:
    """Whether one of these processes, or a descendant of one, has the client's end of an IPv4 connection.

    Returns None when /proc does not tell: it is not there, or a process of them may not be looked into.
    """
    try:
        inode = _inode(client, server, proc)
    except OSError:
        return None
    if not inode:
        return False
    mark, blind = f"socket:[{inode}]", False
    for pid in _tree(roots, proc):
        folder = proc / str(pid) / "fd"
        try:
            names = os.listdir(folder)  # noqa: PTH208 - the names are what is wanted
        except FileNotFoundError:  # ended meanwhile
            continue
        except OSError:
            blind = True
            continue
        for name in names:
            try:
                if os.readlink(f"{folder}/{name}") == mark:  # noqa: PTH115 - one string each, not an object
                    return True
            except FileNotFoundError:
                continue
            except OSError:
                blind = True
    return None if blind else False


def _inode(client: Address, server: Address, proc: Path) -> str:
    """Return the inode of the socket whose own address is `client` and whose peer is `server`, or nothing."""
    ends = [f"{_hex(host)}:{port:04X}" for host, port in (client, server)]
    for table, prefix in (("tcp", ""), ("tcp6", _MAPPED)):
        needle = f" {prefix}{ends[0]} {prefix}{ends[1]} "
        try:
            text = (proc / "net" / table).read_text(encoding="ascii")
        except FileNotFoundError:
            if not prefix:
                raise
            continue  # a kernel without IPv6
        at = text.find(needle)
        if at >= 0:
            # local, peer, state, queues, timer, retransmits, user, timeout, inode: proc_pid_net(5)
            return text[at : text.find("\n", at)].split()[8]
    return ""


def _hex(host: str) -> str:
    """Return an address as the kernel prints it: the number as it lies in memory."""
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}"


def _tree(roots: Iterable[int], proc: Path) -> Iterator[int]:
    """Give each process and its descendants, the nearest first."""
    waiting = [pid for pid in roots if pid]
    seen: set[int] = set()
    while waiting:
        pid = waiting.pop(0)
        if pid in seen:
            continue
        seen.add(pid)
        yield pid
        try:
            for thread in os.listdir(proc / str(pid) / "task"):  # noqa: PTH208 - as above
                text = (proc / str(pid) / "task" / thread / "children").read_text(encoding="ascii")
                waiting.extend(int(child) for child in text.split())
        except OSError:  # it has ended, or the kernel does not tell children: then the others are searched
            continue
