"""Topics of a local broker, against a real mosquitto, and against one that misbehaves to order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_runtime.app import Broker
from edge_runtime.clock import SystemClock
from edge_runtime.errors import ConfigError, LimitError, QueueFullError, StoreError
from edge_runtime.model import Trigger
from edge_runtime.standin.certs import make
from edge_runtime.triggers._mqtt import Message
from edge_runtime.triggers.mqtt import MqttTrigger
from tests.brokers import Mosquitto, start_mosquitto
from tests.triggers.recorder import Recorder, listening, running

LOG = "edge_runtime.triggers.mqtt"


class Soon(Random):
    """Waits a moment only."""

    def uniform(self, a: float, b: float) -> float:
        """Return a hundredth of the range."""
        return a + (b - a) / 100


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with start_mosquitto(tmp_path, extra=f"persistence true\npersistence_location {tmp_path}/") as broker:
        yield broker


def trigger(broker: Mosquitto | int, *topics: str, prefix: str = "", **options: object) -> MqttTrigger:
    """Make the trigger of a test."""
    port = broker if isinstance(broker, int) else broker.port
    declared = Broker("house", "127.0.0.1", port, topics or ("#",), prefix, {"client_id": "edge-test", **options})
    return MqttTrigger(declared, SystemClock(), random=Soon())


async def say(broker: Mosquitto, *messages: tuple[str, bytes], qos: int = 1) -> None:
    """Publish as another program would, and return when the broker has it all."""
    batch: list[Any] = [(topic, payload, qos, False) for topic, payload in messages]
    await asyncio.to_thread(publish.multiple, batch, "127.0.0.1", broker.port)


async def up(mqtt: MqttTrigger) -> None:
    """Return when it has subscribed."""
    async with asyncio.timeout(20):
        await mqtt.up.wait()


async def test_a_message_becomes_an_event(mosquitto: Mosquitto) -> None:
    recorder, mqtt = Recorder(), trigger(mosquitto, "zigbee2mqtt/+", prefix="house/")
    assert isinstance(mqtt, Trigger)
    async with running(mqtt, recorder):
        await up(mqtt)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's, untyped
        properties.UserProperty = [("unit", "lux"), ("room", "küche"), ("edge-due", "9")]
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        info = client.publish("zigbee2mqtt/lamp", b'{"on":true}\xff', 1, properties=properties)
        await asyncio.to_thread(info.wait_for_publish, 20)
        client.disconnect()
        client.loop_stop()
        await recorder.until(1)
    (event,) = recorder.events
    assert (event.topic, event.payload) == ("house/zigbee2mqtt/lamp", b'{"on":true}\xff')
    assert (event.source, event.headers) == ("mqtt/house", {"unit": "lux", "room": "küche"})


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_thousands_come_in_order_and_once(mosquitto: Mosquitto, version: str) -> None:
    recorder, mqtt = Recorder(), trigger(mosquitto, version=version)
    async with running(mqtt, recorder):
        await up(mqtt)
        await say(mosquitto, *((f"a/{n}", b"%d" % n) for n in range(2000)))
        await recorder.until(2000)
    assert recorder.topics == [f"a/{n}" for n in range(2000)]


async def test_a_flood_without_acknowledgements_waits_in_the_network(mosquitto: Mosquitto) -> None:
    recorder, mqtt = Recorder(), trigger(mosquitto)
    recorder.gate.clear()
    with listening(LOG) as log:
        async with running(mqtt, recorder):
            await up(mqtt)
            await say(mosquitto, *((f"a/{n}", b"x" * 500) for n in range(4000)), qos=0)
            await log.until("is made to wait: 1000 messages are not stored yet")
            assert len(mqtt._waiting) <= 1100  # paho reads some packets at a time
            recorder.gate.set()
            await recorder.until(4000)
    assert recorder.topics == [f"a/{n}" for n in range(4000)]


async def test_what_is_not_stored_is_not_acknowledged(mosquitto: Mosquitto) -> None:
    recorder = Recorder()
    async with running(first := trigger(mosquitto, "a/#"), recorder):
        await up(first)
        recorder.gate.clear()  # the store hangs, and then the power goes
        await say(mosquitto, ("a/1", b"1"), ("a/2", b"2"))
        await recorder.tried(1)
    assert recorder.events == []
    recorder.gate.set()
    async with running(trigger(mosquitto, "a/#"), recorder):
        await recorder.until(2)
    assert recorder.topics == ["a/1", "a/2"]
    async with running(third := trigger(mosquitto, "a/#"), recorder):  # and what is stored, is
        await up(third)
        await say(mosquitto, ("a/3", b"3"))
        await recorder.until(3)
    assert recorder.topics == ["a/1", "a/2", "a/3"]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_the_broker_keeps_what_comes_while_we_are_away(mosquitto: Mosquitto, version: str) -> None:
    recorder = Recorder()
    async with running(first := trigger(mosquitto, "a/#", version=version), recorder):
        await up(first)
    await say(mosquitto, ("a/1", b"1"), ("b/1", b"no"), ("a/2", b"2"))
    async with running(trigger(mosquitto, "a/#", version=version), recorder):
        await recorder.until(2)
    assert recorder.topics == ["a/1", "a/2"]


async def test_it_comes_back_when_the_broker_does(mosquitto: Mosquitto) -> None:
    recorder, mqtt = Recorder(), trigger(mosquitto)
    with listening(LOG) as log:
        async with running(mqtt, recorder):
            for n in range(2):
                await up(mqtt)
                await say(mosquitto, (f"a/{n}", b""))
                await recorder.until(n + 1)
                if n == 0:
                    await mosquitto.kill()  # it forgets the session: everything must be subscribed anew
                    await log.until("the connection to the broker")
                    assert not mqtt.up.is_set()
                    await mosquitto.start()
    assert recorder.topics == ["a/0", "a/1"]


async def test_a_broker_that_is_not_there_is_one_line_in_the_log() -> None:
    with socket.socket() as free, listening(LOG) as log:
        free.bind(("127.0.0.1", 0))
        async with running(trigger(free.getsockname()[1]), Recorder()):
            await log.until("cannot be reached", 3)
    assert [line.partition(" ")[0] for line in log.lines[:3]] == ["WARNING", "DEBUG", "DEBUG"]
    assert "cannot be reached: [Errno 111] Connection refused (check host, port and TLS)" in log.lines[0]


@pytest.mark.parametrize("error", [QueueFullError("the queue of f is full"), StoreError("the disk is full")])
async def test_what_the_store_refuses_is_tried_again(
    mosquitto: Mosquitto, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, mqtt = Recorder(), trigger(mosquitto)
    async with running(mqtt, recorder):
        await up(mqtt)
        recorder.refuse = error
        await say(mosquitto, *((f"a/{n}", b"") for n in range(300)))  # more than the broker may send at once
        await recorder.tried(3)
        recorder.refuse = None
        await recorder.until(300)
    assert recorder.topics == [f"a/{n}" for n in range(300)]
    assert f"messages wait, next try in 0.0 s: {error}" in caplog.text
    assert mqtt.refused == 0


async def test_a_message_that_can_never_be_stored_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    class Picky(Recorder):
        async def __call__(self, *events: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
            if any(event.topic == "a/1" for event in events):
                raise LimitError("topic 'a/1' is refused")
            await super().__call__(*events, **kwargs)

    recorder, mqtt, acknowledged = Picky(), trigger(1), list[int]()
    async with running(mqtt, recorder):
        for n in range(3):  # in one batch
            mqtt._receive(Message(f"a/{n}", b"", {}, 1, lambda n=n: acknowledged.append(n)))  # type: ignore[misc]
        await recorder.until(2)
    assert recorder.topics == ["a/0", "a/2"]
    assert acknowledged == [0, 1, 2]
    assert mqtt.refused == 1
    assert "broker 'house': a message was left out, 1 in all: topic 'a/1' is refused" in caplog.text


async def test_a_topic_that_becomes_too_long_is_left_out(mosquitto: Mosquitto) -> None:
    recorder, mqtt = Recorder(), trigger(mosquitto, prefix="x" * 65_530)
    async with running(mqtt, recorder):
        await up(mqtt)
        await say(mosquitto, ("too-long", b""), ("short", b""))
        await recorder.until(1)
    assert [topic[-5:] for topic in recorder.topics] == ["short"]
    assert mqtt.refused == 1


async def test_subscriptions_of_before_are_left_out(mosquitto: Mosquitto) -> None:
    recorder = Recorder()
    async with running(first := trigger(mosquitto, "a/#", "b/#"), recorder):
        await up(first)
    async with running(second := trigger(mosquitto, "b/#"), recorder):
        await up(second)
        # By MQTT's rules, which are the broker's here, b/# means b too.
        await say(mosquitto, ("a/1", b""), ("b", b""), ("b/1", b""))
        await recorder.until(2)
    assert recorder.topics == ["b", "b/1"]


async def test_a_broker_that_falls_silent_is_noticed(mosquitto: Mosquitto) -> None:
    recorder, mqtt = Recorder(), trigger(mosquitto, keep_alive_s=1)
    with listening(LOG) as log:
        async with running(mqtt, recorder):
            await up(mqtt)
            mosquitto.freeze()
            await log.until("has gone: Keep alive timeout")
            mosquitto.thaw()
            await up(mqtt)


async def test_over_tls_with_a_certificate(tmp_path: Path) -> None:
    files = make(tmp_path / "certs")
    recorder = Recorder()
    async with start_mosquitto(tmp_path, tls=files.server) as mosquitto:
        client = files.client
        mqtt = trigger(mosquitto, ca=str(client.ca), certificate=str(client.cert), key=str(client.key))
        async with running(mqtt, recorder):
            await up(mqtt)
            batch: list[Any] = [(f"a/{n}", b"x" * 3000, 1, False) for n in range(200)]
            tls: Any = {"ca_certs": str(client.ca), "certfile": str(client.cert), "keyfile": str(client.key)}
            await asyncio.to_thread(publish.multiple, batch, "127.0.0.1", mosquitto.port, tls=tls)
            await recorder.until(200)
        assert recorder.topics == [f"a/{n}" for n in range(200)]
        with listening(LOG) as log:
            async with running(trigger(mosquitto, tls=True), recorder):
                await log.until("cannot be reached: [SSL: CERTIFICATE_VERIFY_FAILED]")


async def test_no_44_milliseconds(mosquitto: Mosquitto) -> None:
    recorder, mqtt = Recorder(), trigger(mosquitto)
    async with running(mqtt, recorder):
        await up(mqtt)
        assert mqtt._connection is not None
        sock: Any = mqtt._connection._client.socket()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_it_ends_and_leaves_nothing(mosquitto: Mosquitto) -> None:
    before = asyncio.all_tasks()
    recorder, mqtt = Recorder(), trigger(mosquitto)
    async with running(mqtt, recorder):
        await up(mqtt)
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        assert {"mqtt[house].connection", "mqtt[house].pump"} <= names
    assert asyncio.all_tasks() == before
    assert not mqtt.up.is_set()


# -- a broker that answers as told --------------------------------------------------------------------------------


Answer = Callable[[int, bytes], bytes]
"""From the type and the body of a packet to what is answered."""


@contextlib.asynccontextmanager
async def broker(answer: Answer) -> AsyncIterator[int]:
    """Run a broker made of answers and yield its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, length = await reader.readexactly(2)
                writer.write(answer(kind >> 4, await reader.readexactly(length)))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def level(connect: bytes) -> int:
    """Return the version that a CONNECT asks for: 4 or 5."""
    return connect[6]


async def test_an_old_broker_is_spoken_to_in_its_own_version() -> None:
    levels: list[int] = []

    def old(kind: int, body: bytes) -> bytes:
        if kind == 1:
            levels.append(level(body))
            return b"\x20\x02\x00\x00" if level(body) == 4 else b"\x20\x02\x00\x01"
        # SUBACK, and at once a message.
        return b"\x90\x03" + body[:2] + b"\x01" + b"\x30\x04\x00\x01aX" if kind == 8 else b""

    async with broker(old) as port:
        recorder, mqtt = Recorder(), trigger(port)
        async with running(mqtt, recorder):
            await recorder.until(1)
    assert (recorder.topics, recorder.events[0].payload) == (["a"], b"X")
    assert levels == [5, 4]


async def test_who_asks_for_version_5_gets_no_other() -> None:
    levels: list[int] = []

    def old(_kind: int, body: bytes) -> bytes:
        levels.append(level(body))
        return b"\x20\x02\x00\x01"

    with listening(LOG) as log:
        async with broker(old) as port, running(trigger(port, version=5), Recorder()):
            await log.until("does not speak this version of MQTT", 3)
    assert set(levels) == {5}


def five(*codes: int) -> Answer:
    """Return a broker of version 5 that grants subscriptions with these codes."""

    def answer(kind: int, body: bytes) -> bytes:
        if kind == 1:
            return b"\x20\x03\x00\x00\x00"
        return b"\x90" + bytes([3 + len(codes)]) + body[:2] + b"\x00" + bytes(codes) if kind == 8 else b""

    return answer


async def test_a_refused_subscription_is_told_and_the_others_work(caplog: pytest.LogCaptureFixture) -> None:
    async with broker(five(1, 0x87)) as port:
        mqtt = trigger(port, "a", "secret/#")
        async with running(mqtt, Recorder()):
            await up(mqtt)
    assert "broker 'house' refused the subscription to 'secret/#' (0x87)" in caplog.text


async def test_when_every_subscription_is_refused_it_tries_again() -> None:
    with listening(LOG) as log:
        async with broker(five(0x87)) as port:
            mqtt = trigger(port, "secret/#")
            async with running(mqtt, Recorder()):
                await log.until("refused every subscription", 2)
                assert not mqtt.up.is_set()
    assert log.count("ERROR broker 'house' refused the subscription to 'secret/#' (0x87)") >= 2


async def test_a_missing_answer_to_a_subscription_is_an_error() -> None:
    with listening(LOG) as log:
        async with broker(five(1)) as port, running(trigger(port, "a", "b"), Recorder()):
            await log.until("answered 1 of 2 subscriptions")


async def test_a_wrong_password_and_nonsense() -> None:
    answers = [b"\x20\x03\x00\x86\x00", b"\xff\xff\xff\xff\xff\xff\xff", b"\x20\x03\x00\x86\x00"]
    with listening(LOG) as log:
        answer: Answer = lambda _kind, _body: answers.pop(0) if len(answers) > 1 else answers[0]  # noqa: E731 - short
        async with broker(answer) as port, running(trigger(port, username="a", password=1234), Recorder()):
            await log.until("refused the connection: Bad user name or password (check username and password)", 2)


# -- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "x"}, "broker 'house' has no option 'user'; did you mean 'username'?"),
        ({"tls": "yes"}, "broker 'house': tls must be true or false, not 'yes'"),
        ({"certificate": "x.pem"}, "broker 'house': certificate and key belong together"),
        ({"version": 4}, "broker 'house': version 4 is not 5 or 3.1.1"),
        ({"username": ["x"]}, "broker 'house': username must be a text, not ['x']"),
        ({"keep_alive_s": 0}, "broker 'house': keep_alive_s 0 is not between 1 and 65535 whole seconds"),
        ({"keep_alive_s": "soon"}, "broker 'house': keep_alive_s: 'soon' is no duration"),
        (
            {"session_expiry_s": 0.5},
            "broker 'house': session_expiry_s 0.5 is not between 1 and 4294967295 whole seconds",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        trigger(1883, **options)
    assert str(error.value).startswith(message)


def test_options_and_their_defaults() -> None:
    address = MqttTrigger(Broker("house", "h", options={"password": 1234, "ca": "ca.pem"}), SystemClock())._address
    assert address.client_id == f"edge-{socket.gethostname()}-house"
    assert (address.password, address.tls, address.keep_alive_s, address.session_expiry_s) == (
        "1234",
        True,
        30,
        604_800,
    )
    assert "1234" not in repr(address)
    assert trigger(1883, keep_alive_s="2m", session_expiry_s="1d")._address.keep_alive_s == 120


def test_a_bad_filter_is_refused_at_once() -> None:
    with pytest.raises(LimitError, match="'#' may only be the last level"):
        trigger(1883, "a/#/b")


async def test_it_connects_when_it_is_told_that_there_is_somebody(mosquitto: Mosquitto) -> None:
    recorder, ready = Recorder(), asyncio.Event()
    asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        if not asked.done():
            asked.set_result(None)
        await ready.wait()

    declared = Broker("house", "127.0.0.1", mosquitto.port, ("#",), options={"client_id": "edge-test"})
    mqtt = MqttTrigger(declared, SystemClock(), random=Soon(), ready=wait)
    async with running(mqtt, recorder):
        await asked
        assert not any("edge-test" in line for line in mosquitto.log)
        ready.set()
        await up(mqtt)
        assert any("edge-test" in line for line in mosquitto.log)
