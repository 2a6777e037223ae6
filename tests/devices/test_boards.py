"""Board files: those shipped, those of a user, and which board this machine is."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpiozero.pins.pi import PiBoardInfo

from edge_runtime.devices import boards
from edge_runtime.devices.boards import Board
from edge_runtime.errors import ConfigError, NotFoundError

PIS = {
    "pi-1-plus": 0x900032,
    "pi-2": 0xA01041,
    "pi-3": 0xA02082,
    "pi-4": 0xC03111,
    "pi-5": 0xC04170,
    "pi-zero": 0x900093,
    "pi-zero-2-w": 0x902120,
    "pi-zero-w": 0x9000C1,
}
"""By board, the revision code of one: gpiozero knows its header too."""


def own(tmp_path: Path, text: str, name: str = "mine") -> Path:
    """Write a board file as a user would, and return the folder to look in."""
    folder = tmp_path / "hardware" / "boards"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return tmp_path


def tree(root: Path, model: str, *compatible: str) -> Path:
    """Make a device tree like the kernel's, and return its root."""
    folder = root / "proc" / "device-tree"
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(model.encode() + b"\0")
    (folder / "compatible").write_bytes(b"".join(kind.encode() + b"\0" for kind in compatible))
    return root


def test_every_shipped_board_can_be_read() -> None:
    assert boards.names() == ["generic", *sorted(PIS)]
    for name in boards.names():
        board = boards.load(name)
        assert (board.name, board.volts) == (name, 3.3)
        assert board.factories
        assert not set(board.factories) & set(board.refused)


@pytest.mark.parametrize(("name", "revision"), PIS.items())
def test_a_pi_has_the_header_and_the_names_that_gpiozero_knows(name: str, revision: int) -> None:
    board, known = boards.load(name), PiBoardInfo.from_revision(revision)
    pins = known.headers["J8"].pins
    assert [pins[n + 1].name for n in range(len(pins))] == list(board.headers["J8"])
    for pin in pins.values():
        for alias in pin.names if "gpio" in pin.interfaces else ():
            assert board.resolve(alias) == pin.name
    assert [pin.name for pin in pins.values() if pin.pull] == list(board.pulled_up)


@pytest.mark.parametrize("name", PIS)
def test_the_buses_of_a_pi_are_where_gpiozero_knows_them(name: str) -> None:
    board, pins = boards.load(name), PiBoardInfo.from_revision(PIS[name]).headers["J8"].pins.values()
    by_name = {pin.name: pin.interfaces for pin in pins}
    kinds = {"I2C": "i2c", "SPI": "spi", "UART": "uart"}
    for bus, of in board.buses.items():
        assert of.lines
        for pin in of.lines.values():
            kind = next((kind for start, kind in kinds.items() if bus.startswith(start)), "gpio")
            assert kind in by_name[pin], (bus, pin)


def test_what_differs_between_pis() -> None:
    assert boards.load("pi-5").chips == ("pinctrl-rp1",)
    assert boards.load("pi-5").factories == ("lgpio",)
    assert boards.load("pi-4").chips == ("pinctrl-bcm2711",)
    assert boards.load("pi-zero-2-w").chips == ("pinctrl-bcm2835",)
    assert boards.load("pi-3").factories == ("lgpio", "rpigpio")
    serial = {name: boards.load(name).buses["UART0"].files for name in ("pi-zero", "pi-3", "pi-5")}
    assert serial == {
        "pi-zero": ("/dev/serial0", "/dev/ttyAMA0"),
        "pi-3": ("/dev/serial0", "/dev/ttyS0"),
        "pi-5": ("/dev/ttyAMA0",),
    }


PI = boards.load("pi-4")


def test_where_a_pin_is_and_what_it_can_do() -> None:
    assert (PI.place("GPIO17"), PI.roles("GPIO17")) == ("pin 11", ["SPI1 CE1"])
    assert (PI.place("GPIO2"), PI.roles("GPIO2")) == ("pin 3", ["I2C1 SDA"])
    assert PI.roles("GPIO18") == ["SPI1 CE0", "PWM0", "PCM CLK"]
    assert PI.place("GPIO45") == ""
    assert (PI.pins[0], PI.pins[-1], len(PI.pins)) == ("GPIO0", "GPIO27", 28)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (45, "45 is no pin of Raspberry Pi 4", "its pins: GPIO0 to GPIO27"),
        ("GPOI5", "GPOI5 is no pin of Raspberry Pi 4; did you mean 'GPIO5'?", "its pins: GPIO0 to GPIO27"),
        ("BOARD6", "BOARD6 is ground (GND)", ""),
        ("J8:1", "J8:1 is 3.3 V power (3V3)", ""),
        ("BOARD41", "BOARD41 is none of the 40 pins of the header J8 of Raspberry Pi 4", ""),
        ("J9:3", "J9:3 is no pin of Raspberry Pi 4", "its pins: GPIO0 to GPIO27"),
        (True, "True is no name of a pin", "write its number or its name, as in 17 or GPIO17"),
        ("", "'' is no name of a pin", "write its number or its name, as in 17 or GPIO17"),
        (-1, "-1 is no pin of Raspberry Pi 4", "its pins: GPIO0 to GPIO27"),
    ],
)
def test_what_is_no_pin(name: object, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        PI.resolve(name)
    assert str(error.value).startswith(message)
    assert error.value.hint == hint


def test_a_board_without_headers_takes_any_line() -> None:
    board = boards.load("generic")
    assert [board.resolve(name) for name in (17, "17", "PC9", "gpiochip1:3")] == ["17", "17", "PC9", "gpiochip1:3"]
    assert (board.pins, board.place("17")) == ((), "")


OWN = """
title = "Orange Pi Zero"
like = "generic"
compatible = ["xunlong,orangepi-zero"]
header = "CON1"
kept = ["PA3"]
headers.CON1 = ["3V3", "5V", "PA12", "5V", "PA11", "GND", "PA3"]
headers.CON2 = ["PG11"]
lines = { PA12 = 12, PA11 = "gpiochip0:11" }
buses.I2C0 = { files = ["/dev/i2c-0"], lines = { SDA = "PA12", SCL = "PA11" } }
names = { SDA0 = "PA12" }
"""


def test_a_board_of_ones_own_says_what_differs(tmp_path: Path) -> None:
    extra = own(tmp_path, OWN)
    board = boards.load("mine", extra)
    assert (board.title, board.volts, board.factories) == ("Orange Pi Zero", 3.3, ("gpiod",))
    assert [board.resolve(n) for n in ("BOARD3", "CON1:5", "SDA0", "CON2:1")] == ["PA12", "PA11", "PA12", "PG11"]
    assert (board.place("PA12"), board.place("PG11")) == ("pin 3", "CON2 pin 1")
    assert board.pins == ("PA3", "PA11", "PA12", "PG11")
    assert "mine" in boards.names(extra)
    assert "mine" not in boards.names()


def test_a_file_of_ones_own_comes_before_a_shipped_one(tmp_path: Path) -> None:
    extra = own(tmp_path, 'like = "_raspberry-pi"\ntitle = "my Pi"\nvolts = 5', "pi-4")
    assert (boards.load("pi-4", extra).title, boards.load("pi-4", extra).volts) == ("my Pi", 5)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("volts = '5'", "volts must be a number, as in 3.3"),
        ("volts = true", "volts must be a number, as in 3.3"),
        ("volts = nan", "volts must be a number, as in 3.3"),
        ("chips = 'a'", 'chips must be a list of texts, as in ["a", "b"]'),
        ("headers = ['a']", "headers must be a table, as in [headers]"),
        ("headers.J8 = [1]", 'headers.J8 must be a list of texts, as in ["a", "b"]'),
        ("lines.a = -1", "lines.a must be the offset or the name of a line, as in 12 or gpiochip1:12"),
        ("buses.I2C1 = 3", "buses.I2C1 must be a table with files and lines"),
        ("buses.I2C1.line.SDA = 'a'", "buses.I2C1.line is no key; did you mean 'lines'? known: files, lines"),
        (
            "factories = ['lgpoi']",
            "factories: 'lgpoi' is none; did you mean 'lgpio'? known: lgpio, rpigpio, native, gpiod",
        ),
        ("header = 'J8'", "header: there is no header 'J8'; known: none"),
        ("headers.J8 = ['PA1']\nkept = ['PA2']", "kept: no header has a pin 'PA2'; did you mean 'PA1'?"),
        (
            "headers.J8 = ['PA1']\nbuses.I2C1.lines.SDA = 'PB7'",
            "buses.I2C1.lines.SDA: no header has a pin 'PB7'",
        ),
        ("like = 'mine'", "like: 'mine' leads round in a circle, or too far"),
        ("like =", "Invalid value (at end of document)"),
    ],
)
def test_a_wrong_file_is_told_in_plain_words(tmp_path: Path, text: str, wrong: str) -> None:
    extra = own(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        boards.load("mine", extra)
    assert str(error.value).startswith(f"the board file {tmp_path}/hardware/boards/mine.toml")
    assert wrong in str(error.value)


def test_an_unknown_key_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        boards.load("mine", own(tmp_path, "volt = 3.3"))
    assert str(error.value).endswith("mine.toml: unknown key 'volt'; did you mean 'volts'?")
    assert error.value.hint.startswith("known: title, like, compatible")


def test_a_board_that_is_not_there_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as error:
        boards.load("pi5")
    assert str(error.value) == "there is no board 'pi5'; did you mean 'pi-5'?"
    assert error.value.hint == f"known: {', '.join(boards.names())}"
    for name in ("../pi-4", "/etc/passwd", ""):
        with pytest.raises(NotFoundError):
            boards.load(name)
    with pytest.raises(NotFoundError, match="there is no board 'pi-6', which 'mine' is like"):
        boards.load("mine", own(tmp_path, "like = 'pi-6'"))


@pytest.mark.parametrize(
    ("model", "compatible", "name"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", ["raspberrypi,5-model-b", "brcm,bcm2712"], "pi-5"),
        ("Raspberry Pi 4 Model B Rev 1.4", ["raspberrypi,4-model-b", "brcm,bcm2711"], "pi-4"),
        ("Raspberry Pi Zero 2 W Rev 1.0", ["raspberrypi,model-zero-2-w", "brcm,bcm2837"], "pi-zero-2-w"),
        ("Raspberry Pi Zero W Rev 1.1", [], "pi-zero-w"),
        ("Raspberry Pi Zero Rev 1.3", [], "pi-zero"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", [], "pi-3"),
        ("Raspberry Pi Model B Rev 2", ["raspberrypi,model-b-rev2"], "_raspberry-pi"),
        ("Raspberry Pi 9", [], "_raspberry-pi"),
    ],
)
def test_a_pi_is_recognised(tmp_path: Path, model: str, compatible: list[str], name: str) -> None:
    root = tree(tmp_path, model, *compatible)
    found = boards.detect(root)
    assert found is not None
    assert (found.name, boards.model(root)) == (name, model)


def test_a_board_of_ones_own_is_recognised(tmp_path: Path) -> None:
    extra = own(tmp_path / "app", OWN)
    root = tree(tmp_path / "root", "Xunlong Orange Pi Zero", "xunlong,orangepi-zero", "allwinner,sun8i-h2-plus")
    found = boards.detect(root, extra)
    assert found is not None
    assert found.name == "mine"
    assert boards.detect(root) is None


def test_a_machine_without_a_device_tree_is_no_board(tmp_path: Path) -> None:
    assert boards.detect(tmp_path) is None
    assert boards.model(tmp_path) == ""


def test_runs_of_pins_are_put_together() -> None:
    assert boards.listed(["GPIO0", "GPIO1", "GPIO2", "PA1", "PA3", "X"]) == "GPIO0 to GPIO2, PA1, PA3, X"
    assert Board("bare").title == ""
