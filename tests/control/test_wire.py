"""The lines, errors and addresses of the control socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.control import wire
from edge_runtime.errors import ConfigError, EdgeError, FunctionError, NotFoundError, RefusedError


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))
def test_a_message_is_one_ascii_line_and_comes_back(message: dict[str, object]) -> None:
    line = wire.encode(message)
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert wire.decode(line) == message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "no JSON"),
        (b"nonsense\n", "no JSON"),
        (b"\xff\n", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1]\n", "a JSON list and no object"),
        (b"null\n", "a JSON NoneType and no object"),
    ],
)
def test_a_line_that_is_no_object_is_a_config_error(line: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        wire.decode(line)


@given(st.binary())
def test_bytes_come_back_from_base64(data: bytes) -> None:
    assert wire.unpack(wire.pack(data)) == data


@pytest.mark.parametrize("text", ["a", "a b=", "äöü", 7, None])
def test_what_is_no_base64_is_a_config_error(text: object) -> None:
    with pytest.raises(ConfigError, match="base64"):
        wire.unpack(text)


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no such thing", hint="edge status"),
        FunctionError("it failed", kind="Runtime.ExitError"),
        RefusedError("not allowed", code=0x87, hint="read the policy"),
    ],
)
def test_an_error_keeps_its_class_and_all_it_knows(error: EdgeError) -> None:
    again = wire.error_from_json(json.loads(json.dumps(wire.error_to_json(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_an_error_of_a_newer_host_is_still_an_error() -> None:
    unknown = wire.error_from_json({"kind": "OtherError", "message": "words", "hint": "do this"})
    assert type(unknown) is EdgeError
    assert (str(unknown), unknown.hint) == ("words", "do this")
    more = wire.error_from_json({"kind": "NotFoundError", "message": "words", "more": {"shelf": 3}})
    assert type(more) is NotFoundError


def test_a_kind_cannot_name_just_any_class() -> None:
    assert type(wire.error_from_json({"kind": "annotations", "message": "x"})) is EdgeError


def test_a_short_path_is_its_own_address(tmp_path: Path) -> None:
    with wire.address(tmp_path / "s") as name:
        assert name == str(tmp_path / "s")


def test_a_long_path_gets_an_address_that_a_socket_takes(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, wire.address(folder / "s") as name:
        assert len(name) <= 107
        listener.bind(name)
    assert (folder / "s").is_socket()


def test_a_long_path_into_nowhere_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), wire.address(tmp_path / ("d" * 120) / "s"):
        pass
