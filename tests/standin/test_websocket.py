"""RFC 6455 without sockets: what a client may send, and what it may not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.standin.websocket import Close, Event, Frames, Opcode, WebSocketError, accept, close_frame, frame

MASK = b"\x01\x02\x03\x04"
REQUEST = {
    "upgrade": "websocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "mqttv3.1, mqtt",
}


def masked(kind: int, data: bytes, *, last: bool = True, mask: bytes = MASK) -> bytes:
    """Return a frame as a client sends it."""
    size = len(data)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes((0x80 * last | kind,)) + length + mask + bytes(one ^ mask[at % 4] for at, one in enumerate(data))


def test_the_answer_of_the_specifications_own_example() -> None:
    assert accept(REQUEST) == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol": "mqtt",
    }


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("upgrade", "h2c", "for WebSocket"),
        ("connection", "close", "for WebSocket"),
        ("sec-websocket-version", "8", "version of WebSocket must be 13"),
        ("sec-websocket-key", "short", "16 bytes in base64"),
        ("sec-websocket-key", base64.b64encode(bytes(15)).decode(), "16 bytes in base64"),
        ("sec-websocket-protocol", "chat", "sub-protocol must be mqtt"),
    ],
)
def test_requests_that_are_refused(key: str, value: str, words: str) -> None:
    for headers in ({**REQUEST, key: value}, {name: one for name, one in REQUEST.items() if name != key}):
        with pytest.raises(WebSocketError, match=words):
            accept(headers)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4), st.integers(1, 50))
def test_however_the_stream_is_cut(data: bytes, mask: bytes, step: int) -> None:
    stream = masked(2, data, mask=mask) + masked(9, b"?", mask=mask)
    frames = Frames(most=1000)
    events = [event for at in range(0, len(stream), step) for event in frames.feed(stream[at : at + step])]
    assert events == [Event(Opcode.BINARY, data), Event(Opcode.PING, b"?")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_every_form_of_a_length(size: int) -> None:
    assert Frames(most=100_000).feed(masked(2, bytes(size))) == [Event(Opcode.BINARY, bytes(size))]
    out = frame(Opcode.BINARY, bytes(size))
    assert len(out) == size + (2 if size < 126 else 4 if size < 65536 else 10)
    assert out[0] == 0x82
    assert out[1] == min(size, 126 if size < 65536 else 127)


def test_fragments_with_a_ping_in_between() -> None:
    stream = masked(2, b"a", last=False) + masked(9, b"p") + masked(0, b"b", last=False) + masked(0, b"c")
    kinds = [(event.kind, event.data) for event in Frames(most=10).feed(stream + masked(2, b"d"))]
    assert kinds == [
        (Opcode.BINARY, b"a"),
        (Opcode.PING, b"p"),
        (Opcode.BINARY, b"b"),
        (Opcode.BINARY, b"c"),
        (Opcode.BINARY, b"d"),
    ]


def test_nothing_comes_after_a_close() -> None:
    frames = Frames(most=10)
    assert frames.feed(masked(8, b"\x03\xe8bye") + masked(2, b"x")) == [Event(Opcode.CLOSE, code=1000)]
    assert frames.feed(masked(2, b"y")) == []
    assert Frames(most=10).feed(masked(8, b"")) == [Event(Opcode.CLOSE)]
    assert close_frame(Close.GOING_AWAY) == b"\x88\x02\x03\xe9"


@pytest.mark.parametrize(
    ("stream", "code", "words"),
    [
        (b"\x82\x01x", 1002, "without a mask"),
        (b"\xc2\x80" + MASK, 1002, "extension"),
        (b"\x83\x80" + MASK, 1002, "unknown kind 3"),
        (masked(1, b"x"), 1003, "text frame"),
        (masked(0, b"x"), 1002, "out of place"),
        (masked(2, b"x", last=False) + masked(2, b"y"), 1002, "out of place"),
        (masked(9, b"x", last=False), 1002, "control frame"),
        (b"\x89\xfe", 1002, "control frame"),
        (masked(2, bytes(101)), 1009, "a frame of 101 bytes; 100 are allowed"),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1002, "shortest form"),
        (b"\x82\xfe\x00\x05", 1002, "shortest form"),
        (masked(8, b"\x03"), 1002, "code that may not be sent"),
        (masked(8, b"\x03\xed"), 1002, "code that may not be sent"),
        (masked(8, b"\x03\xe8\xff"), 1002, "no UTF-8"),
    ],
)
def test_what_a_client_may_not_send(stream: bytes, code: int, words: str) -> None:
    with pytest.raises(WebSocketError, match=words) as caught:
        Frames(most=100).feed(stream)
    assert caught.value.code == code


def test_a_frame_too_large_is_refused_by_its_header() -> None:
    with pytest.raises(WebSocketError) as caught:
        Frames(most=1000).feed(b"\x82\xfe\xff\xff")
    assert caught.value.code == Close.TOO_BIG
