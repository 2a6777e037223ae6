"""Event stream frames: as they were recorded, as hypothesis invents them, and as a broken peer sends them."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import LimitError
from edge_runtime.pure.eventstream import (
    LEAST_BYTES,
    MOST_BYTES,
    Decoder,
    Frame,
    Header,
    Kind,
    decode,
    encode,
    number,
    text,
)

_LINES = (Path(__file__).parent / "data" / "greengrass-ipc-frames.jsonl").read_text(encoding="utf-8").splitlines()
RECORDED = [record for record in map(json.loads, _LINES) if "hex" in record]
"""Between the AWS IoT Device SDK's Greengrass client and nucleus lite 2.6.0; the token is long void."""

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
HEADERS = st.one_of(
    st.builds(Header, NAMES, st.just(Kind.TRUE), st.just(True)),
    st.builds(Header, NAMES, st.just(Kind.FALSE), st.just(False)),
    st.builds(Header, NAMES, st.just(Kind.INT8), st.integers(-(2**7), 2**7 - 1)),
    st.builds(Header, NAMES, st.just(Kind.INT16), st.integers(-(2**15), 2**15 - 1)),
    st.builds(Header, NAMES, st.just(Kind.INT32), st.integers(-(2**31), 2**31 - 1)),
    st.builds(Header, NAMES, st.just(Kind.INT64), st.integers(-(2**63), 2**63 - 1)),
    st.builds(Header, NAMES, st.just(Kind.TIMESTAMP), st.integers(-(2**63), 2**63 - 1)),
    st.builds(Header, NAMES, st.just(Kind.BYTES), st.binary(max_size=300)),
    st.builds(Header, NAMES, st.just(Kind.STRING), st.text(st.characters(exclude_categories=["Cs"]), max_size=100)),
    st.builds(Header, NAMES, st.just(Kind.UUID), st.binary(min_size=16, max_size=16)),
)
FRAMES = st.builds(Frame, st.lists(HEADERS, max_size=6).map(tuple), st.binary(max_size=500))


def test_all_of_the_recording_is_here() -> None:
    assert len(RECORDED) == 32


@pytest.mark.parametrize("record", RECORDED, ids=range(len(RECORDED)))
def test_recorded_frames_are_read_and_written_bit_for_bit(record: dict[str, object]) -> None:
    raw = bytes.fromhex(str(record["hex"]))
    frame = decode(raw)
    assert [[h.name, int(h.kind), h.value] for h in frame.headers] == record["headers"]
    assert frame.payload.decode() == record["payload"]
    assert encode(frame) == raw


@given(FRAMES)
def test_what_was_written_is_read(frame: Frame) -> None:
    again = decode(encode(frame))
    assert again == frame
    assert [type(h.value) for h in again.headers] == [type(h.value) for h in frame.headers]


@given(st.lists(FRAMES, max_size=4), st.data())
def test_frames_may_arrive_in_any_pieces(frames: list[Frame], data: st.DataObject) -> None:
    raw = b"".join(map(encode, frames))
    decoder, found, at = Decoder(), [], 0
    while at < len(raw):
        size = data.draw(st.integers(1, len(raw) - at))
        found += list(decoder.feed(raw[at : at + size]))
        at += size
    assert (found, decoder.pending) == (frames, 0)


@given(FRAMES, st.data())
def test_a_flipped_bit_never_passes(frame: Frame, data: st.DataObject) -> None:
    raw = bytearray(encode(frame))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LimitError):
        decode(bytes(raw))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frames_raise_nothing_else(raw: bytes) -> None:
    try:
        list(Decoder().feed(raw))
    except LimitError as error:
        assert str(error)  # noqa: PT017 - most inputs raise, and some short ones may wait for more


def sealed(headers: bytes, payload: bytes = b"", claim: int | None = None) -> bytes:
    """Return a frame around these bytes of headers, whatever they are, with CRCs that match."""
    lengths = struct.pack(">II", LEAST_BYTES + len(headers) + len(payload), len(headers) if claim is None else claim)
    whole = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


@given(st.binary(max_size=80))
def test_headers_of_any_bytes_raise_nothing_else(raw: bytes) -> None:
    try:
        frame = decode(sealed(raw))
    except LimitError:
        return
    assert encode(frame) == sealed(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (sealed(b"\x00\x00"), "a header has no name"),
        (sealed(b"\x01a\x0a"), "header b'a' has the unknown type 10"),
        (sealed(b"\x01a"), "the headers of a frame end 1 bytes too early"),
        (sealed(b"\x05a"), "the headers of a frame end 4 bytes too early"),
        (sealed(b"\x01a\x04\x00"), "the headers of a frame end 3 bytes too early"),
        (sealed(b"\x01a\x07\x00\x09x"), "the headers of a frame end 8 bytes too early"),
        (sealed(b"\x01\xff\x00"), "a header is not UTF-8: invalid start byte at byte 0"),
        (sealed(b"", b"abc", claim=4), "a frame of 19 bytes announces 4 bytes of headers"),
        (encode(Frame()) + b"x", "17 bytes hold 1 frames and 1 bytes more, not one frame"),
        (b"", "0 bytes hold 0 frames and 0 bytes more, not one frame"),
    ],
)
def test_what_is_said_of_a_broken_frame(raw: bytes, message: str) -> None:
    with pytest.raises(LimitError) as caught:
        decode(raw)
    assert str(caught.value) == message


def test_a_frame_that_announces_too_much_is_not_waited_for() -> None:
    raw = encode(Frame((), bytes(100)))
    with pytest.raises(LimitError, match="a frame announces 116 bytes; 115 are allowed"):
        list(Decoder(115).feed(raw[:12]))
    assert list(Decoder(116).feed(raw)) == [Frame((), bytes(100))]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame((number("n", 2**31),)), "header 'n': 2147483648 does not fit INT32"),
        (Frame((text("", "x"),)), "the name of a header has 0 bytes; it must have 1 to 255"),
        (Frame((text("ä" * 128, "x"),)), "the name of a header has 256 bytes; it must have 1 to 255"),
        (Frame((text("t", "x" * 32_768),)), "header 't' has 32768 bytes; 32767 are allowed"),
        (Frame((text("t", "\ud800"),)), "'\\ud800' cannot be written as UTF-8"),
        (Frame((Header("u", Kind.UUID, b"short"),)), "header 'u': bytes is not a value of type UUID"),
        (Frame((Header("b", Kind.TRUE, False),)), "header 'b': bool is not a value of type TRUE"),
        (Frame((Header("b", Kind.INT8, True),)), "header 'b': bool is not a value of type INT8"),
        (Frame((text("t", "x" * 32_000),) * 5), "the headers of a frame have 160025 bytes; 131072 are allowed"),
        (Frame((), bytes(MOST_BYTES)), "a frame has 25165840 bytes; 25165824 are allowed"),
    ],
)
def test_what_does_not_fit_is_not_written(frame: Frame, message: str) -> None:
    with pytest.raises(LimitError) as caught:
        encode(frame)
    assert str(caught.value) == message


def test_headers_are_found_by_name_and_type() -> None:
    frame = Frame((number(":stream-id", 7), text("operation", "x"), Header("on", Kind.TRUE, True)))
    assert (frame.number(":stream-id"), frame.number("operation", -1), frame.number("on"), frame.number("none")) == (
        7,
        -1,
        0,
        0,
    )
    assert (frame.text("operation"), frame.text(":stream-id"), frame.text("none")) == ("x", "", "")
