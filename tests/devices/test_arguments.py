"""What a person may write as an argument of a driver."""

from __future__ import annotations

import pytest

from edge_runtime.devices import arguments
from edge_runtime.errors import ConfigError


def test_what_is_right_is_returned() -> None:
    assert arguments.whole("n", 5, 1, 5) == 5
    assert arguments.word("w", "a", {"a": 1, "b": 2}) == "a"
    assert arguments.text("t", "", empty=True) == ""
    assert arguments.switch("s", value=True) is True
    assert arguments.seconds("d", "250ms") == 0.25
    assert arguments.size("z", "2KB") == 2000


@pytest.mark.parametrize(
    ("check", "message", "hint"),
    [
        (lambda: arguments.whole("n", "5", 1, 9), "n '5' is no whole number from 1 to 9", "as in n: 1"),
        (lambda: arguments.whole("n", True, 0, 9), "n True is no whole number from 0 to 9", "as in n: 1"),
        (lambda: arguments.whole("n", 10, 50, 90), "n 10 is no whole number from 50 to 90", "as in n: 50"),
        (
            lambda: arguments.word("p", "non", ["none", "even"]),
            "p 'non' is not known; did you mean 'none'?",
            "none, even",
        ),
        (lambda: arguments.text("t", ""), "t '' is no text", 'as in t: "..."'),
        (lambda: arguments.text("t", 5), "t 5 is no text", 'as in t: "..."'),
        (lambda: arguments.switch("s", "yes"), "s 'yes' is neither true nor false", "write s: true"),
        (lambda: arguments.seconds("d", "1x"), "d: '1x' is no duration", ""),
        (lambda: arguments.seconds("d", "1h", 0, 60), "d '1h' is not from 0 to 60 s", ""),
        (lambda: arguments.size("z", -1), "z: -1 is no size", ""),
        (lambda: arguments.size("z", 3, 4), "z 3 is too small; at least 4 bytes", ""),
    ],
)
def test_what_is_wrong_says_what_would_do(check, message: str, hint: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - lambdas
    with pytest.raises(ConfigError) as error:
        check()
    assert str(error.value).startswith(message)
    assert hint in error.value.hint


def test_a_number_in_hex() -> None:
    assert arguments.hex_number("register", 0x1F, 0, 0xFF) == 31
    for bad, shown in ((0x100, "0x100"), ("5", "'5'"), (True, "True"), (1.0, "1.0")):
        with pytest.raises(ConfigError) as error:
            arguments.hex_number("register", bad, 0, 0xFF)
        assert str(error.value) == f"register {shown} is no number from 0x00 to 0xff"
        assert error.value.hint == "write it without quotes, as in register: 0x00"


def test_one_of_few() -> None:
    arguments.one_of("rate", 8, (8, 16))
    arguments.one_of("gain", "2/3", {"2/3": 0, 1: 1})
    for bad in (9, True, [8], None, 8.0):
        with pytest.raises(ConfigError) as error:
            arguments.one_of("rate", bad, (8, 16, 1))
        assert str(error.value) == f"rate {bad!r} is none of 8, 16, 1"
