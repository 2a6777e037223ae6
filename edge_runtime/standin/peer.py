"""One client's conversation: bytes in, bytes out, and no socket. Any transport that carries bytes can drive it."""

from __future__ import annotations

from typing import Final, Protocol

from edge_runtime.standin.access import Caller
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.codec import Decoder, encode, encode_puback, encode_publish
from edge_runtime.standin.codes import Code, CodecError, connack_code
from edge_runtime.standin.handshake import MOST_WINDOW, Accepted, Refused, judge
from edge_runtime.standin.inbound import Inbound
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
    Unsuback,
    Unsubscribe,
    Will,
)
from edge_runtime.standin.presence import Reason, reason_of
from edge_runtime.standin.properties import Properties
from edge_runtime.standin.quotas import Reaction, Verdict, most_packet
from edge_runtime.standin.sessions import Session
from edge_runtime.standin.subscribing import grant

CONNECT_WITHIN_S: Final = 20
"""A connection that has not said CONNECT by then is closed."""
_SECOND_NS: Final = 1_000_000_000


class Pipe(Protocol):
    """What carries the bytes."""

    @property
    def congested(self) -> bool:
        """Whether the client reads more slowly than it is written to."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def close(self) -> None:
        """Close after what was written."""

    def abort(self) -> None:
        """Cut the connection at once."""

    def rearm(self) -> None:
        """Ask `deadline_ns` again."""


class Peer:
    """The server's half of one MQTT connection."""

    def __init__(self, broker: Broker, pipe: Pipe, number: int) -> None:
        self.number = number
        self.client_id = ""
        self.window = MOST_WINDOW
        self.caller = Caller()
        """Who is at the other end; to be set before anything is received."""
        self._broker = broker
        self._pipe = pipe
        self._decoder = Decoder(max_packet=most_packet(broker.limits))
        self._out: list[bytes] = []
        self._inbound = Inbound(broker)
        self._session: Session | None = None
        self._will: Will | None = None
        self._closing = False
        self._most_packet = 0
        self._explains = True
        self._heard_ns = broker.clock.now().mono_ns
        self._idle_s: float = CONNECT_WITHIN_S

    # --- the transport's side ---

    @property
    def deadline_ns(self) -> int:
        """When the silence gets too long, by the steady clock; 0: never."""
        return self._heard_ns + int(self._idle_s * _SECOND_NS) if self._idle_s else 0

    def heard(self) -> None:
        """Take the present as the last sign of life."""
        self._heard_ns = self._broker.clock.now().mono_ns

    def receive(self, data: bytes) -> None:
        """Take what the client sent."""
        broker = self._broker
        broker.begin()
        self._heard_ns = broker.now.mono_ns
        self._inbound.begin()
        try:
            self._handle(self._decoder.feed(data))
        except CodecError as error:
            self._handle(list(error.packets))
            self._fail(error.code, str(error))
        broker.flush()

    def silent(self) -> None:
        """Act on a silence that reached the deadline."""
        self._broker.begin()
        self._fail(Code.KEEP_ALIVE_TIMEOUT, f"nothing heard for {self._idle_s:g} s")
        self._broker.flush()

    def lost(self, *, will: bool = True) -> None:
        """Take the end of the connection. Without `will` nobody is told."""
        self._broker.begin()
        if not will:
            self._will = None
        self._leave(Reason.CONNECTION_LOST if will else Reason.SERVER_INITIATED_DISCONNECT)
        self._closing = True
        self._broker.flush()

    def hung_up(self, fault: str) -> None:
        """Take a WebSocket's Close frame, a goodbye as DISCONNECT is; or what the client did wrong with its frames."""
        self._broker.begin()
        if fault:
            self._broker.refused(self.client_id, fault)
        else:
            self._will = None
        self._leave(Reason.CLIENT_ERROR if fault else Reason.CLIENT_INITIATED_DISCONNECT)
        self._closing = True
        self._broker.flush()

    def shut_down(self) -> None:
        """Say that the server goes, and close."""
        self._close(Code.SHUTTING_DOWN, "")

    # --- the broker's side ---

    def send(self, packet: Publish) -> bool:
        """Collect a message for the client; False when it is one that this client cannot be given."""
        if not packet.qos and self._pipe.congested:
            self._broker.counts["qos0_dropped"] += 1
            return True
        access = self._inbound.access
        if access is not None and not access.may("iot:Receive", f"topic/{packet.topic}"):
            self._broker.counts["receive_denied"] += 1
            return False
        if not self._inbound.may_send(packet.qos):
            self._broker.counts["discarded"] += 1
            return True
        data = encode_publish(packet, self._decoder.version)
        if self._most_packet and len(data) > self._most_packet:
            self._broker.counts["too_large_for_client"] += 1
            return False
        self._broker.counts["delivered"] += 1
        self._collect(data)
        return True

    def flush(self) -> None:
        """Write what was collected, in one go."""
        data = b"".join(self._out)
        self._out.clear()
        if data:
            self._pipe.write(data)
        if self._closing:
            self._pipe.close()

    def abort(self) -> None:
        """Cut the connection; nothing collected is written."""
        self._out.clear()
        self._closing = True
        self._pipe.abort()

    def taken_over(self) -> None:
        """Make room for a newer connection of the same client id."""
        self._fail(Code.SESSION_TAKEN_OVER, "the client id connected again (DUPLICATE_CLIENT_ID)")

    def recheck(self) -> None:
        """Look at the rights anew; when the certificate may no longer be used, the connection ends."""
        if self._session is None:
            return
        access = self._inbound.access = self._broker.admit(self.caller, self.client_id)
        if access is not None and not access.identity.active:
            self._fail(Code.NOT_AUTHORIZED, f"certificate {self.caller.principal} is no longer active")

    # --- collecting and ending ---

    def _collect(self, data: bytes) -> None:
        if not self._out:
            self._broker.dirty(self)
        self._out.append(data)

    def _say(self, packet: Packet) -> None:
        self._collect(encode(packet, self._decoder.version or MQTT_3_1_1))

    def _reason(self, words: str) -> Properties:
        """Put a reason string on a failure, unless the client asked for none. AWS gives none; people like one."""
        return {"reason": words[:1000]} if words and self._explains else {}

    def _fail(self, code: Code, words: str) -> None:
        """End the conversation because of what the client did; its will is published."""
        if not self._closing:
            self._broker.refused(self.client_id, words)
        self._close(code, words)

    def _close(self, code: Code, words: str) -> None:
        if self._closing:
            return
        if self._decoder.version == MQTT_5 and self._session is not None:
            self._say(Disconnect(code, self._reason(words)))
        elif self._decoder.version == 0 and code is Code.UNSUPPORTED_VERSION:
            self._say(Connack(code=connack_code(code, MQTT_3_1_1)))
        if not self._out:
            self._broker.dirty(self)
        self._closing = True
        self._leave(reason_of(code))

    def _leave(self, reason: Reason) -> None:
        session, will = self._session, self._will
        self._session = self._will = None
        if session is not None:
            self._broker.leave(self, session, will)
            self._broker.presence.disconnected(
                self.client_id, self.caller, self._inbound.access, reason, expiry_s=session.expiry_s
            )

    # --- packets ---

    def _handle(self, packets: list[Packet]) -> None:
        for packet in packets:
            if self._closing:
                return
            if isinstance(packet, Publish):
                self._on_publish(packet)
            else:
                self._on_other(packet)

    def _on_other(self, packet: Packet) -> None:
        match packet:
            case Ack(Kind.PUBACK, packet_id):
                if self._session is not None:
                    self._session.acknowledged(packet_id, self._broker.now.mono_ns)
            case Pingreq():
                self._say(Pingresp())
            case Subscribe():
                self._on_subscribe(packet)
            case Unsubscribe():
                self._on_unsubscribe(packet)
            case Disconnect():
                self._on_disconnect(packet)
            case Connect():
                self._on_connect(packet)
            case Auth():
                self._fail(Code.BAD_AUTHENTICATION_METHOD, "AWS IoT Core has no enhanced authentication")
            case _:
                self._fail(Code.PROTOCOL_ERROR, f"a client may not send {type(packet).__name__} here")

    def _on_connect(self, packet: Connect) -> None:
        if self._session is not None:
            self._fail(Code.PROTOCOL_ERROR, "a second CONNECT")
            return
        self._explains = packet.properties.get("request_problem", 1) == 1
        outcome = judge(self._broker, packet, self.caller)
        if isinstance(outcome, Refused):
            self._broker.refused(packet.client_id, outcome.text)
            code = connack_code(outcome.code, packet.version)
            self._say(Connack(code=code, properties=self._reason(outcome.text)))
            self._closing = True
            return
        self._begin(packet, outcome)

    def _begin(self, packet: Connect, accepted: Accepted) -> None:
        self.client_id = accepted.client_id
        self.window = accepted.window
        self._will = packet.will
        self._most_packet = packet.properties.get("maximum_packet_size", 0)
        self._idle_s = accepted.keep_alive_s * 1.5
        self._pipe.rearm()
        session, present = self._broker.join(self, clean_start=packet.clean_start, expiry_s=accepted.expiry_s)
        self._session = session
        self._inbound.access = accepted.access
        self._say(Connack(present, Code.SUCCESS, accepted.properties))
        self._broker.presence.connected(self.client_id, self.caller, accepted.access, resumed=present)
        session.resume(self, self._broker.now.mono_ns, slowly=bool(self._broker.limits.stored_per_s))
        self._broker.hand_out(session)

    def _on_disconnect(self, packet: Disconnect) -> None:
        if packet.code == Code.SUCCESS:
            self._will = None
        session, asked = self._session, packet.properties.get("session_expiry")
        if session is not None and asked is not None:
            if asked and not session.expiry_s:
                self._fail(Code.PROTOCOL_ERROR, "a session that was to end cannot be kept by DISCONNECT")
                return
            session.expiry_s = min(asked, self._broker.limits.session_expiry_s or asked)
        self._leave(Reason.CLIENT_INITIATED_DISCONNECT)
        self._closing = True
        self._broker.dirty(self)

    def _on_subscribe(self, packet: Subscribe) -> None:
        session = self._session
        if session is None:
            return
        outcome = grant(self._broker, session, packet, self._decoder.version, self._inbound.access)
        if outcome.codes:
            self._say(Suback(packet.packet_id, outcome.codes))
            granted = [one.filter for one, code in zip(packet.filters, outcome.codes, strict=True) if code <= 1]
            self._broker.presence.subscribed(self.client_id, self.caller, granted)
        for parcel in outcome.retained:
            session.deliver(parcel, self._broker.now.mono_ns)
        if outcome.ending:
            self._fail(outcome.ending, outcome.text)
        elif outcome.text:
            self._broker.refused(self.client_id, outcome.text)

    def _on_unsubscribe(self, packet: Unsubscribe) -> None:
        if self._session is None:
            return
        codes = [
            Code.SUCCESS if self._broker.unsubscribe(self._session, one) else Code.NO_SUBSCRIPTION_EXISTED
            for one in packet.filters
        ]
        self._say(Unsuback(packet.packet_id, tuple(codes)))
        gone = [one for one, code in zip(packet.filters, codes, strict=True) if code is Code.SUCCESS]
        self._broker.presence.unsubscribed(self.client_id, self.caller, gone)

    def _on_publish(self, packet: Publish) -> None:
        outcome = self._inbound.judge(packet, self._decoder.version)
        if isinstance(outcome, Verdict):
            self._react(packet, outcome)
            return
        matched = self._broker.publish(outcome, self.client_id)
        cut = self._broker.faults.cuts.due()
        acked = bool(packet.qos) and not (cut and cut.silent) and self._acknowledge(packet.packet_id, matched=matched)
        self._broker.note(outcome, self, acked=acked)
        if cut:
            self._cut()

    def _acknowledge(self, packet_id: int, *, matched: bool) -> bool:
        """Collect the PUBACK; False when the client does not get it, or not now, because of a fault."""
        code = Code.SUCCESS if matched else Code.NO_MATCHING_SUBSCRIBERS
        data = encode_puback(packet_id, code, self._decoder.version)
        faults = self._broker.faults
        if faults.pubacks_suffer:
            if faults.lost_pubacks.hit():
                self._broker.counts["pubacks_lost"] += 1
                return False
            if faults.late_pubacks.hit():
                self._broker.counts["pubacks_late"] += 1
                self._broker.later(f"{self.number}/{packet_id}", faults.late_s, lambda _: self._say_late(data))
                return False
            if faults.wrong_pubacks.hit():
                self._broker.counts["pubacks_wrong"] += 1
                wrong = packet_id ^ 0x8000 or 0xFFFF  # one that no client has come to
                self._collect(encode_puback(wrong, code, self._decoder.version))
                return False
            if faults.repeated_pubacks.hit():
                self._broker.counts["pubacks_repeated"] += 1
                self._collect(data)
        self._collect(data)
        return True

    def _say_late(self, data: bytes) -> None:
        if not self._closing:
            self._collect(data)

    def _cut(self) -> None:
        """End the connection in the middle of things: no DISCONNECT, and the will is published."""
        self._broker.counts["cut"] += 1
        if not self._out:
            self._broker.dirty(self)
        self._closing = True
        self._leave(Reason.CONNECTION_LOST)

    def _react(self, packet: Publish, verdict: Verdict) -> None:
        if verdict.reaction is Reaction.DISCARD:
            self._broker.counts["discarded"] += 1
            self._broker.refused(self.client_id, verdict.text)
        elif verdict.reaction is Reaction.REFUSE and packet.qos and self._decoder.version == MQTT_5:
            self._broker.refused(self.client_id, verdict.text)
            self._say(Ack(Kind.PUBACK, packet.packet_id, verdict.code, self._reason(verdict.text)))
        else:
            self._fail(verdict.code, verdict.text)
