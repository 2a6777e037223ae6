"""What is paho's own: the MQTT version, packed properties, and when it pings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_runtime.errors import ConfigError, LinkError, RefusedError
from edge_runtime.links._keep_alive import KeepAlive
from edge_runtime.links._paho import UserProperties
from edge_runtime.links.paho import LINK, PahoLink
from tests.scripted import CONNECT, PUBLISH, start_script


@pytest.mark.parametrize("version", ["5", 5, "3.1.1"])
def test_versions_as_people_write_them(version: str | int) -> None:
    assert isinstance(LINK(endpoint="broker.lan", client_id="garden", version=version), PahoLink)


def test_a_version_that_nobody_speaks() -> None:
    with pytest.raises(ConfigError) as caught:
        PahoLink(endpoint="broker.lan", client_id="garden", version="3.1")
    assert str(caught.value) == "link: version is '3.1'; known are 5 and 3.1.1"


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


@given(st.dictionaries(texts, texts, max_size=20))
def test_properties_are_packed_as_paho_packs_them(properties: dict[str, str]) -> None:
    expected = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's, untyped
    expected.UserProperty = list(properties.items())
    assert UserProperties(properties).pack() == expected.pack()  # type: ignore[no-untyped-call]  # as above


async def nothing(_topic: str, _payload: bytes, _properties: object) -> None:
    """Store nothing."""


async def test_a_property_that_does_not_fit_is_refused() -> None:
    async with start_script() as broker:
        link = PahoLink(endpoint="127.0.0.1", port=broker.port, client_id="garden")
        await link.connect(down=[], received=nothing)
        with pytest.raises(RefusedError) as caught:
            await link.publish("up/soil", b"", {"note": "x" * 65536})
        assert caught.value.code == 0x95
        await link.publish("up/soil", b"", {})
        await link.close()


@pytest.mark.parametrize(("version", "level"), [("5", 5), ("3.1.1", 4)])
async def test_the_version_is_what_the_broker_sees(version: str, level: int) -> None:
    async with start_script() as broker:
        link = PahoLink(endpoint="127.0.0.1", port=broker.port, client_id="garden", version=version)
        if version == "5":
            await link.connect(down=[], received=nothing)
        else:  # the script answers in MQTT 5, which is nonsense to MQTT 3.1.1
            with pytest.raises(LinkError):
                await link.connect(down=[], received=nothing)
        body = (await broker.until(CONNECT))[0].body
        assert (body[6], body[7] & 0x02) == (level, 0)
        await link.close()


async def test_a_publish_leaves_at_once() -> None:
    async with start_script() as broker:
        link = PahoLink(endpoint="127.0.0.1", port=broker.port, client_id="garden")
        await link.connect(down=[], received=nothing)
        futures = [link.publish("up/soil", b"%d" % n, {}) for n in range(3)]
        packets = await broker.until(PUBLISH, 3)  # without a turn of the loop to flush anything
        assert [packet.body[-1:] for packet in packets] == [b"0", b"1", b"2"]
        await asyncio.gather(*futures)
        await link.close()


class Loop:
    """A loop that is a clock: `run` moves it on and calls what is due."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        """Return this moment."""
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Have a call made."""
        entry = (when, call)
        self.timers.append(entry)
        return Timer(self, entry)  # type: ignore[return-value]  # all of a handle that is used

    def run(self, until: float) -> None:
        """Let time pass."""
        while self.timers and min(self.timers)[0] <= until:
            entry = min(self.timers)
            self.timers.remove(entry)
            self.now = entry[0]
            entry[1]()
        self.now = until


class Timer:
    """What `call_at` returns."""

    def __init__(self, loop: Loop, entry: tuple[float, Callable[[], None]]) -> None:
        self._loop, self._entry = loop, entry

    def cancel(self) -> None:
        """Forget the call."""
        if self._entry in self._loop.timers:
            self._loop.timers.remove(self._entry)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def said() -> list[tuple[str, float]]:
    return []


@pytest.fixture
def alive(loop: Loop, said: list[tuple[str, float]]) -> KeepAlive:
    found = KeepAlive(
        loop,  # type: ignore[arg-type]  # all of a loop that is used
        60.0,
        lambda: said.append(("ping", loop.now)),
        lambda: said.append(("dead", loop.now)),
    )
    found.start(60.0)
    return found


@pytest.mark.usefixtures("alive")
def test_silence_is_pinged_after_one_and_dead_after_one_and_a_half(loop: Loop, said: list[tuple[str, float]]) -> None:
    loop.run(1000.0)
    assert said == [("ping", 160.0), ("dead", 190.0)]
    assert loop.timers == []


def test_who_answers_lives(loop: Loop, said: list[tuple[str, float]], alive: KeepAlive) -> None:
    for start in (100.0, 161.0, 222.0):
        loop.run(start + 60.5)
        alive.heard()
        alive.spoke()
        loop.run(start + 61.0)
    assert [what for what, _ in said] == ["ping", "ping", "ping"]


def test_who_only_listens_pings_too(loop: Loop, said: list[tuple[str, float]], alive: KeepAlive) -> None:
    for moment in range(110, 165, 10):  # a broker that drops silent clients would drop this one
        loop.run(float(moment))
        alive.heard()
    assert said == [("ping", 160.0)]


def test_who_only_speaks_pings_too(loop: Loop, said: list[tuple[str, float]], alive: KeepAlive) -> None:
    for moment in range(110, 200, 10):
        loop.run(float(moment))
        alive.spoke()
    assert said == [("ping", 160.0), ("dead", 190.0)]


def test_the_broker_decides_how_often(loop: Loop, said: list[tuple[str, float]], alive: KeepAlive) -> None:
    alive.stop()
    alive.start(10.0)
    loop.run(150.0)
    assert said == [("ping", 110.0), ("dead", 115.0)]


def test_nothing_is_called_after_stop(loop: Loop, said: list[tuple[str, float]], alive: KeepAlive) -> None:
    alive.stop()
    alive.stop()
    loop.run(1000.0)
    assert said == []
