"""How long a backlog takes to leave when the link is back, while new messages come in."""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_runtime.app import Budget
from edge_runtime.pure._plan_stream import Stream, publish
from edge_runtime.pure.bucket import Pace
from edge_runtime.pure.data_budget import ALL, CONNECT_BYTES, PING_BYTES, DataBudget, Moment

_PING_PER_S = PING_BYTES / 60
_MOST_S = 366 * 86_400.0
"""What takes longer than a year counts as never: nobody plans for it."""
_PERIOD_S = {"day": 86_400.0, "month": 31 * 86_400.0}
_LOOKS = 3
"""So many periods without progress, and there will be none."""
_LEAST_S = 1.0


class Way(NamedTuple):
    """The way through the link, as the app declares it."""

    publishes_per_s: float = 100.0
    """0: as many as it takes."""
    bytes_per_s: float = 512 * 1024.0
    """0: as many as it takes."""
    pack: int = 1
    gzip: bool = False
    live_share: float = 0.0
    budget: Budget | None = None

    def messages_per_s(self, stream: Stream) -> float:
        """Return how many messages that wait can leave in a second; infinity when nothing bounds them."""
        one = publish(stream, self.pack, gzip=self.gzip)
        most = self.publishes_per_s * one.messages if self.publishes_per_s else math.inf
        if self.bytes_per_s and one.payload:
            most = min(most, self.bytes_per_s * one.messages / one.payload)
        return most

    def sustained(self) -> Way:
        """Return the way as the uplink takes it: it stays a little below the publishes that are granted."""
        return self._replace(publishes_per_s=self.publishes_per_s / Pace.MARGIN)


class Drain(NamedTuple):
    """How a backlog leaves."""

    seconds: float | None
    """Until nothing waits; None: never, or not within a year."""
    messages_per_s: float
    """That leave while the backlog lasts; infinity when nothing bounds them."""
    messages: int = 0
    """That were sent until then, those that came meanwhile included."""
    publishes: int = 0
    bytes: int = 0
    """On the wire."""
    held_s: float = 0.0
    """For so long of that the data budget held back what is not urgent."""
    why: str = ""
    """Why never: `live` (as many come as can leave), `budget` (it has not enough for what comes), `year`."""
    fresh: bool = True
    """Whether what is new arrives at once meanwhile, and not behind the backlog."""


class Spent(NamedTuple):
    """The data budget when the link is back."""

    at: Moment
    memo: str | None = None
    """What the uplink remembers of it."""


def drain(stream: Stream, waiting: int, way: Way, spent: Spent | None = None) -> Drain:
    """Return how so many messages leave through `way`. With a data budget, `spent` tells how that stands then.

    Raises: ValueError when the memo of the data budget is none.
    """
    rate = way.messages_per_s(stream)
    fresh = not waiting or (way.live_share > 0.0 and stream.per_s <= way.live_share * rate)
    if not waiting:
        return Drain(0.0, rate, fresh=fresh)
    if rate <= stream.per_s:
        return Drain(None, rate, why="live", fresh=fresh)
    if way.budget is not None:
        at, memo = spent or Spent(Moment(0.0, None))
        return _Metered(stream, way, DataBudget(way.budget, memo), at).run(waiting)._replace(fresh=fresh)
    one = publish(stream, way.pack, gzip=way.gzip)
    seconds = 0.0 if math.isinf(rate) else waiting / (rate - stream.per_s)
    sent = waiting + math.floor(stream.per_s * seconds)
    publishes = math.ceil(sent / one.messages)
    size = round(publishes * one.wire + CONNECT_BYTES + seconds * _PING_PER_S)
    return Drain(seconds, rate, sent, publishes, size, fresh=fresh)


def needed(stream: Stream, way: Way) -> int:
    """Return the bytes that what comes takes in a period of the data budget, packed as what waits is."""
    one = publish(stream, way.pack, gzip=way.gzip)
    per_s = stream.per_s / one.messages * one.wire + _PING_PER_S
    return math.ceil(per_s * _PERIOD_S[way.budget.per if way.budget else "month"])


class _Metered:
    """The draining through a metered link, from one change of what may go to the next."""

    def __init__(self, stream: Stream, way: Way, budget: DataBudget, at: Moment) -> None:
        self._comes = [stream.per_s * share for share in stream.shares]
        self._rate = way.messages_per_s(stream)
        packed, alone = publish(stream, way.pack, gzip=way.gzip), publish(stream, 1)
        self._packed, self._wire, self._alone = packed.messages, packed.wire / packed.messages, alone.wire
        self._budget = budget
        self._at = at
        self._period_s = _PERIOD_S[way.budget.per if way.budget else "month"]
        self._shares = stream.shares
        self._left: list[float] = []
        self.sent = self.bytes = self.held_s = 0.0
        self._publishes = 0.0

    def run(self, waiting: int) -> Drain:
        """Return how so many messages leave."""
        self._left = [waiting * share for share in self._shares]
        self._charge(CONNECT_BYTES, self._at)
        elapsed, looks = 0.0, [float(waiting)]
        while sum(self._left) >= 1.0:
            if elapsed >= _MOST_S:
                return self._drain(None, "year")
            if elapsed >= len(looks) * self._period_s:
                looks.append(sum(self._left))
                if len(looks) > _LOOKS and all(one <= looks[-1] for one in looks[-1 - _LOOKS : -1]):
                    return self._drain(None, "budget")
            wall_s = self._at.wall_s
            now = Moment(self._at.run_s + elapsed, None if wall_s is None else wall_s + elapsed)
            elapsed += self._step(now, len(looks) * self._period_s - elapsed)
        return self._drain(elapsed, "")

    def _step(self, now: Moment, most_s: float) -> float:
        """Go on until something changes, `most_s` at most. Return how long that was."""
        standing = self._budget.standing(now)
        mays = range(standing.least + 1)
        waiting, comes = sum(self._left[p] for p in mays), sum(self._comes[p] for p in mays)
        boundary = self._budget.boundary(now)
        ends = [most_s if boundary is None or now.wall_s is None else min(most_s, boundary - now.wall_s)]
        if boundary is None and standing.least < ALL:
            ends.append(3600.0)  # without a calendar, running time ends a period
        rate = min(self._rate, comes) if waiting < 1.0 else self._rate
        per_s = rate * (self._alone if waiting < 1.0 else self._wire) + _PING_PER_S
        if waiting >= 1.0:
            ends.append(waiting / max(self._rate - comes, 1e-9))
        if not standing.night and standing.used < standing.limit:
            ends.append((standing.limit - standing.used) / per_s)
        seconds = max(_LEAST_S, min(ends))
        seconds = self._send(seconds, standing.least)
        self._publishes += rate * seconds / (1.0 if waiting < 1.0 else self._packed)
        self._charge(math.ceil(per_s * seconds), now)
        self.held_s += seconds if standing.least < ALL else 0.0
        return seconds

    def _send(self, seconds: float, least: int) -> float:
        """Let the most urgent leave first. Return the seconds that it took: less when nothing was left to be sent."""
        come = sum(self._comes)
        if least == ALL and (total := sum(self._left)) < (self._rate - come) * seconds:
            seconds = total / (self._rate - come)
        room = self._rate * seconds
        for priority, came in enumerate(self._comes):
            there = self._left[priority] + came * seconds
            sent = min(there, room) if priority <= least else 0.0
            self._left[priority] = there - sent
            room -= sent
            self.sent += sent
        return seconds

    def _charge(self, size: int, now: Moment) -> None:
        self.bytes += size
        self._budget.charge(size, now)

    def _drain(self, seconds: float | None, why: str) -> Drain:
        return Drain(
            seconds, self._rate, math.floor(self.sent + 1e-6), math.ceil(self._publishes), round(self.bytes),
            self.held_s, why,
        )  # fmt: skip
