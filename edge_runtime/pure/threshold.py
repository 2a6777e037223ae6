"""When a reading crosses a level, and when it is back."""

from __future__ import annotations

from edge_runtime.app import Threshold


class Level:
    """The state of one threshold: give it every good reading, it tells when the level is crossed and when it is back.

    It is crossed by a reading beyond the level, and back with one that is `hysteresis` on the other side of it, or at
    it where there is no hysteresis. A first reading beyond the level is a crossing: whoever starts a hot station wants
    to know. So no crossing ever follows another without a return between them, and the first news is never a return.
    A fault of the sensor changes nothing: give it nothing then.

    Raises: ValueError when not exactly one of `above` and `below` is set, or for a negative hysteresis.
    """

    __slots__ = ("_back", "_names", "_sign", "active", "level", "part")

    def __init__(self, threshold: Threshold) -> None:
        above, below = threshold.above, threshold.below
        if (above is None) == (below is None) or threshold.hysteresis < 0:
            raise ValueError(f"threshold {threshold.name!r} needs one of above and below, and no negative hysteresis")
        self._sign = 1 if above is not None else -1
        self.level = above if above is not None else below or 0.0
        """The level that is told with the crossing."""
        # 0.3 - 0.1 is a hair less than the 0.2 that a person means.
        self._back = float(f"{self.level - self._sign * threshold.hysteresis:.15g}")
        self._names = (threshold.name, f"no_{threshold.name}")
        self.part = threshold.part
        self.active = False
        """Whether the last reading that changed anything was beyond the level."""

    def take(self, value: float) -> str:
        """Take a reading; return the name of what it brings about (`too_hot`, `no_too_hot`), or an empty text."""
        if self.active:
            if self._sign * (value - self._back) > 0:
                return ""
        elif not self._sign * (value - self.level) > 0:
            return ""
        self.active = not self.active
        return self._names[0] if self.active else self._names[1]
