"""The data types of MQTT."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.standin.codes import Code, CodecError
from edge_runtime.standin.primitives import MOST_VARINT, Reader, binary, decode_text, integer, text, varint


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (2_097_152, b"\x80\x80\x80\x01"),
        (268_435_455, b"\xff\xff\xff\x7f"),
    ],
)
def test_variable_byte_integers_as_in_table_1_1(value: int, raw: bytes) -> None:
    assert varint(value) == raw
    assert Reader(raw).varint() == value


@given(st.integers(0, MOST_VARINT))
def test_a_variable_byte_integer_comes_back(value: int) -> None:
    reader = Reader(varint(value) + b"x")
    assert (reader.varint(), reader.rest()) == (value, b"x")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xff\xff\xff\xff\x01", "more than four bytes"),
        (b"\x80\x00", "longer than it needs to be"),
        (b"\x80", "ends 1 bytes too early"),
    ],
)
def test_broken_variable_byte_integers(raw: bytes, words: str) -> None:
    with pytest.raises(CodecError, match=words):
        Reader(raw).varint()


def test_a_value_too_great_for_the_wire() -> None:
    with pytest.raises(CodecError, match="268435456 does not fit") as caught:
        varint(268_435_456)
    assert caught.value.code is Code.PACKET_TOO_LARGE


def test_integers_strings_and_what_is_left() -> None:
    reader = Reader(b"\x01\x02\x03\x04\x05\x06\x07" + text("é") + binary(b"\xff") + b"!")
    assert (reader.byte(), reader.two(), reader.four()) == (1, 0x0203, 0x04050607)
    assert (reader.text(), reader.binary(), reader.left) == ("é", b"\xff", 1)
    with pytest.raises(CodecError, match="1 bytes too many"):
        reader.finish()
    assert reader.rest() == b"!"
    reader.finish()


def test_a_reader_does_not_look_beyond_its_end() -> None:
    reader = Reader(b"\x00\x05hello", 0, 4)
    with pytest.raises(CodecError, match="runs over the end"):
        reader.text()
    with pytest.raises(CodecError, match="ends 3 bytes too early"):
        Reader(b"\x00\x05hello", 0, 4).binary()


@pytest.mark.parametrize("raw", [b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xff", b"a\0b"])
def test_text_is_strict(raw: bytes) -> None:
    with pytest.raises(CodecError):
        decode_text(raw)


def test_a_byte_order_mark_is_text_like_any_other() -> None:
    assert decode_text(b"\xef\xbb\xbf") == "\ufeff"


def test_packet_identifier_0_is_refused() -> None:
    with pytest.raises(CodecError, match="packet identifier 0"):
        Reader(b"\0\0").packet_id()


def test_lengths_are_checked_when_writing() -> None:
    assert len(binary(bytes(65535))) == 65537
    with pytest.raises(CodecError, match="65536 bytes; MQTT allows 65535"):
        binary(bytes(65536))
    with pytest.raises(CodecError, match="256 does not fit 1 bytes"):
        integer(256, 1)
