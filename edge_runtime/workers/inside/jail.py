"""What keeps workers apart from each other and from the device, as far as the kernel here allows it.

The zygote finds out once what there is; what then fails in a worker ends that worker. Where a layer is missing the
others still hold, and the report says what is missing and why.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any

from . import landlock, mounts, seccomp
from .confine import limit, prctl, signal_on_parent_death

_DUMPABLE, _DROP_BOUND = 4, 24  # linux/prctl.h
_CAPABILITY_VERSION = 0x20080522  # linux/capability.h, version 3
_SETUID, _DAC_OVERRIDE = 7, 1
_MB = 1024 * 1024

LARGEST_FILE_MB = 512
"""As /tmp has in AWS by default."""

_READ = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/nix/store", "/sys")
_USE = ("/proc", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")

Row = tuple[str, bool, str]
"""A layer, whether it is active, and the kernel's word when it is not."""


class Jail:
    """Made in the zygote. `parent` is the host's process; `off`: nothing is found out and nothing done."""

    def __init__(self, parent: int, *, off: bool = False) -> None:
        self.rows: list[Row] = []
        self.mounted = False
        self.own_user = False
        """Each function runs as a user of its own."""
        self._off = off
        if off:
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._root = os.geteuid() == 0
        self._programs = programs()
        self._machine = seccomp.machine()
        self._abi = landlock.version(self._libc)
        self._threads = _threads_now()
        self._find("files", self._make_root)
        self.own_user = self.mounted and self._root and _may(_SETUID)
        self.rows.append(("users", self.own_user, "" if self.own_user else _why_one_user(root=self._root)))
        self.rows.append(("landlock", self._abi > 0, "" if self._abi else "the kernel has none, or it is off"))
        scoped = self.own_user or self._abi >= landlock.SCOPES_VERSION
        self.rows.append(("signals", scoped, "" if scoped else f"Landlock {landlock.SCOPES_VERSION} is needed"))
        why = seccomp.why_not(self._libc, self._machine)
        self._filter = None if why else seccomp.compose(self._machine, (parent, os.getpid()))
        self.rows.append(("system calls", self._filter is not None, why))

    def _find(self, name: str, make: Callable[[], None]) -> None:
        try:
            make()
        except OSError as error:
            self.rows.append((name, False, error.strerror or str(error)))
        else:
            self.rows.append((name, True, ""))

    def _make_root(self) -> None:
        private_proc = self._root
        try:
            mounts.enter_mount_namespace()
        except PermissionError:
            mounts.enter_user_namespace()
            private_proc = False
            self._root = False
        for capability in range(64):  # for all that is started from here on; this process keeps its own
            if self._libc.prctl(_DROP_BOUND, ctypes.c_ulong(capability), 0, 0, 0) != 0:
                break
        mounts.build(self._programs, private_proc=private_proc)
        self.mounted = True
        prctl(_DUMPABLE, 1)  # or the host could not find it in /proc

    def enter(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Shut this process in; return the spec with the paths as they are from now on.

        `spec["jail"]` says: `uid`, a user for this function alone; `processes`, how many it may have; `read`, further
        folders that it needs; `hide`, what it must not see although it lies in its code.

        Raises: OSError when a layer that had been found does not work: then the worker must end.
        """
        told = dict(spec)
        own = told.pop("jail")
        if self._off:
            return told
        limit(resource.RLIMIT_FSIZE, LARGEST_FILE_MB * _MB)
        root, opt, tmp = told["root"], told.get("opt"), told["environment"]["TMPDIR"]
        if self.own_user:
            os.chown((mounts.HOST if self.mounted else "") + tmp, own["uid"], own["uid"])
        if self.mounted:
            mounts.settle(root, opt, tmp, user=own["uid"] if self.own_user else 0, read=own["read"], hidden=own["hide"])
            told = moved(told, {root: mounts.TASK, tmp: mounts.TMP, **({opt: mounts.OPT} if opt else {})})
        self._become(own["uid"], own["processes"])
        if self.own_user and not os.access(mounts.TASK, os.R_OK | os.X_OK):
            raise PermissionError(f"its user may not read its code, as in AWS Lambda: chmod -R o+rX {root}")
        if self._abi:
            self._restrict(root, opt, tmp, own)
        if self._filter is not None:
            seccomp.install(self._libc, self._filter, self._machine)
        return told

    def _become(self, uid: int, processes: int) -> None:
        if self.own_user:
            limit(resource.RLIMIT_NPROC, processes)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        elif os.geteuid() != 0:
            # Who has no user of his own shares the count with all that the user runs.
            limit(resource.RLIMIT_NPROC, processes + self._threads)
        kept = 0 if self.mounted else 1 << _DAC_OVERRIDE  # a root without a root folder reads the handler's code so
        self._keep_capabilities(kept if os.geteuid() == 0 else 0)
        prctl(_DUMPABLE, 1)  # a change of user takes away /proc/self, and the signal when the zygote dies
        signal_on_parent_death(9)

    def _keep_capabilities(self, mask: int) -> None:
        head = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
        if self._libc.capset(head, struct.pack("=IIIIII", mask, mask, 0, 0, 0, 0)) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"capset: {os.strerror(code)}")

    def _restrict(self, root: str, opt: str | None, tmp: str, own: Mapping[str, Any]) -> None:
        if self.mounted:
            if self._abi >= landlock.SCOPES_VERSION:
                landlock.restrict(self._libc, self._abi, None)
            return
        read = [*_READ, *self._programs, *own["read"], *([opt] if opt else ())]
        read += around(root, [path for path in own["hide"] if path != root])
        grants = [(path, landlock.READ) for path in read]
        grants += [(path, landlock.USE) for path in _USE]
        grants += [(path, landlock.OWN) for path in (tmp, "/dev/shm")]  # noqa: S108 - for semaphores
        landlock.restrict(self._libc, self._abi, grants)


def programs() -> list[str]:
    """Return the folders that Python needs, without those inside others."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would cost every worker memory
    found = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, here}
    found |= {os.path.normpath(path) for path in (*sys.path, *sys.argv[1:]) if path.startswith("/")}
    found -= {"/", "/usr"}
    return sorted(path for path in found if not any(path.startswith(f"{above}/") for above in found))


def moved(spec: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Return a spec in which folders have new places: in `root`, `opt`, the command and the environment."""

    def at(path: str) -> str:
        for old, new in places.items():
            if path == old or path.startswith(f"{old}/"):
                return new + path[len(old) :]
        return path

    told = {**spec, "environment": dict(spec["environment"])}
    for name, text in spec["environment"].items():
        for old in places:
            if old in text:  # few have one, and a look is cheap
                told["environment"][name] = ":".join([at(part) for part in text.split(":")])
                break
    for name in ("root", "opt"):
        if spec.get(name):
            told[name] = at(spec[name])
    if spec.get("exec"):
        told["exec"] = [at(part) for part in spec["exec"]]
    return told


def around(root: str, hidden: list[str]) -> list[str]:
    """Return paths that together are a folder without what is hidden in it."""
    if root in hidden:
        return []
    inner = [path for path in hidden if path.startswith(f"{root}/")]
    if not inner:
        return [root]
    names = sorted(os.listdir(root))  # noqa: PTH208 - as above
    return [path for name in names for path in around(f"{root}/{name}", inner)]


def _may(capability: int) -> bool:
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - as above
        line = next((line for line in file if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(line.split()[1], 16) >> capability & 1)


def _threads_now() -> int:
    try:
        with open("/proc/loadavg", encoding="ascii") as file:  # noqa: PTH123 - as above
            return int(file.read().split()[3].partition("/")[2])
    except FileNotFoundError:
        return 0


def _why_one_user(*, root: bool) -> str:
    return "a root folder of its own is needed" if root else os.strerror(errno.EPERM)
