"""One client's conversation, without sockets: the order of things, AWS's reactions, and time."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.standin.codec import encode
from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Kind,
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
from edge_runtime.standin.record import read_record
from tests.standin.harness import Bench, Client, Pipe

SECOND = 1_000_000_000


def ending(client: Client, packets: list[object]) -> int:
    """Return the reason of the DISCONNECT that ended the connection; 0 in MQTT 3.1.1, which has none."""
    assert client.pipe.closed
    if client.version == MQTT_3_1_1:
        assert packets == []
        return 0
    (packet,) = packets
    assert isinstance(packet, Disconnect)
    return packet.code


# --- acknowledging and recording ---


def test_everything_accepted_is_recorded_with_its_details() -> None:
    bench = Bench()
    client = bench.connect("thing")
    now = bench.clock.now()
    client.say(
        Publish("a", b"0"),
        Publish("b", b"1", 1, retain=True, packet_id=7, properties={"user": [("k", "v"), ("k", "w")]}),
        Publish("b", b"2", 1, dup=True, packet_id=8),
    )
    first, second, third = bench.record.entries
    assert first._asdict() == {
        "topic": "a",
        "payload": b"0",
        "user": (),
        "qos": 0,
        "retain": False,
        "dup": False,
        "packet_id": 0,
        "connection": 1,
        "client_id": "thing",
        "arrived_ns": now.mono_ns,
        "acked_ns": 0,
        "wall_ns": now.wall_ns,
    }
    assert (second.user, second.retain, second.packet_id) == ((("k", "v"), ("k", "w")), True, 7)
    assert (third.dup, third.acked_ns) == (True, now.mono_ns)


def test_a_batch_is_in_the_file_before_its_pubacks_are_written_all_in_one(tmp_path: Path) -> None:
    path = tmp_path / "record"
    bench = Bench(record=path)
    client = bench.connect()

    class Watching(Pipe):
        def write(self, data: bytes) -> None:
            assert [entry.packet_id for entry in read_record(path)] == [1, 2, 3]
            super().write(data)

    client.pipe = client.peer._pipe = Watching()
    client.peer.receive(b"".join(encode(Publish("a", b"x", 1, packet_id=number), MQTT_5) for number in (1, 2, 3)))
    assert len(client.pipe.writes) == 1
    assert client.heard() == [Ack(Kind.PUBACK, number, Code.NO_MATCHING_SUBSCRIBERS) for number in (1, 2, 3)]
    bench.record.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_what_cannot_be_recorded_is_not_acknowledged(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(record=Path("/dev/full"))
    client = bench.connect()
    assert client.publish("a") == []
    assert client.pipe.aborted
    assert "No space left on device" in caplog.text
    bench.record.close()


def test_lost_pubacks_are_recorded_and_marked() -> None:
    bench = Bench()
    client = bench.connect()
    bench.faults.lose_pubacks(2)
    assert [len(client.publish("a")) for _ in range(4)] == [0, 0, 1, 1]
    assert [entry.acked_ns > 0 for entry in bench.record.entries] == [False, False, True, True]
    assert bench.broker.counts["pubacks_lost"] == 2


def test_what_is_refused_on_purpose_is_not_recorded() -> None:
    bench = Bench()
    bench.faults.reject("up/#")
    client = bench.connect()
    (answer,) = client.publish("up/x")
    assert isinstance(answer, Ack)
    assert (answer.code, answer.properties) == (0x87, {"reason": "topic 'up/x' is refused on purpose"})
    old = bench.connect("old", MQTT_3_1_1)
    assert ending(old, [*old.publish("up/x")]) == 0
    silent = bench.connect("silent")
    assert ending(silent, [*silent.say(Publish("up/x", b""))]) == 0x87
    assert bench.record.entries == []


def test_a_client_may_ask_for_no_reasons() -> None:
    bench = Bench()
    bench.faults.reject("up/#")
    client = bench.connect(properties={"request_problem": 0})
    assert client.publish("up/x") == [Ack(Kind.PUBACK, 1, 0x87)]


# --- AWS ---


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
def test_aws_disconnects_for_a_payload_above_128_kb(version: int) -> None:
    client = Bench("aws").connect(version=version)
    assert len(client.publish("t", bytes(131_072))) == 1
    code = ending(client, [*client.publish("t", bytes(131_073))])
    assert code == (Code.PACKET_TOO_LARGE if version == MQTT_5 else 0)


def test_aws_refuses_a_bad_topic_by_puback_or_by_disconnecting() -> None:
    bench = Bench("aws")
    client, old, silent = bench.connect("c"), bench.connect("old", MQTT_3_1_1), bench.connect("silent")
    (answer,) = client.publish("a/b/c/d/e/f/g/h/i")
    assert isinstance(answer, Ack)
    assert answer.code == Code.TOPIC_INVALID
    assert not client.pipe.closed
    assert ending(old, [*old.publish("a/b/c/d/e/f/g/h/i")]) == 0
    assert ending(silent, [*silent.say(Publish("a/b/c/d/e/f/g/h/i", b""))]) == Code.TOPIC_INVALID
    assert bench.record.entries == []
    assert "has 8 slashes" in bench.broker.refusals[-1]


def test_aws_discards_above_a_hundred_publishes_a_second() -> None:
    bench = Bench("aws")
    old = bench.connect("old", MQTT_3_1_1)
    answers = old.say(*(Publish("t", b"", 1, packet_id=number) for number in range(1, 131)))
    assert len(answers) == 100
    assert (len(bench.record.entries), bench.broker.counts["discarded"]) == (100, 30)


def test_a_window_above_a_hundred_ends_mqtt_5() -> None:
    client = Bench("aws").connect()
    packets = client.say(*(Publish("t", b"", 1, packet_id=number) for number in range(1, 102)))
    assert [type(packet) for packet in packets[:100]] == [Ack] * 100
    assert ending(client, [*packets[100:]]) == Code.RECEIVE_MAXIMUM_EXCEEDED


def test_retaining_on_a_reserved_topic_ends_the_connection() -> None:
    client = Bench("aws").connect()
    assert ending(client, [*client.publish("$aws/things/t/x", retain=True)]) == Code.RETAIN_NOT_SUPPORTED


def test_basic_ingest_is_taken_by_a_rule() -> None:
    bench = Bench("aws")
    assert bench.connect().publish("$aws/rules/store/t") == [Ack(Kind.PUBACK, 1)]
    assert bench.record.entries[0].topic == "$aws/rules/store/t"


def test_too_many_subscriptions_get_a_suback_and_then_a_disconnect() -> None:
    client = Bench("aws").connect()
    answers = client.say(Subscribe(5, tuple(Subscription(one) for one in "abcdefghi")))
    assert answers[0] == Suback(5, (Code.QUOTA_EXCEEDED,) * 9)
    assert ending(client, [*answers[1:]]) == Code.QUOTA_EXCEEDED


def test_qos_2_has_no_answer_in_mqtt_3_1_1() -> None:
    bench = Bench("aws")
    client = bench.connect(version=MQTT_3_1_1)
    assert client.say(Publish("t", b"", 2, packet_id=1), Subscribe(2, (Subscription("t", 2),)), Pingreq()) == [
        Pingresp()
    ]
    assert len(bench.broker.refusals) == 2


def test_qos_2_ends_mqtt_5() -> None:
    client = Bench("aws").connect()
    assert ending(client, [*client.say(Publish("t", b"", 2, packet_id=1))]) == Code.QOS_NOT_SUPPORTED


async def test_stored_messages_come_ten_a_second_and_new_ones_at_once() -> None:
    bench = Bench("aws")
    sleeper = bench.connect("sleeper", clean=False, properties={"session_expiry": 100})
    sleeper.subscribe("down")
    sleeper.say(Disconnect())
    sleeper.peer.lost()
    says = bench.connect("says")
    for number in range(15):
        says.publish("down", b"%d" % number)
    await bench.clock.advance(1)
    back = bench.connect("sleeper", clean=False, properties={"session_expiry": 100})
    assert back.messages() == []
    says.publish("down", b"new")
    assert back.messages() == [("down", b"new")]
    await bench.clock.advance(1)
    assert back.messages() == [("down", b"%d" % number) for number in range(10)]
    await bench.clock.advance(1)
    assert back.messages() == [("down", b"%d" % number) for number in range(10, 15)]
    await bench.broker.close()


# --- what clients do wrong ---


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (Connect("c"), Code.PROTOCOL_ERROR),
        (Auth(0x18), Code.BAD_AUTHENTICATION_METHOD),
        (Pingresp(), Code.PROTOCOL_ERROR),
        (Suback(1, (0,)), Code.PROTOCOL_ERROR),
        (Ack(Kind.PUBREL, 1), Code.PROTOCOL_ERROR),
        (Connack(), Code.PROTOCOL_ERROR),
    ],
)
def test_packets_out_of_place(packet: Connect | Auth | Pingresp | Suback | Ack | Connack, code: Code) -> None:
    client = Bench().connect()
    assert ending(client, [*client.say(packet)]) == code


def test_what_came_before_a_broken_packet_counts_and_what_comes_after_does_not() -> None:
    bench = Bench()
    client = bench.connect()
    good = encode(Publish("a", b"", 1, packet_id=1), MQTT_5)
    first, second = client.say_bytes(good + b"\x00\x00" + good)
    assert first == Ack(Kind.PUBACK, 1, Code.NO_MATCHING_SUBSCRIBERS)
    assert isinstance(second, Disconnect)
    assert second.code == Code.MALFORMED_PACKET
    assert client.say_bytes(good) == []
    assert len(bench.record.entries) == 1


def test_an_unknown_version_is_answered_in_the_old_way() -> None:
    client = Bench().open(MQTT_3_1_1)
    assert client.say_bytes(b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x00\x00\x00") == [Connack(False, 1)]
    assert client.pipe.closed


def test_garbage_before_connect_is_closed_without_a_word() -> None:
    client = Bench().open()
    assert client.say_bytes(b"GET / HTTP/1.1\r\n\r\n") == []
    assert client.pipe.closed


def test_an_unknown_puback_is_passed_over() -> None:
    client = Bench().connect()
    assert client.say(Ack(Kind.PUBACK, 99), Pingreq()) == [Pingresp()]


# --- delivering ---


def test_a_receive_maximum_is_kept_exactly() -> None:
    bench = Bench()
    slow = bench.connect("slow", properties={"receive_maximum": 3})
    slow.subscribe("down")
    says = bench.connect("says")
    for number in range(10):
        says.publish("down", b"%d" % number)
    got = [packet for packet in slow.heard() if isinstance(packet, Publish)]
    assert [packet.payload for packet in got] == [b"0", b"1", b"2"]
    more = slow.say(*(Ack(Kind.PUBACK, packet.packet_id) for packet in got))
    assert [packet.payload for packet in more if isinstance(packet, Publish)] == [b"3", b"4", b"5"]


def test_duplicates_have_a_new_identifier_and_no_dup_flag() -> None:
    bench = Bench()
    client = bench.connect("c")
    client.subscribe("a")
    bench.faults.duplicate(1)
    bench.connect("says").publish("a", b"twice")
    first, second = client.heard()
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert (first.packet_id, second.packet_id, second.dup, second.payload) == (1, 2, False, b"twice")
    bench.connect("says again").publish("a", b"once")
    assert client.messages() == [("a", b"once")]


def test_qos_0_is_dropped_for_a_client_that_does_not_read() -> None:
    bench = Bench()
    slow = bench.connect("slow")
    slow.subscribe(Subscription("a", 0), Subscription("b", 1))
    slow.pipe.congested = True
    says = bench.connect("says")
    says.publish("a")
    says.publish("b")
    assert slow.messages() == [("b", b"x")]
    assert bench.broker.counts["qos0_dropped"] == 1


def test_unsubscribe_is_answered_for_each_filter() -> None:
    client = Bench().connect()
    client.subscribe("a")
    assert client.say(Unsubscribe(3, ("a", "b"))) == [Unsuback(3, (0, Code.NO_SUBSCRIPTION_EXISTED))]
    old = Bench().connect(version=MQTT_3_1_1)
    assert old.say(Unsubscribe(3, ("a",))) == [Unsuback(3)]


# --- the end ---


def test_a_client_id_taken_over_says_so_and_publishes_its_will() -> None:
    bench = Bench()
    observer = bench.connect("observer")
    observer.subscribe("gone")
    older = bench.connect("twin", will=Will("gone", b"older"))
    bench.connect("twin")
    assert ending(older, [*older.heard()]) == Code.SESSION_TAKEN_OVER
    assert observer.messages() == [("gone", b"older")]
    assert "DUPLICATE_CLIENT_ID" in bench.broker.refusals[-1]
    older.peer.lost()
    assert bench.broker.sessions["twin"].online


async def test_a_delayed_will_waits_and_is_forgotten_when_the_client_comes_back() -> None:
    bench = Bench()
    observer = bench.connect("observer")
    observer.subscribe("gone")
    will = Will("gone", b"x", properties={"will_delay": 10})
    for waits, expected in ((9, []), (10, [("gone", b"x")])):
        client = bench.connect("c", clean=False, will=will, properties={"session_expiry": 60})
        client.peer.lost()
        await bench.clock.advance(waits)
        bench.connect("c", clean=False, properties={"session_expiry": 60}).say(Disconnect())
        await bench.clock.advance(20)
        assert observer.messages() == expected
    await bench.broker.close()


async def test_a_session_ends_when_its_time_is_up_and_not_before() -> None:
    bench = Bench("aws")
    for name, waits, present in (("a", 3599, True), ("b", 3600, False)):
        client = bench.connect(name, MQTT_3_1_1, clean=False)
        client.peer.lost()
        await bench.clock.advance(waits)
        assert bench.connack(Connect(name, MQTT_3_1_1, clean_start=False)).session_present is present
    await bench.broker.close()


def test_the_deadline_is_one_and_a_half_keep_alives_after_the_last_sign_of_life() -> None:
    bench = Bench()
    idle = bench.open()
    assert idle.peer.deadline_ns == bench.clock.now().mono_ns + 20 * SECOND
    client = bench.connect("c", keep_alive=30, will=Will("gone", b""))
    assert client.peer.deadline_ns == bench.clock.now().mono_ns + 45 * SECOND
    assert client.pipe.rearmed == 1
    assert bench.connect("never", keep_alive=0).peer.deadline_ns == 0


async def test_silence_ends_the_connection_with_its_will() -> None:
    bench = Bench("aws")
    observer = bench.connect("observer")
    observer.subscribe("gone")
    client = bench.connect("c", keep_alive=5, will=Will("gone", b"silent"))
    start = bench.clock.now().mono_ns
    assert client.peer.deadline_ns == start + 45 * SECOND
    await bench.clock.advance(10)
    client.say(Pingreq())
    assert client.peer.deadline_ns == start + 55 * SECOND
    client.peer.silent()
    assert ending(client, [*client.heard()]) == Code.KEEP_ALIVE_TIMEOUT
    assert observer.messages() == [("gone", b"silent")]


def test_a_session_that_was_to_end_cannot_be_kept_by_disconnect() -> None:
    client = Bench().connect()
    assert ending(client, [*client.say(Disconnect(0, {"session_expiry": 10}))]) == Code.PROTOCOL_ERROR


def test_a_server_that_goes_says_so() -> None:
    bench = Bench()
    client = bench.connect()
    client.peer.shut_down()
    bench.broker.flush()
    assert ending(client, [*client.heard()]) == Code.SHUTTING_DOWN


def test_losing_all_sessions() -> None:
    bench = Bench()
    bench.connect("c", clean=False, properties={"session_expiry": 0xFFFF_FFFF}).subscribe("a")
    bench.broker.sessions["c"].leave()
    bench.broker.forget()
    assert not bench.connack(Connect("c", clean_start=False)).session_present
    assert bench.connect("says").publish("a") == [Ack(Kind.PUBACK, 1, Code.NO_MATCHING_SUBSCRIBERS)]
