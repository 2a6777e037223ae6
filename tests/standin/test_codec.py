"""The codec: what goes in comes out, however it is cut, and nothing but CodecError ever comes of bad bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.standin.codec import Decoder, encode, encode_puback, encode_publish
from edge_runtime.standin.codes import Code, CodecError
from edge_runtime.standin.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Kind,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from edge_runtime.standin.properties import Properties

VERSIONS = pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
topics = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=30)
blobs = st.binary(max_size=40)
ids = st.integers(1, 65535)
codes = st.integers(0, 255)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=3)


def fields(**known: st.SearchStrategy[object]) -> st.SearchStrategy[Properties]:
    found: st.SearchStrategy[Properties] = st.fixed_dictionaries({}, optional=known)  # type: ignore[assignment]  # a dict is what a TypedDict is
    return found


message = {
    "payload_format": st.integers(0, 1),
    "message_expiry": st.integers(0, 2**32 - 1),
    "content_type": texts,
    "response_topic": texts,
    "correlation_data": blobs,
    "user": pairs,
}
of_publish = fields(**message, topic_alias=st.integers(0, 65535), subscription_ids=st.lists(ids, min_size=1))
of_will = fields(**message, will_delay=st.integers(0, 2**32 - 1))
of_ack = fields(reason=texts, user=pairs)
of_connect = fields(
    session_expiry=st.integers(0, 2**32 - 1),
    receive_maximum=ids,
    maximum_packet_size=st.integers(1, 2**32 - 1),
    topic_alias_maximum=st.integers(0, 65535),
    request_problem=st.integers(0, 1),
    request_response=st.integers(0, 1),
    authentication_method=texts,
    authentication_data=blobs,
    user=pairs,
)
of_connack = fields(
    session_expiry=st.integers(0, 2**32 - 1),
    assigned_client_id=texts,
    server_keep_alive=st.integers(0, 65535),
    maximum_qos=st.integers(0, 1),
    retain_available=st.integers(0, 1),
    wildcards_available=st.integers(0, 1),
    subscription_ids_available=st.integers(0, 1),
    shared_available=st.integers(0, 1),
    response_information=texts,
    server_reference=texts,
    reason=texts,
    user=pairs,
)
none: st.SearchStrategy[Properties] = st.just({})


def publishes(version: int) -> st.SearchStrategy[Publish]:
    properties = of_publish if version == MQTT_5 else none
    silent = st.builds(Publish, topics, blobs, st.just(0), st.booleans(), st.just(False), st.just(0), properties)
    loud = st.builds(Publish, topics, blobs, st.integers(1, 2), st.booleans(), st.booleans(), ids, properties)
    return silent | loud


def packets(version: int) -> st.SearchStrategy[Packet]:
    new = version == MQTT_5

    def only_new(wanted: st.SearchStrategy[Properties]) -> st.SearchStrategy[Properties]:
        return wanted if new else none

    code = codes if new else st.just(0)
    flag = st.booleans() if new else st.just(False)
    options = (texts, st.integers(0, 2), flag, flag, st.integers(0, 2) if new else st.just(0))
    acks = [Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP]
    common: list[st.SearchStrategy[Packet]] = [
        publishes(version),
        st.builds(Connack, st.booleans(), codes, only_new(of_connack)),
        st.builds(Ack, st.sampled_from(acks), ids, code, only_new(of_ack)),
        st.builds(
            Subscribe,
            ids,
            st.lists(st.builds(Subscription, *options), min_size=1, max_size=4).map(tuple),
            only_new(fields(user=pairs)),
        ),
        st.builds(Suback, ids, st.lists(codes, max_size=4).map(tuple), only_new(of_ack)),
        st.builds(Unsubscribe, ids, st.lists(texts, min_size=1, max_size=4).map(tuple), only_new(fields(user=pairs))),
        st.builds(Unsuback, ids, st.lists(codes, max_size=4).map(tuple) if new else st.just(()), only_new(of_ack)),
        st.just(Pingreq()),
        st.just(Pingresp()),
        st.builds(Disconnect, code, only_new(of_ack)),
    ]
    if new:
        common.append(st.builds(Auth, codes, of_ack))
    return st.one_of(common)


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    new = version == MQTT_5
    wills = st.builds(Will, texts, blobs, st.integers(0, 2), st.booleans(), of_will if new else none)
    username = draw(st.none() | texts)
    password = draw(st.none() | blobs) if new or username is not None else None
    return Connect(
        draw(texts),
        version,
        draw(st.booleans()),
        draw(st.integers(0, 65535)),
        username,
        password,
        draw(st.none() | wills),
        draw(of_connect if new else none),
    )


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[low:high] for low, high in itertools.pairwise(edges)]


def feed_all(decoder: Decoder, pieces: list[bytes]) -> tuple[list[Packet], Code | None]:
    found: list[Packet] = []
    for piece in pieces:
        try:
            found += decoder.feed(piece)
        except CodecError as error:
            return [*found, *error.packets], error.code
    return found, None


@VERSIONS
@given(data=st.data())
def test_what_is_encoded_is_decoded(version: int, data: st.DataObject) -> None:
    packet = data.draw(packets(version))
    assert Decoder(version=version).feed(encode(packet, version)) == [packet]


@VERSIONS
@given(data=st.data())
def test_a_connect_is_decoded_and_tells_the_version(version: int, data: st.DataObject) -> None:
    packet = data.draw(connects(version))
    decoder = Decoder()
    assert decoder.feed(encode(packet, version)) == [packet]
    assert decoder.version == version


@VERSIONS
@given(data=st.data(), places=st.lists(st.integers(0, 10_000), max_size=20))
def test_any_split_of_the_stream_gives_the_same_packets(version: int, data: st.DataObject, places: list[int]) -> None:
    sent: list[Packet] = [data.draw(connects(version)), *data.draw(st.lists(packets(version), max_size=5))]
    stream = b"".join(encode(packet, version) for packet in sent)
    assert feed_all(Decoder(), cut(stream, places)) == (sent, None)


@given(st.binary(max_size=300), st.lists(st.integers(0, 10_000), max_size=10), st.sampled_from([0, 4, 5]))
def test_random_bytes_raise_only_codec_errors_wherever_they_are_cut(data: bytes, places: list[int], known: int) -> None:
    whole = feed_all(Decoder(version=known, max_packet=1000), [data])
    assert feed_all(Decoder(version=known, max_packet=1000), cut(data, places)) == whole


@VERSIONS
@given(data=st.data())
def test_a_damaged_packet_raises_only_codec_errors(version: int, data: st.DataObject) -> None:
    stream = bytearray(encode(data.draw(packets(version)), version))
    place = data.draw(st.integers(0, len(stream) - 1))
    stream[place] = data.draw(st.integers(0, 255))
    feed_all(Decoder(version=version), [bytes(stream)])


def test_a_connect_as_the_specification_writes_it() -> None:
    """MQTT 5.0 section 3.1.2.12, the non-normative example: flags 0xCE, keep alive 10, session expiry 10."""
    body = bytes.fromhex("00044d515454 05 ce 000a 05 110000000a".replace(" ", ""))
    body += b"\x00\x02me" + b"\x00" + b"\x00\x01w" + b"\x00\x02hi" + b"\x00\x01u" + b"\x00\x01p"
    decoder = Decoder()
    assert decoder.feed(bytes((0x10, len(body))) + body) == [
        Connect("me", MQTT_5, True, 10, "u", b"p", Will("w", b"hi", 1, False, {}), {"session_expiry": 10})
    ]


def test_the_bytes_of_a_publish_and_its_acknowledgement() -> None:
    packet = Publish("a/b", b"hi", 1, retain=True, packet_id=258)
    assert encode_publish(packet, MQTT_3_1_1) == b"\x33\x09\x00\x03a/b\x01\x02hi"
    assert encode_publish(packet, MQTT_5) == b"\x33\x0a\x00\x03a/b\x01\x02\x00hi"
    assert encode_puback(258, 0, MQTT_5) == b"\x40\x02\x01\x02"
    assert encode_puback(258, Code.NO_MATCHING_SUBSCRIBERS, MQTT_5) == b"\x40\x03\x01\x02\x10"
    assert encode_puback(258, Code.NO_MATCHING_SUBSCRIBERS, MQTT_3_1_1) == b"\x40\x02\x01\x02"


def test_a_packet_that_is_too_large_is_refused_by_its_header() -> None:
    decoder = Decoder(max_packet=1000, version=MQTT_5)
    with pytest.raises(CodecError, match="a packet of 1001 bytes; 1000 are allowed") as caught:
        decoder.feed(b"\x30\xe9\x07")
    assert caught.value.code is Code.PACKET_TOO_LARGE


def test_packets_before_a_fault_are_not_lost_and_the_stream_stays_broken() -> None:
    decoder = Decoder(version=MQTT_5)
    with pytest.raises(CodecError) as caught:
        decoder.feed(encode(Pingreq(), MQTT_5) + b"\xc1\x00" + encode(Pingreq(), MQTT_5))
    assert list(caught.value.packets) == [Pingreq()]
    with pytest.raises(CodecError, match="no packet begins with 0xc1"):
        decoder.feed(encode(Pingreq(), MQTT_5))


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\x30\x05\x00\x03a+b", Code.TOPIC_INVALID, "holds a wildcard"),
        (b"\x30\x02\x00\x00", Code.TOPIC_INVALID, "an empty topic"),
        (b"\x30\x04\x00\x02\xff\xff", Code.MALFORMED_PACKET, "not UTF-8"),
        (b"\x30\x05\x00\x03\xed\xa0\x80", Code.MALFORMED_PACKET, "not UTF-8"),
        (b"\x30\x03\x00\x01\x00", Code.MALFORMED_PACKET, "NUL"),
        (b"\x30\x03\x00\x05a", Code.MALFORMED_PACKET, "runs over the end"),
        (b"\x36\x05\x00\x01a\x00\x01", Code.MALFORMED_PACKET, "QoS 3"),
        (b"\x32\x05\x00\x01a\x00\x00", Code.PROTOCOL_ERROR, "packet identifier 0"),
        (b"\x38\x03\x00\x01a", Code.MALFORMED_PACKET, "QoS 0 that says it is a duplicate"),
        (b"\x30\xff\xff\xff\xff\x01", Code.MALFORMED_PACKET, "more than four bytes"),
        (b"\xc0\x80\x00", Code.MALFORMED_PACKET, "longer than it needs to be"),
        (b"\xc0\x01a", Code.MALFORMED_PACKET, "1 bytes too many"),
        (b"\x80\x02\x00\x01", Code.MALFORMED_PACKET, "no packet begins with 0x80"),
        (b"\x82\x02\x00\x01", Code.PROTOCOL_ERROR, "without a topic filter"),
        (b"\x82\x06\x00\x01\x00\x01a\x03", Code.MALFORMED_PACKET, "subscription options"),
        (b"\x00\x00", Code.MALFORMED_PACKET, "no packet begins with 0x00"),
        (b"\xf0\x00", Code.MALFORMED_PACKET, "MQTT 3.1.1 has no AUTH"),
    ],
)
def test_broken_packets_of_mqtt_3_1_1(data: bytes, code: Code, words: str) -> None:
    with pytest.raises(CodecError, match=words) as caught:
        Decoder(version=MQTT_3_1_1).feed(data)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\xc0\x00", Code.PROTOCOL_ERROR, "the first packet is no CONNECT"),
        (b"\x10\x0c\x00\x06MQIsdp\x03\x02\x00\x00", Code.UNSUPPORTED_VERSION, "version 3 is not spoken"),
        (b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x00\x00\x00", Code.UNSUPPORTED_VERSION, "version 6 is not spoken"),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", Code.MALFORMED_PACKET, "connect flags 0x03"),
        (b"\x10\x0c\x00\x04MQTT\x04\x1c\x00\x00\x00\x00", Code.MALFORMED_PACKET, "connect flags 0x1c"),
        (b"\x10\x0c\x00\x04MQTT\x04\x20\x00\x00\x00\x00", Code.MALFORMED_PACKET, "connect flags 0x20"),
        (b"\x10\x0c\x00\x04MQTT\x04\x40\x00\x00\x00\x00", Code.MALFORMED_PACKET, "password without a user name"),
    ],
)
def test_broken_first_packets(data: bytes, code: Code, words: str) -> None:
    with pytest.raises(CodecError, match=words) as caught:
        Decoder().feed(data)
    assert caught.value.code is code


def test_a_server_is_heard_with_reserved_connack_flags_refused() -> None:
    with pytest.raises(CodecError, match="CONNACK flags 0x02"):
        Decoder(version=MQTT_5).feed(b"\x20\x03\x02\x00\x00")


def test_many_topics_do_not_grow_the_decoder_without_bound() -> None:
    decoder = Decoder(version=MQTT_3_1_1)
    for number in range(5000):
        (packet,) = decoder.feed(encode(Publish(f"t/{number}", b""), MQTT_3_1_1))
        assert isinstance(packet, Publish)
        assert packet.topic == f"t/{number}"
    assert len(decoder._topics) <= 4096


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (Publish("a" * 65536, b""), "65536 bytes; MQTT allows 65535"),
        (Publish("\ud800", b""), "cannot be encoded as UTF-8"),
        (Publish("a\0", b""), "NUL"),
        (Publish("a", b"", properties={"will_delay": 1}), "may not be in a packet of type 3"),
        (Publish("a", b"", properties={"payload_format": 2}), "payload_format may not be 2"),
        (Connect("a", keep_alive=65536), "65536 does not fit 2 bytes"),
    ],
)
def test_what_cannot_be_sent_is_an_error(packet: Packet, words: str) -> None:
    with pytest.raises(CodecError, match=words):
        encode(packet, MQTT_5)
