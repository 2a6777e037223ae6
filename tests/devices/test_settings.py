"""What setting an output to a value comes to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import apply, close, open_devices, settings
from edge_runtime.devices.opening import OpenDevice
from edge_runtime.errors import ConfigError

SEGMENTS = [5, 6, 13, 19, 26, 16, 20]
SPECS = [
    Device("board", "LEDBoard", {"red": 1, "arms": {"driver": "LEDBoard", "left": 2, "right": 3}}),
    Device("clock", "LEDMultiCharDisplay", {
        "char": {"driver": "LEDCharDisplay", "pins": SEGMENTS, "dp": 21}, "pins": [22, 23, 24],
    }),
    Device("wheel", "Motor", {"forward": 10, "backward": 11, "pwm": False}),
    Device("bar", "LEDBarGraph", {"pins": [7, 8]}),
]  # fmt: skip


@pytest.fixture
def opened() -> Iterator[dict[str, OpenDevice]]:
    devices = open_devices(SPECS, simulate=True)
    yield {device.name: device for device in devices}
    close(devices)


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("board", b"[[1, 0], 1]", ((1, 0), 1)),
        ("board", b'{"value": {"arms": {"right": 1}}}', ((0, 1), 0)),
        ("board", b'{"value": [0, true], "part": "arms"}', ((0, 1), 0)),
        ("clock", b'"12.3"', ("1", "2.", "3")),
        ("clock", b"12.3", ("1", "2.", "3")),
        ("clock", b"HI", (" ", "H", "I")),
        ("clock", b'["1", " ", "3."]', ("1", " ", "3.")),
        ("clock", b'""', (" ", " ", " ")),
        ("wheel", b"-1", -1),
        ("bar", b"0.5", 0.5),
    ],
)
def test_values_of_displays_and_boards(
    opened: dict[str, OpenDevice], name: str, payload: bytes, expected: object
) -> None:
    assert apply(opened[name], payload) == expected


@pytest.mark.parametrize(
    ("name", "payload", "message", "hint"),
    [
        ("board", b"[1, 2, 3]", "has 2 parts and does not take [1, 2, 3]", "send a list of 2, for arms, red"),
        ("board", b"[[0, 1], 2]", "does not take 2", "send true or false"),
        ("board", b"[1, 1]", "has 2 parts and does not take 1", "send a list of 2, for left, right"),
        ("board", b'{"value": {"leg": 1}}', "has no part 'leg'", "its parts: arms, red"),
        ("clock", b"1234", "has 3 digits and does not take 1234", ""),
        ("clock", b"K", "does not take 'K'", "it shows:   0 1 2 3"),
        ("clock", b"[1, 2]", "does not take [1, 2]", "it shows:   0 1 2 3"),
        ("clock", b'{"do": "on"}', "knows no 'on'", "send off, a value"),
        ("wheel", b"0.5", "does not take 0.5: forward speed must be 0 or 1 with non-PWM Motors", ""),
        ("bar", b"[1, 0]", "does not take [1, 0]", "send a number from -1 to 1"),
    ],
)
def test_nothing_moves_when_a_part_does_not_take_its_value(
    opened: dict[str, OpenDevice], name: str, payload: bytes, message: str, hint: str
) -> None:
    before = opened[name].device.value
    with pytest.raises(ConfigError) as error:
        apply(opened[name], payload)
    assert str(error.value) == f"device {name!r} ({opened[name].spec.driver}) {message}"
    assert error.value.hint.startswith(hint)
    assert opened[name].device.value == before


def test_what_can_be_set_in_words(opened: dict[str, OpenDevice]) -> None:
    words = {name: settings.words(one.device) for name, one in opened.items()}
    assert words == {
        "board": "a list of 2, for arms, red",
        "clock": "a text of up to 3 characters",
        "wheel": "a number from -1 to 1",
        "bar": "a number from -1 to 1",
    }


def test_a_plan_names_single_outputs(opened: dict[str, OpenDevice]) -> None:
    board: Any = opened["board"].device
    assert settings.plan("x", board, {"arms": [1, 0]}) == [(board.arms.left, 1), (board.arms.right, 0)]
    assert [settings.takes_text(opened[name].device) for name in ("clock", "board")] == [True, False]
