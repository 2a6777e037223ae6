"""When to ping, and when to call a connection dead: within one and a half times the keep-alive."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

PATIENCE = 1.5
"""Brokers drop a client that was silent for so many keep-alives (MQTT 5.0 section 3.1.2.10); we do the same to them."""
SILENCE_S = 10.0
"""How long the other end may not answer the TCP packets of ours.

TCP sends again after 0.2 s, then after twice as long each time. Within 10 s that means: never later than 4 s after the
network is back. Without a bound it gives up after a quarter of an hour, and is two minutes late.
"""


def bound_silence(sock: object) -> None:
    """Let a TCP connection break when what was sent is unacknowledged for `SILENCE_S` (Linux, TCP_USER_TIMEOUT)."""
    if isinstance(sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE_S * 1000))


class KeepAlive:
    """Calls `ping` when nothing was sent or heard for a keep-alive, and `dead` when nothing was heard for 1.5.

    One timer, which sleeps until something may be due: traffic only notes the time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        every_s: float,
        ping: Callable[[], None],
        dead: Callable[[], None],
    ) -> None:
        self._loop, self._every, self._ping, self._dead = loop, every_s, ping, dead
        self._heard = self._spoke = loop.time()
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, every_s: float) -> None:
        """Begin, with the keep-alive that the broker agreed to."""
        self._every = every_s
        self.heard()
        self.spoke()
        self._arm()

    def heard(self) -> None:
        """Note that something came."""
        self._heard, self._asked = self._loop.time(), False

    def spoke(self) -> None:
        """Note that something was sent."""
        self._spoke = self._loop.time()

    def stop(self) -> None:
        """End. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        silent = self._heard + PATIENCE * self._every
        due = silent if self._asked else min(silent, min(self._heard, self._spoke) + self._every)
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        if now >= self._heard + PATIENCE * self._every:
            self._timer = None
            self._dead()
            return
        if not self._asked and now >= min(self._heard, self._spoke) + self._every:
            self._asked = True
            self._ping()
        self._arm()
