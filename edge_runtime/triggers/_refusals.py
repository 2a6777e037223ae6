"""Events that could not be stored: counted, and logged without flooding the log."""

from __future__ import annotations

import logging

from edge_runtime.clock import Clock

_QUIET_NS = 60_000_000_000
_log = logging.getLogger(__name__)


class Refusals:
    """Counts by name. One log line a minute for all names together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._quiet_until_ns = 0
        self.counts: dict[str, int] = {}

    def add(self, name: str, error: Exception) -> None:
        """Count one event of `name` that was refused because of `error`."""
        self.counts[name] = self.counts.get(name, 0) + 1
        now_ns = self._clock.now().mono_ns
        if now_ns >= self._quiet_until_ns:
            self._quiet_until_ns = now_ns + _QUIET_NS
            total = sum(self.counts.values())
            _log.warning("an event of %s was refused, %d in all since the start: %s", name, total, error)
