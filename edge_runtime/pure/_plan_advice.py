"""What would make an outage go better: settings, each with what it would do, reckoned and not guessed."""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_runtime.app import Overflow
from edge_runtime.pure._plan_drain import Drain, Spent, Way, drain, needed
from edge_runtime.pure._plan_outage import Room, outage
from edge_runtime.pure._plan_stream import Stream

PACK = 50
_BETTER = 0.8
_LEAST_S = 60.0
"""What saves less than a fifth, or a minute, is not worth a word."""
_SLACK = 1.05


class Advice(NamedTuple):
    """One setting."""

    kind: str
    """`pack`, `gzip`: drain sooner. `queue`, `store`: a limit in bytes. `disk`: that many bytes more of it are needed.
    `ttl`: more seconds than this; what follows counts on it. `downsample`. `budget`: bytes a period."""
    value: float
    drain: Drain | None = None
    """How the backlog would leave then."""


def advise(
    stream: Stream, room: Room, way: Way, seconds: float, *, spent: Spent | None = None, packs: bool = True
) -> list[Advice]:
    """Return what would make an outage of so many seconds go better; `packs`: the link may pack messages.

    Raises: ValueError, as `drain`.
    """
    found = outage(stream, room, seconds)
    advice = _sooner(stream, found.waiting, way, spent, packs=packs)
    if found.lost and 0 < room.ttl_s <= seconds:
        advice.append(Advice("ttl", seconds))
        room = room._replace(ttl_s=0.0)
    advice += _room(stream, room, seconds)
    if found.dropped and room.when_full is Overflow.DROP_OLDEST:
        advice.append(Advice("downsample", 0))
    return advice


def _sooner(stream: Stream, waiting: int, way: Way, spent: Spent | None, *, packs: bool) -> list[Advice]:
    advice: list[Advice] = []
    best, best_way = drain(stream, waiting, way, spent), way
    more = [("pack", way._replace(pack=PACK))] if packs and way.pack == 1 else []
    if packs and not way.gzip and stream.gzip:
        more.append(("gzip", way._replace(pack=max(PACK, way.pack), gzip=True)))
    for kind, other in more:
        found = drain(stream, waiting, other, spent)
        if _is_sooner(found, best):
            advice.append(Advice(kind, other.pack, found))
            best, best_way = found, other
    if best.seconds is None and best.why in {"budget", "year"}:
        advice.append(Advice("budget", _rounded(needed(stream, best_way))))
    return advice


def _is_sooner(one: Drain, other: Drain) -> bool:
    if one.seconds is None or other.seconds is None:
        return one.seconds is not None
    return one.seconds < other.seconds * _BETTER and other.seconds - one.seconds > _LEAST_S


def _room(stream: Stream, room: Room, seconds: float) -> list[Advice]:
    """Return which limits are too low, and what would do."""
    advice: list[Advice] = []
    free = {"queue": 0, "store": 1 << 62, "disk": 1 << 62}
    while (found := outage(stream, room, seconds)).full_s is not None and found.bound in free:
        if found.bound == "queue":
            advice.append(Advice("queue", _rounded(found.needed_bytes)))
            room = room._replace(queue_limit=free.pop("queue"))
        elif found.bound == "store":
            advice.append(Advice("store", _rounded(room.store_used + found.needed_disk)))
            room = room._replace(store_limit=free.pop("store"))
        else:
            advice.append(Advice("disk", _rounded(found.needed_disk - room.disk_left)))
            room = room._replace(disk_left=free.pop("disk"))
    return advice


def _rounded(size: float) -> int:
    """Return a little more, to two digits."""
    wanted = max(1.0, size * _SLACK)
    grain = int(10.0 ** max(0, math.floor(math.log10(wanted)) - 1))
    return math.ceil(wanted / grain) * grain
