"""What a CONNECT is answered with."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from edge_runtime.standin.access import Access, Caller
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import MQTT_5, Connect, Will
from edge_runtime.standin.properties import Properties
from edge_runtime.standin.quotas import TOPIC_ALIASES, Limits, client_id_fault, keep_alive
from edge_runtime.standin.sessions import NEVER

MOST_WINDOW = 65535


class Refused(NamedTuple):
    """The client is told `code` (translated for MQTT 3.1.1) and closed."""

    code: Code
    text: str


class Accepted(NamedTuple):
    """What is in force for the connection."""

    client_id: str
    keep_alive_s: int
    expiry_s: int
    window: int
    """How many QoS 1 messages the client gets at a time."""
    properties: Properties
    """Those of the CONNACK."""
    access: Access | None = None
    """What it may do; None: everything."""


def judge(broker: Broker, packet: Connect, caller: Caller) -> Accepted | Refused:
    """Decide on a CONNECT. A connection rate that is too high is counted here."""
    if (code := broker.faults.connack) is not None:
        return Refused(code, "connections are refused on purpose")
    if "authentication_method" in packet.properties:
        return Refused(Code.BAD_AUTHENTICATION_METHOD, "AWS IoT Core has no enhanced authentication")
    refusal = _judge_name(broker.limits, packet) or _judge_will(broker, packet.will)
    if refusal is not None:
        return refusal
    client_id = packet.client_id or f"$GEN/{uuid.uuid4()}"
    if not broker.connect_allowed(client_id):
        return Refused(Code.QUOTA_EXCEEDED, f"more than {broker.limits.connects_per_s:g} CONNECT a second")
    accepted = _accept(broker.limits, packet, client_id)
    access = broker.admit(caller, client_id)
    if access is not None and (words := _denial(access, packet, accepted)):
        return Refused(Code.NOT_AUTHORIZED, words)
    return accepted._replace(access=access)


def _denial(access: Access, packet: Connect, accepted: Accepted) -> str:
    """Return why the policies do not let the client in, or an empty text."""
    if not access.identity.active:
        known = access.identity.certificate_id
        return f"certificate {known} is not registered and active" if known else "there is no client certificate"
    attributes = ["PersistentConnect"] if accepted.expiry_s else []
    topic = "" if packet.will is None else packet.will.topic
    if packet.will is not None:
        attributes.append("LastWill")
    if access.may_connect(accepted.client_id, attributes, topic):
        return ""
    with_will = f" with a will on {topic!r}" if topic else ""
    return f"no policy allows iot:Connect as client {accepted.client_id!r}{with_will}"


def _judge_name(limits: Limits, packet: Connect) -> Refused | None:
    if not packet.client_id:
        if packet.version == MQTT_5 or packet.clean_start:
            return None  # one is made up: MQTT 5.0 section 3.1.3.1
        return Refused(Code.CLIENT_ID_INVALID, "a persistent session needs a client id")
    fault = client_id_fault(limits, packet.client_id)
    return Refused(Code.CLIENT_ID_INVALID, fault) if fault else None


def _judge_will(broker: Broker, will: Will | None) -> Refused | None:
    if will is None:
        return None
    if will.qos > 1:
        return Refused(Code.QOS_NOT_SUPPORTED, "a will with QoS 2")
    verdict = broker.gate.judge(will.topic, len(will.payload), retain=will.retain)
    return Refused(verdict.code, f"the will: {verdict.text}") if verdict is not None else None


def _accept(limits: Limits, packet: Connect, client_id: str) -> Accepted:
    alive = keep_alive(limits, packet.keep_alive)
    if packet.version != MQTT_5:
        expiry = 0 if packet.clean_start else limits.old_session_expiry_s or NEVER
        return Accepted(client_id, alive, expiry, limits.unacknowledged or MOST_WINDOW, {})
    asked = packet.properties.get("session_expiry", 0)
    expiry = min(asked, limits.session_expiry_s) if limits.session_expiry_s else asked
    window = min(packet.properties.get("receive_maximum", MOST_WINDOW), limits.unacknowledged or MOST_WINDOW)
    return Accepted(client_id, alive, expiry, window, _connack(limits, packet, client_id, alive, expiry))


def _connack(limits: Limits, packet: Connect, client_id: str, alive: int, expiry: int) -> Properties:
    properties: Properties = {
        "maximum_qos": 1,
        "retain_available": 1,
        "topic_alias_maximum": TOPIC_ALIASES,
        "wildcards_available": 1,
        "subscription_ids_available": 0,
        "shared_available": 1,
    }
    if limits.unacknowledged:
        properties["receive_maximum"] = limits.unacknowledged
    if limits.packet_bytes:
        properties["maximum_packet_size"] = limits.packet_bytes
    if limits.keep_alive_s is not None:
        properties["server_keep_alive"] = alive
    if expiry != packet.properties.get("session_expiry", 0):
        properties["session_expiry"] = expiry
    if not packet.client_id:
        properties["assigned_client_id"] = client_id
    return properties
