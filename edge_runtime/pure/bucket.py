"""A token bucket: how much of something may be done in a second."""

from __future__ import annotations

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
