"""What the wall clock should have said: the right time of a stamp, once it is known.

Steady time and a right wall clock run side by side, so within one boot of the machine a single number, how far the
wall clock is ahead, turns one into the other. It is noted at the moment at which the wall clock is known to be right,
and corrects every stamp of that boot from before. The rules:

- What was stamped while the wall clock was right keeps its time.
- What was stamped before, or after somebody had set the clock to who knows what, is corrected by its steady time.
- Of a boot in which the clock was never right, all that is known are bounds: it began after the last time seen before
  it, and ended before the next boot began. Within these a stamp is believed, and is marked as an estimate.

Boots are told apart in the order in which they were noted, never by their wall clocks.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import NamedTuple

from edge_runtime.model import Stamp

SYNCED = "synced"
"""The wall clock was right when the stamp was made."""
CORRECTED = "corrected"
"""It was not, or nobody knew; the time has been reckoned since, and is right."""
UNSYNCED = "unsynced"
"""Nobody knows. The time is an estimate."""

MEMO = "clock"
"""Under this the store remembers a timeline."""
MOST_BOOTS = 64
"""So many boots are remembered, the latest. A stamp of an older one is an estimate."""
MOST_SPANS = 8
SAME_NS = 1_500_000_000
"""A step up to this is none: a leap second is not worth a correction."""


class Dated(NamedTuple):
    """A time, and how much it is worth."""

    wall_ns: int
    mark: str
    """SYNCED, CORRECTED or UNSYNCED."""


class Span(NamedTuple):
    """What is known of the wall clock from one moment of a boot until the next span."""

    mono_ns: int
    ahead_ns: int | None
    """How far the right wall clock is ahead of steady time; None: it was set, and nobody knows how well."""


class _Boot:
    """One boot of the machine."""

    def __init__(self, least_ns: int, lasted_ns: int = 0, spans: list[Span] | None = None) -> None:
        self.least_ns = least_ns
        """The right wall clock was ahead of steady time by this at least."""
        self.lasted_ns = lasted_ns
        """The latest steady time that was seen in it, as far as it is known afterwards."""
        self.spans = spans or []
        self.right = [span.ahead_ns for span in self.spans if span.ahead_ns is not None]
        """All that it was ever known to be ahead, the latest last."""

    def add(self, span: Span) -> None:
        self.spans.append(span)
        if len(self.spans) > MOST_SPANS:
            del self.spans[1]  # the first says when the clock was first right: that is what most stamps need
        self.right = [span.ahead_ns for span in self.spans if span.ahead_ns is not None]

    def is_right(self, stamp: Stamp) -> bool:
        """Tell whether the clock was right when this was stamped."""
        known = None
        for span in self.spans:
            if span.mono_ns > stamp.mono_ns:
                break
            known = span.ahead_ns
        # It may have been set a moment before anybody noticed: then it agrees with the span that follows.
        ahead_ns = stamp.wall_ns - stamp.mono_ns
        return known is not None and any(abs(ahead_ns - right_ns) <= SAME_NS for right_ns in self.right)

    def nearest(self, mono_ns: int) -> int:
        """Return how far the wall clock should have been ahead: as the next span says, else the one before."""
        after = (s.ahead_ns for s in self.spans if s.mono_ns > mono_ns and s.ahead_ns is not None)
        return next(after, self.right[-1])


class Timeline:
    """What is known of the clocks of this machine, boot by boot. It fits into a text of a few kilobytes."""

    def __init__(self) -> None:
        self._boots: dict[str, _Boot] = {}

    def begin(self, boot: str, least_ns: int, *, before: str = "", lasted_ns: int = 0) -> bool:
        """Note a boot; False when it was known already.

        Args:
            boot: its id, as in `Stamp`.
            least_ns: how far the right wall clock is ahead of steady time in it, at least.
            before: the boot that was last seen before it, and `lasted_ns` until when.
            lasted_ns: steady time of the boot `before`.
        """
        if boot in self._boots:
            return False
        if before in self._boots:
            self._boots[before].lasted_ns = max(self._boots[before].lasted_ns, lasted_ns)
        self._boots[boot] = _Boot(least_ns)
        for oldest in list(islice(self._boots, max(0, len(self._boots) - MOST_BOOTS))):
            del self._boots[oldest]
        return True

    def right(self, now: Stamp) -> bool:
        """Note that the wall clock is right, from `now` on; False when that is no news. The boot must have begun."""
        boot, ahead_ns = self._boots[now.boot], now.wall_ns - now.mono_ns
        known = boot.spans[-1].ahead_ns if boot.spans else None
        if known is not None and abs(ahead_ns - known) <= SAME_NS:
            return False
        boot.add(Span(now.mono_ns, ahead_ns))
        return True

    def unsure(self, now: Stamp) -> bool:
        """Note that the wall clock was set, and nobody knows to what; False when it was not known to be right."""
        boot = self._boots[now.boot]
        if not boot.spans or boot.spans[-1].ahead_ns is None:
            return False
        boot.add(Span(now.mono_ns, None))
        return True

    def ahead_ns(self, boot: str) -> int | None:
        """Return how far the right wall clock is ahead of steady time in a boot, as last known; None: not known."""
        known = self._boots.get(boot)
        return known.right[-1] if known is not None and known.right else None

    def of(self, stamp: Stamp) -> Dated:
        """Return the time of a stamp as well as it is known."""
        boot = self._boots.get(stamp.boot)
        if boot is None:
            return Dated(stamp.wall_ns, UNSYNCED)
        if not boot.right:
            return Dated(self._estimate(stamp, boot), UNSYNCED)
        if boot.is_right(stamp):
            return Dated(stamp.wall_ns, SYNCED)
        return Dated(stamp.mono_ns + boot.nearest(stamp.mono_ns), CORRECTED)

    def _estimate(self, stamp: Stamp, boot: _Boot) -> int:
        wall_ns = max(stamp.wall_ns, stamp.mono_ns + boot.least_ns)
        later = iter(self._boots.values())
        for one in later:
            if one is boot:
                break
        # Steady time begins at zero: a boot begins when the right wall clock says what it is ahead.
        end_ns = next((one.right[0] for one in later if one.right), None)
        if end_ns is None:
            return wall_ns
        return min(wall_ns, end_ns - max(0, boot.lasted_ns - stamp.mono_ns))

    def to_text(self) -> str:
        """Return what `from_text` reads."""
        boots = [[name, it.least_ns, it.lasted_ns, it.spans] for name, it in self._boots.items()]
        return json.dumps(boots, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Timeline:
        """Return the timeline that was written. Raises: ValueError when the text is none."""
        self = cls()
        try:
            for name, least_ns, lasted_ns, spans in json.loads(text):
                found = [Span(int(mono), None if ahead is None else int(ahead)) for mono, ahead in spans]
                self._boots[str(name)] = _Boot(int(least_ns), int(lasted_ns), found)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"this is no timeline: {error}") from error
        return self
