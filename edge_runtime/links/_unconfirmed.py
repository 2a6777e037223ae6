"""Publishes that the nucleus has taken, or is taking, and that nothing from the cloud has confirmed yet."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable

from edge_runtime.errors import LinkError

Key = tuple[str, str]
"""A topic, and the digest of a payload."""

_HINT = (
    "if it stays so, look whether the policy of the device allows iot:Subscribe and iot:Receive on what confirms: the"
    " topic itself, or `confirm_topic` and the rule behind it"
)


def digest(encoded: bytes) -> str:
    """Return the digest of a payload, given in base64: a rule in the cloud can hash nothing but text."""
    return hashlib.sha256(encoded).hexdigest()


class Waiting:
    """One publish, from before its request until it is confirmed or given up."""

    def __init__(self, future: asyncio.Future[None], key: Key, size: int) -> None:
        self.future, self.key, self.size = future, key, size
        self.timer: asyncio.TimerHandle | None = None


class Unconfirmed:
    """All of them. Publishes alike in topic and payload are confirmed in their order, one by one."""

    def __init__(self, settle: Callable[[asyncio.Future[None], LinkError | None], None], timeout_s: float) -> None:
        """`settle` gets each future whose fate is known."""
        self.count = 0
        self.volume = 0
        """The sum of their payloads in bytes."""
        self._settle, self._timeout = settle, timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Key, deque[Waiting]] = {}

    def add(self, waiting: Waiting) -> None:
        """Expect a confirmation from now on."""
        self._waiting.setdefault(waiting.key, deque()).append(waiting)
        self.count += 1
        self.volume += waiting.size

    def taken(self, waiting: Waiting) -> None:
        """Begin to count the time: the nucleus has said that it took the publish. It may be confirmed already."""
        if waiting in self._waiting.get(waiting.key, ()):
            waiting.timer = self._loop.call_later(self._timeout, self._give_up, waiting)

    def confirm(self, key: Key) -> None:
        """Complete the oldest publish of this key, if there is one."""
        if alike := self._waiting.get(key):
            waiting = alike[0]
            self.drop(waiting)
            self._settle(waiting.future, None)

    def drop(self, waiting: Waiting) -> None:
        """Expect this one no longer. Does nothing when nobody does."""
        alike = self._waiting.get(waiting.key)
        if alike is None or waiting not in alike:
            return
        alike.remove(waiting)
        if not alike:
            del self._waiting[waiting.key]
        if waiting.timer is not None:
            waiting.timer.cancel()
        self.count -= 1
        self.volume -= waiting.size

    def clear(self) -> None:
        """Expect nothing more, and settle nothing."""
        for waiting in [one for alike in self._waiting.values() for one in alike]:
            self.drop(waiting)

    def _give_up(self, waiting: Waiting) -> None:
        self.drop(waiting)
        said = f"a publish on {waiting.key[0]!r} was not confirmed in {self._timeout:g} s"
        self._settle(waiting.future, LinkError(said, hint=_HINT))
