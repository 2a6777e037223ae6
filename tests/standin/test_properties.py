"""The properties of MQTT 5. That each comes back as it was is shown in test_codec."""

from __future__ import annotations

import pytest

from edge_runtime.standin.codes import Code, CodecError
from edge_runtime.standin.packets import Kind
from edge_runtime.standin.primitives import Reader
from edge_runtime.standin.properties import (
    NO_PROPERTIES,
    WILL,
    read_properties,
    user_properties,
    write_properties,
)


def read(raw: str, place: int = Kind.PUBLISH) -> object:
    return read_properties(Reader(bytes.fromhex(raw)), place)


def test_none_are_one_shared_object() -> None:
    assert read("00") is NO_PROPERTIES
    assert write_properties({}, Kind.PUBLISH) == b"\0"


def test_user_properties_keep_their_order_and_may_repeat() -> None:
    raw = write_properties({"user": [("b", "1"), ("a", "2"), ("b", "3")]}, Kind.PUBLISH)
    found = read_properties(Reader(raw), Kind.PUBLISH)
    assert user_properties(found) == (("b", "1"), ("a", "2"), ("b", "3"))
    assert user_properties(NO_PROPERTIES) == ()


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        ("02ff00", Code.MALFORMED_PACKET, "variable byte integer"),
        ("020400", Code.MALFORMED_PACKET, "no property 0x04"),
        ("0911", Code.MALFORMED_PACKET, "run over the end"),
        ("051100000001", Code.PROTOCOL_ERROR, "session_expiry may not be in a packet of type 3"),
        ("0401000101", Code.PROTOCOL_ERROR, "payload_format is there twice"),
        ("020102", Code.PROTOCOL_ERROR, "payload_format may not be 2"),
        ("020b00", Code.PROTOCOL_ERROR, "subscription_ids may not be 0"),
        ("0103", Code.MALFORMED_PACKET, "runs over the end"),
        ("0526000161ff", Code.MALFORMED_PACKET, "runs over the end"),
    ],
)
def test_broken_properties(raw: str, code: Code, words: str) -> None:
    with pytest.raises(CodecError, match=words) as caught:
        read(raw)
    assert caught.value.code is code


def test_what_a_client_may_not_ask_for() -> None:
    with pytest.raises(CodecError, match="receive_maximum may not be 0"):
        read("03210000", Kind.CONNECT)
    with pytest.raises(CodecError, match="maximum_packet_size may not be 0"):
        read("052700000000", Kind.CONNECT)


def test_a_will_has_places_of_its_own() -> None:
    assert read("0518000000ff", WILL) == {"will_delay": 255}
    with pytest.raises(CodecError, match="will_delay may not be in a packet of type 1"):
        read("0518000000ff", Kind.CONNECT)
