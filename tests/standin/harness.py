"""A broker without sockets for tests: conversations on pipes that keep what was written to them."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.clock import FakeClock
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.codec import Decoder, encode
from edge_runtime.standin.faults import Faults
from edge_runtime.standin.packets import (
    MQTT_5,
    Ack,
    Connack,
    Connect,
    Kind,
    Packet,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Will,
)
from edge_runtime.standin.peer import Peer
from edge_runtime.standin.properties import NO_PROPERTIES, Properties
from edge_runtime.standin.quotas import Mode, limits
from edge_runtime.standin.record import Record


class Machinery:
    """Notes what the faults ask for."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def stop_listening(self) -> None:
        """Note it."""
        self.calls.append("stop")

    def listen_again(self) -> None:
        """Note it."""
        self.calls.append("listen")

    def drop_connections(self) -> int:
        """Note it."""
        self.calls.append("drop")
        return 3

    def forget(self, *, sessions: bool) -> None:
        """Note it."""
        self.calls.append(f"forget sessions={sessions}")

    def thaw(self) -> None:
        """Note it."""
        self.calls.append("thaw")

    def stop_credentials(self) -> None:
        """Note it."""
        self.calls.append("stop credentials")

    def resume_credentials(self) -> None:
        """Note it."""
        self.calls.append("resume credentials")


class Pipe:
    """The far end of a conversation."""

    def __init__(self) -> None:
        self.congested = False
        self.writes: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.rearmed = 0

    def write(self, data: bytes) -> None:
        """Keep what was written."""
        self.writes.append(data)

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def abort(self) -> None:
        """Note it."""
        self.aborted = True

    def rearm(self) -> None:
        """Note it."""
        self.rearmed += 1


class Client:
    """A client, and the peer it talks to."""

    def __init__(self, bench: Bench, version: int) -> None:
        self.version = version
        self.pipe = Pipe()
        bench.connections += 1
        self.peer = Peer(bench.broker, self.pipe, bench.connections)
        self._decoder = Decoder(version=version)
        self._packet_id = 0

    def say(self, *packets: Packet) -> list[Packet]:
        """Send packets in one piece and return what is answered, or was sent before."""
        return self.say_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def say_bytes(self, data: bytes) -> list[Packet]:
        """Send anything."""
        self.peer.receive(data)
        return self.heard()

    def heard(self) -> list[Packet]:
        """Return what came since the last look."""
        data = b"".join(self.pipe.writes)
        self.pipe.writes.clear()
        return self._decoder.feed(data)

    def messages(self) -> list[tuple[str, bytes]]:
        """Return the messages that came since the last look."""
        return [(packet.topic, packet.payload) for packet in self.heard() if isinstance(packet, Publish)]

    def publish(
        self, topic: str, payload: bytes = b"x", *, retain: bool = False, properties: Properties = NO_PROPERTIES
    ) -> list[Packet]:
        """Publish with QoS 1."""
        self._packet_id += 1
        return self.say(Publish(topic, payload, 1, retain, packet_id=self._packet_id, properties=properties))

    def subscribe(self, *filters: str | Subscription) -> tuple[int, ...]:
        """Subscribe with QoS 1 where nothing else is said and return the codes of the SUBACK that must come first."""
        wanted = tuple(Subscription(one, 1) if isinstance(one, str) else one for one in filters)
        answer = self.say(Subscribe(1, wanted))[0]
        assert isinstance(answer, Suback)
        return answer.codes

    def puback(self, packet_id: int) -> list[Packet]:
        """Acknowledge a message."""
        return self.say(Ack(Kind.PUBACK, packet_id))


class Bench:
    """A broker with a clock that moves when told to."""

    def __init__(self, quotas: Mode = "none", record: Path | None = None) -> None:
        self.clock = FakeClock()
        self.machinery = Machinery()
        self.faults = Faults(self.machinery)
        self.record = Record(record)
        self.broker = Broker(limits=limits(quotas), clock=self.clock, record=self.record, faults=self.faults)
        self.connections = 0

    def open(self, version: int = MQTT_5) -> Client:
        """Return a connection that has said nothing."""
        return Client(self, version)

    def connect(
        self,
        client_id: str = "c",
        version: int = MQTT_5,
        *,
        clean: bool = True,
        keep_alive: int = 60,
        will: Will | None = None,
        properties: Properties = NO_PROPERTIES,
    ) -> Client:
        """Return a client that was accepted; what came with the CONNACK can be asked for with `heard`."""
        client = self.open(version)
        packet = Connect(client_id, version, clean, keep_alive, will=will, properties=properties)
        client.peer.receive(encode(packet, version))
        first, *rest = client.heard()
        assert isinstance(first, Connack)
        assert first.code == 0, first
        client.pipe.writes.extend(encode(packet, version) for packet in rest)
        return client

    def connack(self, packet: Connect) -> Connack:
        """Return the answer to a CONNECT."""
        answer = self.open(packet.version).say(packet)[0]
        assert isinstance(answer, Connack)
        return answer
