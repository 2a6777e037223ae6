"""When to try to connect again.

A link that is back is to be noticed at once, and a broker that says no is not to be asked without end. So it matters
who failed: the network, or somebody who answered.
"""

from __future__ import annotations

from random import Random

from edge_runtime.clock import Clock
from edge_runtime.pure.backoff import Backoff

LEAST_S = 1.0
"""Between two connects: AWS IoT Core takes one a second from a client id (quota "Connect requests per client ID")."""
SOON_S = 5.0
"""The most while the network is away: a try costs one packet then, and the first one that gets through is the end."""
LATE_S = 300.0
"""The most while somebody says no."""
STEADY_S = 60.0
"""A connection that held this long was a good one."""
_SHARE = 12.0
"""While somebody says no, a wait is at most this part of the time for which that has been so."""


class Redial:
    """Says how long to wait before the next try. Every wait is drawn evenly from 0 to a ceiling, but for `LEAST_S`."""

    def __init__(self, clock: Clock, *, random: Random | None = None) -> None:
        self._clock = clock
        self._random = Random() if random is None else random  # noqa: S311 - jitter is no secret
        self._soon = Backoff(LEAST_S, SOON_S, random=self._random)
        self._begun_s = self._connect_s = 0.0
        """When the try began, and when the last CONNECT can have left at the latest."""
        self._stood_s: float | None = None
        self._spoke = self._works = False
        self._no_since_s: float | None = None
        """Since when all that answers says no."""

    def begins(self) -> None:
        """Note that a try begins."""
        self._begun_s, self._stood_s = self._now_s(), None
        self._spoke = self._works = False

    def stands(self) -> None:
        """Note that it came to a connection."""
        self._stood_s = self._now_s()

    def spoke(self) -> None:
        """Note that something was published."""
        self._spoke = True

    def works(self) -> None:
        """Note that something was acknowledged."""
        self._works = True

    def failed(self, *, answered: bool) -> float:
        """Note that the try or the connection has ended, and return the seconds to wait before the next one.

        `answered`: as `LinkError.answered`. Who takes a connection and then acknowledges nothing has said no, too.
        """
        now_s = self._now_s()
        stood_s = self._stood_s
        self._connect_s = now_s if stood_s is None else stood_s
        if stood_s is not None and (now_s - stood_s >= STEADY_S or (self._works and not answered)):
            self._soon.reset()
            self._no_since_s = None
        elif not answered and (stood_s is None or self._works or not self._spoke):
            self._no_since_s = None
        elif self._no_since_s is None:
            self._no_since_s = now_s
        wait_s = self._draw(now_s)
        if stood_s is None and not answered:
            wait_s -= now_s - self._begun_s  # a try that nobody answered was a wait already
        return max(wait_s, self._connect_s + LEAST_S - now_s, 0.0)

    def _draw(self, now_s: float) -> float:
        late_s = 0.0 if self._no_since_s is None else min((now_s - self._no_since_s) / _SHARE, LATE_S)
        soon_s = self._soon.next()
        return soon_s if late_s <= SOON_S else self._random.uniform(0, late_s)

    def _now_s(self) -> float:
        return self._clock.now().mono_ns / 1e9
