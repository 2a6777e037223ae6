"""The stand-in as its users have it: real sockets, TLS, faults at run time."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.errors import ConfigError
from edge_runtime.standin.certs import Certificates, make
from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import MQTT_3_1_1, MQTT_5, Ack, Connack, Connect, Publish, Will
from edge_runtime.standin.record import read_record
from edge_runtime.standin.server import Standin
from tests.brokers import free_port
from tests.mqtt import HOST, RawClient, paho


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    async with Standin(quotas="none") as one:
        yield one


def batch(count: int, payload: bytes = b"x") -> list[Publish]:
    return [Publish("up", payload, 1, packet_id=number) for number in range(1, count + 1)]


# --- record ---


async def test_the_record_can_be_waited_for(standin: Standin) -> None:
    waiting = asyncio.create_task(standin.recorded(2))
    client = await RawClient.connect(standin.port, "thing")
    await client.publish("a", b"1")
    assert not waiting.done()
    await client.publish("b", b"2", properties={"user": [("id", "7")]})
    assert [(one.topic, one.payload, one.user, one.client_id) for one in await waiting] == [
        ("a", b"1", (), "thing"),
        ("b", b"2", (("id", "7"),), "thing"),
    ]
    assert standin.counts["recorded"] == 2
    assert standin.counts["connections"] == 1
    await client.close()
    await standin.until(lambda: standin.counts["connections"] == 0)


async def test_arrival_and_acknowledgement_are_in_order_by_the_machines_clock(standin: Standin) -> None:
    client = await RawClient.connect(standin.port)
    before = standin.broker.clock.now().mono_ns
    await client.publish("a")
    after = standin.broker.clock.now().mono_ns
    (entry,) = standin.record
    assert before < entry.arrived_ns <= entry.acked_ns < after
    await client.close()


async def test_a_record_file_outlives_the_stand_in(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    async with Standin(record_file=path, keep_record=False) as standin:
        client = await RawClient.connect(standin.port)
        await client.publish("a", b"\x00\xff")
        assert [one.payload for one in read_record(path)] == [b"\x00\xff"]
        assert list(standin.record) == []
        await client.close()
    assert len(read_record(path)) == 1


# --- faults ---


async def test_refused_connections_and_the_same_port_afterwards(standin: Standin) -> None:
    port = standin.port
    client = await RawClient.connect(port)
    standin.faults.refuse()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await RawClient.open(port)
    assert (await client.publish("a")).packet_id == 1
    standin.faults.clear()
    assert standin.port == port
    again = await RawClient.connect(port, "again")
    assert again.connack.code == 0
    await again.close()
    await client.close()


async def test_refusing_and_clearing_in_quick_succession(standin: Standin) -> None:
    for _ in range(5):
        standin.faults.refuse()
        standin.faults.clear()
    standin.faults.refuse()
    with pytest.raises(ConnectionError):  # refused, or reset when it was caught on the way to being closed
        await (await RawClient.open(standin.port)).next()
    standin.faults.clear()
    await (await RawClient.connect(standin.port)).close()


async def test_connack_with_a_code(standin: Standin) -> None:
    standin.faults.refuse(Code.SERVER_BUSY)
    assert (await RawClient.connect(standin.port)).connack.code == Code.SERVER_BUSY
    assert (await RawClient.connect(standin.port, version=MQTT_3_1_1)).connack.code == 3


async def test_frozen_it_takes_everything_and_answers_afterwards(standin: Standin) -> None:
    client = await RawClient.connect(standin.port, keep_alive=1)
    standin.faults.freeze()
    client.send(*batch(3))
    other = await RawClient.open(standin.port)
    other.send(Connect("other"))
    # A second connection that is accepted while frozen proves that the loop has gone round; nothing was answered.
    await RawClient.open(standin.port)
    assert (client.bytes_in > 0, other.bytes_in, list(standin.record)) == (True, 0, [])
    standin.faults.clear()
    assert [(await client.expect(Ack)).packet_id for _ in range(3)] == [1, 2, 3]
    assert (await other.next()) is not None
    await client.close()
    await other.close()


async def test_what_was_sent_before_a_client_left_is_handled_after_the_thaw(standin: Standin) -> None:
    client = await RawClient.connect(standin.port)
    standin.faults.freeze()
    client.send(*batch(2))
    await client.abort()
    standin.faults.clear()
    assert len(await standin.recorded(2)) == 2
    await standin.until(lambda: standin.counts["connections"] == 0)


async def test_dropped_connections_get_their_wills_published(standin: Standin) -> None:
    client = await RawClient.connect(standin.port, "c", will=Will("gone", b"", 1, retain=True))
    assert standin.faults.drop() == 1
    await client.closed()
    assert client.disconnect is None
    assert standin.counts["wills"] == 1


async def test_a_restart_keeps_or_loses_sessions_and_sends_no_wills(standin: Standin) -> None:
    async def connect() -> RawClient:
        return await RawClient.connect(
            standin.port, "c", clean=False, will=Will("gone", b""), properties={"session_expiry": 60}
        )

    client = await connect()
    standin.faults.restart()
    await client.closed()
    client = await connect()
    assert client.connack.session_present
    standin.faults.restart(keep_sessions=False)
    await client.closed()
    client = await connect()
    assert not client.connack.session_present
    assert standin.counts["wills"] == 0
    await client.close()


async def test_lost_pubacks(standin: Standin) -> None:
    client = await RawClient.connect(standin.port)
    standin.faults.lose_pubacks(share=0.5, seed=3)
    client.send(*batch(100))
    acks = [packet for packet in await client.rest() if isinstance(packet, Ack)]
    assert len(standin.record) == 100
    assert [one.packet_id for one in standin.record if one.acked_ns] == [ack.packet_id for ack in acks]
    assert 30 < len(acks) < 70
    await client.close()


async def test_a_delay_lets_a_pipeline_of_100_through_in_one_round_trip(standin: Standin) -> None:
    client = await RawClient.connect(standin.port)
    standin.faults.delay(0.025)
    start = time.monotonic()
    for packet in batch(100):
        client.send(packet)
    for _ in range(100):
        await client.expect(Ack)
    took = time.monotonic() - start
    assert 0.049 <= took < 0.5  # one after the other they would take 5 s
    start = time.monotonic()
    await client.publish("up")
    assert time.monotonic() - start >= 0.049
    standin.faults.clear()
    await client.close()


async def test_more_than_512_kib_a_second_are_read_later() -> None:
    clock = FakeClock()
    async with Standin(clock=clock) as standin:
        client = await RawClient.connect(standin.port)
        client.send(*batch(8, bytes(100_000)))
        start = clock.now().mono_ns
        while len(standin.record) < 8:
            await clock.advance(0.01)
        assert (clock.now().mono_ns - start) / 1e9 >= (800_000 - 524_288) / 524_288
        assert [(await client.expect(Ack)).packet_id for _ in range(8)] == list(range(1, 9))
        await client.close()


async def test_what_is_sent_to_a_client_counts_against_the_same_512_kib_a_second() -> None:
    clock = FakeClock()
    async with Standin(clock=clock) as standin:
        client = await RawClient.connect(standin.port)
        await client.subscribe("down")
        start = clock.now().mono_ns
        with standin.broker.turn():
            standin.broker.say("down", bytes(100_000))
        assert len((await client.expect(Publish)).payload) == 100_000
        client.send(*batch(7, bytes(100_000)))
        while len(standin.record) < 7:
            await clock.advance(0.01)
        assert (clock.now().mono_ns - start) / 1e9 >= (800_000 - 524_288) / 524_288
        await client.close()


async def test_silence_is_noticed_at_one_and_a_half_keep_alives() -> None:
    clock = FakeClock()
    async with Standin(quotas="none", clock=clock) as standin:
        client = await RawClient.connect(standin.port, keep_alive=10)
        await clock.advance(14.9)
        assert await client.rest() == []
        await clock.advance(15)
        await client.closed()
        assert client.disconnect is not None
        assert client.disconnect.code == Code.KEEP_ALIVE_TIMEOUT


async def test_a_connection_that_never_says_connect_is_closed_after_20_s() -> None:
    clock = FakeClock()
    async with Standin(quotas="none", clock=clock) as standin:
        await clock.advance(1000)  # what counts is its own silence
        mute = await RawClient.open(standin.port)
        late = await RawClient.open(standin.port)
        await clock.advance(19.9)
        late.send(Connect("late"))
        assert isinstance(await late.next(), Connack)
        await clock.advance(0.2)
        await mute.closed()
        assert await late.rest() == []
        await late.close()


# --- starting and ending ---


async def test_closing_says_goodbye_and_may_be_done_twice() -> None:
    standin = Standin()
    await standin.start()
    client = await RawClient.connect(standin.port)
    await standin.close()
    await standin.close()
    await client.closed()
    assert client.disconnect is not None
    assert client.disconnect.code == Code.SHUTTING_DOWN
    with pytest.raises(ConnectionRefusedError):
        await RawClient.open(standin.port)


async def test_closing_while_frozen_refused_and_delayed() -> None:
    standin = Standin()
    await standin.start()
    client = await RawClient.connect(standin.port)
    standin.faults.delay(60)
    standin.faults.freeze()
    standin.faults.refuse()
    client.send(*batch(2))
    await standin.close()
    await client.closed()


async def test_started_again_it_moves_and_leaves_nothing_behind(standin: Standin) -> None:
    first, second = standin.port, free_port()
    await standin.start(port=second)
    assert standin.port == second
    with pytest.raises(ConnectionRefusedError):
        await RawClient.open(first)
    await (await RawClient.connect(standin.port)).close()


async def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1 port \d+: .*in use"):
            await Standin().start(port=other.getsockname()[1])


async def test_a_host_that_is_none() -> None:
    with pytest.raises(ConfigError, match="cannot listen on not a host"):
        await Standin().start("not a host")


# --- TLS ---


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return make(tmp_path_factory.mktemp("certs"))


def context(certificates: Certificates, *, own: bool = True) -> ssl.SSLContext:
    one = ssl.create_default_context(cafile=certificates.server.ca)
    if own:
        one.load_cert_chain(certificates.client.cert, certificates.client.key)
    return one


async def test_tls_with_a_client_certificate(certificates: Certificates) -> None:
    standin = Standin()
    await standin.start(tls=certificates.server)
    async with standin:
        client = await RawClient.open(standin.port, MQTT_5, context(certificates))
        client.send(Connect("thing"))
        await client.next()
        await client.publish("a", b"raw")
        async with paho(standin.port, "paho", tls=context(certificates)) as other:
            await other.publish("b", b"paho", 1)
        assert [(one.client_id, one.payload) for one in standin.record] == [("thing", b"raw"), ("paho", b"paho")]
        standin.faults.refuse()
        standin.faults.clear()
        await (await RawClient.open(standin.port, MQTT_5, context(certificates))).abort()
        await client.close()


async def test_tls_without_a_client_certificate_is_refused(certificates: Certificates) -> None:
    standin = Standin()
    await standin.start(tls=certificates.server)
    async with standin:
        client = await RawClient.open(standin.port, MQTT_5, context(certificates, own=False))
        client.send(Connect("thing"))
        await client.closed()
        assert standin.counts == {}
