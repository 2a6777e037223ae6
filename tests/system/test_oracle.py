"""The judge itself: it must see each way in which a promise can be broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.app import QueueLimits
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.model import Event, Feed
from edge_runtime.store.store import Store
from tests.system.oracle import CALLED, DIRECT, REPLIED, Delivery, Promises, Verdict, judge

CLOCK = FakeClock()


def event(topic: str, number: int) -> Event:
    return make_event(CLOCK, topic, json.dumps({"n": number}).encode(), "cli")


class Run:
    """A run that went well: four events, two of them by way of the function."""

    def __init__(self) -> None:
        self.events = [event(DIRECT, 0), event(CALLED, 1), event(DIRECT, 2), event(CALLED, 3)]
        self.promises = Promises({e.id: (e.topic, e.payload) for e in self.events})
        up = [e if e.topic == DIRECT else event(REPLIED, n) for n, e in enumerate(self.events)]
        self.up = up
        self.deliveries = [
            Delivery(e.topic, e.payload, {"edge-id": e.id, "edge-seq": str(seq)}) for seq, e in enumerate(up, 1)
        ]

    async def judge(self, folder: Path, *, settle: int = 4, in_order: bool = True) -> Verdict:
        """Write the books as the host would have, with so many of the uplink's messages settled, and judge."""
        queues = dict.fromkeys(["", "function/f", "uplink"], QueueLimits())
        store = await Store.open(folder, queues, clock=CLOCK)
        called = [(e, [Feed("function/f")]) for e in self.events if e.topic == CALLED]
        await store.change([*called, *((e, [Feed("uplink")]) for e in self.up)])
        await store.change(done=await store.queue("function/f").get(9))
        await store.change(done=await store.queue("uplink").get(settle))
        await store.close()
        return judge(self.promises, self.deliveries, folder / "queue.db", in_order=in_order)


async def test_a_good_run_passes_repeats_included(tmp_path: Path) -> None:
    run = Run()
    run.deliveries.append(run.deliveries[1])
    assert await run.judge(tmp_path) == Verdict(accepted=4, delivered=4, repeats=1)


def _lose_one(run: Run) -> None:
    del run.deliveries[2]


def _lose_the_last(run: Run) -> None:
    del run.deliveries[3]


def _swap(run: Run) -> None:
    run.deliveries[0], run.deliveries[2] = run.deliveries[2], run.deliveries[0]


def _change_a_payload(run: Run) -> None:
    run.deliveries[0] = run.deliveries[0]._replace(payload=b'{"n": 9}')


def _repeat_as_another(run: Run) -> None:
    run.deliveries.append(run.deliveries[0]._replace(payload=b'{"n": 9}'))


def _change_a_reply(run: Run) -> None:
    run.deliveries[1] = run.deliveries[1]._replace(payload=b'{"n": 1, "more": true}')


def _swap_replies(run: Run) -> None:
    one, two = run.deliveries[1], run.deliveries[3]
    run.deliveries[1] = one._replace(payload=two.payload)
    run.deliveries[3] = two._replace(payload=one.payload)


def _reply_to_nothing(run: Run) -> None:
    run.deliveries[3] = run.deliveries[3]._replace(payload=b'{"n": 77}')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_lose_one, "out of order or missing"),
        (_lose_the_last, "no reply to"),
        (_swap, "out of order or missing"),
        (_change_a_payload, "was accepted and is not there"),
        (_repeat_as_another, "sent again as another one"),
        (_change_a_reply, "the reply to 1 is not what was accepted"),
        (_swap_replies, "ran in another order"),
        (_reply_to_nothing, "no reply to"),
    ],
)
async def test_a_broken_promise_is_seen(tmp_path: Path, spoil: Callable[[Run], None], words: str) -> None:
    run = Run()
    spoil(run)
    with pytest.raises(AssertionError, match=words):
        await run.judge(tmp_path)


async def test_a_queue_that_is_not_drained_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="is not drained"):
        await Run().judge(tmp_path, settle=3)


async def test_replies_in_another_order_are_allowed_where_handlers_failed(tmp_path: Path) -> None:
    run = Run()
    _swap_replies(run)
    assert (await run.judge(tmp_path, in_order=False)).delivered == 4
