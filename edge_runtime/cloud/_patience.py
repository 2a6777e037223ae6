"""How long an acknowledgement may take before it counts as lost, and the connection with it."""

from __future__ import annotations

LEAST_S = 6.0
MOST_S = 60.0
_TIMES = 4.0
_FADES = 0.95
"""So much is left of a slow acknowledgement with each one after it: some fifty later it is forgotten."""


class Patience:
    """Learns from the acknowledgements of one connection: what takes four times as long as any lately is lost.

    A connection that has acknowledged nothing yet gets all the time there is. So who judged a slow link wrongly, and
    broke it off, is patient with the same message the next time.
    """

    def __init__(self) -> None:
        self._slowest_s: float | None = None

    def begins(self) -> None:
        """Forget all: a new connection."""
        self._slowest_s = None

    def took(self, seconds: float) -> None:
        """Note how long an acknowledgement took."""
        self._slowest_s = max((self._slowest_s or 0.0) * _FADES, seconds)

    @property
    def bound_s(self) -> float:
        """How long one may take now."""
        return MOST_S if self._slowest_s is None else min(max(LEAST_S, self._slowest_s * _TIMES), MOST_S)
