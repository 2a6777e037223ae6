"""What must be true afterwards: judged by what the producer was promised, what the cloud took, and the books."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edge_runtime.store import inspect

DIRECT = "out/direct"
"""Goes up as it is."""
CALLED = "in/called"
"""Sets off the function, whose reply goes up on REPLIED."""
REPLIED = "out/replied"
_OF_TIME = ("edge-time", "edge-clock")


class Delivery(NamedTuple):
    """One publish that the cloud took."""

    topic: str
    payload: bytes
    user: Mapping[str, str]
    """The MQTT 5 user properties."""


@dataclass
class Promises:
    """What the producer was promised: these events are safe."""

    accepted: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Topic and payload by the id of the event, in order."""

    def on(self, topic: str) -> list[int]:
        """Return the numbers of the events on a topic, in order."""
        return [json.loads(payload)["n"] for of, payload in self.accepted.values() if of == topic]


class Verdict(NamedTuple):
    """What is worth knowing of a run that went well."""

    accepted: int
    delivered: int
    repeats: int


def judge(promises: Promises, deliveries: Sequence[Delivery], database: Path, *, in_order: bool = True) -> Verdict:
    """Return when every promise was kept; else an assertion fails and says which was not.

    `in_order` is False where handlers failed: what is tried again later loses its place before the function.
    """
    first = _first(deliveries)
    _judge_order(first)
    _judge_direct(promises, first)
    _judge_replies(promises, first, in_order=in_order)
    _judge_books(promises, first, database)
    return Verdict(len(promises.accepted), len(first), len(deliveries) - len(first))


def _first(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Return each message once, in the order of first deliveries; repeats must be the same to the byte.

    But for when it happened: that may be known better by then.
    """
    seen: dict[str, Delivery] = {}
    for one in deliveries:
        delivery = one._replace(user={key: value for key, value in one.user.items() if key not in _OF_TIME})
        before = seen.setdefault(delivery.user["edge-id"], delivery)
        assert before == delivery, "a message was sent again as another one"
    return list(seen.values())


def _judge_order(first: Sequence[Delivery]) -> None:
    seqs = [int(delivery.user["edge-seq"]) for delivery in first]
    assert seqs == list(range(1, len(seqs) + 1)), _breaks(seqs)


def _breaks(seqs: Sequence[int]) -> str:
    wrong = [(a, b) for a, b in zip([0, *seqs], seqs, strict=False) if b != a + 1]
    return f"out of order or missing, first breaks: {wrong[:5]}"


def _judge_direct(promises: Promises, first: Sequence[Delivery]) -> None:
    delivered = {d.user["edge-id"]: (d.topic, d.payload) for d in first}
    for event_id, (topic, payload) in promises.accepted.items():
        if topic == DIRECT:
            assert delivered.get(event_id) == (topic, payload), f"{payload!r} was accepted and is not there"


def _judge_replies(promises: Promises, first: Sequence[Delivery], *, in_order: bool) -> None:
    """A handler may run twice for one event, so a number may come twice; but first in order, and none is missing."""
    replies: dict[int, object] = {}
    for delivery in first:
        if delivery.topic == REPLIED:
            reply = json.loads(delivery.payload)
            assert replies.setdefault(reply["n"], reply) == reply
    wanted = {n: json.loads(p) for n, p in zip(promises.on(CALLED), _payloads(promises), strict=True)}
    missing = [n for n in wanted if n not in replies]
    assert not missing, f"no reply to {missing[:5]}"
    for n, event in wanted.items():
        assert replies[n] == event, f"the reply to {n} is not what was accepted"
    if in_order:
        assert [n for n in replies if n in wanted] == list(wanted), "the function ran in another order"


def _payloads(promises: Promises) -> list[bytes]:
    return [payload for topic, payload in promises.accepted.values() if topic == CALLED]


def _judge_books(promises: Promises, first: Sequence[Delivery], database: Path) -> None:
    rows = {row.target: row for row in inspect.ledger(database)}
    for row in rows.values():
        assert row.balanced, f"{row} does not balance"
        assert (row.queued, row.expired, row.dropped, row.dead) == (0, 0, 0, 0), f"{row} is not drained"
    assert rows["uplink"].produced == rows["uplink"].delivered == len(first)
    assert rows["function/f"].produced >= len(promises.on(CALLED))
