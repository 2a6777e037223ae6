"""The declared devices: those that tell, those that are read, and those that obey.

A device that cannot be opened does not keep the others from working: it is tried again, for ever, and `edge status`
says why it is missing. Whatever a driver does, it does on a thread that nobody has to wait for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from edge_runtime import plugin
from edge_runtime.app import App, Device
from edge_runtime.clock import Clock, new_id
from edge_runtime.errors import EdgeError, StoreError
from edge_runtime.host.bus import Bus
from edge_runtime.model import Event, Message, Trigger
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.events.device import DeviceEvents, Moment
from edge_runtime.pure.permissions import DEPTH
from edge_runtime.store.store import Store
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.devices import OpenDevice, Opener

_log = logging.getLogger(__name__)
_OPEN_S = 20.0
_ANSWER_S = 1.0
"""How long `edge status` waits for the values of devices."""
_CLOSE_S = 5.0
_PAUSE_S = 1.0
_TRIGGERS = {"gpio": "GpioTrigger", "sample": "SampleTrigger"}


class Begin(Protocol):
    """Starts a part of the host, and keeps it going."""

    def __call__(self, name: str, run: Callable[[], Awaitable[None]], *, source: bool = False) -> None:
        """Start it. A `source` emits events, and so is the first to be ended."""


class Opened(Protocol):
    """Who wants to know of devices that have been opened."""

    def opened(self, device: OpenDevice) -> None:
        """Take notice of one."""


class Hardware:
    """Opens the devices of an app, and makes of them triggers and the targets of commands."""

    def __init__(
        self,
        app: App,
        clock: Clock,
        *,
        simulate: bool,
        patience_s: float = _OPEN_S,
        synced: Callable[[], bool] = lambda: True,
    ) -> None:
        """`patience_s` is how long the others wait for a device that does not come back from being opened.

        `synced` tells whether the wall clock is right.
        """
        self.devices: list[OpenDevice] = []
        """Those that are open."""
        self.faults: dict[str, str] = {}
        """Why others are not, by name."""
        self._app = app
        self._clock = clock
        self._simulate = simulate
        self._synced = synced
        self._patience_s = patience_s
        self._opener: Opener | None = None
        self._opening: dict[str, asyncio.Future[None]] = {}
        self._begun: set[str] = set()
        self._asked: dict[str, asyncio.Future[dict[str, object]]] = {}
        self._lock = threading.Lock()
        self._closed = False

    async def run(self, store: Store, bus: Bus, begin: Begin, shadows: Opened | None = None) -> None:
        """Open what is declared and begin what it is for; go on trying what cannot be opened.

        `shadows` is told of each device before it begins.
        """
        backoff = Backoff(1.0, 60.0)
        while True:
            for spec in self._app.devices:
                await self._try(spec)
            fresh = [device for device in self.devices if device.name not in self._begun]
            if shadows is not None:
                for device in fresh:
                    shadows.opened(device)
            self._begin(fresh, store, bus, begin)
            if len(self._begun) == len(self._app.devices):
                await asyncio.get_running_loop().create_future()  # nothing is left to do
            await self._clock.sleep(backoff.next())

    async def close(self) -> None:
        """Let go of every pin. What a driver does not let go of is left to the end of the process."""
        with self._lock:
            self._closed = True
            opened, self.devices = self.devices, []
        if not opened:
            return
        from edge_runtime import devices  # noqa: PLC0415 - imports gpiozero when devices are declared, and only then

        closing = in_thread("devices.close", partial(devices.close, opened))
        await asyncio.wait([closing], timeout=_CLOSE_S)
        if not closing.done():
            _log.warning("a device does not end: its driver is left behind")

    def simulate(self, name: str, value: object) -> None:
        """Let a simulated device measure a value. Raises: NotFoundError, ConfigError for a real one or a bad value."""
        from edge_runtime.devices.simulation import Simulated  # noqa: PLC0415 - same

        Simulated(self.devices).set(name, value)

    async def rows(self) -> list[dict[str, object]]:
        """Return how each declared device does: its value now, or its `error`."""
        opened = {device.name: device for device in self.devices}
        for name, device in opened.items():
            if (asked := self._asked.get(name)) is None or asked.done():
                self._asked[name] = in_thread(f"value[{name}]", partial(reading, device.device))
        if opened:
            await asyncio.wait([self._asked[name] for name in opened], timeout=_ANSWER_S)
        return [self._row(spec, opened.get(spec.name)) for spec in self._app.devices]

    def _row(self, spec: Device, device: OpenDevice | None) -> dict[str, object]:
        answer: Mapping[str, object] = {"value": None, "error": self.faults.get(spec.name, "it is not open yet")}
        if device is not None:
            asked = self._asked[spec.name]
            answer = asked.result() if asked.done() else {"value": None, "error": "it does not answer"}
        return {
            "name": spec.name,
            "driver": spec.driver,
            "pin": device.pin if device else "",
            "simulated": device.simulated if device else self._simulate,
            "every_s": spec.every_s,
            **answer,
        }

    # -- opening -------------------------------------------------------------------------------------------------

    async def _try(self, spec: Device) -> None:
        """Open a device if it is not open. Not for ever: one that hangs must not keep the next ones waiting."""
        name = spec.name
        if any(device.name == name for device in self.devices):
            self.faults.pop(name, None)
            return
        opening = self._opening.get(name)
        if opening is None or opening.done():
            opening = self._opening[name] = in_thread(f"open[{name}]", partial(self._open, spec))
            await asyncio.wait([opening], timeout=self._patience_s)
        error = opening.exception() if opening.done() else EdgeError("opening it does not end")
        if error is None:
            self.faults.pop(name, None)
            return
        if not isinstance(error, EdgeError):
            _log.error("device %r cannot be opened", name, exc_info=error)
        text = f"{error}{f' ({error.hint})' if isinstance(error, EdgeError) and error.hint else ''}"
        if self.faults.get(name) != text:
            _log.error("%s; the others go on without it", text)
        self.faults[name] = text

    def _open(self, spec: Device) -> None:
        from edge_runtime import devices  # noqa: PLC0415 - same

        if self._opener is None:
            self._opener = devices.Opener(simulate=self._simulate, extra=self._app.base)
        device = self._opener.open(spec)
        with self._lock:
            if not self._closed:
                self.devices = [*self.devices, device]
                return
        devices.close([device])  # the host ended meanwhile

    def _begin(self, fresh: Sequence[OpenDevice], store: Store, bus: Bus, begin: Begin) -> None:
        """Begin what the devices are for: one trigger of each kind for all that were opened together."""
        later = bool(self._begun)
        self._begun.update(device.name for device in fresh)
        sampled = [d for d in fresh if d.spec.every_s > 0]
        telling = [d for d in fresh if d.spec.every_s <= 0 and d.has_events]
        for kind, devices in (("gpio", telling), ("sample", sampled)):
            if devices:
                name = f"{kind}/{devices[0].name}" if later else kind
                begin(name, late_trigger(partial(self._trigger, kind, devices), bus), source=True)
        fed = {counters.name for counters in store.ledger}
        for device in fresh:
            if device.is_output and f"device/{device.name}" in fed:
                actuator = Actuator(device, self._app.thing, self._clock, store, bus, synced=self._synced)
                begin(f"device/{device.name}", actuator.run)

    def _trigger(self, kind: str, devices: Sequence[OpenDevice]) -> Trigger:
        make = getattr(plugin.load("triggers", kind), _TRIGGERS[kind])
        trigger: Trigger = make(devices, self._app.thing, self._clock, synced=self._synced)
        return trigger


def late_trigger(make: Callable[[], Trigger], bus: Bus) -> Callable[[], Awaitable[None]]:
    """Return what runs a trigger that is made at its first start: a faulty one is then a part that fails, no more."""
    made: list[Trigger] = []

    async def run() -> None:
        if not made:
            made.append(make())
        await made[0].run(bus.emit)

    return run


class Actuator:
    """Carries out the commands that wait for one output device, in order, and says what the device then does."""

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
        self._device = device
        self._synced = synced
        self._clock = clock
        self._store = store
        self._bus = bus
        self._topic = f"device/{device.name}"
        self._events = DeviceEvents(
            thing=thing,
            device=device.name,
            class_name=device.spec.driver,
            source="gpio",
            pin=device.pin,
            simulated=device.simulated,
        )
        self._value: object = None
        self._seq = 0

    async def run(self) -> None:
        """Obey, for ever."""
        queue = self._store.queue(self._topic)
        while True:
            (message,) = await queue.get(1)
            try:
                await self._obey(message)
            except BaseException:
                queue.give_back([message])
                raise

    async def _obey(self, message: Message) -> None:
        from edge_runtime.devices import apply  # noqa: PLC0415 - imported when a device is open

        try:
            value = await in_thread(f"set[{self._topic}]", partial(apply, self._device, message.event.payload))
        except EdgeError as error:
            _log.warning("%s", error)
            await self._settle(message, None, str(error))
        else:
            await self._settle(message, self._said(message, value), "")

    def _said(self, message: Message, value: object) -> Event:
        """Return the event of a command that was obeyed. Its headers name the command and who gave it."""
        stamp = self._clock.now()
        self._seq += 1
        moment = Moment(new_id(stamp), stamp, self._seq, self._synced())
        try:
            payload = self._events.build("set", value, moment, previous=self._value)
        except (TypeError, ValueError):
            value = str(value)  # a driver's own kind of value, that JSON has no form for
            payload = self._events.build("set", value, moment, previous=self._value)
        self._value = value
        headers = {"edge-cause": message.event.id, "edge-asked-by": message.event.source}
        if DEPTH in message.event.headers:  # a function that obeys a device that it commands goes round in circles
            headers[DEPTH] = message.event.headers[DEPTH]
        return Event(self._topic, payload, self._topic, stamp, moment.id, headers)

    async def _settle(self, message: Message, said: Event | None, failure: str) -> None:
        """Write down what became of a command: it is not given a second time because a disk or a queue is full."""
        while True:
            try:
                if failure:
                    await self._store.change(dead=[(message, failure)])
                else:
                    entries = [] if said is None else [self._bus.route(said)]
                    await self._store.change(entries, done=[message])
                    self._bus.show(entries)
            except StoreError as error:
                _log.warning("what %s did cannot be written down yet: %s", self._topic, error)
                await self._clock.sleep(_PAUSE_S)
            except EdgeError as error:
                if said is None:
                    raise
                _log.warning("what %s did was not accepted as an event: %s", self._topic, error)
                said = None
            else:
                return


def reading(device: Any) -> dict[str, object]:  # noqa: ANN401 - an object without types
    """Return the value of a gpiozero device in a form that JSON has; a sensor that cannot be read says why."""
    try:
        value = getattr(device, "value", None)
    except Exception as error:  # noqa: BLE001 - a driver may raise anything, and that is what is to be shown
        return {"value": None, "error": f"{type(error).__name__}: {error}"}
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        value = str(value)
    return {"value": value, "error": ""}
