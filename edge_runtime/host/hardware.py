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
from edge_runtime.clock import Clock
from edge_runtime.errors import EdgeError
from edge_runtime.host._hand import make_safe
from edge_runtime.host._voice import Voice
from edge_runtime.host.activity import Activity, Way
from edge_runtime.host.actuator import Actuator
from edge_runtime.host.bus import Bus
from edge_runtime.host.sightings import Sightings, listeners, measured
from edge_runtime.host.watchdog import Watchdog, silence_of
from edge_runtime.model import Trigger
from edge_runtime.pure.backoff import Backoff
from edge_runtime.store.store import Store
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.devices import OpenDevice, Opener

_log = logging.getLogger(__name__)
_OPEN_S = 20.0
_ANSWER_S = 1.0
"""How long `edge status` waits for the values of devices."""
_CLOSE_S = 5.0

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
        self.prepare: Callable[[OpenDevice], None] | None = None
        """Called with each device that was opened, before it begins: for a simulation."""
        self.reading_patience_s: float | None = None
        """How long a reading may take; None: what the sample trigger holds to be right."""
        self._app = app
        self._clock = clock
        self._simulate = simulate
        self._synced = synced
        self._patience_s = patience_s
        self._opener: Opener | None = None
        self._opening: dict[str, asyncio.Future[None]] = {}
        self._begun: set[str] = set()
        self._asked: dict[str, asyncio.Future[dict[str, object]]] = {}
        self._seen = Sightings()
        self._lock = threading.Lock()
        self._closed = False
        self._activity = Activity(app.devices)
        self._watchdog = Watchdog(silence_of(app.devices))

    async def run(self, store: Store, bus: Bus, begin: Begin, shadows: Opened | None = None) -> None:
        """Open what is declared and begin what it is for; go on trying what cannot be opened.

        `shadows` is told of each device before it begins.
        """
        backoff = Backoff(1.0, 60.0)
        bus.join(self._seen)
        while True:
            for spec in self._app.devices:
                await self._try(spec)
            fresh = [device for device in self.devices if device.name not in self._begun]
            for device in fresh:
                if self.prepare is not None:
                    self.prepare(device)
                if shadows is not None:
                    shadows.opened(device)
            self._begin(fresh, store, bus, begin)
            if len(self._begun) == len(self._app.devices):
                await asyncio.get_running_loop().create_future()  # nothing is left to do
            await self._clock.sleep(backoff.next())

    async def close(self) -> None:
        """Let go of every pin. What a driver does not let go of is left to the end of the process."""
        self._watchdog.close()
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
        driver = device.driver if device else None
        return {
            "name": spec.name,
            "driver": spec.driver,
            "pin": device.pin if device else "",
            "simulated": device.simulated if device else self._simulate,
            "every_s": spec.every_s,
            **measured(spec, driver, answer),
            **self._seen.row(spec.name, self._clock.now()),
            "listeners": listeners(self._app, spec, driver),
        }

    def board(self) -> dict[str, str]:
        """Return the `board` and the `factory` that drives its pins, as far as they are known."""
        name = self._app.board
        choice = self._opener.choice if self._opener is not None else None
        if self._simulate:
            return {"board": name, "factory": "simulated"}
        if choice is None:
            return {"board": name, "factory": ""}  # no device has asked for a pin
        from edge_runtime.devices import factories  # noqa: PLC0415 - same

        if choice.board is not None:  # one that no file is for is taken for its family, whose file begins with _
            name = choice.board.title if choice.board.name.startswith("_") else choice.board.name
        return {"board": name, "factory": factories.described(choice) or "none"}

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
            self._opener = devices.Opener(simulate=self._simulate, extra=self._app.base, board=self._app.board)
        device = self._opener.open(spec)
        make_safe(device)
        with self._lock:
            if not self._closed:
                self.devices = [*self.devices, device]
                return
        devices.close([device])  # the host ended meanwhile

    def _begin(self, fresh: Sequence[OpenDevice], store: Store, bus: Bus, begin: Begin) -> None:
        """Begin what the devices are for: one trigger of each kind for all that were opened together."""
        later = bool(self._begun)
        self._begun.update(device.name for device in fresh)
        sampled = [d for d in fresh if d.spec.every_s > 0 or d.has_readings]
        telling = [d for d in fresh if d not in sampled and d.has_events]
        for kind, devices in (("gpio", telling), ("sample", sampled)):
            if devices:
                name = f"{kind}/{devices[0].name}" if later else kind
                run = late_trigger(partial(self._trigger, kind, devices), self._activity.overhear(bus))
                begin(name, self._activity.watch(devices, run), source=True)
        fed = {counters.name for counters in store.ledger}
        for device in fresh:
            if device.is_output and f"device/{device.name}" in fed:
                voice = Voice(device, self._app.thing, self._clock, store, bus, synced=self._synced)
                begin(f"device/{device.name}", self._actuator(voice))

    def _actuator(self, voice: Voice) -> Callable[[], Awaitable[None]]:
        if voice.device.spec.guard is None:
            return Actuator(voice, self._activity).run
        from edge_runtime.host.guard import GuardedActuator  # noqa: PLC0415 - most apps have none

        return GuardedActuator(voice, self._activity, self._watchdog).run

    def _trigger(self, kind: str, devices: Sequence[OpenDevice]) -> Trigger:
        make = getattr(plugin.load("triggers", kind), _TRIGGERS[kind])
        patience_s = self.reading_patience_s
        more = {"patience_s": patience_s} if kind == "sample" and patience_s is not None else {}
        trigger: Trigger = make(devices, self._app.thing, self._clock, synced=self._synced, **more)
        return trigger


def late_trigger(make: Callable[[], Trigger], bus: Way) -> Callable[[], Awaitable[None]]:
    """Return what runs a trigger that is made at its first start: a faulty one is then a part that fails, no more."""
    made: list[Trigger] = []

    async def run() -> None:
        if not made:
            made.append(make())
        await made[0].run(bus.emit)

    return run


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
