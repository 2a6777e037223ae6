"""A trace that is played against a host."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.host.playing import Journal, Player, Score, check, command, drained, open_trace
from edge_runtime.host.stage import Cloud, Delivery, Stage
from edge_runtime.loaders import load_app
from edge_runtime.pure.trace import Trace
from edge_runtime.warp import WarpClock, WarpLoop

APP = """
thing: station
devices:
  soil: {driver: MCP3008, channel: 0, every: 1m}
  pump: {driver: OutputDevice, pin: 27}
link: {driver: awscrt, endpoint: nobody.example, up: [device/soil, device/pump], down: [device/pump/set]}
"""
START_S = 1_780_000_000.0


class Run:
    """What came of playing some lines."""

    def __init__(self, folder: Path, *lines: str, begin_s: float = 0.0, until_s: float = 600.0) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "edge.yaml").write_text(APP, encoding="utf-8")
        app = load_app(folder / "edge.yaml", folder / "state")
        self.got: list[Delivery] = []
        self.notes: list[tuple[float, object]] = []
        self.stored: set[int] = set()
        self.player = Player(Trace("a.jsonl", lambda: lines), begin_s, self.stored)
        self.clock = WarpClock(START_S + begin_s + self.player.ahead_s)
        self.back_s: float | None = None
        self.pump: object = None

        def tell(at_s: float, **more: object) -> None:
            self.notes.append((at_s, more["note"]))

        async def play() -> None:
            cloud = Cloud(app, self.clock, self.got.append, acked=self.stored.add)
            stage = Stage(app, folder / "state", self.clock, cloud)
            self.player.set_up(stage)
            await stage.start()
            try:
                self.back_s = await self.player.play(stage, tell, until_s)
                if self.back_s is None and not self.player.world.outages:
                    await drained(stage)
                self.pump = stage.value("pump")
            finally:
                await stage.close()

        with asyncio.Runner(loop_factory=partial(WarpLoop, self.clock)) as runner:
            runner.run(play())

    @property
    def passed_s(self) -> float:
        """How much time was made."""
        return (self.clock.now().mono_ns - 1_000_000_000) / 1e9

    def readings(self) -> list[float]:
        """Return what came to the cloud of the soil."""
        return [
            round(json.loads(each.payload)["detail"]["value"], 2) for each in self.got if each.topic == "device/soil"
        ]


def test_values_commands_and_the_cloud(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        '{"t": 0, "device": "soil", "value": 0.25}',
        '{"t": 30, "command": "pump", "value": "on"}',
        '{"t": 90, "device": "soil", "value": 0.75}',
        '{"t": 100, "publish": "device/pump/set", "payload": {"value": 0}}',
        '{"t": 110, "publish": "device/pump/set", "payload": "on"}',
        until_s=180,
    )
    assert run.readings() == [0.25, 0.25, 0.75]
    assert run.stored == {1, 2}
    assert (run.pump, run.back_s, run.passed_s) == (1, None, 180)


def test_an_outage_a_fault_and_the_clock_are_noted(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        '{"t": 60, "outage": 300}',
        '{"t": 120, "fault": "soil", "how": "nan", "for": 60}',
        '{"t": 200, "clock": "-1h", "unknown": "100s"}',
    )
    assert run.notes == [
        (60, "the link is cut"),
        (120, "soil fails: nan"),
        (180, "soil works again"),
        (200, "the clock is set by -3600 s"),
        (300, "the clock is right again"),
        (360, "the link is back"),
    ]
    assert run.clock.machine().wall_ns == int((START_S + run.passed_s) * 1e9)
    assert run.clock.right


def test_a_power_cut_stops_the_time_and_says_when_the_power_is_back(tmp_path: Path) -> None:
    run = Run(tmp_path, '{"t": 90, "power_cut": "1h"}', '{"t": 95, "command": "pump", "value": "on"}')
    assert (run.back_s, run.passed_s, run.pump) == (3690, 90, 0)


def test_after_a_power_cut_the_world_is_as_it_has_become(tmp_path: Path) -> None:
    lines = (
        '{"t": 0, "device": "soil", "wave": {"from": 0.2, "to": 0.8, "period": "2h"}, "every": "30m", "for": "2h"}',
        '{"t": 60, "outage": "2h"}',
        '{"t": 90, "power_cut": "1h", "unknown": "10m"}',
        '{"t": 100, "command": "pump", "value": "on"}',
        '{"t": 110, "publish": "device/pump/set", "payload": "on"}',
    )
    first = Run(tmp_path, *lines)
    assert first.back_s == 3690
    run = Run(tmp_path, *lines, begin_s=3690, until_s=3690 + 7200)
    assert (first.readings(), run.readings()[:3]) == ([0.2], [0.2, 0.8, 0.8])  # nothing from before the cut is lost
    assert run.readings()[-1] == 0.5
    assert run.pump == 1  # by the cloud; the command that nobody was there to take is gone
    assert [note for _, note in run.notes] == ["the link is back"]
    assert run.clock.right
    assert run.clock.machine().wall_ns == int((START_S + 3690 + run.passed_s) * 1e9)


def test_what_the_device_has_stored_is_not_sent_again() -> None:
    player = Player(Trace("a.jsonl", lambda: ['{"t": 1, "publish": "a", "payload": 1}'] * 3), 5, {1, 3})
    assert [number for _, number in player._first] == [2]


def test_a_trace_is_looked_at_before_it_is_played(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text(APP, encoding="utf-8")
    app = load_app(tmp_path / "edge.yaml", tmp_path / "state")
    script = tmp_path / "a.jsonl"
    script.write_text('{"t": 0, "outage": 1}\n{"t": 0, "device": "sail", "value": 1}\n', encoding="utf-8")
    with pytest.raises(NotFoundError, match=r"a\.jsonl:2: there is no device 'sail'"):
        check(open_trace(str(script)), app)
    script.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no UTF-8 text"):
        check(open_trace(str(script)), app)
    with pytest.raises(ConfigError, match=r"gone\.jsonl cannot be read: No such file"):
        check(open_trace(str(tmp_path / "gone.jsonl")), app)
    check(open_trace(""), app)


def test_the_journal_outlives_the_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "cloud.jsonl")
    journal.keep(Delivery("t", b"\xff1", "a", 1))
    journal.acked(4)
    journal.close()
    again = Journal(tmp_path / "cloud.jsonl")
    assert again.stored == {4}
    again.close()
    lines = (tmp_path / "cloud.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"topic": "t", "id": "a", "seq": 1, "payload": "\ufffd1"}


def test_a_score_travels_on_the_command_line() -> None:
    score = Score("a", "b", "c", "d", 1.0, 2.0, 0.0)
    assert Score(**json.loads(command(score)[-1])) == score
