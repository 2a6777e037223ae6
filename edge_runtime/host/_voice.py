"""What an output says, and the books: what became of each command that it was given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edge_runtime.clock import Clock, new_id
from edge_runtime.errors import EdgeError, StoreError
from edge_runtime.host.bus import Bus
from edge_runtime.model import NO_HEADERS, Event, Message
from edge_runtime.pure.events.device import Moment
from edge_runtime.pure.permissions import CAUSE, DEPTH
from edge_runtime.store.store import Store

if TYPE_CHECKING:
    from edge_runtime.devices import OpenDevice

_log = logging.getLogger(__name__)
_PAUSE_S = 1.0
_NOTHING: Mapping[str, object] = {}


class Voice:
    """Makes the events of one output, and writes them down together with what became of the command."""

    def __init__(
        self,
        device: OpenDevice,
        thing: str,
        clock: Clock,
        store: Store,
        bus: Bus,
        *,
        synced: Callable[[], bool] = lambda: True,
    ) -> None:
        """`synced` tells whether the wall clock is right."""
        self.device = device
        self.clock = clock
        self.store = store
        self.topic = f"device/{device.name}"
        self.value: object = None
        """What it did last, as far as it was said; None as long as that is not known."""
        self._bus = bus
        self._synced = synced
        self._seq = 0
        self._events = device.events(thing, "gpio")

    def set(self, value: object, command: Message | None, more: Mapping[str, object] = _NOTHING) -> Event:
        """Return the event of what it does now. Headers name the command that made it, and who gave it."""
        before = self.value
        try:
            event = self._event("set", value, before, command, more)
        except (TypeError, ValueError):
            value = str(value)  # a driver's own kind of value, that JSON has no form for
            event = self._event("set", value, before, command, more)
        self.value = value
        return event

    def tell(self, kind: str, command: Message | None, reason: str, more: Mapping[str, object] = _NOTHING) -> Event:
        """Return an event `device/<name>/<kind>` with a reason; its value is what the output does all the same."""
        return self._event(kind, self.value, self.value, command, {"reason": reason, **more})

    def _event(
        self, kind: str, value: object, before: object, command: Message | None, more: Mapping[str, object]
    ) -> Event:
        stamp = self.clock.now()
        moment = Moment(new_id(stamp), stamp, self._seq + 1, self._synced())
        payload = self._events.build(kind, value, moment, previous=before, more=more)
        self._seq += 1
        topic = self.topic if kind == "set" else f"{self.topic}/{kind}"
        return Event(topic, payload, self.topic, stamp, moment.id, _headers(command))

    async def settle(self, command: Message | None, said: Event | None, failure: str = "") -> None:
        """Write down what was said, and that a command is done with: as a dead letter if there is a failure.

        It is not given a second time because a disk or a queue is full: that is waited for.
        """
        done = [] if command is None or failure else [command]
        dead = [] if command is None or not failure else [(command, failure)]
        books = Books(self.topic, self.clock, self.store, self._bus)
        await books.write([] if said is None else [said], done=done, dead=dead)


def _headers(command: Message | None) -> Mapping[str, str]:
    return NO_HEADERS if command is None else {**caused_by(command.event), "edge-asked-by": command.event.source}


def caused_by(cause: Event) -> dict[str, str]:
    """Return the headers of an event that answers another one."""
    headers = {CAUSE: cause.id}
    if DEPTH in cause.headers:  # a function that obeys what it commands goes round in circles
        headers[DEPTH] = cause.headers[DEPTH]
    return headers


class Books(NamedTuple):
    """Where is written down what somebody said, together with what became of what they were asked for."""

    who: str
    clock: Clock
    store: Store
    bus: Bus

    async def write(
        self, said: Sequence[Event], *, done: Sequence[Message] = (), dead: Sequence[tuple[Message, str]] = ()
    ) -> None:
        """Write it down in one transaction. A full disk is waited for; what is not accepted as an event is left out.

        Raises: EdgeError when the rest is not taken either.
        """
        while True:
            try:
                entries = [self.bus.route(event) for event in said]
                await self.store.change(entries, done=done, dead=dead)
                self.bus.show(entries)
            except StoreError as error:
                _log.warning("what %s did cannot be written down yet: %s", self.who, error)
                await self.clock.sleep(_PAUSE_S)
            except EdgeError as error:
                if not said:
                    raise
                _log.warning("what %s did was not accepted as an event: %s", self.who, error)
                said = ()
            else:
                return
