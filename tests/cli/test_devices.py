"""devices, its picture and its check."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge_runtime.cli._common import when
from edge_runtime.cli._devices_picture import drawn
from edge_runtime.cli._devices_shown import devices_shown
from edge_runtime.cli._devices_watch import Picture, cells, seen
from edge_runtime.cli._sparkline import sparkline
from tests.cli.fakehost import edge, running

ROWS: list[dict[str, Any]] = [
    {
        "name": "soil",
        "driver": "MCP3008",
        "pin": "SPI0.0 channel 0",
        "simulated": True,
        "every_s": 1.0,
        "value": 0.123456789,
        "unit": "%",
        "error": "",
        "event": "sample",
        "age_s": 61.2,
        "listeners": ["function/water", "uplink"],
    },
    {
        "name": "lamp",
        "driver": "RGBLED",
        "pin": "",
        "simulated": False,
        "every_s": 0.0,
        "value": [0, 0.5, 1],
        "unit": "",
        "error": "",
        "event": "",
        "age_s": None,
        "listeners": [],
    },
    {
        "name": "air",
        "driver": "bme280",
        "pin": "I2C1 0x76",
        "simulated": False,
        "every_s": 1.0,
        "value": {"temperature": 21.25, "humidity": 50},
        "unit": {"temperature": "C", "humidity": "%"},
        "error": "it does\nnot answer",
        "event": "fault",
        "age_s": 3,
        "listeners": [],
    },
]
ANSWER = {"devices": ROWS, "board": "pi-5", "factory": "lgpio on gpiochip0 (pinctrl-rp1)"}


def test_devices_are_listed(tmp_path: Path) -> None:
    with running(tmp_path, {"devices": ANSWER}):
        lines = edge(["devices", "--state", tmp_path]).stdout.splitlines()
        as_json = edge(["devices", "--state", tmp_path, "--json"])
    assert lines[:2] == ["board pi-5, pins driven by: lgpio on gpiochip0 (pinctrl-rp1)", ""]
    cut = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[2:]]
    assert cut == [
        ["NAME", "DRIVER", "WIRING", "VALUE", "LAST EVENT", "HEARD BY", "SIMULATED", "FAULT"],
        [
            "soil",
            "MCP3008",
            "SPI0.0 channel 0",
            "0.123457 %",
            "sample 1 min 1 s ago",
            "function/water, uplink",
            "yes",
            "-",
        ],
        ["lamp", "RGBLED", "-", "0, 0.5, 1", "-", "-", "no", "-"],
        [
            *("air", "bme280", "I2C1 0x76", "temperature 21.25 C, humidity 50 %", "fault 3 s ago", "-", "no"),
            r"it does\nnot answer",
        ],
    ]
    assert json.loads(as_json.stdout) == ANSWER


def test_no_devices(tmp_path: Path) -> None:
    with running(tmp_path, {"devices": {"devices": [], "board": "", "factory": ""}}):
        listed = edge(["devices", "--state", tmp_path])
        watched = edge(["devices", "watch", "--state", tmp_path])
    assert listed.stdout == "board not declared, pins driven by: not needed yet\nno devices are declared\n"
    assert watched.stdout == "no devices are declared\n"


@pytest.mark.parametrize("verb", [["devices"], ["devices", "watch"]])
def test_without_a_host(tmp_path: Path, verb: list[str]) -> None:
    result = edge([*verb, "--state", tmp_path])
    assert result.exit_code == 1
    assert result.stderr == (f"error: no host is running with the state folder {tmp_path}\nhint: start it: edge run\n")


def test_a_misspelt_command_gets_the_nearest_name(tmp_path: Path) -> None:
    result = edge(["devices", "wach"])
    assert result.exit_code == 2
    assert "no command 'wach'; did you mean 'watch'?" in result.stderr
    assert "no command 'x'; there is check, watch" in edge(["devices", "x"]).stderr
    with running(tmp_path, {"devices": ANSWER}):
        result = edge(["devices", "watch", "sol", "--state", tmp_path])
    assert result.stderr == ("error: there is no device 'sol'; did you mean 'soil'?\nhint: known: soil, lamp, air\n")


def item(topic: str, detail: Mapping[str, object] | None, at: float = 1_700_000_000.0) -> dict[str, Any]:
    """Return what the verb `tail` shows of an event."""
    payload = json.dumps({"detail": detail}).encode() if detail is not None else b"\xff"
    return {"topic": topic, "payload": base64.b64encode(payload).decode(), "time": at, "targets": []}


EVENTS = [
    item("device/soil", {"event": "sample", "value": 0.5, "unit": "%"}),
    item("device/lamp/set", {"event": "set", "value": 1}),
    item("device/lamp", {"event": "set", "value": [1, 0, 0]}),
    item("device/air/fault", {"event": "fault", "value": None, "reason": "gone\x1b"}),
    item("device/soil", None),
    item("device/gone/pressed", {"event": "pressed", "value": 1}),
    item("device/soil/dry", {"event": "dry", "value": 0.1, "unit": "%"}),
]


def test_watching_in_a_pipe_writes_lines(tmp_path: Path) -> None:
    with running(tmp_path, {"devices": ANSWER, "tail": EVENTS}) as host:
        result = edge(["devices", "watch", "--state", tmp_path])
    at = when(1_700_000_000.0)
    assert result.stdout.splitlines() == [
        "soil  0.123457 %",
        "lamp  0, 0.5, 1",
        r"air  temperature 21.25 C, humidity 50 %  fault: it does\nnot answer",
        f"{at}  soil  reading  0.5 %",
        f"{at}  lamp  set  1, 0, 0",
        rf"{at}  air  fault  gone\x1b",
        f"{at}  soil  dry  0.1 %",
    ]
    assert host.asked == [("devices", {}), ("tail", {"filter": "device/#"})]


def test_watching_some_as_json(tmp_path: Path) -> None:
    with running(tmp_path, {"devices": ANSWER, "tail": EVENTS}):
        result = edge(["devices", "watch", "soil", "--state", tmp_path, "--json"])
        again = edge(["devices", "--state", tmp_path, "--json", "watch", "soil"])
    assert again.stdout == result.stdout
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"device": "soil", "event": event, "value": value, "unit": "%", "reason": "", "time": 1_700_000_000.0}
        for event, value in (("reading", 0.5), ("dry", 0.1))
    ]


def test_the_picture_has_a_line_for_each_value() -> None:
    picture = Picture(ROWS)
    told = [seen(one) for one in EVENTS]
    assert [picture.add(one) for one in told if one is not None] == [True, True, True, False, True]
    time = when(1_700_000_000.0)[11:19]
    assert [(cells(track), track.last) for track in picture.tracks.values()] == [
        (("soil", "▁█▁", "  ^", "0.1 to 0.5", "0.1 %"), f"dry {time}"),
        (("lamp.0", "▁█", " ^", "0 to 1", "1"), f"set {time}"),
        (("lamp.1", "█▁", " ^", "0 to 0.5", "0"), f"set {time}"),
        (("lamp.2", "█▁", " ^", "0 to 1", "0"), f"set {time}"),
        (("air.temperature", "▄·", " !", "21.25 to 21.25", "21.25 C"), f"fault: gone\x1b {time}"),
        (("air.humidity", "▄·", " !", "50 to 50", "50 %"), f"fault: gone\x1b {time}"),
    ]
    assert list(picture.tracks) == ["soil", "lamp.0", "lamp.1", "lamp.2", "air.temperature", "air.humidity"]


def test_a_device_with_a_fault_has_a_line_from_the_start() -> None:
    picture = Picture([{"name": "air", "value": None, "error": "no such bus"}])
    [track] = picture.tracks.values()
    assert (cells(track), track.last) == (("air", "·", " ", "", "-"), "fault: no such bus")
    event = seen(item("device/air", {"event": "sample", "value": {"a": True}, "unit": ""}))
    assert event is not None
    picture.add(event)
    assert "air.a" in picture.tracks


def test_the_picture_obeys_nothing_that_a_device_says() -> None:
    picture = Picture([{"name": "x", "value": "[red]\x1b[2J", "error": "[bold]\x07"}])
    out = StringIO()
    Console(file=out, width=120, force_terminal=False).print(drawn(picture))
    assert r"[red]\x1b[2J" in out.getvalue()
    assert r"fault: [bold]\x07" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_a_long_watch_keeps_the_newest_values() -> None:
    picture = Picture([{"name": "x", "value": 0.0}])
    for n in range(100):
        event = seen(item("device/x", {"event": "sample", "value": n, "unit": ""}))
        assert event is not None
        picture.add(event)
    name, line, _, bounds, now = cells(picture.tracks["x"])
    assert (name, len(line), line[0], line[-1], bounds, now) == ("x", 48, "▁", "█", "0 to 99", "99")


@given(st.lists(st.none() | st.floats(), max_size=60))
def test_a_sparkline_has_one_sign_for_each_value(values: list[float | None]) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    assert set(line) <= set("▁▂▃▄▅▆▇█·")


def test_a_sparkline_goes_from_the_least_to_the_most() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, None, 5]) == "▄·▄"
    assert sparkline([-1e308, 1e308, float("nan"), float("inf")]) == "▁█··"


APP = """\
thing: station
board: pi-4
devices:
  door: {driver: Button, pin: 17}
  air: {driver: bme280, every: 1s}
  far: {driver: DistanceSensor, echo: 23, trigger: 24}
  load: {driver: LoadAverage}
"""


def test_the_wiring_of_an_app_is_checked_without_opening_anything(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text(APP, encoding="utf-8")
    result = edge(["devices", "check", tmp_path])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:10] == [
        "Raspberry Pi 4, 3.3 V",
        "",
        "DEVICE  DRIVER          ARGUMENT  PIN     HEADER  AS",
        "door    Button          pin       GPIO17  pin 11  -",
        "air     bme280          -         GPIO2   pin 3   I2C1 SDA",
        "air     bme280          -         GPIO3   pin 5   I2C1 SCL",
        "air     bme280          -         -       -       I2C1 0x76",
        "far     DistanceSensor  echo      GPIO23  pin 16  -",
        "far     DistanceSensor  trigger   GPIO24  pin 18  -",
        "load    LoadAverage     -         -       -       -",
    ]
    assert lines[10].startswith("note: device 'far' (DistanceSensor): the echo of an HC-SR04 has 5 V")
    found = json.loads(edge(["devices", "check", tmp_path, "--json"]).stdout)
    assert (found["board"], found["wires"][0]["header"], len(found["notes"])) == ("pi-4", "pin 11", 1)


def test_wiring_that_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text(APP.replace("pin: 17", "pin: 23").replace("board: pi-4\n", ""), "utf-8")
    result = edge(["devices", "check", tmp_path])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "error: edge.yaml:5: devices.far.echo: GPIO23 (pin 16) is taken by 'door' (Button) and 'far' (DistanceSensor); "
    )
    (tmp_path / "edge.yaml").write_text("thing: a\n", encoding="utf-8")
    lines = edge(["devices", "check", tmp_path]).stdout.splitlines()
    assert lines[0].endswith(", 3.3 V, which the app does not declare")


def test_watching_on_a_terminal_draws_the_picture(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edge_runtime", "devices", "watch", "--state", str(tmp_path)]
    with running(tmp_path, {"devices": ANSWER, "tail": EVENTS}):
        shown = subprocess.Popen(command, stdout=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "150"})
        os.close(theirs)
        drawn = _all_of(ours)
        assert shown.wait(20) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    assert "least to most" in text
    assert re.search(r"soil +0\.1 % +▁█▁ +0\.1 to 0\.5 +dry \d\d:\d\d:\d\d", text)
    assert r"fault: gone\x1b" in text
    assert "Ctrl-C ends it" in text


def _all_of(terminal: int) -> bytes:
    """Return what is written to a terminal until nobody has it open any more."""
    data = b""
    while True:
        try:
            data += os.read(terminal, 65_536)
        except OSError:  # how Linux tells the end of a pseudo terminal
            os.close(terminal)
            return data


def test_a_value_of_many_parts_leaves_room_for_the_other_columns() -> None:
    parts = {f"part_{number}": number for number in range(40)}
    (row,) = devices_shown([{**ROWS[0], "value": parts, "unit": {}}])
    assert len(str(row["value"])) == 72
    assert str(row["value"]).endswith("...")
