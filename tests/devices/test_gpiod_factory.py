"""gpiozero's devices on libgpiod's lines."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gpiozero
import pytest
from gpiod.line import Bias, Clock, Direction, Edge

from edge_runtime.devices import boards
from edge_runtime.devices.chips import Chip
from edge_runtime.devices.gpiod_factory import CONSUMER, GpiodFactory
from edge_runtime.errors import ConfigError, NotFoundError
from tests.devices.fakegpiod import Lines, module

GENERIC = boards.load("generic")
WAIT_S = 10.0


class Site:
    """Two chips, and a factory on them."""

    def __init__(self, board: boards.Board = GENERIC, *, has_bias: bool = True) -> None:
        self.first = Lines("PA0", "PA1", "", "PA3", has_bias=has_bias)
        self.second = Lines("PB0", "PB1")
        gpiod = module({"/dev/gpiochip0": self.first, "/dev/gpiochip1": self.second})
        chips = [
            Chip(0, Path("/dev/gpiochip0"), "main-pins", 4),
            Chip(1, Path("/dev/gpiochip1"), "more-pins", 2),
            Chip(2, Path("/dev/gpiochip2"), fault="shut"),
        ]
        self.factory = GpiodFactory(gpiod, board, chips)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.factory.close()


def settings(lines: Lines, offset: int) -> Any:  # noqa: ANN401 - settings, or None for a line that nobody has
    return lines.lines[offset].settings


def test_a_button_is_an_input_with_a_pull_up_and_tells_its_edges(site: Site) -> None:
    button = gpiozero.Button("PA1", pin_factory=site.factory)
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    button.when_pressed = lambda: told.put("pressed")
    button.when_released = lambda: told.put("released")
    set_to = settings(site.first, 1)
    assert (set_to.direction, set_to.bias, set_to.edge_detection) == (Direction.INPUT, Bias.PULL_UP, Edge.BOTH)
    assert set_to.event_clock is Clock.MONOTONIC
    assert site.first.lines[1].consumer == CONSUMER
    assert not button.is_pressed
    site.first.drive(1, 0, time.monotonic_ns())
    assert told.get(timeout=WAIT_S) == "pressed"
    assert button.is_pressed
    site.first.drive(1, 1, time.monotonic_ns())
    assert told.get(timeout=WAIT_S) == "released"
    button.close()


def test_an_edge_carries_the_time_stamp_of_the_kernel(site: Site) -> None:
    pin = site.factory.pin(0)
    pin.input_with_pull("down")
    got: queue.SimpleQueue[tuple[float, int]] = queue.SimpleQueue()

    def changed(ticks: float, level: int) -> None:
        got.put((ticks, level))

    pin.when_changed = changed
    assert pin.when_changed is changed
    stamp = time.monotonic_ns() - 3_000_000
    site.first.drive(0, 1, stamp)
    ticks, level = got.get(timeout=WAIT_S)
    assert (ticks, level) == (stamp / 1e9, 1)
    assert 0.003 <= site.factory.ticks_diff(site.factory.ticks(), ticks) < WAIT_S
    pin.when_changed = None
    assert settings(site.first, 0).edge_detection is Edge.NONE
    pin.edges = "falling"
    pin.when_changed = changed
    site.first.drive(0, 0, 5)
    assert got.get(timeout=WAIT_S) == (5e-9, 0)
    with pytest.raises(gpiozero.PinInvalidEdges):
        pin.edges = "sideways"


def test_several_lines_share_one_thread(site: Site) -> None:
    got: queue.SimpleQueue[str] = queue.SimpleQueue()
    buttons = {name: gpiozero.Button(name, pin_factory=site.factory) for name in ("PA0", "PA1", "PA3")}
    for name, button in buttons.items():
        button.when_pressed = lambda name=name: got.put(name)
    for offset in (3, 0, 1):
        site.first.drive(offset, 0)
    assert {got.get(timeout=WAIT_S) for _ in range(3)} == {"PA0", "PA1", "PA3"}
    for offset in (3, 0, 1):
        site.first.drive(offset, 1)
    buttons["PA0"].close()
    site.first.drive(1, 0)
    assert got.get(timeout=WAIT_S) == "PA1"
    site.first.drive(1, 1)


def test_a_handler_that_fails_and_a_chip_that_goes_do_not_stop_the_others(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    got: queue.SimpleQueue[int] = queue.SimpleQueue()

    def fail(_ticks: float, _level: int) -> None:
        raise ZeroDivisionError

    def note(_ticks: float, level: int) -> None:
        got.put(level)

    bad, good, lost = site.factory.pin("PA0"), site.factory.pin("PA1"), site.factory.pin("PB0")
    bad.when_changed, good.when_changed, lost.when_changed = fail, note, note
    site.second.gone = True
    site.second.drive(0, 1)
    site.first.drive(0, 1)
    site.first.drive(1, 1)
    assert got.get(timeout=WAIT_S) == 1
    site.first.drive(1, 0)
    assert got.get(timeout=WAIT_S) == 0
    site.factory.close()
    assert "who waits for the edges of a line has failed" in caplog.text
    assert "a line gives no more edges: its chip is gone" in caplog.text
    assert got.empty()


def test_an_output_has_its_level_from_the_start(site: Site) -> None:
    relay = gpiozero.OutputDevice("PA0", active_high=False, initial_value=False, pin_factory=site.factory)
    assert site.first.lines[0].history == [1]
    relay.on()
    relay.off()
    assert site.first.lines[0].history == [1, 0, 1]
    assert relay.value == 0
    assert settings(site.first, 0).direction is Direction.OUTPUT
    pin = relay.pin
    with pytest.raises(gpiozero.PinFixedPull):
        pin.pull = "up"
    relay.close()


def test_names_of_lines(site: Site) -> None:
    names = [0, "1", "PA1", "PB0", "gpiochip1:1", "more-pins:1", 2]
    assert [site.factory.pin(name).info.name for name in names] == [
        "PA0",
        "PA1",
        "PA1",
        "PB0",
        "PB1",
        "PB1",
        "gpiochip0:2",
    ]
    assert site.factory.pin(1) is site.factory.pin("PA1")
    assert repr(site.factory.pin(2)) == "gpiochip0:2"
    with pytest.raises(gpiozero.GPIOPinInUse):
        _both = gpiozero.LED("PA3", pin_factory=site.factory), gpiozero.LED(3, pin_factory=site.factory)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (4, "there is no line 4: gpiochip0 has 4 lines"),
        ("gpiochip7:1", "there is no line gpiochip7:1: there is no chip 'gpiochip7'"),
        ("PZ9", "no line is called 'PZ9'"),
    ],
)
def test_lines_that_are_not_there(site: Site, name: object, message: str) -> None:
    with pytest.raises(NotFoundError) as error:
        site.factory.pin(name)
    assert str(error.value) == message
    assert error.value.hint.startswith("gpioinfo lists the lines")


def test_a_board_file_says_which_line_a_pin_is() -> None:
    board = replace(
        GENERIC,
        name="mine",
        title="my board",
        chips=("main-pins",),
        header="J1",
        headers={"J1": ("3V3", "LED", "KEY", "GND")},
        lines={"LED": 3, "KEY": "gpiochip1:0"},
    )
    site = Site(board)
    assert site.factory.board_info.description == "my board"
    assert (site.factory.pin("BOARD2").info.name, site.factory.pin("KEY").info.number) == ("LED", 0)
    assert [line.consumer for line in site.first.lines] == ["", "", "", CONSUMER]
    assert site.second.lines[0].consumer == CONSUMER
    with pytest.raises(ConfigError, match=r"BOARD4 is ground \(GND\)"):
        site.factory.pin("BOARD4")
    site.factory.close()
    assert site.second.lines[0].consumer == ""


def test_a_board_whose_chip_is_not_there() -> None:
    with pytest.raises(NotFoundError, match=r"there is no gpiochip with 1c20800\.pinctrl"):
        Site(replace(GENERIC, chips=("1c20800.pinctrl",)))


def test_a_busy_line_names_its_holder(site: Site) -> None:
    site.first.lines[3].consumer = "gpio-leds"
    with pytest.raises(ConfigError) as error:
        gpiozero.LED("PA3", pin_factory=site.factory)
    assert str(error.value) == "PA3 (line of gpiochip0, main-pins) is busy: 'gpio-leds' holds it"
    assert "end the other script" in error.value.hint


def test_a_chip_that_may_not_be_opened() -> None:
    factory = GpiodFactory(module({}), GENERIC, [Chip(0, Path("/dev/gpiochip0"), "pins", 4)])
    with pytest.raises(ConfigError) as error:
        factory.pin(0)
    assert str(error.value) == "/dev/gpiochip0 cannot be opened: Permission denied"
    assert error.value.hint == "sudo usermod -aG gpio $USER, then log in again"


def test_a_chip_without_pulls_says_what_to_do() -> None:
    site = Site(has_bias=False)
    with pytest.raises(gpiozero.PinFixedPull, match="has no pull-up resistors: wire one, and write"):
        gpiozero.Button("PA0", pin_factory=site.factory)
    button = gpiozero.Button("PA1", pull_up=None, active_state=False, pin_factory=site.factory)
    assert settings(site.first, 1).bias is Bias.AS_IS
    button.close()
    site.factory.close()


def test_an_led_is_dimmed_by_a_thread(site: Site) -> None:
    lamp = gpiozero.PWMLED("PA0", frequency=500, pin_factory=site.factory)
    line = site.first.lines[0]
    assert (lamp.value, lamp.pin.frequency) == (0, 500)
    lamp.value = 0.5
    deadline = time.monotonic() + WAIT_S
    while line.history.count(1) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.001)  # a thread of its own switches the line: there is nothing to wait for
    assert lamp.value == 0.5
    lamp.frequency = 100
    assert lamp.pin.frequency == 100
    lamp.value = 1
    while line.level != 1 or line.history[-2:] == [1, 0]:
        assert time.monotonic() < deadline
        time.sleep(0.001)  # same
    lamp.close()
    assert line.level == 0
    with pytest.raises(gpiozero.PinPWMFixedValue, match="can do up to 1000 Hz"):
        gpiozero.PWMLED("PA1", frequency=20_000, pin_factory=site.factory)


def test_what_a_pin_refuses(site: Site) -> None:
    pin = site.factory.pin("PA0")
    with pytest.raises(gpiozero.PinSetInput):
        pin.state = 1
    with pytest.raises(gpiozero.PinInvalidFunction):
        pin.function = "i2c"
    with pytest.raises(gpiozero.PinInvalidPull):
        pin.pull = "sideways"
    with pytest.raises(gpiozero.PinPWMFixedValue):
        pin.frequency = 100
    with pytest.raises(gpiozero.PinInvalidBounce):
        pin.bounce = -1
    pin.bounce = 0.01
    assert settings(site.first, 0).debounce_period.total_seconds() == 0.01
    pin.function = "output"
    assert (pin.function, pin.state) == ("output", 0)
    with pytest.raises(gpiozero.PinInvalidState):
        pin.state = 2


def test_spi_needs_its_four_pins(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpiozero.Device, "pin_factory", site.factory)  # as whoever opens devices does
    with pytest.raises(gpiozero.PinSPIUnsupported, match="write clock_pin, mosi_pin, miso_pin and select_pin"):
        gpiozero.MCP3008(channel=0, pin_factory=site.factory)
    pins = {"clock_pin": "PA0", "mosi_pin": "PA1", "miso_pin": "PA3", "select_pin": "PB0"}
    chip = gpiozero.MCP3008(channel=0, pin_factory=site.factory, **pins)
    site.first.lines[3].level = 1
    assert chip.value == 1
    assert site.second.lines[0].history[-2:] == [0, 1]
    chip.close()


def test_closing_gives_the_lines_back_and_may_be_done_twice(site: Site) -> None:
    gpiozero.LED("PA0", pin_factory=site.factory)
    site.factory.close()
    site.factory.close()
    assert [line.consumer for line in site.first.lines] == ["", "", "", ""]
    assert site.first.closed
