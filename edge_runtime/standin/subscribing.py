"""What a SUBSCRIBE is answered with."""

from __future__ import annotations

from typing import Final, NamedTuple

from edge_runtime.standin.access import Access
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import MQTT_5, Subscribe, Subscription
from edge_runtime.standin.quotas import filter_fault
from edge_runtime.standin.routes import split_share
from edge_runtime.standin.sessions import Parcel, Session

_OLD_FAILURE: Final = 0x80


class Grant(NamedTuple):
    """The outcome of a SUBSCRIBE."""

    codes: tuple[int, ...] = ()
    """For the SUBACK, in order; none: no SUBACK is sent."""
    retained: tuple[Parcel, ...] = ()
    """The retained messages to send after the SUBACK."""
    ending: Code = Code.SUCCESS
    """A failure: the connection is closed with it, after the SUBACK."""
    text: str = ""
    """What went wrong."""


def grant(broker: Broker, session: Session, packet: Subscribe, version: int, access: Access | None = None) -> Grant:
    """Subscribe the session to what it may have; `access` None: to everything."""
    if "subscription_ids" in packet.properties:
        return Grant(ending=Code.SUBSCRIPTION_IDS_NOT_SUPPORTED, text="AWS IoT Core has no subscription identifiers")
    if version != MQTT_5 and any(one.qos > 1 for one in packet.filters):
        # AWS IoT Core developer guide, "MQTT QoS options". MQTT 5 clients are granted QoS 1, as MQTT 5.0 has it.
        return Grant(text="SUBSCRIBE with QoS 2: AWS IoT Core sends no SUBACK")
    if any(one.no_local and split_share(one.filter)[0] for one in packet.filters):
        return Grant(ending=Code.PROTOCOL_ERROR, text="no local on a shared subscription")
    most = broker.limits.filters_per_subscribe
    if 0 < most < len(packet.filters):
        words = f"{len(packet.filters)} filters in one SUBSCRIBE; AWS IoT Core allows {most}"
        codes = [int(Code.QUOTA_EXCEEDED)] * len(packet.filters)
        return Grant(_translate(codes, version), (), Code.QUOTA_EXCEEDED, words)
    return _grant_each(broker, session, packet, version, access)


def _grant_each(broker: Broker, session: Session, packet: Subscribe, version: int, access: Access | None) -> Grant:
    codes: list[int] = []
    retained: list[Parcel] = []
    faults: list[str] = []
    ending = Code.SUCCESS
    for one in packet.filters:
        code, fault = _fault(broker, session, one, access)
        if fault:
            codes.append(code)
            faults.append(fault)
            ending = ending or _ending(broker, code, access)
        else:
            granted = one._replace(qos=min(one.qos, 1))
            retained += broker.subscribe(session, granted)
            codes.append(granted.qos)
    return Grant(_translate(codes, version), tuple(retained), ending, "; ".join(faults))


def _fault(broker: Broker, session: Session, one: Subscription, access: Access | None) -> tuple[Code, str]:
    """Return why a filter is not granted, with its code; no text: it is."""
    if fault := filter_fault(broker.limits, one.filter):
        return Code.FILTER_INVALID, fault
    if access is not None and not access.may("iot:Subscribe", f"topicfilter/{one.filter}"):
        return Code.NOT_AUTHORIZED, f"no policy allows iot:Subscribe on topic filter {one.filter!r}"
    if code := broker.faults.filter_rejection(one.filter):
        return Code(code), f"topic filter {one.filter!r} is refused on purpose"
    if one.filter not in session.subscriptions and 0 < broker.limits.subscriptions <= len(session.subscriptions):
        return Code.QUOTA_EXCEEDED, f"more than {broker.limits.subscriptions} subscriptions on a connection"
    return Code.SUCCESS, ""


def _ending(broker: Broker, code: Code, access: Access | None) -> Code:
    """Return what the connection is closed with after the SUBACK; SUCCESS: it stays."""
    denied = code is Code.NOT_AUTHORIZED and access is not None and broker.on_denied == "disconnect"
    return code if denied or code is Code.QUOTA_EXCEEDED else Code.SUCCESS


def _translate(codes: list[int], version: int) -> tuple[int, ...]:
    return tuple(codes if version == MQTT_5 else [min(code, _OLD_FAILURE) for code in codes])
