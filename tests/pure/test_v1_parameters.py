"""Parameters as V1 has them: texts."""

from __future__ import annotations

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.pure import v1_parameters as parameters


def test_texts_and_plain_values_are_the_same() -> None:
    assert (parameters.whole({"a": "5"}, "a", 1, 9), parameters.whole({"a": 5}, "a", 1, 9)) == (5, 5)
    assert (parameters.whole({}, "a", 1, 9), parameters.whole({"a": ""}, "a", 1, 9)) == (None, None)
    assert [parameters.switch({"a": value}, "a") for value in (True, "TRUE", "false", "")] == [True, True, False, None]
    assert (parameters.word({"a": "HEX"}, "a", ["hex"]), parameters.word({}, "a", ["hex"])) == ("hex", "")
    assert parameters.port({"a": "/dev/serial/by-id/usb-FTDI_A:1.0"}, "a") == "/dev/serial/by-id/usb-FTDI_A:1.0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": "x"}, "a 'x' is no whole number from 1 to 9"),
        ({"a": 10}, "a 10 is no whole number from 1 to 9"),
        ({"a": True}, "a True is no whole number from 1 to 9"),
    ],
)
def test_wrong_numbers(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parameters.whole(given, "a", 1, 9)
    assert str(error.value) == message


def test_wrong_words() -> None:
    for message, call in (
        ("a 'yes' is neither true nor false", lambda: parameters.switch({"a": "yes"}, "a")),
        ("a 'b' is not one of hex", lambda: parameters.word({"a": "b"}, "a", ["hex"])),
        ("the parameter b is missing", lambda: parameters.needed({"a": 1, "b": ""}, "a", "b")),
        ("a 'COM1' is no device file", lambda: parameters.port({"a": "COM1"}, "a")),
        (
            "there is no parameter 'Baudrate'; did you mean 'BaudRate'?",
            lambda: parameters.known({"Baudrate": 1}, ["BaudRate"]),
        ),
    ):
        with pytest.raises(ConfigError) as error:
            call()
        assert str(error.value) == message


def test_the_json_of_a_request() -> None:
    deepest = b"[" * 15 + b"]" * 15
    assert parameters.request(b'{"id": "a"}') == {"id": "a"}
    assert isinstance(parameters.request(deepest), list)
    for payload, message in (
        (b"{", "the request is no JSON: "),
        (b"\xff", "the request is no JSON: "),
        (b"[" * 100_000, "the request is no JSON: "),
        (b"[%s]" % deepest, "the request is nested deeper than 15 levels"),
    ):
        with pytest.raises(ConfigError) as error:
            parameters.request(payload)
        assert str(error.value).startswith(message)
