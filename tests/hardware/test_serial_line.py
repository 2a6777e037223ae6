"""A serial line over a pseudo-terminal, and in simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, apply, close, open_devices
from edge_runtime.devices.simulation import Simulated
from edge_runtime.devices.wiring import board_for, check
from edge_runtime.errors import ConfigError
from tests.devices.lines import Heard, Plug


def opened(simulate: bool = False, **options: Any) -> OpenDevice:  # noqa: ANN401, FBT001, FBT002 - keys of a device
    (device,) = open_devices([Device("scale", "serial_line", options)], simulate=simulate)
    return device


def test_readings_come_in_and_commands_go_out(tmp_path: Path) -> None:
    plug = Plug(tmp_path)
    device = opened(port=plug.port, format="regex", pattern=r"W=(?P<weight>[0-9.]+)kg", checksum="xor")
    try:
        assert (device.has_readings, device.is_output, device.has_events) == (True, True, False)
        heard = Heard()
        device.device.when_read = heard
        plug.say(b"W=72.5kg*78\r\nW=72.5kg*79\r\nnonsense*01\n")
        told = [heard.next() for _ in range(3)]
        assert told[0] == {"weight": 72.5}
        assert "wrong checksum '79' instead of '78' in 'W=72.5kg*79' (bad frame 1" in str(told[1])
        assert "'nonsense' does not match 'W=(?P<weight>[0-9.]+)kg' (bad frame 2" in str(told[2])
        assert device.device.value == {"weight": 72.5}
        assert apply(device, b'"on"') == "on"
        assert apply(device, b'{"value": "TARE"}') == "TARE"
        assert plug.hear(14) == b"on*01\nTARE*02\n"
        with pytest.raises(ConfigError, match=r"'a\\nb' cannot be sent: there is a terminator in the middle of it"):
            apply(device, b'"a\\nb"')
    finally:
        close([device])
        plug.unplug()


def test_bytes_in_hex_with_a_length_in_front(tmp_path: Path) -> None:
    plug = Plug(tmp_path)
    device = opened(port=plug.port, framing="prefix", format="hex", checksum="crc16_modbus")
    try:
        heard = Heard()
        device.device.when_read = heard
        apply(device, b'"010300000001"')
        assert plug.hear(9).hex() == "08010300000001840a"
        plug.say(bytes.fromhex("08010300000001840a"))
        assert heard.next() == "010300000001"
    finally:
        close([device])
        plug.unplug()


def test_an_object_of_json(tmp_path: Path) -> None:
    plug = Plug(tmp_path)
    device = opened(port=plug.port, format="json")
    try:
        assert apply(device, b'{"value": {"led": 1}}') == {"led": 1}
        assert apply(device, b'{"led": 2}') == {"led": 2}
        assert plug.hear(20) == b'{"led":1}\n{"led":2}\n'
    finally:
        close([device])
        plug.unplug()


def test_simulated_it_reads_frames_and_takes_commands() -> None:
    device = opened(simulate=True, port="/dev/ttyUSB0", format="csv", names=["t", "h"], checksum="xor")
    heard = Heard()
    device.device.when_read = heard
    hand = Simulated([device])
    hand.set("scale", "21.5,40")
    hand.set("scale", {"t": 1})
    assert [heard.next(), heard.next()] == [{"t": 21.5, "h": 40}, {"t": 1}]
    with pytest.raises(ConfigError, match="'1' has 1 fields; there are 2 names"):
        hand.set("scale", "1")
    assert apply(device, b'"TARE"') == "TARE"
    assert device.device.sent == [b"TARE*02\n"]
    assert device.device.wiring == "/dev/ttyUSB0 9600 8N1"
    close([device])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": "/dev/x", "framing": "lines"}, "framing 'lines' is not known; did you mean 'line'?"),
        ({"port": "/dev/x", "format": "cvs"}, "format 'cvs' is not known; did you mean 'csv'?"),
        ({"port": "/dev/x", "names": ["t", ""]}, "names ['t', ''] is no list of texts"),
        ({"port": "/dev/x", "gap": "1ms"}, "gap '1ms' is not from 0.005 to 60 s"),
        ({"port": "/dev/x", "silence": "soon"}, "silence: 'soon' is no duration"),
        ({"port": "/dev/x", "terminator": "→"}, "terminator '→' is more than bytes"),
        ({"port": "/dev/x", "terminator": ""}, "terminator '' is no text"),
        ({"port": "/dev/x", "checksum": "crc"}, "checksum 'crc' is not known"),
        ({"port": "/dev/x", "framing": "length"}, "length is 1 to 4096 bytes, not 0"),
        ({"port": "/dev/x", "format": "regex"}, "a pattern belongs to format regex"),
        ({"port": "/dev/x", "baud_rate": 1}, "baud_rate 1 is no whole number"),
    ],
)
def test_what_is_wrong_is_said_when_the_file_is_read_and_when_it_is_opened(
    options: dict[str, Any], message: str
) -> None:
    found = check([Device("scale", "serial_line", options)], board_for("pi-4"))
    assert [problem.text.startswith(message) for problem in found.problems] == [True]
    for simulate in (True, False):
        with pytest.raises(ConfigError) as error:
            opened(simulate, **options)
        assert str(error.value).startswith(f"device 'scale' (serial_line): {message}")


def test_two_lines_on_one_port_are_one_too_many() -> None:
    specs = [Device(name, "serial_line", {"port": "/dev/ttyUSB0"}) for name in ("a", "b")]
    assert {problem.device for problem in check(specs, board_for("pi-4")).problems} == {"b"}
