"""The Serial Stream connector of AWS IoT Greengrass V1: its parameters, its topics, what it takes and tells.

Source: AWS IoT Greengrass V1 developer guide, "Serial Stream connector".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.app import Rule
from edge_runtime.errors import ConfigError
from edge_runtime.pure import v1_parameters as parameters

TARGET = "connector/serial"
KEYS = (
    "BaudRate",
    "Timeout",
    "SerialPort",
    "SerialPort-ResourceId",
    "PollingRead",
    "PollingReadLength",
    "PollingReadInterval",
    "PollingReadType",
    "RtsCts",
    "XonXoff",
    "Parity",
)
BAUD_RATES = (110, 300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 56000, 57600, 115200, 230400)
MOST_READ, MOST_WRITTEN = 63_994, 128_000
TYPES = ("ascii", "hex")
_PARITIES = {"": "none", "n": "none", "e": "even", "o": "odd", "s": "space", "m": "mark"}


@dataclass(frozen=True, slots=True)
class Polling:
    """What is read without being asked for."""

    every_s: int
    length: int
    type: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """How the port is opened and read."""

    port: str
    baud_rate: int
    timeout_s: int
    parity: str
    rtscts: bool
    xonxoff: bool
    polling: Polling | None


def read_parameters(given: Mapping[str, object]) -> Parameters:
    """Return the parameters. Raises: ConfigError that names the wrong one."""
    parameters.known(given, KEYS)
    parameters.needed(given, "BaudRate", "Timeout", "SerialPort")
    baud_rate = parameters.whole(given, "BaudRate", BAUD_RATES[0], BAUD_RATES[-1]) or 0
    if baud_rate not in BAUD_RATES:
        raise ConfigError(f"BaudRate {baud_rate} is not one of {', '.join(map(str, BAUD_RATES))}")
    polling = None
    if parameters.switch(given, "PollingRead"):
        parameters.needed(given, "PollingReadLength", "PollingReadInterval", "PollingReadType")
        polling = Polling(
            parameters.whole(given, "PollingReadInterval", 1, 999) or 0,
            parameters.whole(given, "PollingReadLength", 1, MOST_READ) or 0,
            parameters.word(given, "PollingReadType", TYPES),
        )
    return Parameters(
        port=parameters.port(given, "SerialPort"),
        baud_rate=baud_rate,
        timeout_s=parameters.whole(given, "Timeout", 1, 59) or 0,
        parity=_PARITIES[parameters.word(given, "Parity", [name for name in _PARITIES if name])],
        rtscts=bool(parameters.switch(given, "RtsCts")),
        xonxoff=bool(parameters.switch(given, "XonXoff")),
        polling=polling,
    )


def rules(thing: str) -> tuple[Rule, ...]:
    """Return which events the connector takes."""
    return tuple(Rule(f"serial/{thing}/{verb}/#", (TARGET,)) for verb in ("read", "write"))


def topic(thing: str, kind: str, port: str) -> str:
    """Return the topic of a kind (`status`, `read_response`) for a port."""
    return f"serial/{thing}/{kind}/{port.strip('/')}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: to read up to `length` bytes, or to write `data`."""

    id: str
    type: str
    length: int = 0
    data: bytes = b""


def request(verb: str, payload: bytes) -> Request:
    """Return what a request on a topic of `read` or `write` asks for. Raises: ConfigError that says what is wrong."""
    given = parameters.request(payload)
    if not isinstance(given, dict):
        raise ConfigError("the request is no JSON object")
    kind = given.get("type")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise ConfigError(f"type {kind!r} is not ascii or hex")
    asked, kind = _id(given), kind.lower()
    if verb == "read":
        parameters.needed(given, "readLength")
        return Request(asked, kind, length=parameters.whole(given, "readLength", 1, MOST_READ) or 0)
    return Request(asked, kind, data=_data(given.get("data"), kind))


def request_id(payload: bytes) -> str:
    """Return the id of a request, however malformed it is; empty when it has none."""
    try:
        return _id(parameters.request(payload))
    except ConfigError:
        return ""


def _id(given: object) -> str:
    found = given.get("id") if isinstance(given, dict) else None
    return found if isinstance(found, str) else ""


def _data(given: object, kind: str) -> bytes:
    if not isinstance(given, str) or not given:
        raise ConfigError("data is missing, or no text")
    if kind == "hex":
        try:
            data = base64.b64decode(given, validate=True)
        except ValueError as error:
            raise ConfigError(f"data of type hex is no Base64: {error}") from error
    else:
        try:
            data = given.encode()
        except UnicodeEncodeError as error:  # JSON can say half of a character
            raise ConfigError(f"data is no text: {error}") from error
    if len(data) > MOST_WRITTEN:
        raise ConfigError(f"data has {len(data)} bytes; at most {MOST_WRITTEN} are written at once")
    return data


def response(data: bytes, kind: str, asked: str = "") -> bytes:
    """Return the payload that tells what was read; Base64 for `hex`. What is no text is replaced in `ascii`."""
    text = base64.b64encode(data).decode() if kind == "hex" else data.decode(errors="replace")
    return json.dumps({"data": text} | ({"id": asked} if asked else {})).encode()


def status(error: str, asked: str = "") -> bytes:
    """Return the payload that tells how a request went; `error` is empty when it went well."""
    how = {"status": "fail", "error_message": error} if error else {"status": "success"}
    return json.dumps({"response": how} | ({"id": asked} if asked else {})).encode()
