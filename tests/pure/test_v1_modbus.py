"""The Modbus adapter of V1: parameters, requests, responses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.pure import v1_modbus
from edge_runtime.pure.v1_modbus import Parameters


def asked(**request: Any) -> bytes:  # noqa: ANN401 - fields of a request
    return json.dumps({"request": {"device": 1, "address": 1, **request}, "id": "TestRequest"}).encode()


def test_parameters() -> None:
    given = {"ModbusSerialPort-ResourceId": "x", "ModbusSerialPort": "/dev/ttyUSB0"}
    assert v1_modbus.read_parameters(given) == Parameters("/dev/ttyUSB0", 19200, "none")
    given = {"ModbusSerialPort": "/dev/ttyUSB0", "BaudRate": "9600", "Parity": "E"}
    assert v1_modbus.read_parameters(given) == Parameters("/dev/ttyUSB0", 9600, "even")
    for wrong, message in (
        ({}, "the parameter ModbusSerialPort is missing"),
        ({"ModbusSerialPort": "ttyUSB0"}, "ModbusSerialPort 'ttyUSB0' is no device file"),
        ({"ModbusSerialPort": "/dev/x", "Port": 1}, "there is no parameter 'Port'"),
    ):
        with pytest.raises(ConfigError) as error:
            v1_modbus.read_parameters(wrong)
        assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("request_", "answer", "payload"),
    [
        (asked(operation="ReadCoilsRequest", count=1), {"bits": [True, False]}, {"function_code": 1, "bits": [1]}),
        (asked(operation=1, count=1), {"bits": [1] * 8}, {"function_code": 1, "bits": [1]}),
        (asked(operation="0x02", count=1), {"bits": [0] * 8}, {"function_code": 2, "bits": [0]}),
        (asked(operation="02", count=1), {"bits": [1] * 8}, {"function_code": 2, "bits": [1]}),
        (
            asked(operation="ReadHoldingRegistersRequest", count=2),
            {"registers": [20, 30]},
            {"function_code": 3, "registers": [20, 30]},
        ),
        (
            asked(operation="ReadInputRegistersRequest", value=1),
            {"registers": [7]},
            {"function_code": 4, "registers": [7]},
        ),
        (
            asked(operation="WriteSingleCoilRequest", value=1),
            {},
            {"function_code": 5, "address": 1, "value": True},
        ),
        (
            asked(operation="WriteSingleRegisterRequest", value=12),
            {},
            {"function_code": 6, "address": 1, "value": 12},
        ),
        (
            asked(operation="WriteMultipleCoilsRequest", values=[1, 0, 0, 1]),
            {},
            {"function_code": 15, "address": 1, "count": 4},
        ),
        (
            asked(operation="WriteMultipleRegistersRequest", values=[20, 30, 10]),
            {},
            {"function_code": 16, "address": 1, "count": 3},
        ),
        (
            asked(operation="MaskWriteRegisterRequest", and_mask=0xAF, or_mask=1),
            {},
            {"function_code": 22, "and_mask": 0xAF, "or_mask": 1},
        ),
        (
            asked(
                operation="ReadWriteMultipleRegistersRequest",
                read_address=1,
                read_count=2,
                write_address=3,
                write_registers=[20, 30, 40],
            ),
            {"registers": [10, 20]},
            {"function_code": 23, "registers": [10, 20]},
        ),
    ],
)
def test_every_operation(request_: bytes, answer: dict[str, object], payload: dict[str, object]) -> None:
    found = v1_modbus.request(request_)
    assert found.error == ""
    told = json.loads(v1_modbus.success(found, answer))
    assert told["id"] == "TestRequest"
    assert told["response"]["payload"] == payload
    assert told["response"]["status"] == "success"
    assert told["response"]["device"] == 1
    assert told["response"]["operation"].endswith("Request")


def test_the_ends_of_what_may_be_asked_for() -> None:
    found = v1_modbus.request(asked(operation=1, device=247, address=65535, count=2000))
    assert (found.error, found.given) == ("", {"address": 65535, "count": 2000})


def test_an_exception_and_no_response() -> None:
    found = v1_modbus.request(asked(operation="ReadCoilsRequest", count=1))
    assert json.loads(v1_modbus.exception(found, 2)) == {
        "response": {
            "status": "fail",
            "error_message": "Internal Error",
            "error": "Exception",
            "device": 1,
            "operation": "ReadCoilsRequest",
            "payload": {"function_code": 129, "exception_code": 2},
        },
        "id": "TestRequest",
    }
    assert json.loads(v1_modbus.no_response(found, "why")) == {
        "response": {
            "status": "fail",
            "error_message": "why",
            "error": "No Response",
            "device": 1,
            "operation": "ReadCoilsRequest",
            "payload": {"error": "why"},
        },
        "id": "TestRequest",
    }


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"{", "the request is no JSON: "),
        (b"[]", "there is no request"),
        (asked(operation=1, count=json.loads("[" * 20 + "]" * 20)), "the request is nested deeper than 15 levels"),
        (b'{"id": "a"}', "there is no request"),
        (asked(operation="ReadCoils"), "Invalid operation field. Got 'ReadCoils'"),
        (asked(operation=99), "Invalid operation field. Got 99"),
        (asked(operation="0x1g"), "Invalid operation field. Got '0x1g'"),
        (asked(operation="1" * 9999), "Invalid operation field. Got '111"),
        (asked(operation="0x" + "1" * 9999), "Invalid operation field. Got '0x111"),
        (asked(operation=True), "Invalid operation field. Got True"),
        (asked(operation="ReadCoilsRequest", count=1, device=248), "Invalid device field. Expected 0 to 247, got 248"),
        (asked(operation="ReadCoilsRequest", count=1, address="1"), "Invalid address field. Expected a whole number"),
        (asked(operation="ReadCoilsRequest"), "Invalid count field. Expected a whole number, got None"),
        (asked(operation="ReadCoilsRequest", count=2001), "Invalid count field. Expected 1 to 2000, got 2001"),
        (asked(operation=16, values=[]), "Invalid values field. Expected a list of 1 to 123 numbers, got []"),
        (asked(operation=16, values=[65536]), "Invalid values field. Expected 0 to 65535, got 65536"),
        (asked(operation=5, value=2), "Invalid value field. Expected 0 or 1, got 2"),
        (b'{"request": {"operation": 1, "device": 1, "address": 1, "count": 1}}', "Invalid id field. Expected a text"),
    ],
)
def test_malformed_requests_are_not_sent(payload: bytes, error: str) -> None:
    found = v1_modbus.request(payload)
    assert found.error.startswith(error)
    assert found.known is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["request", "operation", "device", "address", "count", "id"]), inner)
        ),
        max_leaves=10,
    )
)
def test_whatever_comes_is_answered(data: object) -> None:
    found = v1_modbus.request(json.dumps(data).encode())
    assert (found.known is None) == bool(found.error)
    json.loads(v1_modbus.no_response(found, found.error))
