"""What a process does to itself before it runs a handler: its own session, limits, descriptors, no new rights."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

from .frames import SOCKET

_PDEATHSIG, _CHILD_SUBREAPER, _NO_NEW_PRIVS = 1, 36, 38  # linux/prctl.h
_MB = 1024 * 1024

HEADROOM_MB = 128
"""What RLIMIT_DATA allows beyond the function's memory.

RLIMIT_AS would count every reserved address: 64 MB an arena of malloc and 8 MB a thread break ordinary functions of
128 MB. RLIMIT_DATA counts only what is private and writable, but still the whole stack of each thread: the headroom
pays for about a dozen. It stops a hog before the device suffers; the host compares the true peak with the memory.
"""

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set something of this process (`prctl(2)`). Raises: OSError."""
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")


def adopt_orphans() -> None:
    """Become the parent of every orphan below this process, however it was detached."""
    prctl(_CHILD_SUBREAPER, 1)


def signal_on_parent_death(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies. A child does not inherit it."""
    prctl(_PDEATHSIG, number)


def enter(parent: int, channel: int, output: int, memory_mb: int) -> None:
    """Turn a fresh fork into a worker: its own session, descriptors 0 to 2 and its socket, limits, no new rights."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    signal_on_parent_death(signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    adopt_orphans()
    _set_descriptors(channel, output)
    os.umask(0o022)
    data = (memory_mb + HEADROOM_MB) * _MB
    limit(resource.RLIMIT_DATA, data)
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, 1024)
    _offer_to_the_oom_killer()
    prctl(_NO_NEW_PRIVS, 1)


def _offer_to_the_oom_killer() -> None:
    # When memory runs out the kernel shall take a handler and not the host. Without a text layer: that costs memory.
    try:
        handle = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:  # no /proc: then it decides by itself
        return
    os.write(handle, b"500")
    os.close(handle)


def limit(which: int, value: int) -> None:
    """Limit this process and all it starts; a lower limit that it has stays."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _set_descriptors(channel: int, output: int) -> None:
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(channel, SOCKET)
    os.set_inheritable(SOCKET, False)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.closerange(SOCKET + 1, 65536)
