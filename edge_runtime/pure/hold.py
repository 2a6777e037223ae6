"""What a pressed button does, from raw edges: pressed, held, released."""

from __future__ import annotations

from typing import NamedTuple

from edge_runtime.pure.debounce import Debounce, Edge
from edge_runtime.pure.smoothing import Smoother


class Change(NamedTuple):
    """Something that happened to an input, by steady time in nanoseconds."""

    mono_ns: int
    level: int
    """1 active, 0 inactive."""
    held_s: float | None = None
    """How long it was active so far, where that is known: when it is held and when it ends."""
    held: bool = False
    """True for a report that the input is still active, which is no transition."""


class Holder:
    """A debounced input that also reports when it has been active for `hold_s` (0: never), and again and again.

    Call `feed` with every edge and `expire` when `due` has come; each returns what happened, in order.
    A report of holding waits while a release is pending: a button that is just being let go is not held. A `smoother`
    takes the place of the debouncing.
    """

    __slots__ = ("_debounce", "_hold_ns", "_next_ns", "_pressed_ns", "_repeat")

    def __init__(
        self,
        debounce_s: float,
        level: int = -1,
        *,
        hold_s: float = 0.0,
        repeat: bool = False,
        smoother: Smoother | None = None,
    ) -> None:
        self._debounce = Debounce(debounce_s, level) if smoother is None else smoother
        self._hold_ns = round(hold_s * 1e9)
        self._repeat = repeat
        self._pressed_ns: int | None = None  # unknown for an input that was active from the start
        self._next_ns: int | None = None  # when the next report of holding comes

    def feed(self, mono_ns: int, level: int) -> list[Change]:
        """Take an edge and return what it proves."""
        found = self._held(mono_ns) if self._next_ns is not None else []
        edge = self._debounce.feed(mono_ns, level)
        if edge is not None:
            found.append(self._accept(edge))
        return found

    def due(self) -> int | None:
        """Return when to call `expire`; None: nothing is awaited."""
        pending = self._debounce.due()
        return self._next_ns if pending is None else pending

    def expire(self, mono_ns: int) -> list[Change]:
        """Return what has become true by now without any edge."""
        found = []
        edge = self._debounce.expire(mono_ns)
        if edge is not None:
            found.append(self._accept(edge))
        return found + self._held(mono_ns)

    def _accept(self, edge: Edge) -> Change:
        started, self._next_ns = self._pressed_ns, None
        if edge.level == 1:
            self._pressed_ns = edge.mono_ns
            if self._hold_ns:
                self._next_ns = edge.mono_ns + self._hold_ns
            return Change(edge.mono_ns, 1)
        self._pressed_ns = None
        return Change(edge.mono_ns, edge.level, None if started is None else (edge.mono_ns - started) / 1e9)

    def _held(self, mono_ns: int) -> list[Change]:
        found: list[Change] = []
        while self._next_ns is not None and self._next_ns <= mono_ns and self._debounce.due() is None:
            started = self._next_ns if self._pressed_ns is None else self._pressed_ns
            found.append(Change(self._next_ns, 1, (self._next_ns - started) / 1e9, held=True))
            self._next_ns = self._next_ns + self._hold_ns if self._repeat else None
        return found
