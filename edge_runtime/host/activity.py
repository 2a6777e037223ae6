"""Which devices are active, as far as interlocks want to know.

What an output does is told by whoever moves it, at the moment of the move. What an input measures is overheard on its
way into the store: a disk that is full must not keep an interlock from breaking.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from edge_runtime.app import Device
from edge_runtime.model import NO_HEADERS, Emit, Event
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.devices import OpenDevice

Hear = Callable[[str, bool | None], object]
"""Takes the name of a device and whether it is active; None: that is not known."""


class Way(Protocol):
    """A way in for events."""

    @property
    def emit(self) -> Emit:
        """The verb."""


class Activity:
    """Knows of each device that an interlock names whether it is active. Used on the loop only."""

    def __init__(self, devices: Iterable[Device]) -> None:
        locks = [lock for device in devices if device.guard is not None for lock in device.guard.interlocks]
        self._known: dict[str, bool | None] = dict.fromkeys((lock.device for lock in locks), None)
        self._hearers: list[Hear] = []

    def follow(self, hear: Hear) -> None:
        """Have `hear` called at once for what is known, and at every news, in their order. It must not raise."""
        self._hearers.append(hear)
        for name, active in self._known.items():
            hear(name, active)

    def leave(self, hear: Hear) -> None:
        """Tell it no more."""
        self._hearers.remove(hear)

    def __contains__(self, name: str) -> bool:
        """Whether anybody wants to know of a device."""
        return name in self._known

    def note(self, name: str, active: bool | None) -> None:  # noqa: FBT001 - the state is the news
        """Take notice of whether a device is active; None: that is not known."""
        if name in self._known and self._known[name] is not active:
            self._known[name] = active
            for hear in self._hearers:
                hear(name, active)

    def tell(self, name: str, value: object) -> None:
        """Take notice of the value of a device."""
        self.note(name, is_active(value))

    def look(self, device: OpenDevice) -> None:
        """Read a device of which nothing is known, on a thread: until it answers, that stays so."""
        if device.name not in self._known:
            return
        from edge_runtime.devices import commands  # noqa: PLC0415 - imported when a device is open

        looking = in_thread(f"look[{device.name}]", partial(commands.is_active, device))
        looking.add_done_callback(partial(self._seen, device.name))

    def _seen(self, name: str, looking: asyncio.Future[bool]) -> None:
        if not looking.cancelled() and looking.exception() is None and self._known[name] is None:
            self.note(name, looking.result())

    # -- inputs --------------------------------------------------------------------------------------------------

    def overhear(self, way: Way) -> Way:
        """Return a way in that takes notice of what passes."""
        return _Overheard(way, self) if self._known else way

    def watch(self, devices: Iterable[OpenDevice], run: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Return what runs a trigger: when that ends, nobody knows any more how its devices are."""
        wanted = [device for device in devices if device.name in self._known]

        async def watched() -> None:
            for device in wanted:
                if not (device.spec.every_s > 0 or device.has_readings):  # those tell, soon
                    self.look(device)
            try:
                await run()
            finally:
                for device in wanted:
                    self.note(device.name, None)

        return watched if wanted else run

    def hear(self, event: Event) -> None:
        """Take notice of what an input tells."""
        _, _, name = event.source.partition("/")
        if name not in self._known or not event.topic.startswith(event.source):
            return
        detail = json.loads(event.payload)["detail"]
        if detail["event"] == "fault":
            self.note(name, None)
        elif "threshold" not in detail:
            self.tell(name, detail["value"])


class _Overheard:
    """A way in past somebody who listens."""

    def __init__(self, way: Way, activity: Activity) -> None:
        self._way = way
        self._activity = activity

    def emit(self, *events: Event, memo: Mapping[str, str] = NO_HEADERS) -> Awaitable[None]:
        """Emit, and be overheard."""
        for event in events:
            self._activity.hear(event)
        return self._way.emit(*events, memo=memo)


def is_active(value: object) -> bool:
    """Tell whether a device with this value is active: for one with several parts, whether any of them is."""
    if isinstance(value, Mapping):
        return any(map(is_active, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_active, value))
    return bool(value)
