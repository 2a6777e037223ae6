"""Networks as they are: slow, lossy, up and down, silent, broken, somebody else's."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest

from edge_runtime.standin import certs
from tests.chaos import CELLULAR_3G, HEAVY_LOSS, SATELLITE
from tests.netns import NAME, start_namespace
from tests.system.bad import SCALE, Exposed, drivers, exposed, exposed_to_mosquitto
from tests.system.rig import FULL, Setup

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600 if FULL else 120)]

UP_AND_DOWN = [(5, 5), (10, 10), (5, 20), (2, 30)] if FULL else [(5, 5), (2, 30)]
"""Seconds up, seconds down."""
CYCLES = 3 if FULL else 1
LOST_S = (3.0, 12.0, 40.0, 90.0) if FULL else (4.0,)
"""For how long every packet is lost."""
WEATHERS = [SATELLITE, CELLULAR_3G, HEAVY_LOSS]
WEATHER_S = 60.0 if FULL else 0.8


async def in_all_weathers(it: Exposed) -> None:
    await it.begin()
    for weather in WEATHERS:
        it.net.weather = weather
        await asyncio.sleep(WEATHER_S)
        await it.net.clear()
        await it.clean()


@drivers("awscrt")
async def test_slow_and_lossy_links(tmp_path: Path, driver: str) -> None:
    async with exposed(tmp_path, driver) as (it, _):
        await in_all_weathers(it)
        verdict = await it.finish()
        assert verdict.delivered > 60


async def up_and_down(it: Exposed) -> None:
    await it.begin()
    for up_s, down_s in UP_AND_DOWN:
        for go_down in (it.net.refuse, it.net.stall)[: None if FULL else 1 + (up_s == 5)]:
            for _ in range(CYCLES):
                go_down()
                await asyncio.sleep(down_s * SCALE)
                await it.net.clear()
                await asyncio.sleep(up_s * SCALE)
        await it.clean()


@drivers("paho")
async def test_a_link_that_goes_up_and_down(tmp_path: Path, driver: str) -> None:
    async with exposed(tmp_path, driver) as (it, _):
        await up_and_down(it)
        await it.finish()
        assert len(it.net.connects) > len(UP_AND_DOWN)


@drivers("awscrt")
async def test_a_connection_that_is_dead_without_a_word(tmp_path: Path, driver: str) -> None:
    keep_alive_s = 4
    async with exposed(tmp_path, driver, setup=Setup(keep_alive_s=keep_alive_s)) as (it, _):
        await it.begin()
        for _ in range(CYCLES):
            before, begin = len(it.net.connects), time.monotonic()
            it.net.forget()
            await it.net.until(lambda before=before: len(it.net.connects) > before)  # type: ignore[misc]
            assert time.monotonic() - begin < 1.5 * keep_alive_s + 3
            await it.clean()
        await it.finish()


@drivers("paho")
async def test_connections_that_are_cut_again_and_again(tmp_path: Path, driver: str) -> None:
    async with exposed(tmp_path, driver) as (it, _):
        await it.begin()
        for reset in (True, False) * CYCLES:
            before = len(it.net.connects)
            it.net.cut(reset=reset)
            await it.net.until(lambda before=before: len(it.net.connects) > before)  # type: ignore[misc]
        await it.clean()
        await it.finish()


@drivers("paho")
async def test_somebody_else_answers_without_tls(tmp_path: Path, driver: str) -> None:
    async with exposed(tmp_path, driver) as (it, _):
        await it.begin()
        it.net.capture(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\nContent-Length: 0\r\n\r\n")
        await it.net.until(lambda: it.net.betrayed >= 2)
        await asyncio.sleep(20 * SCALE)
        await it.net.clear()
        await it.clean()
        await it.finish()


@drivers("awscrt")
async def test_a_captive_portal_with_a_certificate_of_its_own(tmp_path: Path, driver: str) -> None:
    files, other = certs.make(tmp_path / "ours"), certs.make(tmp_path / "theirs")
    portal = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    portal.load_cert_chain(other.server.cert, other.server.key)
    mine = files.client
    more = f"  certificate: {mine.cert}\n  key: {mine.key}\n  ca: {mine.ca}\n"
    async with exposed(tmp_path, driver, more=more, tls=files.server) as (it, standin):
        await it.begin()
        it.net.capture(portal)
        before = it.net.attempts
        await it.net.until(lambda: it.net.attempts >= before + 2)
        await it.producer.accepted(50)
        connected = standin.counts["connected"]
        await asyncio.sleep(30 * SCALE)
        assert standin.counts["connected"] == connected
        await it.net.clear()
        await it.clean()
        await it.finish()
        assert it.net.betrayed == 0, "not a byte of MQTT was said to the portal"


@pytest.mark.skipif(not FULL, reason="the other test against mosquitto must do: EDGE_TORTURE=full")
@drivers("paho")
async def test_a_mosquitto_behind_slow_and_lossy_links(tmp_path: Path, driver: str) -> None:
    async with exposed_to_mosquitto(tmp_path, driver) as (it, _):
        await in_all_weathers(it)
        await it.finish()


@drivers("awscrt")
async def test_a_mosquitto_behind_a_link_that_goes_up_and_down(tmp_path: Path, driver: str) -> None:
    async with exposed_to_mosquitto(tmp_path, driver) as (it, _):
        await up_and_down(it)
        await it.finish()


@drivers("paho")
async def test_names_that_are_gone_and_packets_that_are_lost(tmp_path: Path, driver: str) -> None:
    async with (
        start_namespace() as space,
        exposed(tmp_path, driver, setup=Setup(NAME, inside=space.inside), own=space.address) as (it, _),
    ):
        await it.begin()
        for mode in ("denies", "silent"):
            space.names.mode = mode
            before = space.names.asked
            it.net.cut()
            while space.names.asked < before + 2:
                await it.producer.accepted(10)
            if mode == "denies":
                await it.says(f"the name {NAME!r} cannot be resolved")
            await asyncio.sleep(30 * SCALE)
            space.names.mode = "works"
            await it.clean()
        for lost_s in LOST_S:
            space.unplug()
            await asyncio.sleep(lost_s)
            space.plug()
            await it.clean()
        await it.finish()
