"""Connectors of Greengrass V1 at work: what comes on their topics is done by our devices, and answered on their topics.

Each is a target like a device: a request waits in its queue, and is done once. What it answers is an event like any
other, stored in the same transaction that ends the request.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from edge_runtime.app import App, Connector
from edge_runtime.clock import Clock, make_event
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.host._voice import Books, caused_by
from edge_runtime.host.bus import Bus
from edge_runtime.host.hardware import Begin, Hardware
from edge_runtime.model import Event, Message
from edge_runtime.pure import v1_gpio, v1_modbus, v1_serial
from edge_runtime.store.store import Store
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.devices.modbus_bus import Line

_log = logging.getLogger(__name__)

Said = list[tuple[str, bytes]]
"""Topics and payloads that answer a request."""


class _Answers(Protocol):
    """What a connector is beside its queue."""

    target: str

    async def answer(self, event: Event) -> Said:
        """Do what an event asks for, and return what is to be said. Raises nothing but what is a mistake of ours."""

    def close(self) -> None:
        """Let go of what is held. Safe to call twice."""


def begin(
    app: App, hardware: Hardware, start: Begin, *, store: Store, bus: Bus, clock: Clock, simulate: bool = False
) -> None:
    """Begin all connectors of an app. With `simulate` they open no line."""
    for one in app.connectors:
        answers = _make(one, app.thing, hardware, simulate=simulate)
        work = _Work(answers, store, bus, clock)
        start(work.source, work.run)
        if isinstance(answers, SerialConnector) and (polling := answers.parameters.polling) is not None:
            start(f"{work.source}/polling", partial(work.poll, answers, polling), source=True)


def _make(one: Connector, thing: str, hardware: Hardware, *, simulate: bool) -> _Answers:
    if one.name == "gpio":
        return GpioConnector(one.parameters, thing, hardware)
    if one.name == "serial":
        return SerialConnector(one.parameters, thing, simulate=simulate)
    return ModbusConnector(one.parameters, simulate=simulate)


class _Work:
    """Takes requests from the queue of a connector, one after the other."""

    def __init__(self, answers: _Answers, store: Store, bus: Bus, clock: Clock) -> None:
        self._answers = answers
        self.source = answers.target
        self._store = store
        self._bus = bus
        self._clock = clock

    async def run(self) -> None:
        """Answer, for ever."""
        queue = self._store.queue(self.source)
        try:
            while True:
                (message,) = await queue.get(1)
                try:
                    await self._settle(message, await self._answers.answer(message.event))
                except BaseException:
                    queue.give_back([message])
                    raise
        finally:
            self._answers.close()

    async def poll(self, serial: SerialConnector, polling: v1_serial.Polling) -> None:
        """Read every so often, for ever."""
        while True:
            for topic, payload in await serial.read(polling):
                try:
                    await self._bus.emit(make_event(self._clock, topic, payload, self.source))
                except EdgeError as error:
                    _log.warning("what came from %s was not accepted: %s", serial.parameters.port, error)
            await self._clock.sleep(polling.every_s)

    async def _settle(self, message: Message, said: Said) -> None:
        """End a request with what is said about it. It is not done a second time because a disk or a queue is full."""
        headers = caused_by(message.event)
        events = [make_event(self._clock, topic, payload, self.source, headers) for topic, payload in said]
        await Books(self.source, self._clock, self._store, self._bus).write(events, done=[message])


class GpioConnector:
    """The Raspberry Pi GPIO connector. Its pins are devices `gpio-<number>`, like all others."""

    target = v1_gpio.TARGET

    def __init__(self, given: Mapping[str, object], thing: str, hardware: Hardware) -> None:
        self._thing = thing
        self._hardware = hardware
        self._pins = {str(number): pin for number, pin in v1_gpio.pins(given).items()}
        self._by_device = {pin.device: pin for pin in self._pins.values()}

    async def answer(self, event: Event) -> Said:
        """Answer a request, or tell what a device did."""
        if event.topic.startswith("device/"):
            return self._happened(event)
        name, verb = v1_gpio.pin_of(event.topic)
        pin = self._pins.get(name)
        if pin is None:
            return [self._failure(event, f"GPIO {name} is not configured.")]
        if verb == "read":
            return await self._read(pin, event)
        if not pin.is_output:
            text = f"GPIO {name} is configured as an INPUT GPIO. Write operations are not permitted."
            return [self._failure(event, text)]
        level = v1_gpio.level_wanted(event.payload)
        if level is None:
            return [self._failure(event, f"GPIO {name} can be set to 0 or 1.")]
        # Its device does it, in its turn and by its guard, and what it then does comes back here.
        return [(f"device/{pin.device}/set", b"on" if level else b"off")]

    def close(self) -> None:
        """Do nothing: the host holds the pins."""

    def _happened(self, event: Event) -> Said:
        _, name, *rest = event.topic.split("/")
        pin = self._by_device[name]
        value: object = rest == ["active"]
        if not rest:
            detail = json.loads(event.payload)["detail"]
            if detail["event"] != "set":
                return []
            value = detail["value"]
        return [self._state(pin, value)]

    async def _read(self, pin: v1_gpio.Pin, event: Event) -> Said:
        device = next((one for one in self._hardware.devices if one.name == pin.device), None)
        if device is None:
            why = self._hardware.faults.get(pin.device, "it is not open yet")
            return [self._failure(event, f"GPIO {pin.number} cannot be read: {why}")]
        try:
            value = await in_thread(f"value[{pin.device}]", lambda: device.device.value)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is the reason that is told
            return [self._failure(event, f"GPIO {pin.number} cannot be read: {error}")]
        return [self._state(pin, value)]

    def _state(self, pin: v1_gpio.Pin, value: object) -> tuple[str, bytes]:
        return v1_gpio.state_topic(self._thing, pin.number), str(pin.level(value)).encode()

    def _failure(self, event: Event, description: str) -> tuple[str, bytes]:
        return v1_gpio.failure(self._thing, event.topic, description)


class SerialConnector:
    """The Serial Stream connector. The port is opened by the first request, and again after an error.

    A read that gets some bytes within the timeout returns these; one that gets none fails. In a simulation what is
    written can be read.
    """

    target = v1_serial.TARGET

    def __init__(self, given: Mapping[str, object], thing: str, *, simulate: bool = False) -> None:
        self.parameters = v1_serial.read_parameters(given)
        self._thing = thing
        self._simulate = simulate
        self._turn = threading.Lock()
        self._port: Any = None

    async def answer(self, event: Event) -> Said:
        """Answer a request."""
        _, _, verb, *path = event.topic.split("/")
        here = self.parameters.port.strip("/")
        asked_id = v1_serial.request_id(event.payload)
        try:
            if "/".join(path) != here:
                raise ConfigError(f"the port of this connector is {self.parameters.port}")
            asked = v1_serial.request(verb, event.payload)
            data = await in_thread(f"serial[{here}]", partial(self._do, asked))
        except EdgeError as error:
            return [self._status(str(error), asked_id)]
        if verb == "write":
            return [self._status("", asked_id)]
        return [self._response(data, asked.type, asked_id), self._status("", asked_id)]

    async def read(self, polling: v1_serial.Polling) -> Said:
        """Read as polling does: nothing is said when nothing came."""
        asked = v1_serial.Request("", polling.type, length=polling.length)
        try:
            data = await in_thread("serial.poll", partial(self._do, asked, polled=True))
        except EdgeError as error:
            return [self._status(str(error), "")]
        return [self._response(data, polling.type, "")] if data else []

    def close(self) -> None:
        """Close the port."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _do(self, asked: v1_serial.Request, *, polled: bool = False) -> bytes:
        from edge_runtime.devices.serial_port import exchange  # noqa: PLC0415 - only when there is a connector

        with self._turn:  # polling and requests
            if self._port is None:
                self._port = self._open()
            try:
                data = exchange(self._port, asked.data, asked.length)
            except EdgeError:
                self.close()
                raise
        if asked.length and not data and not polled:
            raise ConfigError(f"nothing came within {self.parameters.timeout_s} s")
        return data

    def _open(self) -> Any:  # noqa: ANN401 - an object of pyserial, which is imported late
        from edge_runtime.devices.serial_port import Loop, Settings  # noqa: PLC0415 - as above

        given = self.parameters
        if self._simulate:
            return Loop()
        settings = Settings(given.port, given.baud_rate, given.parity, rtscts=given.rtscts, xonxoff=given.xonxoff)
        return settings.open(timeout_s=given.timeout_s)

    def _status(self, error: str, asked: str) -> tuple[str, bytes]:
        return v1_serial.topic(self._thing, "status", self.parameters.port), v1_serial.status(error, asked)

    def _response(self, data: bytes, kind: str, asked: str) -> tuple[str, bytes]:
        topic = v1_serial.topic(self._thing, "read_response", self.parameters.port)
        return topic, v1_serial.response(data, kind, asked)


class ModbusConnector:
    """The Modbus-RTU Protocol Adapter. It shares its line with devices of the driver `modbus`."""

    target = v1_modbus.TARGET

    def __init__(self, given: Mapping[str, object], *, simulate: bool = False) -> None:
        self._parameters = v1_modbus.read_parameters(given)
        self._simulate = simulate
        self._line: Line | None = None

    async def answer(self, event: Event) -> Said:
        """Answer a request."""
        asked = v1_modbus.request(event.payload)
        if asked.error or asked.known is None:
            return [(v1_modbus.RESPONSE, v1_modbus.no_response(asked, asked.error))]
        return [(v1_modbus.RESPONSE, await in_thread("connector.modbus", partial(self._ask, asked)))]

    def close(self) -> None:
        """Let go of the line."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _ask(self, asked: v1_modbus.Request) -> bytes:
        from edge_runtime.devices import modbus_bus  # noqa: PLC0415 - only when there is a connector

        given = self._parameters
        try:
            if self._line is None:
                settings = modbus_bus.Settings(port=given.port, baud_rate=given.baud_rate, parity=given.parity)
                self._line = modbus_bus.MemoryLine() if self._simulate else modbus_bus.ModbusLine(settings)
            method: str = asked.known.method if asked.known else ""
            device: Any = asked.device
            answer = self._line.ask(method, device, **(asked.given or {}))
        except EdgeError as error:
            return v1_modbus.no_response(asked, str(error))
        if answer.isError():
            return v1_modbus.exception(asked, answer.exception_code)
        return v1_modbus.success(asked, vars(answer))
