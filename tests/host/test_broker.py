"""The local broker: a real mosquitto below a host, and devices with the credentials that they were given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import EdgeError
from tests.brokers import free_port
from tests.host.hosting import app, site
from tests.host.lansite import NEEDS, kill, lan, with_broker
from tests.lan import Came, Gadget, gadget

pytestmark = NEEDS


# -- who may do what -----------------------------------------------------------------------------------------------


async def test_a_message_of_a_device_is_an_event(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it, gadget(await it.add("lamp")) as lamp:
        assert await lamp.publish("lamp/power", b"3.5") == "Success"
        assert await it.arrive(1) == [("lan/lamp/power", b"3.5")]


async def test_a_device_may_use_its_own_topics_only(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        lamp, fan = await it.add("lamp"), await it.add("fan", "fan/#", "shared/fan")
        for topic in ("fan/power", "lan/x", "homeassistant/x"):
            async with gadget(lamp) as one:  # mosquitto 2.0.11 hangs up after that, too
                assert await one.publish(topic, b"no") == "Not authorized"
        async with gadget(lamp) as one, gadget(fan) as other:
            assert await other.publish("shared/fan", b"yes") == "Success"
            await one.subscribe("#")
            assert await other.publish("fan/secret", b"hidden") == "Success"
            assert await one.publish("lamp/own", b"seen") == "Success"
            assert await one.got() == Came("lamp/own", b"seen", retained=False)
        assert await it.arrive(3) == [
            ("lan/shared/fan", b"yes"),
            ("lan/fan/secret", b"hidden"),
            ("lan/lamp/own", b"seen"),
        ]


@pytest.mark.parametrize("changed", [{"name": ""}, {"password": "wrong"}, {"name": "fan"}, {"name": "host.in"}])
async def test_nobody_else_gets_in(tmp_path: Path, changed: dict[str, Any]) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        stranger = Gadget(await it.add("lamp"), **changed)
        assert await stranger.connect() == "Not authorized"
        stranger.close()


async def test_a_device_that_is_removed_is_cut_off_and_the_others_are_not(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        lamp, fan = await it.add("lamp"), await it.add("fan")
        async with gadget(lamp) as one, gadget(fan) as other:
            assert await it.site.ask("broker", op="remove", name="lamp") == {"name": "lamp"}
            await one.was_cut()
            assert await other.publish("fan/a", b"1") == "Success"
            again = Gadget(lamp)
            assert await again.connect() == "Not authorized"
            again.close()
        assert await it.arrive(1) == [("lan/fan/a", b"1")]
        assert (await it.site.ask("broker", op="ls"))["devices"] == [{"name": "fan", "topics": ["fan/#"]}]


async def test_a_new_password_ends_the_old_one(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        old = await it.add("lamp", "a/#")
        async with gadget(old) as one:
            new = await it.site.ask("broker", op="passwd", name="lamp")
            await one.was_cut()
        assert new == {**old, "password": new["password"]}
        async with gadget(new) as one:
            assert await one.publish("a/b", b"1") == "Success"


async def test_nobody_takes_the_session_of_another_one(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        lamp, fan = await it.add("lamp"), await it.add("fan")
        # Both say that they are the client "whatever"; the broker takes their names instead.
        async with gadget(lamp) as one, gadget(fan):
            assert await one.publish("lamp/a", b"1") == "Success"
            assert not one.cut.done()


async def test_without_tls_the_passwords_are_the_same(tmp_path: Path) -> None:
    plain = free_port()
    async with lan(with_broker(tmp_path, plain_port=plain), tmp_path / "state") as it:
        lamp = await it.add("lamp")
        async with gadget(lamp, port=plain) as one:
            assert await one.publish("lamp/a", b"1") == "Success"
        stranger = Gadget(lamp, port=plain, name="fan")
        assert await stranger.connect() == "Not authorized"
        stranger.close()


# -- commands ------------------------------------------------------------------------------------------------------


async def test_a_command_goes_out_and_comes_in_no_second_time(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        async with gadget(await it.add("lamp")) as lamp:
            assert await lamp.subscribe("lamp/set") == "Granted QoS 1"
            await it.site.emit("lan/lamp/set", b"on")
            assert await lamp.got() == Came("lamp/set", b"on", retained=False)
            await it.site.settled("broker", 1)
            # The same topic, but said by the device: it is an event, and does not go back.
            assert await lamp.publish("lamp/set", b"by hand") == "Success"
            assert await lamp.got() == Came("lamp/set", b"by hand", retained=False)
            assert await lamp.publish("lamp/a", b"last") == "Success"
            assert await it.arrive(3) == [
                ("lan/lamp/set", b"on"),
                ("lan/lamp/set", b"by hand"),
                ("lan/lamp/a", b"last"),
            ]
        assert it.site.host.store.counters("broker").produced == 1


async def test_what_may_not_go_out_stays(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path, publish=("lamp/set",)), tmp_path / "state") as it:
        await it.site.emit("lan/lamp/other", b"on")
        assert it.site.host.store.counters("broker").produced == 0


async def test_a_command_waits_for_a_broker_that_died(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        lamp = await it.add("lamp")
        kill(it)
        await it.site.emit("lan/lamp/set", b"on")
        await it.site.settled("broker", 1)
        await it.is_open()
        async with gadget(lamp) as one:
            assert await one.publish("lamp/a", b"1") == "Success"
            assert await it.arrive(2) == [("lan/lamp/set", b"on"), ("lan/lamp/a", b"1")]


# -- what makes no sense ------------------------------------------------------------


async def test_without_a_broker_the_verb_says_what_to_write(tmp_path: Path) -> None:
    async with site(app(tmp_path), tmp_path / "state") as it:
        with pytest.raises(EdgeError, match="the app that is running declares no broker"):
            await it.ask("broker", op="ls")


async def test_commands_that_make_no_sense(tmp_path: Path) -> None:
    async with lan(with_broker(tmp_path), tmp_path / "state") as it:
        await it.add("lamp")
        for request, why in (
            ({"op": "add", "name": "lamp", "topics": ["a"]}, "there is a device 'lamp' already"),
            ({"op": "add", "name": "host.in", "topics": ["a"]}, "'host.in' is no name of a device"),
            ({"op": "add", "name": "b", "topics": ["a\nuser c"]}, "a sign that is no text"),
            ({"op": "remove", "name": "lump"}, "there is no device 'lump'; did you mean 'lamp'?"),
            ({"op": "passwd", "name": "lump"}, "there is no device 'lump'"),
            ({"op": "passwd", "name": 7}, "names no device"),
            ({"op": "sing"}, "'sing' is nothing that a broker does"),
        ):
            with pytest.raises(EdgeError, match=why):
                await it.site.ask("broker", **request)
