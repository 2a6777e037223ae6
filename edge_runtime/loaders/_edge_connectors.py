"""Check the connectors of Greengrass V1 in `edge.yaml`, and say which devices and rules they come to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from edge_runtime.app import Connector, Device, Rule
from edge_runtime.errors import ConfigError
from edge_runtime.loaders._edge_checks import words
from edge_runtime.loaders._validate import unknown_key
from edge_runtime.loaders._yaml import Document, shown
from edge_runtime.pure import v1_gpio, v1_modbus, v1_serial

_CHECKS: Mapping[str, Callable[[Mapping[str, object]], object]] = {
    "gpio": v1_gpio.pins,
    "serial": v1_serial.read_parameters,
    "modbus": v1_modbus.read_parameters,
}


def connectors(section: object, document: Document) -> tuple[Connector, ...]:
    """Return the connectors that are right; note what is wrong with the others."""
    found = []
    for name, given in section.items() if isinstance(section, Mapping) else ():
        where = ("connectors", name)
        if name not in _CHECKS:
            document.add(where, unknown_key(str(name), _CHECKS))
        elif not isinstance(given, Mapping):
            document.add(where, f"{shown(given)} is no mapping of parameters; write {{Name: value}}")
        else:
            plain = {str(key): value for key, value in given.items() if value is not None}
            try:
                _CHECKS[name](plain)
            except ConfigError as error:
                document.add(where, words(error))
            else:
                found.append(Connector(name, plain))
    return tuple(found)


def devices(found: Collection[Connector], names: Collection[str], document: Document) -> tuple[Device, ...]:
    """Return the devices of all pins; note one that has the name of another."""
    made = tuple(device for one in found if one.name == "gpio" for device in v1_gpio.devices(one.parameters))
    for device in made:
        if device.name in names:
            text = f"its pin {device.options['pin']} is a device {device.name!r}, and there is another one of that name"
            document.add(("connectors", "gpio"), text)
    return made


def ports(found: Collection[Connector], others: Collection[Device], document: Document) -> None:
    """Note a serial port that somebody else has, too: nobody but devices of Modbus can share one."""
    users = {one.options["port"]: one for one in others if isinstance(one.options.get("port"), str)}
    for one in found:
        port = one.parameters.get("SerialPort", one.parameters.get("ModbusSerialPort"))
        user = users.get(port)
        if user is not None and not (one.name == user.driver == "modbus"):
            document.add(("connectors", one.name), f"the port {port} is that of {user.name!r}; take another one")
        if one.name == "modbus" and any(port == other.parameters.get("SerialPort") for other in found):
            document.add(("connectors", one.name), f"the port {port} is that of the connector serial; take another one")


def rules(found: Collection[Connector], thing: str) -> list[Rule]:
    """Return which events the connectors take."""
    made: list[Rule] = []
    for one in found:
        if one.name == "gpio":
            made += v1_gpio.rules(one.parameters, thing)
        elif one.name == "serial":
            made += v1_serial.rules(thing)
        else:
            made += v1_modbus.rules()
    return made
