"""Connectors of Greengrass V1 in a running host, and against real lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App, Connector, LinkSpec, Rule
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.host.connectors import ModbusConnector, SerialConnector
from edge_runtime.model import Event
from edge_runtime.pure import v1_gpio, v1_modbus, v1_serial
from tests.devices import modbus_server
from tests.devices.lines import Plug
from tests.host.hosting import FREE, Site, app, site

GPIO = {"InputGpios": "5,6U,7D", "InputPollPeriod": 1, "OutputGpios": "8H,9,27L"}
SERIAL = {"BaudRate": "9600", "Timeout": "1", "SerialPort": "/dev/ttyS0"}
MODBUS = {"ModbusSerialPort": "/dev/ttyUSB0"}


def with_connector(folder: Path, name: str, given: Mapping[str, object]) -> App:
    """Return an app with one connector, all of whose topics go up."""
    rules = {"gpio": v1_gpio.rules(GPIO, "pi-7"), "serial": v1_serial.rules("pi-7"), "modbus": v1_modbus.rules()}[name]
    up = tuple(Rule(topic, ("uplink",)) for topic in ("gpio/+/+/state", "gpio/+/error", "serial/#", RESPONSES))
    return app(
        folder,
        devices=v1_gpio.devices(GPIO) if name == "gpio" else (),
        rules=rules,
        connectors=(Connector(name, given),),
        link=LinkSpec("memory", {}, replace(FREE, up=up)),
    )


RESPONSES = "modbus/adapter/response"


@asynccontextmanager
async def gpio(folder: Path) -> AsyncIterator[Site]:
    async with site(with_connector(folder, "gpio", GPIO), folder / "state") as it:
        await it.open(*(f"gpio-{number}" for number in (5, 6, 7, 8, 9, 27)))
        yield it


async def told(it: Site, count: int) -> list[tuple[str, Any]]:
    """Return what went up but for requests, as soon as there is so much."""

    def answers() -> list[tuple[str, bytes]]:
        return [(topic, payload) for topic, payload in it.arrived if topic.split("/")[2] not in ("read", "write")]

    await it.until(lambda: len(answers()) >= count)
    return [(topic, json.loads(payload)) for topic, payload in answers()]


async def test_reads_are_answered_with_the_level_of_the_pin(tmp_path: Path) -> None:
    async with gpio(tmp_path) as it:
        for number in (5, 6, 7, 8, 27):
            await it.emit(f"gpio/pi-7/{number}/read", b"")
        assert await told(it, 5) == [
            ("gpio/pi-7/5/state", 0),
            ("gpio/pi-7/6/state", 1),
            ("gpio/pi-7/7/state", 0),
            ("gpio/pi-7/8/state", 1),
            ("gpio/pi-7/27/state", 0),
        ]


async def test_writes_are_done_by_the_device_and_told(tmp_path: Path) -> None:
    async with gpio(tmp_path) as it:
        await it.emit("gpio/pi-7/27/write", b"1", b'"0"', b"1")
        assert await told(it, 3) == [("gpio/pi-7/27/state", level) for level in (1, 0, 1)]
        pump = next(device for device in it.host.hardware.devices if device.name == "gpio-27")
        assert pump.device.value == 1
        await it.emit("device/gpio-27/set", b"off")  # whoever sets the pin
        assert (await told(it, 4))[3:] == [("gpio/pi-7/27/state", 0)]


async def test_changes_of_inputs_are_told_as_levels(tmp_path: Path) -> None:
    async with gpio(tmp_path) as it:
        await it.host.store.work(lambda _: None)
        for device, value, number, level in (("gpio-5", 1, 5, 1), ("gpio-6", 1, 6, 0), ("gpio-6", 0, 6, 1)):
            count = len(await told(it, 0))
            it.host.hardware.simulate(device, value)
            assert (await told(it, count + 1))[count:] == [(f"gpio/pi-7/{number}/state", level)]


async def test_what_cannot_be_done_is_told_as_an_error(tmp_path: Path) -> None:
    async with gpio(tmp_path) as it:
        await it.emit("gpio/pi-7/5/write", b"1")
        await it.emit("gpio/pi-7/22/read", b"")
        await it.emit("gpio/pi-7/x/write", b"1")
        await it.emit("gpio/pi-7/8/write", b"2")
        answers = await told(it, 4)
        assert [topic for topic, _ in answers] == ["gpio/pi-7/error"] * 4
        assert answers[0][1] == {
            "topic": "gpio/pi-7/5/write",
            "error": "Invalid GPIO operation",
            "long_description": "GPIO 5 is configured as an INPUT GPIO. Write operations are not permitted.",
        }
        assert [answer["long_description"] for _, answer in answers[1:]] == [
            "GPIO 22 is not configured.",
            "GPIO x is not configured.",
            "GPIO 8 can be set to 0 or 1.",
        ]


async def test_a_serial_line_in_a_simulation_gives_back_what_is_written(tmp_path: Path) -> None:
    async with site(with_connector(tmp_path, "serial", SERIAL), tmp_path / "state") as it:
        await it.emit("serial/pi-7/write/dev/ttyS0", b'{"data": "TEST", "type": "ascii", "id": "w"}')
        await it.emit("serial/pi-7/read/dev/ttyS0", b'{"readLength": "30", "type": "hex", "id": "r"}')
        await it.emit("serial/pi-7/read/dev/ttyS0", b'{"readLength": "30", "type": "hex", "id": "none"}')
        await it.emit("serial/pi-7/read/dev/ttyS1", b'{"readLength": "30", "type": "hex", "id": "other"}')
        status = "serial/pi-7/status/dev/ttyS0"
        assert await told(it, 5) == [
            (status, {"response": {"status": "success"}, "id": "w"}),
            ("serial/pi-7/read_response/dev/ttyS0", {"data": "VEVTVA==", "id": "r"}),
            (status, {"response": {"status": "success"}, "id": "r"}),
            (status, {"response": {"status": "fail", "error_message": "nothing came within 1 s"}, "id": "none"}),
            (
                status,
                {
                    "response": {"status": "fail", "error_message": "the port of this connector is /dev/ttyS0"},
                    "id": "other",
                },
            ),
        ]


async def test_polling_tells_what_has_come(tmp_path: Path) -> None:
    polled = {"PollingRead": "true", "PollingReadLength": "4", "PollingReadInterval": "1", "PollingReadType": "ascii"}
    async with site(with_connector(tmp_path, "serial", {**SERIAL, **polled}), tmp_path / "state") as it:
        await it.emit("serial/pi-7/write/dev/ttyS0", b'{"data": "ABCDEF", "type": "ascii"}')
        answers = [answer for answer in await told(it, 3) if "read_response" in answer[0]]
        assert answers == [
            ("serial/pi-7/read_response/dev/ttyS0", {"data": "ABCD"}),
            ("serial/pi-7/read_response/dev/ttyS0", {"data": "EF"}),
        ]


async def test_modbus_in_a_simulation(tmp_path: Path) -> None:
    async with site(with_connector(tmp_path, "modbus", MODBUS), tmp_path / "state") as it:
        for number, request in enumerate((
            {"operation": "WriteMultipleRegistersRequest", "device": 1, "address": 1, "values": [20, 30]},
            {"operation": "MaskWriteRegisterRequest", "device": 1, "address": 1, "and_mask": 0xF0, "or_mask": 1},
            {"operation": "ReadHoldingRegistersRequest", "device": 1, "address": 1, "count": 2},
            {"operation": "ReadCoils", "device": 1},
        )):  # fmt: skip
            await it.emit("modbus/adapter/request", json.dumps({"request": request, "id": f"r{number}"}).encode())
        answers = [(answer["id"], answer["response"]) for _, answer in await told(it, 4)]
        assert [name for name, _ in answers] == ["r0", "r1", "r2", "r3"]
        assert answers[2][1]["payload"] == {"function_code": 3, "registers": [17, 30]}
        assert answers[3][1]["error_message"] == "Invalid operation field. Got 'ReadCoils'"


def event(topic: str, request: object) -> Event:
    return make_event(FakeClock(), topic, json.dumps(request).encode(), "cli")


async def test_a_real_serial_line(tmp_path: Path) -> None:
    plug = Plug(tmp_path)
    connector = SerialConnector({**SERIAL, "SerialPort": plug.port}, "pi-7")
    path = plug.port.strip("/")

    async def ask(verb: str, **request: str) -> list[dict[str, Any]]:
        answers = await connector.answer(event(f"serial/pi-7/{verb}/{path}", request))
        return [json.loads(payload) for _, payload in answers]

    try:
        assert await ask("write", data="AT", type="ascii") == [{"response": {"status": "success"}}]
        assert await asyncio.to_thread(plug.hear, 2) == b"AT"
        plug.say(b"OK!")
        read = await ask("read", readLength="2", type="ascii", id="a")
        assert read == [{"data": "OK", "id": "a"}, {"response": {"status": "success"}, "id": "a"}]
        assert (await ask("read", readLength="9", type="ascii"))[0] == {"data": "!"}
        plug.unplug()
        assert (await ask("read", readLength="9", type="ascii"))[0]["response"]["status"] == "fail"
        failed = (await ask("read", readLength="9", type="ascii"))[0]["response"]
        assert failed == {"status": "fail", "error_message": f"{plug.port} is not there"}
        plug.plug()
        assert await ask("write", data="AA==", type="hex") == [{"response": {"status": "success"}}]
        assert await asyncio.to_thread(plug.hear, 1) == b"\x00"
    finally:
        connector.close()
        connector.close()
        plug.unplug()


@pytest.mark.parametrize("device", [1, 2])
async def test_a_real_modbus_line(device: int) -> None:
    with modbus_server.serial(1, 2) as (server, port):
        connector = ModbusConnector({"ModbusSerialPort": port, "BaudRate": 9600})

        async def ask(**request: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a request
            whole = {"request": {"device": device, **request}, "id": "a"}
            ((topic, payload),) = await connector.answer(event("modbus/adapter/request", whole))
            assert topic == RESPONSES
            found: dict[str, Any] = json.loads(payload)["response"]
            return found

        try:
            base = 100 * device
            assert (await ask(operation=4, address=3, count=2))["payload"]["registers"] == [base + 3, base + 4]
            assert (await ask(operation=2, address=1, count=3))["payload"]["bits"] == [1, 0, 1]
            assert (await ask(operation=15, address=2, values=[1, 1]))["payload"]["count"] == 2
            assert (await ask(operation=1, address=1, count=4))["payload"]["bits"] == [0, 1, 1, 0]
            assert (await ask(operation=6, address=2, value=7))["payload"] == {
                "function_code": 6,
                "address": 2,
                "value": 7,
            }
            both = {"read_address": 2, "read_count": 2, "write_address": 3, "write_registers": [9]}
            assert (await ask(operation=23, **both))["payload"]["registers"] == [7, 9]
            assert (await ask(operation=22, address=3, and_mask=8, or_mask=1))["status"] == "success"
            assert (await ask(operation=3, address=3, count=1))["payload"]["registers"] == [9]
            refused = await ask(operation=3, address=300, count=1)
            assert (refused["status"], refused["error"]) == ("fail", "Exception")
            assert refused["payload"] == {"function_code": 131, "exception_code": 2}
            assert server.requests == [4, 2, 15, 1, 6, 23, 22, 3, 3]
        finally:
            connector.close()


async def test_a_modbus_line_that_is_not_there(tmp_path: Path) -> None:
    connector = ModbusConnector({"ModbusSerialPort": str(tmp_path / "ttyUSB0")})
    request = {"request": {"operation": 1, "device": 1, "address": 1, "count": 1}, "id": "a"}
    ((_, payload),) = await connector.answer(event("modbus/adapter/request", request))
    answer = json.loads(payload)["response"]
    assert answer["error"] == "No Response"
    assert answer["payload"]["error"].endswith("ttyUSB0 is not there")
    connector.close()
