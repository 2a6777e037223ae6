"""What a SUBSCRIBE is answered with."""

from __future__ import annotations

from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import MQTT_3_1_1, MQTT_5, Subscribe, Subscription
from edge_runtime.standin.quotas import Mode
from edge_runtime.standin.sessions import Session
from edge_runtime.standin.subscribing import Grant, grant
from tests.standin.harness import Bench


def ask(*filters: str | Subscription, version: int = MQTT_5, quotas: Mode = "aws") -> Grant:
    wanted = tuple(Subscription(one, 1) if isinstance(one, str) else one for one in filters)
    return grant(Bench(quotas).broker, Session("c"), Subscribe(1, wanted), version)


def test_each_filter_has_its_own_code() -> None:
    assert ask(Subscription("a", 0), "b/#", "a/#/b") == Grant(
        (0, 1, Code.FILTER_INVALID), text="topic filter 'a/#/b': '#' may only be the last level"
    )
    assert ask("a", "a/#/b", version=MQTT_3_1_1).codes == (1, 0x80)


def test_qos_2_is_granted_as_1_in_mqtt_5_and_not_answered_in_mqtt_3_1_1() -> None:
    assert ask(Subscription("a", 2)).codes == (1,)
    old = ask(Subscription("a", 2), version=MQTT_3_1_1)
    assert (old.codes, old.ending) == ((), Code.SUCCESS)


def test_eight_filters_in_one_packet() -> None:
    assert ask(*"abcdefgh").codes == (1,) * 8
    many = ask(*"abcdefghi")
    assert (many.codes, many.ending) == ((Code.QUOTA_EXCEEDED,) * 9, Code.QUOTA_EXCEEDED)
    assert ask(*"abcdefghi", version=MQTT_3_1_1).codes == (0x80,) * 9
    assert ask(*"abcdefghi", quotas="none").codes == (1,) * 9


def test_fifty_subscriptions_on_a_connection() -> None:
    bench, session = Bench("aws"), Session("c")
    for number in range(50):
        assert grant(bench.broker, session, Subscribe(1, (Subscription(f"t/{number}"),)), MQTT_5).codes == (0,)
    again = grant(bench.broker, session, Subscribe(1, (Subscription("t/7", 1),)), MQTT_5)
    assert (again.codes, again.ending) == ((1,), Code.SUCCESS)
    more = grant(bench.broker, session, Subscribe(1, (Subscription("t/50"),)), MQTT_5)
    assert (more.codes, more.ending) == ((Code.QUOTA_EXCEEDED,), Code.QUOTA_EXCEEDED)
    assert len(session.subscriptions) == 50


def test_what_mqtt_5_forbids_or_aws_does_not_have() -> None:
    packet = Subscribe(1, (Subscription("a"),), {"subscription_ids": [1]})
    assert grant(Bench().broker, Session("c"), packet, MQTT_5).ending is Code.SUBSCRIPTION_IDS_NOT_SUPPORTED
    assert ask(Subscription("$share/x/a", no_local=True)).ending is Code.PROTOCOL_ERROR


def test_retained_messages_need_the_exact_topic_at_aws() -> None:
    for quotas, from_wildcard in (("aws", 0), ("none", 1)):
        bench = Bench("aws" if quotas == "aws" else "none")
        bench.connect("says").publish("conf/a", b"x", retain=True)
        session = Session("c")

        def retained(name: str, bench: Bench = bench, session: Session = session) -> int:
            return len(grant(bench.broker, session, Subscribe(1, (Subscription(name, 1),)), MQTT_5).retained)

        assert (retained("conf/a"), retained("conf/+"), retained("$share/x/conf/a")) == (1, from_wildcard, 0)


async def test_a_retained_message_that_has_expired_is_not_handed_out() -> None:
    bench = Bench()
    bench.connect("says").publish("conf", b"x", retain=True, properties={"message_expiry": 10})
    for waits, expected in ((9, 1), (1, 0)):
        await bench.clock.advance(waits)
        bench.broker.begin()
        outcome = grant(bench.broker, Session("c"), Subscribe(1, (Subscription("conf", 1),)), MQTT_5)
        assert len(outcome.retained) == expected
