"""The Modbus driver against pymodbus's server, by TCP and on a serial line."""

from __future__ import annotations

from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, apply, close, open_devices
from edge_runtime.devices.simulation import Simulated
from edge_runtime.devices.wiring import board_for, check
from edge_runtime.errors import ConfigError, DeviceError, EdgeError
from tests.devices import modbus_server


def opened(simulate: bool = False, **options: Any) -> OpenDevice:  # noqa: ANN401, FBT001, FBT002 - keys of a device
    (device,) = open_devices([Device("meter", "modbus", options)], simulate=simulate)
    return device


def test_all_tables_by_tcp() -> None:
    with modbus_server.tcp(1) as server:
        at = {"host": "127.0.0.1", "port": server.port}
        for options, value in (
            ({"address": 5}, 105),
            ({"address": 5, "table": "input", "scale": 1}, None),
            ({"address": 5, "count": 3, "table": "input"}, [105, 106, 107]),
            ({"address": 2, "type": "u32"}, 102 * 65536 + 103),
            ({"address": 3, "table": "discrete"}, 1),
            ({"address": 2, "count": 3, "table": "discrete"}, [0, 1, 0]),
            ({"address": 0, "table": "coil"}, 0),
        ):
            if value is None:
                with pytest.raises(ConfigError, match="takes no argument 'scale'"):
                    opened(**at, **options)
                continue
            device = opened(**at, **options)
            assert device.device.value == value
            close([device])


def test_several_registers_are_one_reading_and_neighbours_one_request() -> None:
    with modbus_server.tcp(1) as server:
        registers = {
            "voltage": {"address": 0, "scale": 0.1, "offset": 220},
            "current": {"address": 1, "type": "u32", "word_order": "little"},
            "state": {"address": 9},
        }
        device = opened(host="127.0.0.1", port=server.port, registers=registers)
        assert device.device.value == {"voltage": 230.0, "current": 102 * 65536 + 101, "state": 109}
        assert server.requests == [3, 3]
        assert device.device.wiring == f"127.0.0.1:{server.port} device 1 holding 0,1,9"
        with pytest.raises(ConfigError, match="a device with several registers cannot be written"):
            apply(device, b"1")
        close([device])


def test_coils_and_holding_registers_are_outputs() -> None:
    with modbus_server.tcp(1) as server:
        at = {"host": "127.0.0.1", "port": server.port}
        coil = opened(**at, table="coil", address=3)
        assert coil.is_output
        assert [apply(coil, word) for word in (b"on", b"off", b"toggle", b"toggle", b"true", b"0")] == [
            1,
            0,
            1,
            0,
            1,
            0,
        ]
        coils = opened(**at, table="coil", address=4, count=3)
        assert apply(coils, b"[1, 0, 1]") == [1, 0, 1]
        assert apply(coils, b"off") == [0, 0, 0]
        level = opened(**at, address=6, type="s16")
        assert apply(level, b"-7") == -7
        wide = opened(**at, address=8, type="f32", word_order="little")
        assert apply(wide, b'{"value": 0.5}') == 0.5
        assert {5, 6, 15, 16} <= set(server.requests)
        fixed = opened(**at, table="input", address=1)
        for device, payload, message in (
            (level, b"70000", "70000 does not fit into s16"),
            (level, b"1.5", "1.5 is no whole number of 1"),
            (coil, b"2", "2 is not 0 or 1"),
            (fixed, b"1", "the table input cannot be written"),
        ):
            with pytest.raises(ConfigError, match=message):
                apply(device, payload)
        close([coil, coils, level, wide, fixed])


def test_on_a_serial_line() -> None:
    with modbus_server.serial(1, 2) as (server, port):
        specs = [Device(f"m{n}", "modbus", {"port": port, "device_id": n, "address": 7}) for n in (1, 2)]
        one, two = open_devices(specs)
        try:
            assert (one.device.value, two.device.value) == (107, 207)
            assert apply(two, b"5") == 5
            assert (one.device.value, two.device.value) == (107, 5)
            assert server.requests == [3, 3, 3, 6, 3, 3, 3]
        finally:
            close([one, two])


def test_an_address_that_the_device_does_not_have() -> None:
    with modbus_server.tcp(1) as server:
        device = opened(host="127.0.0.1", port=server.port, address=500)
        with pytest.raises(DeviceError, match="device 1 says: illegal data address: it has no such register"):
            _ = device.device.value
        with pytest.raises(EdgeError, match="illegal data address"):
            apply(device, b"1")
        close([device])


def test_simulated_it_remembers_what_it_is_told() -> None:
    device = opened(
        simulate=True, port="/dev/ttyUSB0", registers={"a": {"address": 0, "scale": 0.1}, "b": {"address": 5}}
    )
    assert device.device.value == {"a": 0.0, "b": 0}
    hand = Simulated([device])
    hand.set("meter", {"a": 23.5})
    assert device.device.value == {"a": 23.5, "b": 0}
    for wrong, message in ((5, "5 is no mapping"), ({"c": 1}, "there is no register 'c'"), ({"b": -1}, "does not fit")):
        with pytest.raises(ConfigError, match=message):
            hand.set("meter", wrong)
    relay = opened(simulate=True, host="plc", table="coil", address=1)
    assert [apply(relay, b"on"), apply(relay, b"toggle"), apply(relay, b"1")] == [1, 0, 1]
    pair = opened(simulate=True, host="plc", table="holding", address=1, count=2)
    assert apply(pair, b"[3, 4]") == [3, 4]
    close([device, relay, pair])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "plc"}, "exactly one of address and registers says what is read"),
        ({"host": "plc", "address": 0, "registers": {}}, "exactly one of address and registers says what is read"),
        ({"host": "plc", "registers": {}}, "registers is empty"),
        (
            {"host": "plc", "registers": {"a": {"address": 0, "adress": 1}}},
            "registers.a.adress is not known; did you mean",
        ),
        ({"host": "plc", "registers": {"a": {"type": "u16"}}}, "registers.a.address is missing"),
        ({"host": "plc", "registers": {"a": {"address": 0, "scale": "x"}}}, "registers.a.scale 'x' is no number"),
        ({"host": "plc", "registers": {"a": {"address": 40001, "type": "u8"}}}, "registers.a.type 'u8' is not known"),
        ({"host": "plc", "address": 65535, "type": "u32"}, "1 of type u32 from address 65535 on go beyond 65535"),
        ({"host": "plc", "address": 0, "count": 126}, "count: one request reads 125 registers at most, not 126"),
        ({"host": "plc", "address": 0, "table": "coils"}, "table 'coils' is not known; did you mean 'coil'?"),
        (
            {"host": "plc", "address": 0, "table": "coil", "type": "f32"},
            "type is for registers; a coil or discrete input",
        ),
        ({"address": 0}, "it has neither a host nor a serial port"),
        ({"port": "/dev/ttyUSB0", "address": 0, "device_id": 248}, "device_id 248 is no whole number from 0 to 247"),
        ({"host": "plc", "address": 0, "timeout": "5ms"}, "timeout '5ms' is not from 0.01 to 60 s"),
    ],
)
def test_what_is_wrong_is_said_when_the_file_is_read_and_when_it_is_opened(
    options: dict[str, Any], message: str
) -> None:
    found = check([Device("meter", "modbus", options)], board_for("pi-4"))
    assert [problem.text.startswith(message) for problem in found.problems] == [True]
    for simulate in (True, False):
        with pytest.raises(ConfigError) as error:
            opened(simulate, **options)
        assert str(error.value).startswith(f"device 'meter' (modbus): {message}")


def test_two_devices_for_one_register_are_one_too_many() -> None:
    same = {"port": "/dev/ttyUSB0", "address": 4}
    specs = [
        Device("a", "modbus", same),
        Device("b", "modbus", {**same, "device_id": 2}),
        Device("c", "modbus", same),
    ]
    assert [problem.device for problem in check(specs, board_for("pi-4")).problems] == ["c"]
