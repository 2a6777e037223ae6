"""Judges what one connection publishes, before the broker sees it."""

from __future__ import annotations

from typing import Final

from edge_runtime.pure.bucket import Bucket
from edge_runtime.standin.access import Access
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import MQTT_5, Publish
from edge_runtime.standin.quotas import TOPIC_ALIASES, Reaction, Verdict

_SECOND_NS: Final = 1_000_000_000


class Inbound:
    """The topic aliases, the rate and the window of one connection."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._aliases: dict[int, str] = {}
        self.access: Access | None = None
        """What the client may do; None: everything."""
        self._under_way = 0
        rate = broker.limits.publishes_per_s
        self._rate = Bucket(rate, rate) if rate else None

    def begin(self) -> None:
        """Begin a turn. Every PUBACK of the turn before has been sent, so what is under way is what comes now."""
        self._under_way = 0

    def judge(self, packet: Publish, version: int) -> Publish | Verdict:
        """Return the packet with its topic in the place of an alias, or why it is not accepted."""
        if packet.properties or not packet.topic:
            outcome = self._resolve(packet)
            if isinstance(outcome, Verdict):
                return outcome
            packet = outcome
        verdict = self._judge_pace(packet, version)
        if verdict is None:
            verdict = self._broker.gate.judge(packet.topic, len(packet.payload), retain=packet.retain)
        if verdict is None and self.access is not None:
            verdict = self._judge_right(self.access, packet)
        if verdict is None and (code := self._broker.faults.rejection(packet.topic)):
            verdict = Verdict(Reaction.REFUSE, Code(code), f"topic {packet.topic!r} is refused on purpose")
        return packet if verdict is None else verdict

    def may_send(self, qos: int) -> bool:
        """Count a message to the client against the rate it shares with what comes from the client.

        False for QoS 0 that is too much. QoS 1 always goes, since AWS would send it again and again: it leaves a debt.
        """
        if self._rate is None:
            return True
        now = self._broker.now.mono_ns / _SECOND_NS
        if qos:
            self._rate.spend(1.0, now)
            return True
        return not self._rate.take(1.0, now)

    def _judge_right(self, access: Access, packet: Publish) -> Verdict | None:
        resource = f"topic/{packet.topic}"
        if access.may("iot:Publish", resource) and (not packet.retain or access.may("iot:RetainPublish", resource)):
            return None
        reaction = Reaction.DISCONNECT if self._broker.on_denied == "disconnect" else Reaction.REFUSE
        action = "iot:RetainPublish" if packet.retain else "iot:Publish"
        return Verdict(reaction, Code.NOT_AUTHORIZED, f"no policy allows {action} on topic {packet.topic!r}")

    def _judge_pace(self, packet: Publish, version: int) -> Verdict | None:
        if packet.qos > 1:
            # MQTT 3.1.1: AWS sends neither PUBACK nor PUBREC. MQTT 5: it was told Maximum QoS 1.
            reaction = Reaction.DISCONNECT if version == MQTT_5 else Reaction.DISCARD
            return Verdict(reaction, Code.QOS_NOT_SUPPORTED, f"PUBLISH with QoS 2 on {packet.topic!r}")
        self._under_way += packet.qos
        if 0 < self._broker.limits.unacknowledged < self._under_way and version == MQTT_5:
            words = f"{self._under_way} unacknowledged publishes"
            return Verdict(Reaction.DISCONNECT, Code.RECEIVE_MAXIMUM_EXCEEDED, words)
        if self._rate is not None and self._rate.take(1.0, self._broker.now.mono_ns / _SECOND_NS):
            words = f"more than {self._broker.limits.publishes_per_s:g} publishes a second"
            return Verdict(Reaction.DISCARD, Code.MESSAGE_RATE_TOO_HIGH, words)
        if not self._broker.publish_allowed():
            words = f"more than {self._broker.limits.account_publishes_per_s:g} publishes a second by all clients"
            return Verdict(Reaction.DISCARD, Code.MESSAGE_RATE_TOO_HIGH, words)
        return None

    def _resolve(self, packet: Publish) -> Publish | Verdict:
        alias = packet.properties.get("topic_alias")
        if "subscription_ids" in packet.properties:
            return _broken("a client may not send subscription identifiers in a PUBLISH")
        if alias is None:
            return packet if packet.topic else _broken("a PUBLISH with neither topic nor alias")
        if not 0 < alias <= TOPIC_ALIASES:
            words = f"topic alias {alias}; 1 to {TOPIC_ALIASES} are allowed"
            return Verdict(Reaction.DISCONNECT, Code.TOPIC_ALIAS_INVALID, words)
        if packet.topic:
            self._aliases[alias] = packet.topic
            return packet
        if alias not in self._aliases:
            return _broken(f"topic alias {alias} has no topic yet")
        return packet._replace(topic=self._aliases[alias])


def _broken(words: str) -> Verdict:
    return Verdict(Reaction.DISCONNECT, Code.PROTOCOL_ERROR, words)
