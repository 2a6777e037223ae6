"""Which readings of a sensor are worth an event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real


def unusable(value: object) -> str:
    """Return why a reading is none (`the reading is nan`), or an empty text.

    A tuple, the value of a device made of several, is as good as its worst part; a None in it is a part that is off.
    """
    if value is None:
        return "the device gave no reading"
    if isinstance(value, float) and not math.isfinite(value):
        return f"the reading is {value}"
    if isinstance(value, tuple | list):
        return next((why for part in value if part is not None and (why := unusable(part))), "")
    return ""


class Sampler:
    """The state of one sensor: give it every reading, it tells which to emit.

    With nothing set every reading is emitted. `on_change`: those that differ from the last one emitted. `deadband`:
    those that differ from it by at least so much (any part of a tuple). `heartbeat_s`: with one of these, a reading
    is emitted anyway when waiting for the next one, `every_s` later, would make the pause longer than this.
    The first reading, and the first after a fault, is always emitted. Times are steady seconds.
    """

    def __init__(
        self, *, every_s: float, on_change: bool = False, deadband: float = 0.0, heartbeat_s: float = 0.0
    ) -> None:
        self._every_s = every_s
        self._always = not on_change and not deadband
        self._deadband = deadband
        self._heartbeat_s = heartbeat_s
        self._last: object = None
        self._last_s: float | None = None
        self.faulty = False
        """True from a fault until the next good reading."""

    def reading(self, value: object, now_s: float) -> bool:
        """Take a good reading and tell whether to emit it."""
        wanted = self._last_s is None or self.faulty or self._always or self._moved(value) or self._beat(now_s)
        self.faulty = False
        if wanted:
            self._last, self._last_s = value, now_s
        return wanted

    def fault(self) -> bool:
        """Note that there was no good reading, and tell whether that is news: the first one of an episode."""
        news, self.faulty = not self.faulty, True
        return news

    def _moved(self, value: object) -> bool:
        if not self._deadband:
            return value != self._last
        return _distance(value, self._last) >= self._deadband

    def _beat(self, now_s: float) -> bool:
        if not self._heartbeat_s or self._last_s is None:
            return False
        grain = self._every_s * 1e-6  # times that are sums of fractions never compare equal
        return now_s - self._last_s + self._every_s > self._heartbeat_s + grain


def _distance(one: object, other: object) -> float:
    """Return how far apart two readings are: infinitely when they differ and are no numbers."""
    if isinstance(one, Real) and isinstance(other, Real):
        # 0.3 - 0.2 is a hair less than 0.1: what a person sees as one deadband must count as one.
        return round(abs(float(one) - float(other)), 9)
    if (
        isinstance(one, Sequence)
        and isinstance(other, Sequence)
        and not isinstance(one, str)
        and len(one) == len(other)
    ):
        return max((_distance(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    return 0.0 if one == other else math.inf
