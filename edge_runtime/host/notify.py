"""Tell the service manager how this process does: sd_notify(3), spoken by hand.

systemd names a socket in NOTIFY_SOCKET and, with `WatchdogSec=`, a time in WATCHDOG_USEC within which it wants to hear
from the process again. The signs of life come from a timer of the event loop, which also dispatches every event: a loop
that hangs gives none, and is restarted. Where no socket is named nothing is told, and no timer runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import MutableMapping

from edge_runtime.errors import ConfigError

_log = logging.getLogger(__name__)
_MOST_STATUS = 200
_START_S = 10.0
"""How often a start that takes long asks for more time, where there is no watchdog."""


class Notifier:
    """What this process says to its service manager. Never raises once it is made: nobody fails for not being heard."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Take what is meant for this process out of its environment: children do not speak for it.

        Raises: ConfigError when NOTIFY_SOCKET is no address or WATCHDOG_USEC no number.
        """
        self._address = _address(environment.pop("NOTIFY_SOCKET", ""))
        every_s = _every_s(environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", ""))
        self.every_s = every_s if self._address else 0.0
        """How often a sign of life is due: half of what the manager waits. 0: it does not wait for any."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_ready = False
        self._is_lost = False

    def begin(self) -> None:
        """Start giving signs of life, from the loop that runs. Until `ready` each also asks for more time to start."""
        if self._address and self._timer is None:
            self._beat(asyncio.get_running_loop())

    def ready(self, status: str) -> None:
        """Say that events are accepted, and how things are. When said again, only the latter is news."""
        fields = () if self._is_ready else ("READY=1",)
        self._is_ready = True
        self._send(*fields, _status(status))
        if not self.every_s and self._timer is not None:
            self._timer.cancel()

    def status(self, status: str) -> None:
        """Say how things are, on one line."""
        self._send(_status(status))

    def stopping(self) -> None:
        """Say that the process ends. Signs of life go on until `close`: its end is watched too."""
        self._send("STOPPING=1", _status("stopping"))

    def close(self) -> None:
        """Give no more signs of life. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        every_s = self.every_s or _START_S
        more = () if self._is_ready else (f"EXTEND_TIMEOUT_USEC={int(every_s * 3e6)}",)
        self._send("WATCHDOG=1", *more)
        self._timer = loop.call_later(every_s, self._beat, loop)

    def _send(self, *fields: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)  # a manager that does not read must not stop the loop
                out.sendto("\n".join(fields).encode(), self._address)
        except OSError as error:
            if not self._is_lost:
                _log.warning("the service manager cannot be told %s: %s", fields[0], error.strerror or error)
            self._is_lost = True
        else:
            self._is_lost = False


def _address(named: str) -> str:
    """Return a socket's address: `/path`, or `@name` of an abstract one, which begins with a zero byte in truth."""
    if not named:
        return ""
    if named[0] not in "/@" or len(named) == 1:
        raise ConfigError(f"NOTIFY_SOCKET is {named!r}, which is no path and no @name", hint="unset it")
    return f"\0{named[1:]}" if named[0] == "@" else named


def _every_s(named: str, pid: str) -> float:
    """Return half of the time that the manager waits; 0 when it waits for no one, or for another process."""
    if not named:
        return 0.0
    with contextlib.suppress(ValueError):
        if (wait_us := int(named)) > 0:
            return wait_us / 2e6 if pid in {"", str(os.getpid())} else 0.0
    raise ConfigError(f"WATCHDOG_USEC is {named!r}, which is no number of microseconds", hint="unset it")


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:_MOST_STATUS]}"
