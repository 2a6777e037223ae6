"""What gpiozero's smoothing inputs make of a pin, without looking at the pin all the time.

A MotionSensor or LineSensor of gpiozero reads its pin ten or a hundred times a second, and is active while the average
of the last few samples is above a threshold. As long as the pin does not change, all samples to come are known: it is
enough to be told of the edges, and to look again when the average crosses the threshold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from edge_runtime.pure.debounce import Edge


class Smoother:
    """The state of one input. Feed it every edge in the order of time; it returns the transitions of the average.

    `active` says for each number of active samples, from none to all, whether the device is active then; its length
    less one is how many samples count. A sample is taken every `period_s` from `start_ns` on. `level` is the level of
    the pin now. The caller calls `expire` when `due` has come.

    Raises: ValueError for a period that is not positive, or when no sample counts.
    """

    __slots__ = ("_active", "_level", "_next_ns", "_ones", "_period_ns", "_samples", "level")

    def __init__(self, active: Sequence[bool], period_s: float, *, level: int, start_ns: int) -> None:
        self._period_ns = round(period_s * 1e9)
        if self._period_ns <= 0 or len(active) < 2:  # noqa: PLR2004 - none active, and one
            raise ValueError(f"smoothing needs a period above 0 and at least one sample; got {period_s} and {active}")
        self._active = tuple(active)
        count = len(active) - 1
        self._samples = deque([level] * count, count)
        self._ones = level * count
        self._level = level
        self._next_ns = start_ns + self._period_ns
        self.level = int(self._active[self._ones])
        """Whether the average is above the threshold."""

    def feed(self, mono_ns: int, level: int) -> Edge | None:
        """Take an edge to `level` and return the transition that the samples before it brought about."""
        found = self.expire(mono_ns - 1)
        self._level = level
        return found

    def due(self) -> int | None:
        """Return when the next transition comes if there is no edge before; None: none comes."""
        ones, at_ns = self._ones, self._next_ns
        for oldest in self._samples:
            ones += self._level - oldest
            if self._active[ones] != self.level:
                return at_ns
            at_ns += self._period_ns
        return None

    def expire(self, mono_ns: int) -> Edge | None:
        """Return the transition that has come by now."""
        found = None
        for _ in range(len(self._samples)):  # after so many samples of one level nothing changes any more
            if self._next_ns > mono_ns:
                return found
            self._ones += self._level - self._samples[0]
            self._samples.append(self._level)
            if self._active[self._ones] != self.level:
                self.level = 1 - self.level
                found = Edge(self._next_ns, self.level)
            self._next_ns += self._period_ns
        if self._next_ns <= mono_ns:
            self._next_ns += ((mono_ns - self._next_ns) // self._period_ns + 1) * self._period_ns
        return found
