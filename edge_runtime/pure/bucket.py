"""How much of something may be done in a second: a token bucket, and a pace that no second exceeds."""

from __future__ import annotations

from collections import deque
from math import ceil

_GRAIN_S = 1e-6  # a shorter wait is not worth a sleep: it is granted now and paid for by the next one


class Bucket:
    """Grants up to `burst` at once and `rate` per second for ever. The caller brings the time: steady, in seconds.

    An amount above `burst` is granted when the bucket is full and leaves a debt, so that nothing waits for ever.
    In any window of t seconds at most `max(burst, largest amount) + rate * t` is granted (and the worth of a
    microsecond). A `rate` of 0 is no bound at all.

    Raises: ValueError for a negative rate, or a burst that is not positive where there is a rate.
    """

    def __init__(self, rate: float, burst: float) -> None:
        if rate < 0 or (rate and burst <= 0):
            raise ValueError(f"a bucket needs a rate of 0 or more and a positive burst; got {rate} and {burst}")
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._seen: float | None = None

    def take(self, amount: float, now: float) -> float:
        """Take `amount` and return 0, or take nothing and return the seconds after which to ask again.

        A `now` before an earlier one counts as that one.
        """
        if not self._rate:
            return 0.0
        if self._seen is None:
            self._seen = now
        if now > self._seen:
            self._level = min(self._burst, self._level + (now - self._seen) * self._rate)
            self._seen = now
        wait = (min(amount, self._burst) - self._level) / self._rate
        if wait > _GRAIN_S:
            return wait
        self._level -= amount
        return 0.0

    def spend(self, amount: float, now: float) -> None:
        """Take `amount` whatever there is: what is not there is a debt that later callers of `take` wait for."""
        if self._rate and self.take(amount, now):
            self._level -= amount


class Pace:
    """Grants one thing at a time, and never more than `rate` of them (rounded up) in any second, wherever it begins.

    A bucket alone grants its burst and what it gains: twice its rate in the first second. Here the burst is a quarter
    of the rate, and what was granted is remembered for a second and 3 % of it, so that what arrives closer together
    than it left does not break the bound either. A rate of 0 is no bound.

    Raises: ValueError for a negative rate.
    """

    MARGIN = 1.03
    """What is granted for ever is the rate over this."""

    def __init__(self, rate: float) -> None:
        self._bucket = Bucket(rate / self.MARGIN, max(1.0, rate / 4))
        self._bounded = rate > 0
        self._granted: deque[float] = deque(maxlen=ceil(rate))

    def take(self, now: float) -> float:
        """Take a turn and return 0, or take none and return the seconds after which to ask again."""
        if not self._bounded:
            return 0.0
        granted = self._granted
        if len(granted) == granted.maxlen and (wait := granted[0] + self.MARGIN - now) > _GRAIN_S:
            return wait
        if wait := self._bucket.take(1.0, now):
            return wait
        granted.append(now)
        return 0.0

    def spend(self, now: float) -> None:
        """Count a thing that has happened without being asked for: what may be done after it is less."""
        if self._bounded:
            self._granted.append(now)
