"""Frames out of a stream of bytes: whole, damaged, endless."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.framing import KINDS, Bad, Framer, Framing

SUMS = ("none", "xor", "sum8", "crc16_modbus", "crc16_ccitt")


def frames(framing: Framing, *pieces: bytes) -> list[bytes | Bad]:
    framer = Framer(framing)
    return [frame for piece in pieces for frame in framer.feed(piece)]


def test_lines_come_in_pieces_of_any_size() -> None:
    assert frames(Framing(), b"a=1\r", b"\nb=", b"2\n\n\nc") == [b"a=1", b"b=2"]
    assert frames(Framing(terminator=b"\r\n"), b"a\nb\r", b"\nc\r\n") == [b"a\nb", b"c"]
    assert frames(Framing(terminator=b";"), b"a;b;") == [b"a", b"b"]


def test_a_line_without_an_end_is_given_up_once_and_the_next_one_is_read() -> None:
    framer = Framer(Framing(most=8))
    assert framer.feed(b"0123456789" * 100) == [Bad("more than 8 bytes without an end: '0123456789012345'")]
    assert framer.held <= 8
    assert framer.feed(b"tail\nok\n") == [b"ok"]


def test_between_start_and_end() -> None:
    framing = Framing("start_end")
    assert frames(framing, b"noise\x02one\x03no", b"ise\x02tw", b"o\x03") == [b"one", b"two"]
    assert frames(framing, b"\x02lost\x02next\x03") == [Bad("half a frame: 'lost'"), b"next"]
    assert frames(Framing("start_end", most=4), b"\x02" + b"x" * 50 + b"\x03\x02ok\x03")[-1] == b"ok"


def test_one_mark_for_both_ends_falls_into_step() -> None:
    framing = Framing("start_end", start=b"~", end=b"~")
    assert frames(framing, b"x~~one~~two~") == [b"one", b"two"]


def test_a_fixed_length_and_what_a_pause_does() -> None:
    framer = Framer(Framing("length", length=3))
    assert framer.feed(b"abcde") == [b"abc"]
    assert framer.idle() == [Bad("half a frame: 'de'")]
    assert framer.feed(b"fgh") == [b"fgh"]
    assert framer.idle() == []


def test_a_length_in_front() -> None:
    assert frames(Framing("prefix"), b"\x02hi\x00\x03y", b"ou") == [b"hi", b"you"]
    little = Framing("prefix", prefix=2, byte_order="little")
    assert frames(little, b"\x02\x00hi") == [b"hi"]
    framer = Framer(Framing("prefix", prefix=2, most=100))
    assert framer.feed(b"\xff\xffgarbage") == [Bad("a length of 65535 bytes; a frame has 100 at most")]
    assert framer.feed(b"\x00\x02ok") == [b"ok"]


def test_a_pause_ends_a_frame() -> None:
    framer = Framer(Framing("gap", most=10))
    assert framer.feed(b"one") == []
    assert framer.feed(b"two") == []
    assert framer.idle() == [b"onetwo"]
    assert framer.idle() == []
    assert framer.feed(b"x" * 25) == [Bad("more than 10 bytes without an end: 'xxxxxxxxxxxxxxxxxxxx'")]
    assert framer.idle() == []
    assert framer.feed(b"ok") == []
    assert framer.idle() == [b"ok"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("gap", [False, True, True, False]), ("line", [False, False, False, False])]
)
def test_a_pause_matters_only_while_something_is_kept_or_left_out(kind: str, expected: list[bool]) -> None:
    framer = Framer(Framing(kind, most=4))
    waits = []
    for data in (b"", b"ab", b"too long"):
        framer.feed(data)
        waits.append(framer.waits)
    framer.idle()
    assert [*waits, framer.waits] == expected


def test_the_checksum_of_a_text_is_hex_after_a_star() -> None:
    framing = Framing(checksum="xor")
    body = b"$GPGLL,5300.97914,N,00259.98174,E,125926,A"
    assert framing.wrap(body) == body + b"*28\n"
    assert frames(framing, body + b"*28\r\n", body + b"*29\r\n", b"$GPGLL\r\n") == [
        body,
        Bad("wrong checksum '29' instead of '28' in '$GPGLL,5300.97914,N,00259.98174,E,125926,A*29'"),
        Bad("there is no checksum in '$GPGLL'"),
    ]


def test_the_checksum_of_bytes_follows_them() -> None:
    framing = Framing("length", length=8, checksum="crc16_modbus")
    whole = bytes.fromhex("010300000001840a")
    assert framing.wrap(whole[:-2]) == whole
    assert frames(framing, whole, whole[:-1] + b"\x0b") == [
        whole[:-2],
        Bad("wrong checksum '840B' instead of '840A' in 01 03 00 00 00 01 84 0b"),
    ]
    gap = Framer(Framing("gap", checksum="crc16_modbus"))
    gap.feed(b"\x01")
    assert gap.idle() == [Bad("there is no checksum in 01")]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kind": "lines"}, "framing 'lines' is not known; known: line, start_end, length, gap, prefix"),
        ({"checksum": "crc"}, "checksum 'crc' is not known; known: none, xor, sum8, crc16_modbus, crc16_ccitt"),
        ({"byte_order": "middle"}, "byte_order is big or little, not 'middle'"),
        ({"most": 0}, "most is 1 to 1048576 bytes, not 0"),
        ({"terminator": b""}, "a line needs a terminator"),
        ({"kind": "start_end", "end": b""}, "start_end needs both start and end"),
        ({"kind": "length"}, "length is 1 to 4096 bytes, not 0"),
        ({"kind": "length", "length": 2, "checksum": "crc16_ccitt"}, "length is 3 to 4096 bytes, not 2"),
        ({"kind": "prefix", "prefix": 3}, "prefix is 1, 2 or 4 bytes, not 3"),
    ],
)
def test_settings_that_do_not_fit_together(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        Framing(**settings)  # type: ignore[arg-type]  # that is what is tested


@pytest.mark.parametrize(
    ("framing", "data", "reason"),
    [
        (Framing(), b"a\nb", "there is a terminator in the middle of it"),
        (Framing(terminator=b"bb"), b"ab", "there is a terminator in the middle of it"),
        (Framing("start_end"), b"a\x03b", "there is an end in the middle of it"),
        (Framing("start_end", end=b"bb"), b"ab", "there is an end in the middle of it"),
        (Framing("start_end"), b"a\x02b", "there is a start in the middle of it"),
        (Framing("length", length=2), b"abc", "it has 3 bytes; a frame has 2"),
        (Framing("prefix"), b"a" * 256, "256 bytes are too many for a length of 8 bits"),
        (Framing(most=3), b"abcd", "4 bytes are more than the 3 of a frame"),
    ],
)
def test_what_cannot_be_sent_as_a_frame(framing: Framing, data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        framing.wrap(data)


def test_the_longest_and_the_shortest_frames() -> None:
    assert Framing(most=3).wrap(b"abc") == b"abc\n"
    assert frames(Framing(most=3), b"abc\nabcd\n") == [b"abc", Bad("more than 3 bytes without an end: 'abcd'")]
    assert frames(Framing("length", length=1), b"a", b"bc") == [b"a", b"b", b"c"]


@given(
    kind=st.sampled_from(["line", "start_end", "prefix"]),
    checksum=st.sampled_from(SUMS),
    bodies=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(1, 30), min_size=1),
)
def test_what_is_wrapped_comes_out_whole_however_it_is_cut(
    kind: str, checksum: str, bodies: list[bytes], cuts: list[int]
) -> None:
    framing = Framing(kind, checksum=checksum)
    if framing.is_text:
        plain = bytes.maketrans(b"\x02\x03\n\r", b"abcd")
        bodies = [body.translate(plain) for body in bodies]
    stream = b"".join(framing.wrap(body) for body in bodies)
    framer, found = Framer(framing), []
    for n in range(len(stream)):
        size = cuts[n % len(cuts)]
        found += framer.feed(stream[:size])
        stream = stream[size:]
    assert found == bodies


@given(
    kind=st.sampled_from(KINDS),
    checksum=st.sampled_from(SUMS),
    chunks=st.lists(st.binary(max_size=100), max_size=30),
    idle=st.booleans(),
)
def test_garbage_never_grows_what_is_kept(kind: str, checksum: str, chunks: list[bytes], idle: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    framer = Framer(Framing(kind, length=20, most=32, checksum=checksum))
    for chunk in chunks:
        for frame in framer.feed(chunk):
            assert isinstance(frame, Bad) or len(frame) <= 32
        assert framer.held <= 40
        if idle:
            framer.idle()
