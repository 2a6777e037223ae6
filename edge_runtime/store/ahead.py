"""Which messages of a lane were handed out before their turn: a set of numbers, kept as runs of neighbours."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

Run = tuple[int, int]
"""The first and the last number of it."""


class Ahead:
    """A set of sequence numbers that costs memory by the run and not by the number."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, runs: Sequence[Run] = ()) -> None:
        """Hold those runs, which are in order and do not touch."""
        self._starts = [first for first, _ in runs]
        self._ends = [last for _, last in runs]

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._starts, seq) - 1
        return at >= 0 and seq <= self._ends[at]

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self._starts)

    def add(self, first: int, last: int) -> None:
        """Put in the numbers from `first` to `last`; those that touch become one run."""
        starts, ends = self._starts, self._ends
        low, high = bisect_left(ends, first - 1), bisect_right(starts, last + 1)
        if low < high:
            first, last = min(first, starts[low]), max(last, ends[high - 1])
        starts[low:high], ends[low:high] = [first], [last]

    def discard(self, seq: int) -> bool:
        """Take a number out. Return whether it was there."""
        if seq not in self:
            return False
        at = bisect_right(self._starts, seq) - 1
        first, last = self._starts[at], self._ends[at]
        left = [run for run in ((first, seq - 1), (seq + 1, last)) if run[0] <= run[1]]
        self._starts[at : at + 1], self._ends[at : at + 1] = [run[0] for run in left], [run[1] for run in left]
        return True

    def forget(self, upto: int) -> None:
        """Take out all numbers up to this one."""
        count = bisect_right(self._ends, upto)
        del self._starts[:count], self._ends[:count]
        if self._starts and self._starts[0] <= upto:
            self._starts[0] = upto + 1

    def clear(self) -> None:
        """Take out everything."""
        self._starts.clear()
        self._ends.clear()

    def runs(self) -> list[Run]:
        """Return the runs in order."""
        return list(zip(self._starts, self._ends, strict=True))
