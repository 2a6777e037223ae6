"""Devices with a place in a shadow: what is desired there is commanded, what they do is reported there.

A command is an event on `device/<name>/set`, durable as any other, and comes only when somebody sets what is desired:
in the cloud, here, or while the host was down. Reporting sets nothing that is desired, so nothing goes round in
circles; and a command from elsewhere that overrules what is desired stands until somebody desires something again.
What a device does not take stays in the delta: its command is a dead letter, once. So does what its guard has ended:
a wish has the time that the guard gives a command, once, and is not renewed when the host starts anew.

Reports are coalesced: a value that is reported already is not reported again, and all values of a shadow that change
within a second go together. A device that takes no commands is only reported.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from edge_runtime.app import Device, Guard, ShadowKey
from edge_runtime.clock import Clock, make_event
from edge_runtime.cloud._shadow_watch import Watch
from edge_runtime.cloud.shadows import SOURCE, Shadows
from edge_runtime.errors import EdgeError, LimitError, QueueFullError, StoreError
from edge_runtime.host.bus import Bus, Watcher
from edge_runtime.host.hardware import reading
from edge_runtime.model import NO_HEADERS, Event
from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure import shadow_device
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.permissions import DEPTH, depth
from edge_runtime.pure.shadow import DESIRED, REPORTED, Rejected
from edge_runtime.store.store import Store
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.devices import OpenDevice

_log = logging.getLogger(__name__)
_PACE_S = 1.0
"""Between two reports: a card wears out, and AWS takes 20 requests a second."""


@dataclass(slots=True)
class _Place:
    """One device and where it stands in its shadow."""

    name: str
    key: ShadowKey
    lasts_s: float = 0.0
    """How long its guard lets a command last at most; 0: for ever."""
    obeys: bool = False
    """It is open, and an output."""
    value: object = None
    """What it does now; None as long as that is not known."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of the event that told, as far as the next event needs them."""
    said: str = ""
    """The last complaint, not to be repeated."""

    def complain(self, text: str) -> None:
        """Log something once."""
        if text != self.said:
            _log.warning("device %r and its shadow: %s", self.name, text)
        self.said = text


class DeviceShadows:
    """Keeps devices and shadows together."""

    def __init__(self, devices: Sequence[Device], shadows: Shadows, store: Store, bus: Bus, clock: Clock) -> None:
        self._places = {
            one.name: _Place(one.name, one.shadow, _lasts_s(one.guard)) for one in devices if one.shadow is not None
        }
        self._shadows = shadows
        self._store = store
        self._bus = bus
        self._clock = clock
        self._open: list[OpenDevice] = []
        self._fresh: asyncio.Queue[OpenDevice] = asyncio.Queue()
        self._due: set[str] = set()
        self._some = asyncio.Event()

    def opened(self, device: OpenDevice) -> None:
        """Take notice of a device that has been opened."""
        if device.name in self._places:
            self._open.append(device)
            self._fresh.put_nowait(device)

    async def run(self) -> None:
        """Keep them together, for ever."""
        watcher, watch = self._bus.watch("device/#"), self._shadows.watch()
        self._fresh = asyncio.Queue()
        for device in self._open:
            self._fresh.put_nowait(device)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear(watcher), name="shadow-devices.hear")
                group.create_task(self._obey(watch), name="shadow-devices.obey")
                group.create_task(self._report(), name="shadow-devices.report")
                while True:
                    device = await self._fresh.get()
                    group.create_task(self._start(device), name=f"shadow-devices[{device.name}]")
        finally:
            self._bus.unwatch(watcher)
            self._shadows.unwatch(watch)

    # -- what is desired -----------------------------------------------------------------------------------------

    async def _start(self, device: OpenDevice) -> None:
        """Report what an opened device does, and have it do what was desired of it meanwhile."""
        place = self._places[device.name]
        place.obeys = device.is_output
        if device.spec.every_s > 0:
            return  # its first reading tells
        answer = await in_thread(f"value[{device.name}]", partial(reading, device.device))
        if answer["error"]:
            place.complain(f"it cannot be read: {answer['error']}")
        elif place.value is None:
            place.value = answer["value"]
        if place.obeys:
            await self._catch_up(place)
        self._is_due(place)

    async def _catch_up(self, place: _Place) -> None:
        state = await self._state(place)
        desired, reported = (trees.at(state.get(section), place.key.path) for section in (DESIRED, REPORTED))
        if desired is None or shadow_device.fulfils(place.value, desired):
            return
        text = await self._store.recall(self._memo(place))
        if text is not None and trees.same(json.loads(text), desired):
            if place.lasts_s or not shadow_device.fulfils(reported, desired):
                return  # it was commanded once; its time is over, somebody has overruled it, or it is not taken
        elif place.lasts_s and not await self._is_young(place):
            place.complain(
                f"{trees.encode(desired).decode()[:80]} is desired and stays so: it was for a time that is over"
            )
            return
        await self._command(place, desired, NO_HEADERS)

    async def _is_young(self, place: _Place) -> bool:
        """Tell whether the time for which something is desired is not over yet, by the wall clock."""
        document = await self._shadows.document(place.key.name)
        when = trees.at({} if document is None else document.metadata.get(DESIRED), place.key.path)
        at_s = when.get("timestamp") if isinstance(when, Mapping) else None
        now_s = self._clock.now().wall_ns / 1e9
        return isinstance(at_s, int) and -1 <= now_s - at_s < place.lasts_s  # whole seconds: it may seem yet to come

    async def _obey(self, watch: Watch) -> None:
        while True:
            for name, touched in (await watch.take()).items():
                for place in self._places.values():
                    if place.key.name != name or trees.at(touched.patch.get(DESIRED), place.key.path) is None:
                        continue
                    desired = trees.at((await self._state(place)).get(DESIRED), place.key.path)
                    if desired is not None:
                        await self._command(place, desired, touched.headers)

    async def _command(self, place: _Place, desired: object, headers: Mapping[str, str]) -> None:
        if place.name not in {device.name for device in self._open}:
            return  # once it is open, it catches up
        why = "it takes no commands" if not place.obeys else shadow_device.refusal(desired)
        if why:
            place.complain(f"{trees.encode(desired).decode()[:80]} is desired and stays so: {why}")
            return
        payload = trees.encode({"value": desired})
        event = make_event(self._clock, f"device/{place.name}/set", payload, SOURCE, headers)
        backoff = Backoff(1.0, 60.0)
        while True:
            try:
                await self._bus.emit(event, memo={self._memo(place): json.dumps(desired)})
            except (QueueFullError, StoreError) as error:
                place.complain(f"what is desired cannot be commanded yet: {error}")
                await self._clock.sleep(backoff.next())
            except LimitError as error:
                place.complain(f"what is desired cannot be commanded: {error}")
                return
            else:
                return

    # -- what is reported ----------------------------------------------------------------------------------------

    async def _hear(self, watcher: Watcher) -> None:
        async for event, _ in watcher.entries():
            levels = event.topic.split("/")
            place = self._places.get(levels[1])
            if place is None or levels[2:] == ["set"] or event.source == SOURCE:
                continue
            value = _value(event)
            if value is None:
                continue
            place.value = value
            place.headers = {DEPTH: event.headers[DEPTH]} if DEPTH in event.headers else NO_HEADERS
            self._is_due(place)

    def _is_due(self, place: _Place) -> None:
        self._due.add(place.key.name)
        self._some.set()

    async def _report(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            names, self._due = self._due, set()
            for name in sorted(names):
                await self._report_all(name, [p for p in self._places.values() if p.key.name == name])
            await self._clock.sleep(_PACE_S)

    async def _report_all(self, name: str, places: Sequence[_Place]) -> None:
        """Report all values of one shadow that it does not hold yet."""
        patch: trees.Tree = trees.EMPTY
        for place in places:
            state = await self._state(place)
            desired, reported = (trees.at(state.get(section), place.key.path) for section in (DESIRED, REPORTED))
            if not shadow_device.usable(place.value):
                continue
            value = shadow_device.worded(place.value, reported if desired is None else desired)
            if not trees.same(value, reported):
                patch = trees.overlay(patch, shadow_device.nested(place.key.path, value))
        if not patch:
            return
        headers = max((place.headers for place in places), key=depth)
        request = trees.encode({"state": {REPORTED: patch}})
        try:
            answer = await self._shadows.update(name, request, headers=headers, throttled=False)
        except EdgeError as error:
            places[0].complain(f"not reported yet: {error}")
            self._is_due(places[0])
            return
        if isinstance(answer, Rejected):
            places[0].complain(f"not reported: {answer.code} {answer.message}")

    async def _state(self, place: _Place) -> trees.Tree:
        document = await self._shadows.document(place.key.name)
        return document.state if document is not None else trees.EMPTY

    def _memo(self, place: _Place) -> str:
        return f"shadow-device/{self._shadows.thing}/{place.name}"


def _lasts_s(guard: Guard | None) -> float:
    spans = () if guard is None else (span for span in (guard.lease_s, guard.max_on_s) if span > 0)
    return min(spans, default=0.0)


def _value(event: Event) -> object:
    """Return the value that an event of a device tells, None when it tells of none."""
    try:
        body = json.loads(event.payload)
    except ValueError:
        return None
    detail = body.get("detail") if isinstance(body, dict) else None
    return detail.get("value") if isinstance(detail, dict) else None
