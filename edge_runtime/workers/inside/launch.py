"""What makes a fresh worker another program: the last step of one that is not Python."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any, NoReturn

from .frames import SOCKET


def run(spec: Mapping[str, Any]) -> NoReturn:
    """Become the program `spec["exec"]` with `spec["environment"]`, in the task root.

    First a line end goes to the host, which tells it the process id. Then the socket closes by itself as the program
    begins; when it cannot, the reason goes to the host.
    """
    argv = spec["exec"]
    # What is ignored stays so in the program: Python ignores SIGPIPE, and who starts a host with nohup SIGHUP.
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        os.write(SOCKET, b"\n")
        os.chdir(spec["root"])
        os.execve(argv[0], argv, spec["environment"])  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        if isinstance(error, FileNotFoundError) and os.path.exists(argv[0]):  # noqa: PTH110 - pathlib costs memory
            why = "what its first line names, or its loader, is not here"
        os.write(SOCKET, f"{argv[0]} cannot be started: {why}".encode(errors="replace")[:2000])
    os._exit(1)
