"""The Modbus-RTU Protocol Adapter of AWS IoT Greengrass V1: its parameters, its topics, what it takes and tells.

Source: AWS IoT Greengrass V1 developer guide, "Modbus-RTU Protocol Adapter connector".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime.app import Rule
from edge_runtime.errors import ConfigError
from edge_runtime.pure import v1_parameters as parameters

TARGET = "connector/modbus"
KEYS = ("ModbusSerialPort", "ModbusSerialPort-ResourceId", "BaudRate", "Parity")
RESPONSE = "modbus/adapter/response"
_REQUEST = "modbus/adapter/request"
_PARITIES = {"": "none", "n": "none", "e": "even", "o": "odd"}
_BAUD_RATE = 19_200
_LAST_ADDRESS = 0xFFFF
_MOST_DEVICE = 247


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of request: its function code, what pymodbus calls it, and how its fields are called there."""

    name: str
    code: int
    method: str
    fields: Mapping[str, str]
    answer: tuple[str, ...]
    """What its response tells."""


_READ = {"address": "address", "count": "count"}
_WRITE = {"address": "address", "value": "value"}
_WRITES = {"address": "address", "values": "values"}
_READ_WRITE = {
    "read_address": "read_address",
    "read_count": "read_count",
    "write_address": "write_address",
    "write_registers": "values",
}
_OPERATIONS = (
    Operation("ReadCoilsRequest", 1, "read_coils", _READ, ("bits",)),
    Operation("ReadDiscreteInputsRequest", 2, "read_discrete_inputs", _READ, ("bits",)),
    Operation("ReadHoldingRegistersRequest", 3, "read_holding_registers", _READ, ("registers",)),
    Operation("ReadInputRegistersRequest", 4, "read_input_registers", _READ, ("registers",)),
    Operation("WriteSingleCoilRequest", 5, "write_coil", _WRITE, ("address", "value")),
    Operation("WriteSingleRegisterRequest", 6, "write_register", _WRITE, ("address", "value")),
    Operation("WriteMultipleCoilsRequest", 15, "write_coils", _WRITES, ("address", "count")),
    Operation("WriteMultipleRegistersRequest", 16, "write_registers", _WRITES, ("address", "count")),
    Operation(
        "MaskWriteRegisterRequest",
        22,
        "mask_write_register",
        {"address": "address", "and_mask": "and_mask", "or_mask": "or_mask"},
        ("and_mask", "or_mask"),
    ),
    Operation("ReadWriteMultipleRegistersRequest", 23, "readwrite_registers", _READ_WRITE, ("registers",)),
)
_BY_NAME = {one.name: one for one in _OPERATIONS} | {str(one.code): one for one in _OPERATIONS}
_LISTS = {"values", "write_registers"}
_COUNTS = {"count", "read_count"}
_COILS = frozenset({1, 2, 5, 15})
_MOST_COUNT = {1: 2000, 2: 2000, 15: 1968, 16: 123, 23: 121}
"""Modbus Application Protocol V1.1b3, section 6; 125 for what is not here."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How the line is opened. The speed of V1 was fixed; here it may be given."""

    port: str
    baud_rate: int
    parity: str


def read_parameters(given: Mapping[str, object]) -> Parameters:
    """Return the parameters. Raises: ConfigError that names the wrong one."""
    parameters.known(given, KEYS)
    parameters.needed(given, "ModbusSerialPort")
    return Parameters(
        parameters.port(given, "ModbusSerialPort"),
        parameters.whole(given, "BaudRate", 50, 4_000_000) or _BAUD_RATE,
        _PARITIES[parameters.word(given, "Parity", [name for name in _PARITIES if name])],
    )


def rules() -> tuple[Rule, ...]:
    """Return which events the connector takes."""
    return (Rule(_REQUEST, (TARGET,)),)


@dataclass(frozen=True, slots=True)
class Request:
    """A request: what of it is known even when it is malformed, and then why it is."""

    id: object
    device: object
    operation: object
    known: Operation | None = None
    given: Mapping[str, Any] | None = None
    """The arguments of pymodbus's method."""
    error: str = ""


def request(payload: bytes) -> Request:
    """Return what is asked for. What is wrong with it is in `error`."""
    try:
        whole = parameters.request(payload)
    except ConfigError as error:
        return Request(None, None, None, error=str(error))
    asked = whole.get("request") if isinstance(whole, dict) else None
    if not isinstance(whole, dict) or not isinstance(asked, dict):
        return Request(whole.get("id") if isinstance(whole, dict) else None, None, None, error="there is no request")
    seen = Request(whole.get("id"), asked.get("device"), asked.get("operation"))
    try:
        operation = _operation(seen.operation)
        _id(seen.id)
        _number("device", seen.device, 0, _MOST_DEVICE)
        given = {theirs: _field(operation, ours, asked) for ours, theirs in operation.fields.items()}
    except ConfigError as error:
        return Request(seen.id, seen.device, seen.operation, error=str(error))
    return Request(seen.id, seen.device, operation.name, operation, given)


def _id(given: object) -> None:
    if not isinstance(given, str):
        raise ConfigError(f"Invalid id field. Expected a text, got {given!r}")


def _operation(given: object) -> Operation:
    text = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""
    if re.fullmatch(r"0x[0-9a-f]{1,8}|[0-9]{1,8}", text, re.ASCII | re.IGNORECASE):
        text = str(int(text, 16 if text[1:2].lower() == "x" else 10))
    found = _BY_NAME.get(text)
    if found is None:
        raise ConfigError(f"Invalid operation field. Got {given!r}")
    return found


def _field(operation: Operation, name: str, asked: Mapping[str, object]) -> object:
    value = asked.get(name)
    if name == "count" and value is None and operation.code in (3, 4):
        value = asked.get("value")  # as the guide's example of ReadInputRegistersRequest has it
    most = _MOST_COUNT.get(operation.code, 125)
    coils = operation.code in _COILS
    if name in _LISTS:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise ConfigError(f"Invalid {name} field. Expected a list of 1 to {most} numbers, got {value!r}")
        return [_level(name, one) if coils else _number(name, one, 0, 0xFFFF) for one in value]
    if name in _COUNTS:
        return _number(name, value, 1, most if name == "count" else 125)
    if name == "value" and coils:
        return _level(name, value)
    return _number(name, value, 0, _LAST_ADDRESS)


def _number(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"Invalid {name} field. Expected a whole number, got {value!r}")
    if not least <= value <= most:
        raise ConfigError(f"Invalid {name} field. Expected {least} to {most}, got {value}")
    return value


def _level(name: str, value: object) -> bool:
    if value not in (0, 1):
        raise ConfigError(f"Invalid {name} field. Expected 0 or 1, got {value!r}")
    return bool(value)


def success(asked: Request, answer: Mapping[str, Any]) -> bytes:
    """Return the payload that tells what a device answered. `answer` has all that the response of pymodbus has."""
    operation, given = asked.known, asked.given or {}
    told: dict[str, object] = {"function_code": operation.code if operation else 0}
    for name in operation.answer if operation else ():
        if name == "bits":
            told[name] = [int(bit) for bit in answer["bits"][: given["count"]]]
        elif name == "registers":
            told[name] = list(answer["registers"])
        elif name == "count":
            told[name] = len(given["values"])
        else:
            told[name] = given[name]  # a response of a write is an echo
    return _response(asked, {"status": "success"}, told)


def exception(asked: Request, code: int) -> bytes:
    """Return the payload that tells that a device refused."""
    told = {"function_code": (asked.known.code if asked.known else 0) + 0x80, "exception_code": code}
    return _response(asked, {"status": "fail", "error_message": "Internal Error", "error": "Exception"}, told)


def no_response(asked: Request, error: str) -> bytes:
    """Return the payload that tells that nothing was sent, or nothing came back."""
    return _response(asked, {"status": "fail", "error_message": error, "error": "No Response"}, {"error": error})


def _response(asked: Request, how: Mapping[str, object], payload: Mapping[str, object]) -> bytes:
    told = {**how, "device": asked.device, "operation": asked.operation, "payload": payload}
    return json.dumps({"response": told, "id": asked.id}).encode()
