"""How `edge plan` says what it has reckoned: to a person, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge_runtime.app import Overflow
from edge_runtime.cli._common import clean, duration, size, when
from edge_runtime.cli._plan_facts import TARGET, Facts
from edge_runtime.pure.data_budget import Moment
from edge_runtime.pure.plan import Advice, Drain, Outage, Spent, Stream, Way, advise, drain, needed, outage, publish

_NOTABLE = 1.25
"""An hour that is that much busier than the mean is worth a word."""
_POLICIES = {
    Overflow.DROP_OLDEST: "the oldest of the least urgent are dropped for new ones (drop_oldest): {} would be lost",
    Overflow.REJECT_NEW: "nothing new is accepted (reject_new), whoever emits gets an error: {} would be refused",
    Overflow.DOWNSAMPLE: "old readings are thinned (downsample): {} would live on in the least, greatest and mean "
    "value of others, over a minute and longer; what is no reading is dropped",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What was reckoned."""

    facts: Facts
    outage: Outage
    spent: Spent
    """The data budget when the link is back."""
    drain: Drain
    advice: list[Advice]

    @classmethod
    def of(cls, facts: Facts, seconds: float) -> Report:
        """Reckon an outage of so many seconds. Raises: ValueError for a memo of the data budget that is none."""
        found = outage(facts.stream, facts.room, seconds)
        (run_s, wall_s), memo = facts.spent
        spent = Spent(Moment(run_s + seconds, None if wall_s is None else wall_s + seconds), memo)
        return cls(
            facts,
            found,
            spent,
            drain(facts.stream, found.waiting, facts.way, spent),
            advise(facts.stream, facts.room, facts.way, seconds, spent=spent, packs=facts.packs),
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        facts, stream, room = self.facts, self.facts.stream, self.facts.room
        rate = facts.rate
        return {
            "outage_s": self.outage.seconds,
            "targets": [
                {
                    "target": TARGET,
                    "rate": {
                        "per_s": stream.per_s,
                        "origin": "given" if rate is None else "measured",
                        **({} if rate is None else {k: v for k, v in rate._asdict().items() if k != "per_s"}),
                    },
                    "message": {
                        "payload_bytes": round(stream.payload),
                        "disk_bytes": round(stream.disk),
                        "origin": facts.sized,
                    },
                    "limits": {**room._asdict(), "when_full": str(room.when_full)},
                    "outage": {**self.outage._asdict(), "lost": self.outage.lost},
                    "drain": _drain_json(self.drain),
                    "advice": [
                        {"setting": _setting(one), "kind": one.kind, "value": one.value}
                        | ({"drain": _drain_json(one.drain)} if one.drain else {})
                        for one in self.advice
                    ],
                }
            ],
            "others": [one._asdict() for one in facts.others],
        }

    def lines(self) -> Iterator[str]:
        """Yield it line by line."""
        yield f"outage   {self._begins()}"
        yield f"in       {self._rate()}"
        yield f"message  {self._message()}"
        yield f"now      {self._now()}"
        yield from self._full()
        yield f"then     {_count(self.outage.waiting)} wait, {size(self.outage.waiting_bytes)}{self._doubt()}"
        for number, line in enumerate(self._drain()):
            yield f"{'drain' if not number else '':9}{line}"
        for number, one in enumerate(self.advice):
            yield f"{'' if number else chr(10)}{'advice' if not number else '':9}{_setting(one)}: {self._effect(one)}"

    def _begins(self) -> str:
        text = f"{duration(self.outage.seconds)} from now on"
        return text if self.spent.at.wall_s is None else f"{text}; the link is back {when(self.spent.at.wall_s)[:16]}"

    def _rate(self) -> str:
        rate = self.facts.rate
        if rate is None:
            return f"{_per(self.facts.stream.per_s)} to {TARGET} (as given)"
        text = f"{_per(rate.per_s)} to {TARGET} (measured over {duration(rate.over_s)}"
        if rate.busiest > rate.per_s * _NOTABLE:
            text += f"; {_per(rate.busiest)} in the busiest hour"
        if rate.last_hour > rate.per_s * _NOTABLE or rate.last_hour * _NOTABLE < rate.per_s:
            text += f"; {_per(rate.last_hour)} in the last hour"
        return f"{text})"

    def _message(self) -> str:
        stream = self.facts.stream
        origin = {"given": "as given", "waiting": "as what waits"}.get(self.facts.sized, "measured")
        return f"{size(round(stream.payload))} of payload, {size(round(stream.disk))} in the queue ({origin})"

    def _now(self) -> str:
        room = self.facts.room
        text = f"{_count(room.waiting)} wait; the store holds {size(room.store_used)} of {size(room.store_limit)}"
        others = sorted((one for one in self.facts.others if one.queued), key=lambda one: -one.bytes)
        if others:
            text += f", {size(sum(one.bytes for one in others))} of it for others (most: {clean(others[0].target)})"
        return text

    def _full(self) -> Iterator[str]:
        found, room = self.outage, self.facts.room
        if found.full_s is not None:
            yield f"full     after {duration(found.full_s)}, with {_count(found.most or 0)}: {self._bound()}"
            gone = found.dropped + found.thinned + found.refused
            yield f"         then {_POLICIES[room.when_full].format(_count(gone))}"
        elif room.when_full is Overflow.KEEP_LATEST:
            yield f"full     never: it keeps the latest of each topic; {_count(found.superseded)} would be replaced"
        else:
            yield f"full     not in this time{self._later()}"
        if found.expired:
            yield f"expired  {_count(found.expired)} would be older than the time to live of {duration(room.ttl_s)}"

    def _bound(self) -> str:
        room = self.facts.room
        return {
            "queue": f"the limit of the queue ({size(room.queue_limit)})",
            "store": f"the limit of the store ({size(room.store_limit)})",
            "disk": f"the disk, of which {size(room.disk_left)} may be used yet",
        }[self.outage.bound]

    def _later(self) -> str:
        """Return when it would be full, with a longer outage."""
        rate, room, most = self.facts.stream.per_s, self.facts.room, self.outage.most
        if not rate or most is None:
            return ""
        seconds = (most - room.waiting) / rate
        if room.ttl_s and most >= rate * room.ttl_s:
            return f", nor later: what waits expires after {duration(room.ttl_s)}"
        return f"; it would be after {duration(seconds)}: {self._bound()}"

    def _doubt(self) -> str:
        return " at most" if self.outage.thinned else ""

    def _drain(self) -> Iterator[str]:
        found, stream, way = self.drain, self.facts.stream, self.facts.way
        if not self.outage.waiting:
            yield "nothing waits"
            return
        if found.seconds is None:
            yield f"never drains: {_why(found, stream, way)}"
            return
        live = f" while {_per(stream.per_s)} come in" if stream.per_s else ""
        if math.isinf(found.messages_per_s):
            yield "as fast as the broker and this machine can: no bound is set"
        else:
            yield f"{duration(max(1.0, found.seconds))} at {_per(found.messages_per_s)}{live}"
        yield f"{found.publishes:,} publishes, {size(found.bytes)} on the wire{_packing(stream, way)}"
        if found.held_s:
            yield f"for {duration(found.held_s)} of that the data budget holds back what is not urgent"
        if way.budget is not None and way.budget.night is None and needed(stream, way) > way.budget.limit_bytes:
            yield f"after that it does not keep up: {_short(stream, way)}"
        if found.seconds and not found.fresh and way.live_share:
            yield "what is new does not all fit into the live share: a part of it waits behind the backlog"
        elif found.seconds and not found.fresh:
            yield "what is new waits behind what is older, in each priority (live_share: 0)"
        if self.facts.room.ttl_s and found.seconds > self.facts.room.ttl_s:
            lives = duration(self.facts.room.ttl_s)
            yield f"that is longer than the time to live of {lives}: more would expire meanwhile"

    def _effect(self, one: Advice) -> str:
        span = duration(self.outage.seconds)
        if one.drain is not None:
            return f"drains in {_span(one.drain)} rather than {_span(self.drain)}, {size(one.drain.bytes)} on the wire"
        return {
            "queue": f"lets the queue hold {span}",
            "store": f"lets the store hold {span}",
            "disk": f"the disk needs {size(one.value)} more to hold {span}",
            "downsample": "keeps of old readings the least, greatest and mean value, where now they are dropped",
            "ttl": "lets nothing expire in this time",
            "budget": "is what comes in, packed or not as it is now",
        }[one.kind]


def _setting(one: Advice) -> str:
    return {
        "pack": f"link: {{pack: {one.value:g}}}",
        "gzip": f"link: {{pack: {{messages: {one.value:g}, gzip: yes}}}}",
        "queue": f"link: {{queue: {{limit: {_limit(one.value)}}}}}",
        "store": f"queue: {{limit: {_limit(one.value)}}}",
        "disk": "a bigger disk",
        "ttl": f"queue: {{ttl: {_longer(one.value)}}}",
        "downsample": "link: {queue: {when_full: downsample}}",
        "budget": f"link: {{budget: {{bytes: {_limit(one.value)}}}}}",
    }[one.kind]


def _limit(value: float) -> str:
    for unit, grain in (("GB", 10**9), ("MB", 10**6), ("KB", 1000)):
        if value >= grain:
            return f"{value / grain:g}{unit}"
    return f"{value:g}"


def _longer(seconds: float) -> str:
    """Return a little more than that, as the app file has it."""
    days, hours = math.floor(seconds / 86_400) + 1, math.floor(seconds / 3600) + 1
    return f"{days}d" if days > 2 else f"{hours}h"  # noqa: PLR2004 - an hour more or less matters then


def _span(found: Drain) -> str:
    return "never" if found.seconds is None else duration(max(1.0, found.seconds))


def _why(found: Drain, stream: Stream, way: Way) -> str:
    if found.why == "live":
        return f"{_per(stream.per_s)} come in, and {_per(found.messages_per_s)} can leave"
    return _short(stream, way) if found.why == "budget" else "not within a year"


def _short(stream: Stream, way: Way) -> str:
    """Say that the data budget is too small; there is one."""
    per, limit = (way.budget.per, way.budget.limit_bytes) if way.budget else ("", 0)
    return f"what comes in takes {size(needed(stream, way))} a {per}, and the data budget is {size(limit)}"


def _packing(stream: Stream, way: Way) -> str:
    if way.pack == 1:
        return ""
    one = publish(stream, way.pack, gzip=way.gzip)
    text = f", {one.messages:g} messages in each"
    if way.gzip:
        text += f", compressed to {stream.gzip:.0%}" if stream.gzip else "; how well gzip does was not measured yet"
    return text


def _count(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


def _per(per_s: float) -> str:
    """Return a rate for a person, in the unit in which it is more than one."""
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:.3g}/{unit}"
    return f"{per_s * 86_400:.3g}/d"


def _drain_json(found: Drain) -> dict[str, Any]:
    rate = None if math.isinf(found.messages_per_s) else found.messages_per_s
    return {**found._asdict(), "messages_per_s": rate, "drains": found.seconds is not None}
