"""Serial ports over pseudo-terminals: read, pulled out, plugged in, flooded, silent."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.devices.serial_port import SerialReader, Settings, why_not
from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.pure.framing import Framing
from tests.devices.lines import Heard, Plug


class Reader(SerialReader):
    """Hands over frames as text; `nothing` is no reading, `wrong` no frame, and `odd` more than it can do."""

    def _reading(self, data: bytes) -> object | None:
        if data == b"wrong":
            raise ValueError("that is wrong")
        if data == b"odd":
            raise KeyError("level")
        return None if data == b"nothing" else data.decode("latin-1")


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    made = Plug(tmp_path)
    yield made
    made.unplug()


def threads(port: str) -> int:
    return sum(thread.name == f"serial[{port}]" for thread in threading.enumerate())


def test_frames_are_handed_over_as_they_come(plug: Plug) -> None:
    reader, heard = Reader(Settings(plug.port), Framing()), Heard()
    try:
        with pytest.raises(DeviceError, match=f"^{plug.port}: nothing has come yet$"):
            _ = reader.value
        reader.when_read = heard
        plug.say(b"one\r\nnothing\ntw")
        assert heard.next() == "one"
        plug.say(b"o\nwrong\nthree\n")
        assert heard.next() == "two"
        assert str(heard.next()) == f"{plug.port}: that is wrong (bad frame 1 since it was opened)"
        assert heard.next() == "three"
        assert (reader.value, reader.bad_frames) == ("three", 1)
        assert reader.wiring == f"{plug.port} 9600 8N1"
    finally:
        reader.close()
        reader.close()
    assert threads(plug.port) == 0


def test_a_driver_that_fails_at_a_frame_reads_the_next_one(plug: Plug) -> None:
    reader, heard = Reader(Settings(plug.port), Framing()), Heard()
    try:
        reader.when_read = heard
        plug.say(b"odd\nnext\n")
        assert str(heard.next()) == f"{plug.port}: KeyError: 'level' (bad frame 1 since it was opened)"
        assert heard.next() == "next"
    finally:
        reader.close()


def test_a_port_that_goes_is_a_fault_and_is_opened_again_when_it_is_back(plug: Plug) -> None:
    reader, heard = Reader(Settings(plug.port), Framing()), Heard()
    try:
        reader.when_read = heard
        plug.say(b"before\nhalf a fra")
        assert heard.next() == "before"
        plug.unplug()
        assert str(heard.next()).startswith(f"{plug.port}: it went away")
        with pytest.raises(DeviceError, match=r"it went away|is not there"):
            _ = reader.value
        assert str(heard.next()) == f"{plug.port} is not there"
        with pytest.raises(DeviceError, match="is not there"):
            reader._port.send(b"x")
        late = Heard()
        reader.when_read = late  # whoever listens from now on is told that there is nothing
        assert str(late.next()) == f"{plug.port} is not there"
        plug.plug()
        assert late.reading_after(lambda: plug.say(b"after\n")) == "after"
        assert reader.value == "after"
    finally:
        reader.close()


def test_a_flood_without_an_end_is_given_up_and_what_follows_is_read(plug: Plug) -> None:
    reader, heard = Reader(Settings(plug.port), Framing(most=100)), Heard()
    try:
        reader.when_read = heard
        plug.say(b"\x00\xff" * 200_000)
        plug.say(b"\nok\n")
        assert "more than 100 bytes without an end" in str(heard.next())
        assert heard.next() == "ok"
        assert reader.bad_frames == 1
    finally:
        reader.close()


def test_a_pause_ends_a_frame_or_forgets_half_of_one(plug: Plug) -> None:
    heard = Heard()
    reader = Reader(Settings(plug.port), Framing("gap"), gap_s=0.05)
    try:
        reader.when_read = heard
        plug.say(b"by a pause")
        assert heard.next() == "by a pause"
    finally:
        reader.close()
    reader = Reader(Settings(plug.port), Framing("length", length=4), gap_s=0.05)
    try:
        reader.when_read = heard
        plug.say(b"123456")
        assert heard.next() == "1234"
        assert "half a frame: '56'" in str(heard.next())
        plug.say(b"abcd")
        assert heard.next() == "abcd"
    finally:
        reader.close()


def test_silence_is_a_fault_where_it_is_declared_one(plug: Plug) -> None:
    reader, heard = Reader(Settings(plug.port), Framing(), silence_s=0.05), Heard()
    try:
        reader.when_read = heard
        assert str(heard.next()) == f"{plug.port}: nothing has come for 0.05 s"
        plug.say(b"hello\n")
        assert heard.until(lambda value: isinstance(value, str)) == "hello"
    finally:
        reader.close()


def test_a_port_has_one_user(plug: Plug) -> None:
    reader = Reader(Settings(plug.port), Framing())
    try:
        with pytest.raises(DeviceError, match=f"^{plug.port} is in use by another program$"):
            Reader(Settings(plug.port), Framing())
    finally:
        reader.close()
    Reader(Settings(plug.port), Framing()).close()


def test_why_a_port_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="ttyUSB9 is not there") as error:
        Reader(Settings(str(tmp_path / "ttyUSB9")), Framing())
    assert "/dev/serial/by-id" in error.value.hint
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeviceError, match="file cannot be opened: "):
        Reader(Settings(str(tmp_path / "file")), Framing())
    denied = why_not("/dev/ttyS0", PermissionError(errno.EACCES, "Permission denied"))
    assert str(denied) == "/dev/ttyS0 may not be opened by this user: it is not in the group dialout"
    assert "usermod -aG dialout" in denied.hint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": ""}, "port '' is no text"),
        ({"port": "ttyUSB0"}, "port 'ttyUSB0' is no device file"),
        ({"port": "/dev/x", "baud_rate": "9600"}, "baud_rate '9600' is no whole number from 50 to 4000000"),
        ({"port": "/dev/x", "parity": "N"}, "parity 'N' is not known"),
        ({"port": "/dev/x", "bytesize": 9}, "bytesize 9 is no whole number from 5 to 8"),
        ({"port": "/dev/x", "stop_bits": 3}, "stop_bits 3 is not one of 1, 1.5, 2"),
    ],
)
def test_settings_that_no_port_can_have(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings(**settings)  # type: ignore[arg-type]  # that is what is tested
    assert str(error.value) == message
