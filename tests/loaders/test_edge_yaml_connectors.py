"""`edge.yaml`: connectors of Greengrass V1."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import Connector, Rule
from edge_runtime.loaders._codec import from_json, to_json
from tests.loaders.appfile import load, wrong

ALL = """\
thing: t
devices:
  lamp: {driver: LED, pin: 22}
connectors:
  gpio: {InputGpios: "5,6U", InputPollPeriod: 50, OutputGpios: "8H", GpioMem-ResourceId: }
  serial: {BaudRate: "9600", Timeout: "5", SerialPort: /dev/ttyUSB1}
  modbus: {ModbusSerialPort: /dev/ttyUSB0}
"""


def test_connectors_are_devices_and_rules(folder: Path) -> None:
    app = load(folder, ALL)
    assert app.connectors == (
        Connector("gpio", {"InputGpios": "5,6U", "InputPollPeriod": 50, "OutputGpios": "8H"}),
        Connector("serial", {"BaudRate": "9600", "Timeout": "5", "SerialPort": "/dev/ttyUSB1"}),
        Connector("modbus", {"ModbusSerialPort": "/dev/ttyUSB0"}),
    )
    assert [device.name for device in app.devices] == ["lamp", "gpio-5", "gpio-6", "gpio-8"]
    for rule in (
        Rule("gpio/t/+/write", ("connector/gpio",)),
        Rule("device/gpio-8/set", ("device/gpio-8",)),
        Rule("serial/t/read/#", ("connector/serial",)),
        Rule("modbus/adapter/request", ("connector/modbus",)),
    ):
        assert rule in app.rules
    assert from_json(to_json(app)) == app


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{gpio: {InputGpios: "5;6"}}', "connectors.gpio: InputGpios '5;6' is no list of pins; write it as in"),
        ('{gpio: {InputGpios: "22"}}', "GPIO22"),
        ("{gpio: 5}", "connectors.gpio: 5 is no mapping of parameters; write {Name: value}"),
        ("{gipo: {}}", "connectors.gipo: unknown key; did you mean 'gpio'?"),
        ("{modbus: {}}", "connectors.modbus: the parameter ModbusSerialPort is missing"),
        ("{serial: {BaudRate: 9600}}", "connectors.serial: the parameter Timeout is missing"),
        ("[gpio]", "connectors: "),
    ],
)
def test_what_is_wrong_is_said(folder: Path, written: str, said: str) -> None:
    text = f"thing: t\ndevices: {{lamp: {{driver: LED, pin: 22}}}}\nconnectors: {written}\n"
    found = wrong(folder, text)
    assert any(said in line for line in found), found


def test_a_device_with_the_name_of_a_pin(folder: Path) -> None:
    text = 'thing: t\ndevices: {gpio-5: {driver: LED, pin: 22}}\nconnectors: {gpio: {InputGpios: "5"}}\n'
    assert any(
        "its pin 5 is a device 'gpio-5', and there is another one of that name" in w for w in wrong(folder, text)
    )


def test_a_port_has_one_user_unless_all_speak_modbus(folder: Path) -> None:
    text = """\
thing: t
devices:
  meter: {driver: modbus, port: /dev/ttyUSB0, address: 0, every: 10s, parity: none}
  scale: {driver: serial_line, port: /dev/ttyUSB1}
connectors:
  modbus: {ModbusSerialPort: /dev/ttyUSB0}
"""
    assert len(load(folder, text).connectors) == 1
    serial = '  serial: {BaudRate: "9600", Timeout: "5", SerialPort: %s}\n'
    assert wrong(folder, text + serial % "/dev/ttyUSB1") == [
        "edge.yaml:7: connectors.serial: the port /dev/ttyUSB1 is that of 'scale'; take another one"
    ]
    assert wrong(folder, text + serial % "/dev/ttyUSB0") == [
        "edge.yaml:6: connectors.modbus: the port /dev/ttyUSB0 is that of the connector serial; take another one",
        "edge.yaml:7: connectors.serial: the port /dev/ttyUSB0 is that of 'meter'; take another one",
    ]
