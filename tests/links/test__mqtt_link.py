"""A new certificate on disk is taken up while connected; what does not serve leaves the old connection as it is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from edge_runtime import plugin
from edge_runtime.errors import LinkError
from edge_runtime.links._mqtt_link import MqttLink
from edge_runtime.standin import certs
from tests.brokers import Mosquitto, start_mosquitto
from tests.identities import Authority, Pair, put, replace

Make = Callable[..., MqttLink]
PATIENCE_S = 30.0


async def refusing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    raise AssertionError("nothing was to come down")


@pytest.fixture(scope="module")
def old(authority: Authority) -> Pair:
    return authority.issue("old")


@pytest.fixture(scope="module")
def new(authority: Authority) -> Pair:
    return authority.issue("new")


@pytest.fixture
async def broker(authority: Authority, tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """A broker that logs who connects, and lets nobody in whose common name is `barred`."""
    acl = "use_identity_as_username true\nmax_inflight_messages 0"
    async with start_mosquitto(tmp_path, tls=authority.tls.server, extra=acl) as started:
        yield started


@pytest.fixture(params=["awscrt", "paho"])
async def make(
    request: pytest.FixtureRequest, broker: Mosquitto, authority: Authority, tmp_path: Path, old: Pair
) -> AsyncIterator[Make]:
    made: list[MqttLink] = []

    def build(client_id: str = "device", **more: object) -> MqttLink:
        certificate, key = put(tmp_path / client_id, old)
        settings = {"endpoint": "localhost", "port": broker.port, "ca": authority.tls.server.ca, "client_id": client_id}
        link: MqttLink = plugin.load("links", request.param).LINK(
            **{**settings, "certificate": certificate, "key": key, **more}
        )
        made.append(link)
        return link

    yield build
    for link in made:
        await link.close()


async def logged(broker: Mosquitto, connects: int) -> list[str]:
    """Return what `shown` does, once there are so many: the broker writes its log when it likes."""
    async with asyncio.timeout(20):
        while len(shown(broker)) < connects:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
    return shown(broker)


def shown(broker: Mosquitto, client_id: str = "device") -> list[str]:
    """Return the common names with which a client has connected so far, in order."""
    lines = [line for line in broker.log if "New client connected" in line and f" as {client_id} " in line]
    return [line.rpartition("u'")[2].split("'")[0] for line in lines]


async def test_a_new_pair_on_disk_is_shown_and_nobody_is_told_that_the_connection_was_lost(
    make: Make, broker: Mosquitto, tmp_path: Path, new: Pair
) -> None:
    link = make()
    await link.connect(down=["down/#"], received=refusing)
    lost = asyncio.create_task(link.lost())
    put(tmp_path / "device", new)
    assert await link.renew() is True
    await link.publish("up/soil", b"41", {})
    assert not lost.done()
    assert await logged(broker, 2) == ["old", "new"]
    assert await link.renew() is False, "it is the one that is shown"
    await link.close()
    assert "was closed" in str(await lost)


async def test_no_message_is_lost_in_either_direction(make: Make, tmp_path: Path, authority: Authority) -> None:
    """A sender that repeats what was not acknowledged, as the uplink does, and one on the other side."""
    up: list[int] = []
    down: list[int] = []
    news = asyncio.Event()

    def keeping(into: list[int]) -> Callable[..., object]:
        async def received(_topic: str, payload: bytes, _properties: Mapping[str, str]) -> None:
            into.append(int(payload))
            news.set()

        return received

    link, other = make(), make("observer")
    await other.connect(down=["up/#"], received=keeping(up))  # type: ignore[arg-type]  # a coroutine function
    await link.connect(down=["down/#"], received=keeping(down))  # type: ignore[arg-type]  # as above
    stop = asyncio.Event()

    async def send(sender: MqttLink, topic: str) -> int:
        count = 0
        while not stop.is_set():
            try:
                await sender.publish(topic, str(count).encode(), {})
                count += 1
            except LinkError:
                await asyncio.sleep(0.01)  # as the uplink waits when its link stands and yet does not deliver
        return count

    sending = [asyncio.create_task(send(link, "up/soil")), asyncio.create_task(send(other, "down/lamp"))]
    for turn in range(3):
        put(tmp_path / "device", authority.issue(f"turn-{turn}"))
        assert await link.renew() is True
    stop.set()
    counts = await asyncio.gather(*sending)
    async with asyncio.timeout(PATIENCE_S):
        while len(set(up)) < counts[0] or len(set(down)) < counts[1]:
            news.clear()
            await news.wait()
    assert list(dict.fromkeys(up)) == list(range(counts[0])), "each of them, in order, some perhaps twice"
    assert list(dict.fromkeys(down)) == list(range(counts[1]))


@pytest.mark.parametrize("first", ["certificate", "key"])
async def test_a_torn_pair_is_never_shown(make: Make, broker: Mosquitto, tmp_path: Path, new: Pair, first: str) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    names = {"certificate": "device.pem.crt", "key": "private.pem.key"}
    replace(tmp_path / "device" / names[first], getattr(new, first))
    with pytest.raises(LinkError, match=r"private\.pem\.key is not that of the certificate"):
        await link.renew()
    await link.publish("up/soil", b"", {})

    await broker.kill()  # the connection ends while the pair is torn
    await link.lost()
    await broker.start()
    await link.connect(down=[], received=refusing)
    assert await logged(broker, 2) == ["old", "old"]

    (other,) = names.keys() - {first}
    replace(tmp_path / "device" / names[other], getattr(new, other))
    assert await link.renew() is True
    assert (await logged(broker, 3))[-1] == "new"


async def test_a_torn_pair_keeps_a_link_that_has_never_stood_from_connecting(
    make: Make, broker: Mosquitto, tmp_path: Path, new: Pair
) -> None:
    link = make()
    replace(tmp_path / "device" / "private.pem.key", new.key)
    with pytest.raises(LinkError, match=r"private\.pem\.key is not that of the certificate"):
        await link.connect(down=[], received=refusing)
    put(tmp_path / "device", new)
    await link.connect(down=[], received=refusing)
    assert await logged(broker, 1) == ["new"]


@pytest.mark.parametrize(
    ("dates", "amiss"),
    [
        (("20200101000000Z", "20200201000000Z"), "has expired on 2020-02-01"),
        (("20900101000000Z", "20910101000000Z"), "holds only from 2090-01-01 on"),
    ],
)
async def test_one_that_does_not_hold_today_is_not_taken(  # noqa: PLR0917 - fixtures
    make: Make, broker: Mosquitto, tmp_path: Path, authority: Authority, dates: tuple[str, str], amiss: str
) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    put(tmp_path / "device", authority.issue("late", begin=dates[0], end=dates[1]))
    with pytest.raises(LinkError) as caught:
        await link.renew()
    assert str(caught.value) == f"{tmp_path / 'device' / 'device.pem.crt'} {amiss}"
    await link.close()
    await link.connect(down=[], received=refusing)
    await link.publish("up/soil", b"", {})
    assert await logged(broker, 2) == ["old", "old"]


async def test_one_that_the_broker_refuses_is_tried_in_turn_with_the_one_that_served(
    make: Make, broker: Mosquitto, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("strange")
    strange = Authority(certs.make(folder / "tls"), folder / "work").issue("strange")
    link = make(connect_timeout_s=20.0)
    await link.connect(down=[], received=refusing)
    put(tmp_path / "device", strange)
    with pytest.raises(LinkError):
        await link.renew()
    await link.publish("up/soil", b"", {})
    await broker.kill()
    await link.lost()
    await broker.start()
    await link.connect(down=[], received=refusing)
    await link.publish("up/soil", b"", {})
    assert await logged(broker, 2) == ["old", "old"]


async def test_a_session_that_the_broker_forgot_is_a_lost_connection(
    make: Make, broker: Mosquitto, tmp_path: Path, new: Pair
) -> None:
    link = make(session_expiry_s=0)
    await link.connect(down=["down/#"], received=refusing)
    put(tmp_path / "device", new)
    await link.renew()
    assert "forgotten the session" in str(await link.lost())
    assert await link.connect(down=["down/#"], received=refusing) is False
    assert (await logged(broker, 3))[-1] == "new"


async def test_close_ends_a_change_under_way(make: Make, broker: Mosquitto, tmp_path: Path, new: Pair) -> None:
    link = make()
    await link.connect(down=[], received=refusing)
    put(tmp_path / "device", new)
    broker.freeze()
    changing = asyncio.create_task(link.renew())
    for _ in range(50):  # wherever it has come to by then
        await asyncio.sleep(0)
    await link.close()
    begin = time.monotonic()
    with contextlib.suppress(LinkError):
        assert await changing is False
    assert time.monotonic() - begin < 3
    broker.thaw()
    await link.connect(down=[], received=refusing)
    await link.publish("up/soil", b"", {})


async def test_one_change_a_second_at_most(make: Make, broker: Mosquitto, tmp_path: Path, old: Pair, new: Pair) -> None:
    """AWS IoT Core takes one connect a second from a client id."""
    link = make()
    begin = time.monotonic()
    await link.connect(down=[], received=refusing)
    for pair in (new, old):
        put(tmp_path / "device", pair)
        assert await link.renew() is True
    assert time.monotonic() - begin > 2
    assert await logged(broker, 3) == ["old", "new", "old"]

    put(tmp_path / "device", new)
    changing = asyncio.create_task(link.renew())
    await asyncio.sleep(0.1)  # it waits for its turn by then
    await link.close()
    begin = time.monotonic()
    with contextlib.suppress(LinkError):
        assert await changing is False
    assert time.monotonic() - begin < 3
    assert await logged(broker, 3) == ["old", "new", "old"]


async def test_without_a_connection_there_is_nothing_to_change(make: Make, tmp_path: Path, new: Pair) -> None:
    link = make()
    put(tmp_path / "device", new)
    assert await link.renew() is False
