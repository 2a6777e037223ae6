"""Debouncing by time stamps: which of many edges are real.

gpiozero's own `bounce_time` ignores what comes shortly after an edge, and so loses a real change that falls into
that time. Here nothing is ignored: a level counts when it has been steady for long enough, however it got there.
"""

from __future__ import annotations

from typing import NamedTuple


class Edge(NamedTuple):
    """A transition to `level` at a steady time in nanoseconds."""

    mono_ns: int
    level: int


class Debounce:
    """The state of one input. Feed it every edge in the order of time; it returns the transitions that count.

    A level that differs from the last accepted one is accepted once it has lasted `debounce_s`, with the time of the
    edge that began it. Two equal levels in a row (the edge between was lost) count as one that goes on. With a
    `debounce_s` of 0 every edge fed is accepted at once.

    The caller must call `expire` when `due` has come, or the last change stays pending until the next edge.
    `level` is the accepted level, -1 while none is known: then the first steady level is a transition too.

    Raises: ValueError for a negative `debounce_s`.
    """

    __slots__ = ("_since", "_steady_ns", "_wanted", "level")

    def __init__(self, debounce_s: float, level: int = -1) -> None:
        if debounce_s < 0:
            raise ValueError(f"a debounce time may not be negative: {debounce_s}")
        self._steady_ns = round(debounce_s * 1e9)
        self.level = level
        self._wanted = level  # the level of the last edge; pending while it differs from `level`
        self._since = 0

    def feed(self, mono_ns: int, level: int) -> Edge | None:
        """Take an edge to `level` and return the transition that it proves, which may be an earlier one."""
        if not self._steady_ns:
            self.level = self._wanted = level
            return Edge(mono_ns, level)
        proved = self.expire(mono_ns) if self._wanted != self.level else None
        if level != self._wanted:
            self._wanted = level
            self._since = mono_ns
        return proved

    def due(self) -> int | None:
        """Return when the pending level will have lasted long enough if no more edges come; None: nothing pends."""
        return self._since + self._steady_ns if self._wanted != self.level else None

    def expire(self, mono_ns: int) -> Edge | None:
        """Return the pending transition if it has lasted long enough by now."""
        if self._wanted == self.level or mono_ns - self._since < self._steady_ns:
            return None
        self.level = self._wanted
        return Edge(self._since, self.level)
