"""Which readings of a sensor are worth an event."""

from __future__ import annotations

from collections.abc import Mapping

from edge_runtime.app import Measure

_HAIR = 1e-15
_NO_MEASURES: Mapping[str, Measure] = {}


class Sampler:
    """The state of one sensor: give it every good reading, it tells which to emit.

    With nothing set every reading is emitted. A number that has a deadband counts when it has moved by it since the
    last reading that was emitted: by at least `deadband`, or by `deadband_share` of its value then. Where one number
    has a deadband, numbers without one do not count, unless `on_change` is set: then they count when they differ. What
    is no number, and which parts there are, counts when it differs. One part that counts is enough. Measures go by
    part, as in `measuring`.

    `heartbeat_s`: with one of these, a reading is emitted anyway when waiting for the next one, `every_s` later, would
    make the pause longer than this. With an `every_s` of 0 nobody knows when the next one comes: it is emitted when the
    pause is that long. The first reading, and the first after a fault, is always emitted. Times are steady seconds.
    """

    def __init__(
        self,
        *,
        every_s: float = 0.0,
        on_change: bool = False,
        heartbeat_s: float = 0.0,
        measures: Mapping[str, Measure] = _NO_MEASURES,
    ) -> None:
        self._every_s = every_s
        self._on_change = on_change
        self._measures = measures
        self._common = measures.get("", Measure())
        self._always = not on_change and not any(m.deadband or m.deadband_share for m in measures.values())
        self._heartbeat_s = heartbeat_s
        self._last: object = None
        self._last_s: float | None = None
        self.faulty = False
        """True from a fault until the next good reading."""

    def reading(self, value: object, now_s: float) -> bool:
        """Take a good reading and tell whether to emit it."""
        wanted = self._always or self._last_s is None or self.faulty or self._moved(value) or self._beat(now_s)
        self.faulty = False
        if wanted:
            self._last, self._last_s = value, now_s
        return wanted

    def fault(self) -> bool:
        """Note that there was no good reading, and tell whether that is news: the first one of an episode."""
        news, self.faulty = not self.faulty, True
        return news

    def _moved(self, value: object) -> bool:
        last = self._last
        if isinstance(value, dict) and isinstance(last, dict):
            return value.keys() != last.keys() or any(
                self._counts(part, last[key], self._measure(str(key))) for key, part in value.items()
            )
        if isinstance(value, list | tuple) and isinstance(last, list | tuple):
            return len(value) != len(last) or any(
                self._counts(part, last[n], self._measure(str(n))) for n, part in enumerate(value)
            )
        return self._counts(value, last, self._common)

    def _measure(self, part: str) -> Measure:
        return self._measures.get(part, self._common)

    def _counts(self, new: object, old: object, measure: Measure) -> bool:
        if isinstance(new, int | float) and isinstance(old, int | float):
            if isinstance(new, bool) or isinstance(old, bool):
                return new != old
            if measure.deadband or measure.deadband_share:
                return _far(float(new), float(old), measure)
            return self._on_change and new != old
        if isinstance(new, dict) and isinstance(old, dict):
            return new.keys() != old.keys() or any(self._counts(new[k], old[k], measure) for k in new)
        if isinstance(new, list | tuple) and isinstance(old, list | tuple):
            return len(new) != len(old) or any(self._counts(a, b, measure) for a, b in zip(new, old, strict=True))
        return new != old

    def _beat(self, now_s: float) -> bool:
        if not self._heartbeat_s or self._last_s is None:
            return False
        if not self._every_s:
            return now_s - self._last_s >= self._heartbeat_s
        grain = self._every_s * 1e-6  # times that are sums of fractions never compare equal
        return now_s - self._last_s + self._every_s > self._heartbeat_s + grain


def _far(new: float, old: float, measure: Measure) -> bool:
    """Tell whether a number has moved by its deadband.

    0.3 - 0.2 is a hair less than 0.1: what a person sees as one deadband must count as one.
    """
    distance = abs(new - old)
    if not distance:
        return False
    distance += _HAIR * (abs(new) + abs(old))
    band, share = measure.deadband, measure.deadband_share * abs(old)
    return (band > 0 and distance >= band) or (measure.deadband_share > 0 and distance >= share)
