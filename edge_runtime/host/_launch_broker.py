"""What a broker's process does before it becomes mosquitto. Run as a program, with the standard library only.

Arguments: the descriptor of a locked file, the pid of the host, a user and a group id (or -1), and the command.

It is mosquitto's user before the kernel is asked to end it with the host: to change the user cancels that wish.
Source: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PDEATHSIG, _NO_NEW_PRIVS = 1, 38  # linux/prctl.h


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option} failed")


def main() -> None:
    """Become the command. Raises: OSError."""
    lock, parent, user, group = (int(text) for text in sys.argv[1:5])
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    if user >= 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    _prctl(_NO_NEW_PRIVS, 1)
    # SIGTERM: so it saves what it holds.
    _prctl(_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # else it died before the line above
        os.umask(0o077)
        os.execv(sys.argv[5], sys.argv[5:])  # noqa: S606 - that is its purpose


if __name__ == "__main__":
    main()
