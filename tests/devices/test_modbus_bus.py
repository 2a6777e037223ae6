"""Lines shared by several devices, against pymodbus's server."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from edge_runtime.devices import modbus_bus
from edge_runtime.devices.modbus_bus import ModbusLine, Settings, good
from edge_runtime.errors import ConfigError, DeviceError
from tests.devices import modbus_server
from tests.devices.lines import Plug


def test_devices_on_a_line_share_a_connection_and_take_turns() -> None:
    with modbus_server.tcp(1, 2) as server:
        settings = Settings("127.0.0.1", server.port)
        one, two = ModbusLine(settings), ModbusLine(settings)
        found: dict[int, list[list[int]]] = {1: [], 2: []}

        def read(line: ModbusLine, number: int) -> None:
            for _ in range(20):
                response = line.ask("read_holding_registers", number, address=3, count=2)
                found[number].append(good(response, "x", number).registers)

        threads = [threading.Thread(target=read, args=pair) for pair in ((one, 1), (two, 2))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert found == {1: [[103, 104]] * 20, 2: [[203, 204]] * 20}
        assert len(modbus_bus._shared) == 1
        one.close()
        one.close()
        with pytest.raises(DeviceError, match="it is closed"):
            one.ask("read_coils", 1, address=0)
        assert good(two.ask("read_coils", 2, address=0, count=1), "x", 2).bits[0] is False
        two.close()
        assert modbus_bus._shared == {}


def test_a_server_that_ends_is_a_fault_and_is_found_again() -> None:
    with modbus_server.tcp(1) as server:
        port = server.port
        line = ModbusLine(Settings("127.0.0.1", port, timeout_s=0.2, retries=0))
        assert not line.ask("read_coils", 1, address=0).isError()
    try:
        with pytest.raises(DeviceError):
            line.ask("read_coils", 1, address=0)
        with pytest.raises(DeviceError, match=f"^127.0.0.1:{port} cannot be reached$"):
            line.ask("read_coils", 1, address=0)
        with modbus_server.tcp(1, port=port):
            assert not line.ask("read_coils", 1, address=0).isError()
    finally:
        line.close()


def test_one_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        line = ModbusLine(Settings("127.0.0.1", port, timeout_s=0.1, retries=0))
        with pytest.raises(DeviceError, match=f"^127.0.0.1:{port}: no answer from device 7 within 0.1 s$") as error:
            line.ask("read_coils", 7, address=0)
        assert "A and B may be swapped" in error.value.hint
        line.close()


def test_a_serial_line_on_which_nobody_answers_and_that_is_pulled_out(tmp_path: Path) -> None:
    plug = Plug(tmp_path)
    line = ModbusLine(Settings(port=plug.port, timeout_s=0.1, retries=0))
    for _ in range(2):
        with pytest.raises(DeviceError, match=f"^{plug.port}: no answer from device 3 within 0.1 s$"):
            line.ask("read_coils", 3, address=0)
    plug.unplug()
    with pytest.raises(DeviceError, match=f"^{plug.port} is not there$"):
        line.ask("read_coils", 3, address=0)
    line.close()


def test_an_exception_is_told_by_its_name() -> None:
    with modbus_server.tcp(1) as server:
        line = ModbusLine(Settings("127.0.0.1", server.port))
        response = line.ask("read_holding_registers", 1, address=500, count=1)
        line.close()
    with pytest.raises(DeviceError, match=r"^meter: device 1 says: illegal data address: it has no such register"):
        good(response, "meter", 1)


def test_two_devices_that_say_different_things_of_one_line() -> None:
    line = ModbusLine(Settings(port="/dev/ttyUSB0", parity="even"))
    with pytest.raises(ConfigError) as error:
        ModbusLine(Settings(port="/dev/ttyUSB0", baud_rate=19200))
    assert str(error.value) == (
        "two devices on the line /dev/ttyUSB0 do not say the same of it: "
        "baud_rate 9600 and 19200, parity 'even' and 'none'"
    )
    line.close()


def test_a_port_that_is_missing_says_what_to_do(tmp_path: Path) -> None:
    line = ModbusLine(Settings(port=str(tmp_path / "ttyUSB0")))
    with pytest.raises(DeviceError, match="ttyUSB0 is not there"):
        line.ask("read_coils", 1, address=0)
    line.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "it has neither a host nor a serial port"),
        ({"host": "plc", "port": "/dev/ttyUSB0"}, "port '/dev/ttyUSB0' is no whole number from 1 to 65535"),
        ({"port": "ttyUSB0"}, "port 'ttyUSB0' is no device file"),
        ({"port": "/dev/ttyUSB0", "parity": "E"}, "parity 'E' is not known"),
        ({"host": "plc", "timeout_s": 0}, "timeout 0 is not from 0.01 to 60 s"),
        ({"host": "plc", "retries": 11}, "retries 11 is no whole number from 0 to 10"),
    ],
)
def test_settings_that_reach_nobody(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings(**settings)  # type: ignore[arg-type]  # that is what is tested
    assert str(error.value) == message
