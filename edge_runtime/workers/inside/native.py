"""Native libraries of a function and of its layers. Imported only where there are some."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Collection


def load(paths: Collection[str]) -> None:
    """Load shared libraries, so that extension modules that need them by name find them.

    In AWS the interpreter is started with `LD_LIBRARY_PATH`. The dynamic linker reads that when a process starts, and
    a worker is a fork: for it there is only what is loaded already. One that needs another is tried after it; one that
    cannot be loaded is left out, and who needs it is told so.
    """
    waiting = sorted(paths)
    while waiting:
        left = []
        for path in waiting:
            with contextlib.suppress(OSError):
                ctypes.CDLL(path)
                continue
            left.append(path)
        if len(left) == len(waiting):
            return
        waiting = left
