"""A host in a world that is made."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from edge_runtime.app import App
from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.host.stage import Cloud, Delivery, Stage, deliveries, scratch_folder
from edge_runtime.links.memory import Arrived
from edge_runtime.loaders import load_app
from edge_runtime.warp import WarpClock, WarpLoop

APP = """
thing: station
devices:
  soil: {driver: MCP3008, channel: 0, every: 1m}
  pump: {driver: OutputDevice, pin: 27}
link: {driver: awscrt, endpoint: nobody.example, up: [device/soil, device/soil/fault], down: [device/pump/set]}
"""


class Play:
    """One stage, and what came to its cloud."""

    def __init__(self, folder: Path) -> None:
        (folder / "edge.yaml").write_text(APP, encoding="utf-8")
        self.app: App = load_app(folder / "edge.yaml", folder / "state")
        self.clock = WarpClock(1_780_000_000.0)
        self.got: list[Delivery] = []
        self.stored: list[int] = []
        self.folder = folder

    def run(self, body: Callable[[Stage], Awaitable[None]], before: Callable[[Stage], None] | None = None) -> None:
        """Start the stage, do something with it, and end it; `before` is called when it is not started yet."""

        async def play() -> None:
            cloud = Cloud(self.app, self.clock, self.got.append, acked=self.stored.append)
            stage = Stage(self.app, self.folder / "state", self.clock, cloud)
            if before is not None:
                before(stage)
            try:
                await stage.start()
                await body(stage)
            finally:
                await stage.close()

        with asyncio.Runner(loop_factory=partial(WarpLoop, self.clock)) as runner:
            runner.run(play())

    def values(self) -> list[float | None]:
        """Return the values that came to the cloud."""
        found = [json.loads(each.payload)["detail"]["value"] for each in self.got]
        return [None if value is None else round(value, 2) for value in found]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def test_devices_measure_what_they_are_told_from_the_first_moment(play: Play) -> None:
    async def body(stage: Stage) -> None:
        stage.measure("soil", 0.25)
        await stage.clock.let(90)

    play.run(body, lambda stage: stage.measure("soil", 0.75))
    assert play.values() == [0.75, 0.25]


def test_what_the_cloud_sends_waits_for_the_link(play: Play) -> None:
    async def body(stage: Stage) -> None:
        stage.cloud.cut()
        await stage.clock.let(600)
        stage.cloud.send("device/pump/set", b"on", 7)
        await stage.clock.let(600)
        assert (stage.value("pump"), len(play.got), stage.waiting, play.stored) == (0, 1, 20, [])
        stage.cloud.mend()
        await stage.clock.let(0)  # a try to connect that is on its way gets through at once
        assert (stage.value("pump"), len(play.got), stage.waiting, play.stored) == (1, 21, 0, [7])

    play.run(body)


def test_what_the_cloud_sent_before_the_first_start_arrives(play: Play) -> None:
    async def body(stage: Stage) -> None:
        await stage.clock.let(0)
        assert (stage.value("pump"), play.stored) == (1, [7])

    play.run(body, lambda stage: stage.cloud.send("device/pump/set", b"on", 7))


def test_a_fault_comes_and_goes(play: Play) -> None:
    async def body(stage: Stage) -> None:
        stage.fail("soil", "throws")
        await stage.clock.let(600)
        stage.fail("soil", "nan")  # after a fault, another one is no news
        stage.measure("soil", 0.5)
        await stage.clock.let(600)
        stage.mend("soil")
        await stage.clock.let(120)

    play.run(body, lambda stage: stage.measure("soil", 0.25))
    values = play.values()
    assert values[:2] == [0.25, None]
    assert set(values[2:]) == {0.5}


def test_a_device_can_fail_from_the_begin(play: Play) -> None:
    async def body(stage: Stage) -> None:
        await stage.clock.let(0)

    play.run(body, lambda stage: stage.fail("soil", "throws"))
    assert [each.topic for each in play.got] == ["device/soil/fault"]


def test_commands_and_mistakes(play: Play) -> None:
    async def body(stage: Stage) -> None:
        await stage.command("pump", b"on")
        await stage.clock.let(0)
        assert stage.value("pump") == 1
        with pytest.raises(NotFoundError, match="there is no device 'sole'"):
            stage.measure("sole", 1)
        with pytest.raises(ConfigError, match="not read, so it cannot fail"):
            stage.fail("pump", "nan")
        with pytest.raises(ConfigError, match="pump"):
            stage.measure("pump", 1)

    play.run(body)


def test_a_value_that_a_device_cannot_measure_is_said_at_the_start(play: Play) -> None:
    async def body(_: Stage) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match="cannot measure 7"):
        play.run(body, lambda stage: stage.measure("soil", 7))


def test_a_publish_with_several_messages_is_several_deliveries() -> None:
    packed = [{"id": "a", "seq": 1, "payload": {"x": 1}}, {"id": "b", "seq": 2, "payload_base64": "AAE="}]
    raw = json.dumps(packed).encode()
    gzipped = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    small = gzipped.compress(raw) + gzipped.flush()
    wanted = [Delivery("t", b'{"x": 1}', "a", 1), Delivery("t", b"\0\1", "b", 2)]
    assert list(deliveries(Arrived("c", "t", raw, {"edge-pack": "2"}))) == wanted
    assert list(deliveries(Arrived("c", "t", small, {"edge-pack": "2", "edge-encoding": "gzip"}))) == wanted
    alone = Arrived("c", "t", b"x", {"edge-id": "a", "edge-seq": "3"})
    assert list(deliveries(alone)) == [Delivery("t", b"x", "a", 3)]
    assert list(deliveries(Arrived("c", "t", b"x", {}))) == [Delivery("t", b"x", "", 0)]


def test_a_scratch_folder_goes_with_its_use() -> None:
    with scratch_folder() as folder:
        (folder / "a").write_text("x")
    assert not folder.exists()
