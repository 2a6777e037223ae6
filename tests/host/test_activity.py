"""What interlocks want to know of other devices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping

import pytest

from edge_runtime.app import Device, Guard, Interlock
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.errors import StoreError
from edge_runtime.host.activity import Activity, is_active
from edge_runtime.model import NO_HEADERS, Event

CLOCK = FakeClock()
PUMP = Device("pump", "LED", guard=Guard(interlocks=(Interlock("tank"), Interlock("heater"))))


def event(name: str, kind: str = "", source: str = "", **detail: object) -> Event:
    """Return what a trigger emits."""
    body = {"detail": {"event": kind.strip("/") or "reading", **detail}}
    return make_event(CLOCK, f"device/{name}{kind}", json.dumps(body).encode(), source or f"device/{name}")


class Full:
    """A way in that takes nothing."""

    async def _refuse(self) -> None:
        raise StoreError("the disk is full")

    def emit(self, *_: Event, memo: Mapping[str, str] = NO_HEADERS) -> Awaitable[None]:
        """Refuse."""
        assert not memo
        return self._refuse()


@pytest.mark.parametrize(
    ("value", "active"),
    [
        (0, False),
        (0.01, True),
        (None, False),
        (-1, True),
        ("", False),
        ("on", True),
        ((0, (0, 0)), False),
        ((0, (0, 1)), True),
        ({"a": 0, "b": 0.5}, True),
        ({}, False),
    ],
)
def test_what_is_active(value: object, active: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert is_active(value) is active


async def test_what_passes_is_heard_though_the_store_takes_nothing() -> None:
    activity = Activity([PUMP, Device("tank", "Button")])
    news: list[tuple[str, bool | None]] = []
    activity.follow(lambda name, active: news.append((name, active)))
    assert news == [("tank", None), ("heater", None)]
    way = activity.overhear(Full())
    for one in (
        event("tank", value=0.5),
        event("tank", value=0.75),  # no news
        event("tank", "/too_full", value=0, threshold=0.9),  # the level that was crossed is no reading
        event("soil", value=1),  # nobody asks
        event("tank", value=0, source="function/f"),  # nobody else may say so
        event("tank", "/fault", value=None),
        event("tank", value=0),
    ):
        with pytest.raises(StoreError):
            await way.emit(one)
    assert news[2:] == [("tank", True), ("tank", None), ("tank", False)]


async def test_without_interlocks_nothing_is_put_in_the_way() -> None:
    activity, way = Activity([Device("pump", "LED", guard=Guard())]), Full()
    assert activity.overhear(way) is way

    async def run() -> None:
        """Do nothing."""

    assert activity.watch([], run) is run
    activity.note("pump", True)
    assert "pump" not in activity


async def test_when_a_trigger_ends_nothing_is_known_any_more() -> None:
    from edge_runtime.devices import OpenDevice  # noqa: PLC0415 - imports gpiozero

    class Tank:
        value, is_active = 1, True

    activity = Activity([PUMP])
    tank = OpenDevice("tank", Device("tank", "Button"), Tank(), simulated=True, pin="", driver=Tank)
    began, end = asyncio.Event(), asyncio.Event()
    known: asyncio.Queue[bool | None] = asyncio.Queue()
    activity.follow(lambda name, active: known.put_nowait(active) if name == "tank" else None)

    async def run() -> None:
        began.set()
        await end.wait()
        raise OSError("the bus is gone")

    task = asyncio.ensure_future(activity.watch([tank], run)())
    assert [await known.get(), await known.get()] == [None, True]  # it is asked at the start
    await began.wait()
    end.set()
    with pytest.raises(OSError, match="the bus is gone"):
        await task
    assert await known.get() is None
