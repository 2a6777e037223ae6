"""What a SUBSCRIBE is answered with."""

from __future__ import annotations

from typing import Final, NamedTuple

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


def grant(broker: Broker, session: Session, packet: Subscribe, version: int) -> Grant:
    """Subscribe the session to what it may have."""
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
    return _grant_each(broker, session, packet, version)


def _grant_each(broker: Broker, session: Session, packet: Subscribe, version: int) -> Grant:
    codes: list[int] = []
    retained: list[Parcel] = []
    faults: list[str] = []
    for one in packet.filters:
        if fault := filter_fault(broker.limits, one.filter):
            codes.append(Code.FILTER_INVALID)
            faults.append(fault)
        elif _full(broker, session, one):
            codes.append(Code.QUOTA_EXCEEDED)
            faults.append(f"more than {broker.limits.subscriptions} subscriptions on a connection")
        else:
            granted = one._replace(qos=min(one.qos, 1))
            retained += broker.subscribe(session, granted)
            codes.append(granted.qos)
    ending = Code.QUOTA_EXCEEDED if Code.QUOTA_EXCEEDED in codes else Code.SUCCESS
    return Grant(_translate(codes, version), tuple(retained), ending, "; ".join(faults))


def _full(broker: Broker, session: Session, one: Subscription) -> bool:
    return one.filter not in session.subscriptions and 0 < broker.limits.subscriptions <= len(session.subscriptions)


def _translate(codes: list[int], version: int) -> tuple[int, ...]:
    return tuple(codes if version == MQTT_5 else [min(code, _OLD_FAILURE) for code in codes])
