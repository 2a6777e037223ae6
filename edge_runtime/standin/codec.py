"""MQTT 3.1.1 and 5 without I/O: bytes in, packets out, and back.

    decoder = Decoder(max_packet=150_000)
    for packet in decoder.feed(data): ...
    transport.write(encode(Pingresp(), decoder.version))

The way of a PUBLISH through `Decoder.feed` is written out by hand: it is the one that is gone a hundred thousand
times. Everything else is in `_reading` and `_writing`.
"""

from __future__ import annotations

from typing import Final

from edge_runtime.standin._reading import BODIES
from edge_runtime.standin._writing import encode_body
from edge_runtime.standin.codes import Code, CodecError
from edge_runtime.standin.packets import MQTT_5, Ack, Connect, Kind, Packet, Publish
from edge_runtime.standin.primitives import MOST_VARINT, Reader, decode_text, text, varint
from edge_runtime.standin.properties import NO_PROPERTIES, read_properties, write_properties

_MOST_TOPICS: Final = 4096
_FLAGS: Final = {Kind.PUBREL: 2, Kind.SUBSCRIBE: 2, Kind.UNSUBSCRIBE: 2}
_PUBLISH: Final = int(Kind.PUBLISH)
_CONTINUES: Final = 0x80


class Decoder:
    """Turns the byte stream of one connection into packets.

    A server leaves `version` at 0: it is learnt from the CONNECT, and any packet before that one is an error. A
    client says which version it speaks. `max_packet` bounds the remaining length of a packet and so the memory
    held; a longer one is refused by its header, before its body is stored.
    """

    def __init__(self, *, max_packet: int = MOST_VARINT, version: int = 0) -> None:
        self.version = version
        self.max_packet = max_packet
        self._held = bytearray()
        self._need = 0
        self._topics: dict[bytes, str] = {}
        self._broken: CodecError | None = None

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets that are whole now; how the stream is cut into calls makes no difference.

        Raises: CodecError when the stream cannot be read on. Its `packets` are those before the fault. From then
        on every call raises.
        """
        if self._broken is not None:
            raise CodecError(str(self._broken), code=self._broken.code)
        if self._held:
            self._held += data
            if len(self._held) < self._need:
                return []
            data = bytes(self._held)
        packets: list[Packet] = []
        try:
            done = self._parse(data, packets)
        except CodecError as error:
            self._broken = error
            self._held.clear()
            error.packets = packets
            raise
        self._held = bytearray(data[done:])
        return packets

    def _parse(self, data: bytes, packets: list[Packet]) -> int:
        """Append the whole packets and return where the first incomplete one begins; `_need` is its least length."""
        pos, size = 0, len(data)
        self._need = 2
        while size - pos > 1:
            first = data[pos]
            length = data[pos + 1]
            start = pos + 2
            if length >= _CONTINUES:
                length, start = _remaining_length(data, pos + 1)
                if not start:
                    self._need = size - pos + 1
                    break
            if length > self.max_packet:
                raise CodecError(
                    f"a packet of {length} bytes; {self.max_packet} are allowed", code=Code.PACKET_TOO_LARGE
                )
            end = start + length
            if not self.version and first >> 4 != Kind.CONNECT:
                raise CodecError("the first packet is no CONNECT", code=Code.PROTOCOL_ERROR)
            if end > size:
                self._need = end - pos
                break
            packets.append(
                self._publish(data, first, start, end)
                if first >> 4 == _PUBLISH
                else self._other(data, first, start, end)
            )
            pos = end
        return pos

    def _publish(self, data: bytes, first: int, start: int, end: int) -> Publish:
        split = start + 2
        if split > end or (split := split + (data[start] << 8 | data[start + 1])) > end:
            raise CodecError("the topic of a PUBLISH runs over the end of the packet")
        raw = data[start + 2 : split]
        topic = self._topics.get(raw)
        if topic is None:
            topic = self._topic(raw)
        qos = first >> 1 & 3
        packet_id = 0
        if qos:
            if qos == 3 or split + 2 > end:  # noqa: PLR2004 - both bits set, which is no QoS
                raise CodecError("a PUBLISH with QoS 3, or without its packet identifier")
            packet_id = data[split] << 8 | data[split + 1]
            if not packet_id:
                raise CodecError("packet identifier 0 is not allowed", code=Code.PROTOCOL_ERROR)
            split += 2
        elif first & 8:
            raise CodecError("a PUBLISH with QoS 0 that says it is a duplicate")
        properties = NO_PROPERTIES
        if self.version == MQTT_5:
            if split < end and not data[split]:
                split += 1
            else:
                reader = Reader(data, split, end)
                properties = read_properties(reader, _PUBLISH)
                split = reader.pos
        elif not raw:
            raise CodecError("a PUBLISH with an empty topic", code=Code.TOPIC_INVALID)
        return Publish(topic, data[split:end], qos, first & 1 == 1, first & 8 == 8, packet_id, properties)  # noqa: PLR2004 - bits

    def _topic(self, raw: bytes) -> str:
        topic = decode_text(raw)
        if "+" in topic or "#" in topic:
            raise CodecError(f"topic {topic!r} holds a wildcard", code=Code.TOPIC_INVALID)
        if len(self._topics) >= _MOST_TOPICS:
            self._topics.clear()
        self._topics[raw] = topic
        return topic

    def _other(self, data: bytes, first: int, start: int, end: int) -> Packet:
        kind = first >> 4
        body = BODIES.get(kind)
        if body is None or first & 0x0F != _FLAGS.get(Kind(kind), 0):
            raise CodecError(f"no packet begins with 0x{first:02x}")
        reader = Reader(data, start, end)
        packet = body(reader, self.version)
        reader.finish()
        if isinstance(packet, Connect):
            self.version = packet.version
        return packet


def _remaining_length(data: bytes, pos: int) -> tuple[int, int]:
    """Return the remaining length and where the body starts; (0, 0) when the length itself is not whole."""
    value = 0
    for index, digit in enumerate(data[pos : pos + 4]):
        value |= (digit & 0x7F) << 7 * index
        if digit < _CONTINUES:
            if not digit:
                raise CodecError("a remaining length is longer than it needs to be")
            return value, pos + index + 1
    if len(data) - pos >= 4:  # noqa: PLR2004 - the most bytes of a variable byte integer
        raise CodecError("a remaining length has more than four bytes")
    return 0, 0


def encode(packet: Packet, version: int) -> bytes:
    """Return the bytes of a packet; what MQTT 3.1.1 has no field for is left out.

    Raises: CodecError when a value is too long, not UTF-8, or not allowed in its place.
    """
    if isinstance(packet, Publish):
        return encode_publish(packet, version)
    if isinstance(packet, Ack) and packet.kind is Kind.PUBACK and not packet.properties:
        return encode_puback(packet.packet_id, packet.code, version)
    kind, body = encode_body(packet, version)
    return bytes((kind << 4 | _FLAGS.get(kind, 0),)) + varint(len(body)) + body


def encode_publish(packet: Publish, version: int) -> bytes:
    """Return the bytes of a PUBLISH."""
    topic = text(packet.topic)
    first = _PUBLISH << 4 | packet.dup << 3 | packet.qos << 1 | packet.retain
    middle = packet.packet_id.to_bytes(2, "big") if packet.qos else b""
    if version == MQTT_5:
        middle += write_properties(packet.properties, _PUBLISH)
    size = len(topic) + len(middle) + len(packet.payload)
    head = bytes((first, size)) if size < _CONTINUES else bytes((first,)) + varint(size)
    return b"".join((head, topic, middle, packet.payload))


def encode_puback(packet_id: int, code: int, version: int) -> bytes:
    """Return the bytes of a PUBACK, in its shortest form."""
    if code and version == MQTT_5:
        return b"\x40\x03" + (packet_id << 8 | code).to_bytes(3, "big")
    return b"\x40\x02" + packet_id.to_bytes(2, "big")
