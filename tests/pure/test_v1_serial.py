"""The Serial Stream connector of V1: parameters, requests, responses."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.pure import v1_serial
from edge_runtime.pure.v1_serial import Parameters, Polling, Request

GIVEN = {
    "BaudRate": "9600",
    "Timeout": "25",
    "SerialPort": "/dev/serial1",
    "SerialPort-ResourceId": "my-serial-port-resource",
    "PollingRead": "true",
    "PollingReadLength": "30",
    "PollingReadInterval": "31",
    "PollingReadType": "hex",
}


def test_parameters() -> None:
    assert v1_serial.read_parameters(GIVEN) == Parameters(
        "/dev/serial1", 9600, 25, "none", rtscts=False, xonxoff=False, polling=Polling(31, 30, "hex")
    )
    few = {"BaudRate": 110, "Timeout": 1, "SerialPort": "/dev/ttyS0", "RtsCts": True, "XonXoff": "TRUE", "Parity": "e"}
    assert v1_serial.read_parameters(few) == Parameters(
        "/dev/ttyS0", 110, 1, "even", rtscts=True, xonxoff=True, polling=None
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"BaudRate": "9601"}, "BaudRate 9601 is not one of 110, 300, "),
        ({"Timeout": "60"}, "Timeout '60' is no whole number from 1 to 59"),
        ({"SerialPort": ""}, "the parameter SerialPort is missing"),
        ({"PollingReadLength": "63995"}, "PollingReadLength '63995' is no whole number from 1 to 63994"),
        ({"PollingReadType": ""}, "the parameter PollingReadType is missing"),
        ({"PollingReadInterval": "1000"}, "PollingReadInterval '1000' is no whole number from 1 to 999"),
        ({"Parity": "X"}, "Parity 'X' is not one of n, e, o, s, m"),
        ({"Speed": "1"}, "there is no parameter 'Speed'"),
    ],
)
def test_wrong_parameters(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        v1_serial.read_parameters({**GIVEN, **change})
    assert str(error.value).startswith(message)


def test_requests() -> None:
    read = b'{"readLength": "30", "type": "ASCII", "id": "abc123"}'
    assert v1_serial.request("read", read) == Request("abc123", "ascii", length=30)
    assert v1_serial.request("write", b'{"data": "TEST", "type": "ascii"}') == Request("", "ascii", data=b"TEST")
    assert v1_serial.request("write", b'{"data": "AP8=", "type": "hex"}') == Request("", "hex", data=b"\x00\xff")


@pytest.mark.parametrize(
    ("verb", "payload", "message"),
    [
        ("read", b"{", "the request is no JSON: "),
        ("read", b"5", "the request is no JSON object"),
        ("read", b"[" * 20 + b"]" * 20, "the request is nested deeper than 15 levels"),
        ("read", b'{"type": "text"}', "type 'text' is not ascii or hex"),
        ("read", b'{"type": "hex"}', "the parameter readLength is missing"),
        ("read", b'{"type": "hex", "readLength": "63995"}', "readLength '63995' is no whole number from 1 to 63994"),
        ("write", b'{"type": "hex"}', "data is missing, or no text"),
        ("write", b'{"type": "hex", "data": "xyz"}', "data of type hex is no Base64: "),
        ("write", '{"type": "hex", "data": "é"}'.encode(), "data of type hex is no Base64: "),
        ("write", b'{"type": "ascii", "data": "\\ud800"}', "data is no text: "),
        ("write", b'{"type": "ascii", "data": "%s"}' % (b"x" * 128_001), "data has 128001 bytes; at most 128000"),
    ],
)
def test_wrong_requests(verb: str, payload: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        v1_serial.request(verb, payload)
    assert str(error.value).startswith(message)


_ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=9)
)
_KEYS = st.sampled_from(["type", "data", "readLength", "id"])


@given(st.sampled_from(["read", "write"]), st.dictionaries(_KEYS, _ANY | st.sampled_from(["ascii", "hex"])))
def test_whatever_comes_is_a_request_or_says_what_is_wrong(verb: str, data: dict[str, object]) -> None:
    payload = json.dumps(data).encode()
    with contextlib.suppress(ConfigError):
        assert v1_serial.request(verb, payload).id == v1_serial.request_id(payload)


def test_responses() -> None:
    assert json.loads(v1_serial.response(b"hi\xff", "ascii", "a")) == {"data": "hi\ufffd", "id": "a"}
    assert json.loads(v1_serial.response(b"\x00\xff", "hex")) == {"data": "AP8="}
    assert json.loads(v1_serial.status("", "a")) == {"response": {"status": "success"}, "id": "a"}
    assert json.loads(v1_serial.status("no")) == {"response": {"status": "fail", "error_message": "no"}}
    assert v1_serial.topic("pi-7", "status", "/dev/ttyS0") == "serial/pi-7/status/dev/ttyS0"
    assert [v1_serial.request_id(p) for p in (b'{"id": "a"}', b'{"id": 5}', b"{", b"[]")] == ["a", "", "", ""]
