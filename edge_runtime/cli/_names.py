"""The name of an endpoint becomes addresses, or a reason why not."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.cli._finding import Finding
from edge_runtime.cli._together import begin

RESOLV_CONF = Path("/etc/resolv.conf")
_ROUTES = Path("/proc/net/route"), Path("/proc/net/ipv6_route")
_SLOW_S = 1.0
_SHOWN = 3
_NOT_THERE = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

Ask = Callable[..., Sequence[tuple[Any, ...]]]
"""`socket.getaddrinfo`."""


class Found(NamedTuple):
    """What a name stands for."""

    addresses: tuple[str, ...] = ()
    """Numeric, in the order in which the system would try them."""
    error: BaseException | None = None
    """Why there are none; a TimeoutError when nobody answered."""
    seconds: float = 0.0


def look_up(host: str, within_s: float, ask: Ask = socket.getaddrinfo) -> Found:
    """Ask the system for the addresses of a name, for so long at most."""
    since_s = time.monotonic()
    asking = begin("doctor.dns.ask", lambda: ask(host, None, type=socket.SOCK_STREAM))
    try:
        answer = asking.result(within_s)
    except (OSError, UnicodeError) as error:  # a TimeoutError is an OSError; UnicodeError: no name can look like that
        return Found(error=error, seconds=time.monotonic() - since_s)
    return Found(tuple(dict.fromkeys(str(one[4][0]) for one in answer)), seconds=time.monotonic() - since_s)


def is_address(host: str) -> bool:
    """Tell whether an endpoint needs no name server."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def families(addresses: Sequence[str]) -> dict[str, str]:
    """Return the first address of each family: `IPv4`, `IPv6`."""
    found: dict[str, str] = {}
    for one in addresses:
        found.setdefault("IPv6" if ":" in one else "IPv4", one)
    return found


def finding(host: str, found: Found, *, servers: Sequence[str], routed: bool) -> Finding:
    """Return what is to be said of a look-up. `servers` answer names here; `routed`: there is a way out of here."""
    by = f"by {', '.join(servers)}" if servers else "without a name server in /etc/resolv.conf"
    if found.error is None:
        kinds = families(found.addresses)
        shown = ", ".join(found.addresses[:_SHOWN])
        more = len(found.addresses) - _SHOWN
        text = f"{host} is {shown}{f' and {more} more' if more > 0 else ''} ({' and '.join(kinds)}), {by}"
        if found.seconds > _SLOW_S:
            text += f", after {found.seconds:.1f} s"
            return Finding("dns", "warn", text, "a slow name server delays each connect; see: resolvectl status")
        return Finding("dns", "ok", text)
    if not routed:
        text = f"{host} cannot be resolved: this machine has no way out (no default route)"
        return Finding("dns", "fail", text, "connect it to a network; see: ip route, nmcli device status")
    code = getattr(found.error, "errno", None)
    if isinstance(found.error, UnicodeError) or code in _NOT_THERE:
        hint = "correct `endpoint`; for AWS: aws iot describe-endpoint --endpoint-type iot:Data-ATS"
        return Finding("dns", "fail", f"there is no host {host}, {by}", hint)
    if isinstance(found.error, TimeoutError):
        text = f"{host}: no answer within {found.seconds:.0f} s, {by}"
    else:
        reason = getattr(found.error, "strerror", None) or found.error
        text = f"{host} cannot be resolved: {reason}, {by}"
    return Finding("dns", "fail", text, "check the network and the name server: resolvectl status, /etc/resolv.conf")


def name_servers(path: Path = RESOLV_CONF) -> list[str]:
    """Return who answers names here. 127.0.0.53 is systemd-resolved, which asks others in turn."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []  # none that could be named; whether names are answered is seen elsewhere
    return [words[1] for line in lines if (words := line.split())[:1] == ["nameserver"] and len(words) > 1]


def has_route(tables: Sequence[Path] = _ROUTES) -> bool:
    """Tell whether the kernel knows a way to other networks; True when it does not tell."""
    known = False
    for table in tables:
        try:
            rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()]
        except OSError:
            continue
        known = True
        if any(len(row) > 1 and _leads_out(row) for row in rows):
            return True
    return not known


def _leads_out(row: Sequence[str]) -> bool:
    """Tell whether a row of the kernel is a default route: `eth0 00000000 ...`, and for IPv6 `000... 00 ... wlan0`."""
    if len(row[0]) == 32:  # noqa: PLR2004 - an IPv6 address in hex
        return set(row[0]) == {"0"} and row[1] == "00" and row[-1] != "lo"
    return row[1] == "00000000"
