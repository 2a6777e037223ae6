"""Commands with a time, and which of them ask for the safe value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.pure.guard_command import Command, read


@pytest.mark.parametrize(
    ("payload", "command"),
    [
        (b"on", Command("on", b"on")),
        (b" toggle\n", Command("toggle", b" toggle\n")),
        (b"0.5", Command(0.5, b"0.5")),
        (b'{"value": 1}', Command({"value": 1}, b'{"value": 1}')),
        (b'{"value": 1, "for": 10}', Command({"value": 1}, b'{"value": 1}', 10)),
        (b'{"do": "blink", "n": 3, "for": "1m30s"}', Command({"do": "blink", "n": 3}, b'{"do": "blink", "n": 3}', 90)),
        (b'{"do": "go", "n": NaN}', Command('{"do": "go", "n": NaN}', b'{"do": "go", "n": NaN}')),
        (b"1e999", Command("1e999", b"1e999")),
        (b"\xff", Command("\ufffd", b"\xff")),
    ],
)
def test_what_is_read(payload: bytes, command: Command) -> None:
    assert read("pump", payload) == command


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ('"soon"', "device 'pump' cannot read the time of its command: 'soon' is no duration"),
        ("null", "device 'pump' cannot read the time of its command: None is no duration"),
        ("true", "device 'pump' cannot read the time of its command: True is no duration"),
        ("-1", "device 'pump' cannot read the time of its command: -1 is no duration"),
        ("0", "device 'pump' is to be on for 0: that is no time"),
        ('"0s"', "device 'pump' is to be on for '0s': that is no time"),
    ],
)
def test_a_time_that_is_none(time: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read("pump", f'{{"value": 1, "for": {time}}}'.encode())
    assert str(caught.value).startswith(words)
    assert caught.value.hint == 'as in {"value": 1, "for": 10} or {"do": "on", "for": "10s"}'


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_whatever_comes_is_read_or_refused(payload: bytes) -> None:
    try:
        command = read("pump", payload)
    except ConfigError:
        return
    if not command.for_s:
        assert command.payload == payload


@pytest.mark.parametrize(
    ("asked", "safe", "rest", "turns_on", "wants_on", "on"),
    [
        ("on", None, 0, True, False, True),
        ("off", "off", 0, False, True, False),
        ({"do": "blink"}, False, 0, True, False, True),
        (0, None, None, True, False, True),  # the middle of a servo
        ("toggle", None, 0, True, True, False),  # what is going to be on is turned over, whatever it is now
        ({"do": "toggle"}, None, 0, True, False, True),
        ({"value": "toggle"}, None, 0, False, False, True),
        (1, True, 1, True, True, False),
        ("on", True, 1, True, True, False),
        ({"value": "on"}, True, 1, True, True, False),
        ("off", True, 1, False, False, True),
        (0.25, 0.25, 0.251, True, True, False),
        ([1, 0], [1, 0], (1, 0), True, True, False),
        ({"value": 1, "part": "red"}, [1, 0], (1, 0), True, False, True),
        ({"do": "blink"}, True, 1, True, False, True),
    ],
)
def test_what_asks_for_something_else_than_the_safe_value(
    *, asked: object, safe: object, rest: object, turns_on: bool, wants_on: bool, on: bool
) -> None:
    command = Command(asked, json.dumps(asked).encode())
    assert command.is_on(safe, rest, turns_on=turns_on, wants_on=wants_on) is on


@pytest.mark.parametrize(
    ("asked", "safe", "plainly"),
    [
        ("off", None, True),
        ({"do": "off"}, False, True),
        ({"value": "off"}, "off", True),
        ("off", True, False),
        ({"do": "off", "part": "red"}, None, False),
        (0, None, False),
    ],
)
def test_off_needs_nobody_to_be_asked(*, asked: object, safe: object, plainly: bool) -> None:
    assert Command(asked, b"").is_plainly_safe(safe) is plainly
