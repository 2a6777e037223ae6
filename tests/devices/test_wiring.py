"""What devices take hold of, and what is said when it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Device
from edge_runtime.devices import boards, wiring
from edge_runtime.devices.boards import Board, Bus

PI = boards.load("pi-4")
FREE = "free: GPIO5 (pin 29), GPIO6 (pin 31), GPIO12 (pin 32), GPIO13 (pin 33)"


def problems(*devices: Device, board: Board = PI, extra: Path | None = None) -> list[tuple[str, str, str]]:
    """Return what is wrong: the device, the key and the words."""
    found = wiring.check(devices, board, extra).problems
    return [(p.device, ".".join(map(str, p.where)), p.text) for p in found]


def button(name: str, pin: object, **more: object) -> Device:
    return Device(name, "Button", {"pin": pin, **more})


def driver(tmp_path: Path, name: str, wires: str, arguments: str = "") -> Path:
    """Write a driver whose `wires` returns what is given, and return the folder to look in."""
    folder = tmp_path / "hardware"
    folder.mkdir(exist_ok=True)
    text = f"""
class Sensor:
    value = 1

    def __init__(self{arguments}):
        pass

    @classmethod
    def wires(cls{arguments}):
        return {wires}
"""
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_full_board_fits() -> None:
    found = wiring.check(
        [
            button("door", 17),
            Device("soil", "MCP3008", {"channel": 0}),
            Device("light", "MCP3008", {"channel": 1}),
            Device("tank", "MCP3208", {"device": 1}),
            Device("air", "bme280"),
            Device("deep", "bme280", {"address": 0x77}),
            Device("lamp", "RGBLED", {"red": 5, "green": 6, "blue": 13}),
            Device("load", "LoadAverage"),
        ],
        PI,
    )
    assert found.problems == ()
    assert [(use.device.name, use.where, use.pin, use.thing) for use in found.uses if use.device.name == "light"] == [
        ("light", (), "GPIO11", "SPI0 SCLK"),
        ("light", (), "GPIO10", "SPI0 MOSI"),
        ("light", (), "GPIO9", "SPI0 MISO"),
        ("light", ("device",), "GPIO8", "SPI0 CE0"),
    ]


@pytest.mark.parametrize("name", [17, "17", "GPIO17", "BCM17", "BOARD11", "J8:11", "WPI0"])
def test_two_uses_of_one_pin_by_any_name(name: object) -> None:
    text = f"GPIO17 (pin 11) is taken by 'door' (Button) and 'led' (LED); {FREE}"
    assert problems(button("door", 17), Device("led", "LED", {"pin": name})) == [("led", "pin", text)]


def test_a_device_that_takes_a_pin_twice() -> None:
    text = "'row' (LEDBoard) takes GPIO5 (pin 29) twice; free: GPIO6 (pin 31)"
    [(device, key, said)] = problems(Device("row", "LEDBoard", {"pins": [5], "top": 5}))
    assert (device, key, said[: len(text)]) == ("row", "top", text)


def test_a_pin_that_the_board_lacks() -> None:
    text = f"45 is no pin of Raspberry Pi 4; its pins: GPIO0 to GPIO27; {FREE}"
    assert problems(button("door", 45)) == [("door", "pin", text)]


def test_a_pin_that_is_power_or_ground() -> None:
    assert problems(button("door", "BOARD6")) == [("door", "pin", f"BOARD6 is ground (GND); {FREE}")]


def test_other_boards_are_told_of_when_none_is_declared() -> None:
    common = wiring.board_for("", root=Path("/nowhere"))
    assert common.name == boards.COMMON
    [(_, _, text)] = problems(button("door", "PC9"), board=common)
    assert text.endswith("; if the board is no Raspberry Pi, write board: generic")


def test_a_button_on_a_pin_of_a_bus_is_to_move_and_is_told_once() -> None:
    air, deep = Device("air", "bme280"), Device("deep", "bme280", {"address": 0x77})
    text = f"GPIO2 (pin 3) is taken by 'air' (bme280) as I2C1 SDA and 'door' (Button); move 'door': {FREE}"
    assert problems(air, deep, button("door", 2)) == [("door", "pin", text)]
    text = f"GPIO2 (pin 3) is taken by 'door' (Button) and 'air' (bme280) as I2C1 SDA; move 'door': {FREE}"
    assert problems(button("door", 2), air, deep) == [("air", "", text)]


def test_two_chips_with_one_address() -> None:
    text = (
        "I2C1 0x76 is taken by 'air' (bme280) and 'deep' (bme280); give one of the chips another address, by its "
        "address pin, or another bus"
    )
    assert problems(Device("air", "bme280"), Device("deep", "bme280", {"bus": "/dev/i2c-1"})) == [("deep", "", text)]
    assert problems(Device("air", "bme280"), Device("deep", "bme280", {"bus": 0})) == []


def test_two_kinds_of_chips_on_one_chip_select() -> None:
    text = "GPIO8 (pin 24) is taken by 'a' (MCP3008) as SPI0 CE0 and 'b' (MCP3201) as SPI0 CE0; free: device: 1"
    assert problems(Device("a", "MCP3008", {"channel": 0}), Device("b", "MCP3201")) == [("b", "device", text)]
    assert problems(Device("a", "MCP3008"), Device("b", "MCP3201", {"device": 1})) == []


def test_a_chip_select_that_the_bus_lacks() -> None:
    chip = Device("a", "MCP3008", {"device": 1})
    assert problems(chip) == []
    one = Bus((), {role: pin for role, pin in PI.buses["SPI0"].lines.items() if role != "CE1"})
    board = replace(PI, buses={"SPI0": one})
    text = "SPI0 of Raspberry Pi 4 has no chip select 1; known: 0"
    assert problems(chip, board=board) == [("a", "device", text)]


def test_spi_on_pins_of_ones_choice() -> None:
    pins = {"clock_pin": 20, "mosi_pin": 21, "miso_pin": 19, "select_pin": 16}
    soil = Device("soil", "MCP3008", {"channel": 0, **pins})
    assert problems(soil, Device("light", "MCP3008", {"channel": 1, **pins})) == []
    [(device, key, text)] = problems(soil, button("door", 16))
    assert (device, key) == ("door", "pin")
    assert "is taken by 'soil' (MCP3008) as SPI select and 'door' (Button); move 'door': free: " in text


def test_a_wrong_voltage_says_what_to_put_in_between() -> None:
    text = (
        "'door' (Button) works with 5 V, and the pins of Raspberry Pi 4 with 3.3 V; put a voltage divider or a level "
        "shifter between them, then write volts: 3.3"
    )
    assert problems(Device("door", "Button", {"pin": 17}, volts=5)) == [("door", "volts", text)]
    [(_, _, low)] = problems(Device("door", "Button", {"pin": 17}, volts=1.8))
    assert "works with 1.8 V" in low
    assert "put a level shifter between" in low
    for volts in (0.0, 3.0, 3.3, 3.6):
        assert problems(Device("door", "Button", {"pin": 17}, volts=volts)) == []
    assert problems(Device("load", "LoadAverage", volts=5)) == []


def test_the_echo_of_a_distance_sensor_is_told_of_until_its_volts_are_declared() -> None:
    sonar = {"echo": 23, "trigger": 24}
    found = wiring.check([Device("far", "DistanceSensor", sonar)], PI)
    note = (
        "device 'far' (DistanceSensor): the echo of an HC-SR04 has 5 V, and a pin of Raspberry Pi 4 bears 3.3 V; "
        "with a voltage divider before it, write volts: 3.3"
    )
    assert (found.problems, found.notes) == ((), (note,))
    assert wiring.check([Device("far", "DistanceSensor", sonar, volts=3.3)], PI).notes == ()


def test_a_pin_with_a_resistor_is_no_input_that_floats() -> None:
    assert problems(button("door", 3)) == []
    [(device, key, text)] = problems(button("door", 3, pull_up=False))
    assert (device, key) == ("door", "pin")
    assert text == (
        f"GPIO3 (pin 5) has a resistor to the supply on the board; write pull_up: true, or take another; {FREE}"
    )
    [(_, key, text)] = problems(Device("far", "DistanceSensor", {"echo": 3, "trigger": 5}, volts=3.3))
    assert (key, text.split("; ")[1]) == ("echo", "take another")


def test_devices_within_devices_count() -> None:
    motors = {
        "left": {"driver": "Motor", "forward": 4, "backward": 14},
        "right": {"driver": "Motor", "forward": 17, "backward": 18},
    }
    rover = Device("rover", "Robot", motors)
    assert [use.where for use in wiring.check([rover], PI).uses] == [
        ("left", "forward"),
        ("left", "backward"),
        ("right", "forward"),
        ("right", "backward"),
    ]
    [(device, key, text)] = problems(rover, button("door", 14))
    assert (device, key) == ("door", "pin")
    assert text.startswith("GPIO14 (pin 8) is taken by 'rover' (Robot) and 'door' (Button); ")


def test_a_ready_made_board_brings_its_pins() -> None:
    found = wiring.check([Device("hat", "TrafficHat")], PI)
    assert [use.pin for use in found.uses] == ["GPIO22", "GPIO23", "GPIO24", "GPIO25", "GPIO5"]
    [(device, _, text)] = problems(Device("hat", "TrafficHat"), button("door", 25))
    assert (device, text.split(";")[0]) == (
        "door",
        "GPIO25 (pin 22) is taken by 'hat' (TrafficHat) and 'door' (Button)",
    )


def test_what_a_driver_tells_of_itself(tmp_path: Path) -> None:
    extra = driver(tmp_path, "gps_w", "['/dev/serial0']")
    text = "GPIO14 (pin 8) is taken by 'gps' (gps_w) as UART0 TXD and 'door' (Button); move 'door': "
    [(device, _, said)] = problems(Device("gps", "gps_w"), button("door", 14), extra=extra)
    assert (device, said[: len(text)]) == ("door", text)
    text = "/dev/serial0 is taken by 'gps' (gps_w) and 'gps2' (gps_w); one of them needs another line or adapter"
    assert problems(Device("gps", "gps_w"), Device("gps2", "gps_w"), extra=extra) == [("gps2", "", text)]


def test_who_takes_the_whole_of_a_thing_leaves_no_part_to_others(tmp_path: Path) -> None:
    extra = driver(tmp_path, "part_w", "[f'/dev/ttyUSB0 unit {unit}'.removesuffix(' unit 0')]", ", unit=0")
    one, two, whole = (Device(f"u{n}", "part_w", {"unit": n}) for n in (1, 2, 0))
    assert problems(one, two, extra=extra) == []
    [(device, _, text)] = problems(one, whole, extra=extra)
    assert (device, text.split(";")[0]) == ("u0", "/dev/ttyUSB0 unit 1 is taken by 'u1' (part_w) and 'u0' (part_w)")


def test_sensors_on_a_1_wire_bus_share_its_line(tmp_path: Path) -> None:
    extra = driver(tmp_path, "temp_w", "['GPIO4', f'1-Wire {id}']", ", id='28-1'")
    one, two = Device("one", "temp_w", {"id": "28-1"}), Device("two", "temp_w", {"id": "28-2"})
    assert problems(one, two, extra=extra) == []
    assert [p[0] for p in problems(one, Device("again", "temp_w"), extra=extra)] == ["again"]
    [(device, _, text)] = problems(one, button("door", 4), extra=extra)
    assert (device, text.split(";")[0]) == (
        "door",
        "GPIO4 (pin 7) is taken by 'one' (temp_w) as 1-Wire DATA and 'door' (Button)",
    )


def test_a_bus_of_1_wire_without_its_pin(tmp_path: Path) -> None:
    extra = driver(tmp_path, "bus_w", "['1-Wire 28-1']")
    found = wiring.check([Device("one", "bus_w")], PI, extra)
    assert [(use.pin, use.thing, use.shared) for use in found.uses] == [
        ("GPIO4", "1-Wire DATA", "1-Wire"),
        ("", "1-Wire 28-1", ""),
    ]


def test_an_spi_device_of_a_driver(tmp_path: Path) -> None:
    extra = driver(tmp_path, "spi_w", "['/dev/spidev0.1']")
    found = wiring.check([Device("one", "spi_w")], PI, extra)
    assert [(use.pin, use.thing) for use in found.uses] == [
        ("GPIO11", "SPI0 SCLK"),
        ("GPIO10", "SPI0 MOSI"),
        ("GPIO9", "SPI0 MISO"),
        ("GPIO7", "SPI0 CE1"),
        ("", "SPI0.1"),
    ]


def test_what_a_driver_says_against_its_arguments(tmp_path: Path) -> None:
    refuse = "(_ for _ in ()).throw(__import__('edge_runtime').errors.ConfigError('no such unit', hint='1 to 9'))"
    extra = driver(tmp_path, "refusing_w", refuse)
    assert problems(Device("one", "refusing_w"), extra=extra) == [("one", "", "no such unit; 1 to 9")]
    extra = driver(tmp_path, "broken_w", "1 / 0")
    text = "'one' (Sensor) cannot tell what it takes hold of: ZeroDivisionError: division by zero"
    assert problems(Device("one", "broken_w"), extra=extra) == [("one", "", text)]


def test_what_is_wrong_otherwise_is_left_to_others() -> None:
    assert problems(Device("a", "Buton", {"pin": 17}), Device("b", "Button", {"pni": 17}), button("c", 17)) == []


def test_a_board_without_headers() -> None:
    board = boards.load("generic")
    text = "the line PC9 is taken by 'door' (Button) and 'bell' (Button); give each a line of its own"
    assert problems(button("door", "PC9"), button("bell", "PC9"), board=board) == [("bell", "pin", text)]
    assert problems(button("door", 17), button("bell", "gpiochip1:17"), board=board) == []


def test_a_board_with_no_pin_left() -> None:
    row = Device("row", "LEDBoard", {"pins": list(range(2, 28))})
    [(_, _, text)] = problems(row, button("door", 5))
    assert text.endswith("; no pin of the board is free")


def test_the_table() -> None:
    devices = [Device("far", "DistanceSensor", {"echo": "BOARD16", "trigger": 24}), Device("load", "LoadAverage")]
    sonar = {"device": "far", "driver": "DistanceSensor", "as": ""}
    assert list(wiring.rows(wiring.check(devices, PI), devices)) == [
        {**sonar, "argument": "echo", "pin": "GPIO23", "header": "pin 16"},
        {**sonar, "argument": "trigger", "pin": "GPIO24", "header": "pin 18"},
        {"device": "load", "driver": "LoadAverage", "argument": "", "pin": "", "header": "", "as": ""},
    ]


@given(st.lists(st.integers(-2, 60) | st.text(max_size=8) | st.none() | st.booleans(), max_size=6))
def test_whatever_stands_there_each_pin_has_one_user_or_a_problem(pins: list[object]) -> None:
    devices = [button(f"d{n}", pin) for n, pin in enumerate(pins)]
    found = wiring.check(devices, PI)
    told = {problem.device for problem in found.problems}
    free = [use.pin for use in found.uses if use.device.name not in told]
    assert len(free) == len(set(free))
    assert set(free) <= set(PI.pins)
