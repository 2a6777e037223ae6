"""When a worker that keeps failing is started again, and when its function counts as broken."""

from __future__ import annotations

import random
from collections import deque

FIRST_S = 0.1
LONGEST_S = 60.0
BROKEN_AFTER = 5
WINDOW_S = 600.0


class Health:
    """The back-off of one function. Times are seconds of one steady clock.

    The wait doubles from 0.1 s to 60 s with each failure in a row, less up to half by chance, so that functions that
    failed together do not come back together. Five failures in a row within ten minutes are called broken; the
    function is tried on.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self.row = 0
        """Failures since the last success."""
        self._times: deque[float] = deque(maxlen=BROKEN_AFTER)
        self.next_start = 0.0
        """No worker is to be started before this time."""

    def failed(self, now: float, *, at_start: bool) -> None:
        """Note a failure. The first crash of a worker that had started costs no wait."""
        self.row += 1
        self._times.append(now)
        steps = self.row if at_start else self.row - 1
        if steps > 0:
            wait = min(FIRST_S * 2.0 ** min(steps - 1, 30), LONGEST_S)
            self.next_start = now + wait * self._chance.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """Note an invocation after which the worker lives. Forgets all failures."""
        self.row = 0
        self._times.clear()
        self.next_start = 0.0

    def broken(self, now: float) -> bool:
        """Whether the last five failures came in a row and within ten minutes."""
        return len(self._times) == BROKEN_AFTER and now - self._times[0] <= WINDOW_S
