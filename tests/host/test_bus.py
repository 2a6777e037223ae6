"""Where an event goes, what is refused, and who is shown it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_runtime.app import Function, Overflow, QueueLimits, Rule
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.errors import ConfigError, LimitError, QueueFullError
from edge_runtime.host.bus import Bus, Watcher, feeds_of, function_rules, payload_bounds
from edge_runtime.model import Event, Feed
from edge_runtime.store.store import Store

RULES = (
    Rule("device/+", ("function/f", "uplink")),
    Rule("cmd/#", ("function/f",)),
    Rule("#", ("uplink",), priority=7),
    Rule("small/#", ("function/small",)),
)
CLOCK = FakeClock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    small = QueueLimits(limit_bytes=1000, when_full=Overflow.REJECT_NEW)
    queues = {"": QueueLimits(), "function/f": QueueLimits(), "uplink": QueueLimits(), "function/small": small}
    store = await Store.open(tmp_path, queues, clock=CLOCK)
    yield store
    await store.close()


@pytest.fixture
def bus(store: Store) -> Bus:
    return Bus(store, RULES, aws_quotas=True)


def event(topic: str, payload: bytes = b"1", source: str = "cli") -> Event:
    return make_event(CLOCK, topic, payload, source)


def queued(store: Store) -> dict[str, int]:
    return {counters.name: counters.queued for counters in store.ledger if counters.queued}


async def test_an_event_is_in_the_queue_of_every_target_when_emit_returns(bus: Bus, store: Store) -> None:
    await bus.emit(event("device/soil"), event("else"))
    assert queued(store) == {"function/f": 1, "uplink": 2}
    assert bus.route(event("device/soil"))[1] == (Feed("function/f", 5), Feed("uplink", 5))


async def test_what_came_down_does_not_go_up_again(bus: Bus, store: Store) -> None:
    await bus.emit(event("cmd/pump", source="link"))
    assert queued(store) == {"function/f": 1}


async def test_what_a_device_published_does_not_go_back_to_the_devices(tmp_path: Path) -> None:
    rules = [Rule("#", ("broker", "uplink"))]
    store = await Store.open(tmp_path / "lan", {"broker": QueueLimits(), "uplink": QueueLimits()}, clock=CLOCK)
    bus = Bus(store, rules, aws_quotas=True)
    await bus.emit(event("lamp/set", source="mqtt/local"), event("lamp/set", source="mqtt/house"))
    await bus.emit(event("lamp/set", source="link"))
    assert queued(store) == {"broker": 2, "uplink": 2}
    with pytest.raises(LimitError, match="AWS IoT Core allows 131072"):
        await bus.emit(event("lamp/set", b"x" * 131_073, source="mqtt/local"))
    await store.close()


async def test_nothing_is_accepted_when_one_of_them_is_wrong(bus: Bus, store: Store) -> None:
    with pytest.raises(LimitError, match="wildcards belong in filters"):
        await bus.emit(event("device/soil"), event("device/+"))
    with pytest.raises(LimitError, match="131073 bytes; AWS IoT Core allows 131072"):
        await bus.emit(event("device/soil"), event("device/soil", b"x" * 131_073))
    with pytest.raises(ConfigError, match="'a b' cannot be the source of an event"):
        await bus.emit(event("device/soil", source="a b"))
    assert queued(store) == {}


async def test_the_quotas_of_aws_hold_for_what_goes_there_and_can_be_left_out(store: Store) -> None:
    large = event("cmd/a", b"x" * 200_000, source="link")
    await Bus(store, RULES, aws_quotas=True).emit(large)
    await Bus(store, RULES, aws_quotas=False).emit(event("else", b"x" * 200_000))
    assert queued(store) == {"function/f": 1, "uplink": 1}


async def test_a_full_queue_that_rejects_tells_the_publisher_and_takes_nothing(store: Store) -> None:
    bus = Bus(store, (*RULES[3:], Rule("small/#", ("uplink",))), aws_quotas=False)
    await bus.emit(event("small/a", b"x" * 500))
    with pytest.raises(QueueFullError, match="queue 'function/small' is full"):
        await bus.emit(event("small/a", b"x" * 500))
    assert queued(store) == {"function/small": 1, "uplink": 1}


async def test_what_can_never_fit_is_a_quota_and_no_full_queue(bus: Bus, store: Store) -> None:
    with pytest.raises(LimitError, match="do not fit into queue 'function/small', which holds 1000"):
        await bus.emit(event("small/a", b"x" * 2000))
    assert queued(store) == {}


async def test_an_event_for_nobody_costs_nothing_but_its_memo_is_kept(store: Store) -> None:
    bus = Bus(store, RULES[:1], aws_quotas=False)
    await bus.emit(event("nobody"))
    await bus.emit(event("nobody"), memo={"at": "noon"})
    assert queued(store) == {}
    assert await store.recall("at") == "noon"


async def test_a_watcher_is_shown_what_matches_once_it_is_accepted(bus: Bus) -> None:
    watcher = bus.watch("device/#")
    await bus.emit(event("else"), event("device/soil", b"7"))
    entries = watcher.entries()
    shown, feeds = await anext(entries)
    assert (shown.topic, shown.payload, len(feeds)) == ("device/soil", b"7", 2)
    bus.unwatch(watcher)
    await bus.emit(event("device/soil", b"8"))
    assert not watcher._events


async def test_a_watcher_is_not_shown_what_was_refused(store: Store) -> None:
    bus = Bus(store, RULES[3:], aws_quotas=False)
    watcher = bus.watch("#")
    await bus.emit(event("small/a", b"x" * 500))
    with pytest.raises(QueueFullError):
        await bus.emit(event("small/a", b"y" * 500))
    assert [shown.payload[:1] for shown, _ in watcher._events] == [b"x"]


async def test_a_watcher_sees_what_nobody_else_wants(store: Store) -> None:
    bus = Bus(store, RULES[:1], aws_quotas=False)
    watcher = bus.watch("no/+")
    await bus.emit(event("no/body"))
    assert [shown.topic for shown, _ in watcher._events] == ["no/body"]


async def test_a_slow_watcher_keeps_the_newest_and_counts_the_rest(bus: Bus) -> None:
    watcher = bus.watch("#")
    for number in range(1005):
        bus.show([bus.route(event("device/soil", b"%d" % number))])
    entries = watcher.entries()
    assert [int((await anext(entries))[0].payload) for _ in range(1000)] == list(range(5, 1005))
    assert watcher.missed == 5
    waiting = asyncio.ensure_future(anext(entries))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_slow_watcher_is_bounded_in_bytes_too() -> None:
    watcher = Watcher("#")
    for _ in range(10):
        watcher.show((event("a", b"x" * (1 << 20)), ()))
    assert len(watcher._events) == 4
    assert watcher.missed == 6
    watcher.show((event("a", b"x" * (9 << 20)), ()))
    assert len(watcher._events) == 1  # one is always shown, however large


async def test_a_faulty_filter_is_refused(bus: Bus) -> None:
    with pytest.raises(LimitError, match="must be a whole level"):
        bus.watch("device/a+")


def test_the_targets_of_rules() -> None:
    assert feeds_of(RULES) == {"function/f", "uplink", "function/small"}


async def test_every_function_can_be_invoked_by_its_topic_and_takes_no_more_than_it_says(store: Store) -> None:
    functions = (Function("f", Path(), "app.handler", payload_bytes=10),)
    bus = Bus(store, function_rules(functions), aws_quotas=False, payloads=payload_bounds(functions))
    await bus.emit(event("function/f/invoke", b"x" * 10))
    assert queued(store) == {"function/f": 1}
    with pytest.raises(
        LimitError, match=r"an invocation on topic 'function/f/invoke' has 11 bytes; its function takes 10"
    ):
        await bus.emit(event("function/f/invoke", b"x" * 11))
    await bus.emit(event("function/g/invoke"))
    assert queued(store) == {"function/f": 1}
