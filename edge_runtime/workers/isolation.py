"""What keeps functions apart from each other and from the device: what is asked for, and what the kernel here gives."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.app import Function
from edge_runtime.errors import ConfigError
from edge_runtime.workers._zygote import SCRIPT

DEFAULT, OFF = "default", "off"
UID_BASE = 70_000
"""The first of the users that functions run as. They need no entry in /etc/passwd."""
_UIDS = (1000, 2**31 - 10_000)
_WITHIN_S = 10.0
PROCESSES = 64
"""AWS allows 1024 processes and threads, on larger machines.

To end so many that never wait takes a small device seconds.
"""

_FIXES = {
    "files": "run the host as root, or allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1; on Ubuntu "
    "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; Linux 5.12 or newer is needed",
    "users": "run the host as root: sudo edge run",
    "landlock": "use a kernel that has it: CONFIG_SECURITY_LANDLOCK=y, and lsm=landlock on its command line",
    "signals": "run the host as root, or use Linux 6.12 or newer with Landlock",
    "system calls": "use a kernel with CONFIG_SECCOMP_FILTER=y",
    "memory": "run the host as root, or with Delegate=yes in its systemd unit; on a Raspberry Pi also put "
    "cgroup_enable=memory on the kernel's command line",
}
_GIVES = {
    "limits": "memory, files, processes, core dumps; no new privileges",
    "files": "a root folder of its own: code read-only, a private /tmp",
    "users": "a user of its own for each function, no capabilities",
    "landlock": "rules for files and abstract sockets",
    "signals": "none to the host or to other functions",
    "system calls": "those that reach other processes or the kernel are refused",
    "memory": "a control group bounds what each worker really uses",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of isolation: what it gives, or why it is missing and what would bring it."""

    name: str
    active: bool
    note: str
    fix: str = ""


SWITCHED_OFF = Layer("isolation", active=False, note="EDGE_ISOLATION=off", fix="unset EDGE_ISOLATION")
"""Takes the place of all layers but the limits."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What keeps the workers of a pool apart."""

    layers: tuple[Layer, ...]

    @property
    def level(self) -> str:
        """`full`: functions see neither the device's files nor each other. `partly`: some layers are missing.

        `base`: limits alone. `off`: switched off.
        """
        active = {layer.name for layer in self.layers if layer.active}
        if SWITCHED_OFF in self.layers:
            return "off"
        if {"files", "users", "signals", "system calls"} <= active:
            return "full"
        return "partly" if active - {"limits"} else "base"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pool is asked for.

    `level` is `default`, all that the kernel gives, or `off`. `uid_base` is the user of the first function by name when
    the host is root, the next has the next number. A function may have `processes` processes and threads together, and
    as many again for each of its workers. `hide` are folders of the host that a function must not see even when they
    lie in its code.
    """

    level: str = DEFAULT
    uid_base: int = UID_BASE
    processes: int = PROCESSES
    hide: tuple[Path, ...] = ()


def wanted(environment: Mapping[str, str], hide: Iterable[Path] = ()) -> Wanted:
    """Return what EDGE_ISOLATION (`default` or `off`) and EDGE_UID_BASE ask for.

    Raises: ConfigError when one has no meaning.
    """
    level = environment.get("EDGE_ISOLATION") or DEFAULT
    if level not in (DEFAULT, OFF):
        raise ConfigError(f"EDGE_ISOLATION is {level!r}", hint="default or off")
    base, (least, most) = environment.get("EDGE_UID_BASE") or str(UID_BASE), _UIDS
    if not (base.isdecimal() and least <= int(base) <= most):
        raise ConfigError(f"EDGE_UID_BASE is {base!r}", hint=f"a number from {least} to {most}")
    return Wanted(level, int(base), hide=tuple(hide))


class Terms:
    """What the workers of each function are told about their isolation."""

    def __init__(self, functions: Mapping[str, Function], asked: Wanted) -> None:
        self._uids = {name: asked.uid_base + number for number, name in enumerate(sorted(functions))}
        self._processes = {name: asked.processes * (1 + one.concurrency) for name, one in functions.items()}
        self._read = {name: [str(path) for path in one.read] for name, one in functions.items()}
        self._hide = [str(path.absolute()) for path in asked.hide]

    def of(self, name: str, program: str = "", read: Iterable[Path] = ()) -> dict[str, object]:
        """Return the terms of one function.

        `program` is what its workers execute when they are not Python's; `read` are further folders that they need.
        """
        homes = _homes(Path(program)) if program else []
        return {
            "uid": self._uids[name],
            "processes": self._processes[name],
            "hide": self._hide,
            "read": [*homes, *(str(path) for path in read), *self._read[name]],
        }


def _homes(program: Path) -> list[str]:
    """Return the folders that an interpreter needs, by its path and by the one it links to."""
    found = set()
    for path in (program, program.resolve()):
        folder = path.parent
        # A prefix like /opt/node, and not a home folder with a `bin` in it.
        installed = folder.name == "bin" and any((folder.parent / name).exists() for name in ("lib", "pyvenv.cfg"))
        found.add(str(folder.parent if installed else folder))
    return sorted(found - {"/"})


def isolation_of(found: Sequence[tuple[str, bool, str]]) -> Isolation:
    """Return what a zygote has found, put into words. Nothing found: it is switched off."""
    limits = Layer("limits", active=True, note=_GIVES["limits"])
    if not found:
        return Isolation((limits, SWITCHED_OFF))
    rows = [Layer(name, on, _GIVES[name] if on else why, "" if on else _FIXES[name]) for name, on, why in found]
    return Isolation((limits, *rows))


def probe(isolation: str = DEFAULT) -> Isolation:
    """Find out what there would be here: starts a zygote and asks it. Takes about a tenth of a second, and blocks.

    Raises: OSError when it cannot be started or says nothing.
    """
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, its:
        mine.settimeout(_WITHIN_S)
        command = [sys.executable, "-I", "-S", "-X", "utf8", str(SCRIPT)]
        environment = {"EDGE_ISOLATION": isolation}
        with subprocess.Popen(
            command, stdin=its.fileno(), stdout=subprocess.DEVNULL, cwd="/", env=environment
        ) as popen:
            its.close()
            try:
                message = mine.recv(65536)
            finally:
                mine.close()  # its end
        if popen.returncode != 0 or not message:
            raise ConnectionError(f"the zygote ended with status {popen.returncode}")
    return isolation_of(json.loads(message)["isolation"])
