"""The parts of boards, and being on or off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, close, open_devices
from edge_runtime.devices import parts as board_parts

SPECS = [
    Device("board", "LEDBoard", {"pins": [1, 2], "red": 3}),
    Device("fish", "FishDish"),
    Device("motor", "Motor", {"forward": 5, "backward": 6, "enable": 12}),
    Device("pad", "ButtonBoard", {"pins": [13, 16]}),
    Device("rgb", "RGBLED", {"red": 17, "green": 18, "blue": 19}),
    Device("mixed", "CompositeOutputDevice", {
        "arm": {"driver": "Servo", "pin": 20},
        "tune": {"driver": "TonalBuzzer", "pin": 21, "initial_value": 0},
        "wheel": {"driver": "Motor", "forward": 24, "backward": 25},
    }),
]  # fmt: skip


@pytest.fixture
def devices() -> Iterator[dict[str, Any]]:
    opened: list[OpenDevice] = open_devices(SPECS, simulate=True)
    yield {one.name: one.device for one in opened}
    close(opened)


def test_parts_have_names_or_numbers(devices: dict[str, Any]) -> None:
    found = {name: list(board_parts.parts(device)) for name, device in devices.items()}
    assert found == {
        "board": ["0", "1", "red"],
        "fish": ["lights", "buzzer", "button"],
        "motor": [],
        "pad": ["0", "1"],
        "rgb": ["red", "green", "blue"],
        "mixed": ["arm", "tune", "wheel"],
    }
    assert list(board_parts.outputs(devices["fish"])) == ["lights", "buzzer"]
    assert list(board_parts.outputs(devices["pad"])) == []
    assert len(list(board_parts.leaves(devices["fish"]))) == 4
    assert list(board_parts.leaves(devices["motor"])) == [devices["motor"]]


def test_a_pressed_button_does_not_make_a_board_be_on(devices: dict[str, Any]) -> None:
    fish = devices["fish"]
    fish.button.pin.drive_high()
    assert fish.button.value == 1
    assert not board_parts.is_on(fish)
    fish.buzzer.on()
    assert board_parts.is_on(fish)


def test_all_parts_of_a_mixed_board_are_switched_off(devices: dict[str, Any]) -> None:
    mixed = devices["mixed"]
    mixed.wheel.forward()
    assert tuple(mixed.value) == (0, 0, 1)
    assert board_parts.is_on(mixed)
    board_parts.turn_off(mixed)  # gpiozero's own `off` passes over all three
    assert tuple(mixed.value) == board_parts.off_of(mixed) == (None, None, 0)
    assert not board_parts.is_on(mixed)


def test_a_part_that_fails_does_not_keep_the_others_on(devices: dict[str, Any]) -> None:
    board = devices["board"]
    board.on()
    board[0].close()
    with pytest.raises(Exception, match="LED is closed"):
        board_parts.turn_off(board)
    assert [led.value for led in board[1:]] == [0, 0]


@pytest.mark.parametrize(
    ("value", "off"),
    [
        (1, 0),
        (0.5, 0),
        (True, False),
        ("on", "off"),
        ("hello", ""),
        ((1, 0), (0, 0)),
        ({"a": 1}, {"a": 0}),
        (None, None),
    ],
)
def test_what_off_is_for_a_value(value: object, off: object) -> None:
    assert board_parts.zero(value) == off
    assert board_parts.differs(value) is (value is not None)
    assert not board_parts.differs(off)
