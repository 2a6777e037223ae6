"""record writes what devices measure, so that it can be played."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli.record import Reading, reading_of
from edge_runtime.control import ask, pack
from edge_runtime.pure.trace import Trace
from tests.cli.fakehost import edge, running

ROOT = Path(__file__).parents[2]
DEVICES = {"devices": [{"name": "soil"}, {"name": "door"}]}


def item(at_s: float, device: str, event: str, value: object, *, source: str = "sample", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    detail = {"device": device, "event": event, "value": value, **more}
    payload = json.dumps({"source": f"edge.{source}", "detail": detail}).encode()
    return {"topic": f"device/{device}", "time": 1.78e9 + at_s, "payload": pack(payload), "missed": 0}


ITEMS = [
    item(0.5, "soil", "reading", 0.4),
    item(1.5, "door", "pressed", 1, source="gpio"),
    item(2.0, "door", "held", 1, source="gpio"),
    item(2.5, "door", "released", 0, source="gpio"),
    item(3.0, "soil", "fault", None),
    item(3.5, "soil", "too_dry", 0.1, threshold=0.2),
    item(4.5, "soil", "reading", 21.5, raw=0.215),
    {**item(5, "x", "reading", 1), "payload": pack(b"\xff")},
]


def steps(path: Path) -> list[tuple[float, str, object]]:
    trace = Trace(path.name, lambda: path.read_text(encoding="utf-8").splitlines(keepends=True))
    return [(step.at_s, step.name, step.value) for step in trace.declared()]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_what_was_recorded_can_be_read(tmp_path: Path, name: str) -> None:
    with running(tmp_path, {"devices": DEVICES, "tail": ITEMS}) as host:
        result = edge(["record", "-o", tmp_path / name, "--state", tmp_path])
    assert (result.exit_code, result.stderr) == (0, "4 readings recorded\n")
    assert host.asked[1] == ("tail", {"filter": "device/#"})
    assert steps(tmp_path / name) == [(0, "soil", 0.4), (1, "door", 1), (2, "door", 0), (4, "soil", 0.215)]


def test_only_what_was_asked_for_is_recorded(tmp_path: Path) -> None:
    tail = [*ITEMS, {**ITEMS[0], "missed": 3}]
    with running(tmp_path, {"devices": DEVICES, "tail": tail}):
        result = edge(["record", "door", "--state", tmp_path])
    start, *lines = result.stdout.splitlines()
    assert list(json.loads(start)) == ["start"]
    assert [json.loads(line)["device"] for line in lines] == ["door", "door"]
    assert result.stderr == "2 readings recorded; 3 events came too fast and are left out\n"


def test_mistakes_are_said(tmp_path: Path) -> None:
    with running(tmp_path, {"devices": DEVICES, "tail": []}):
        result = edge(["record", "soul", "--state", tmp_path])
        assert result.stderr == "error: there is no device 'soul'; did you mean 'soil'?\nhint: known: soil, door\n"
        (tmp_path / "a.csv").write_text("mine", encoding="utf-8")
        result = edge(["record", "-o", tmp_path / "a.csv", "--state", tmp_path])
        assert (result.exit_code, "is there already" in result.stderr) == (1, True)
        result = edge(["record", "-o", tmp_path / "no" / "a.csv", "--state", tmp_path])
        assert "cannot be written: No such file" in result.stderr
        assert edge(["record", "--for", "soon", "--state", tmp_path]).exit_code == 2
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "payload", [b"[]", b"{}", b'{"detail": 1}', b'{"detail": {"device": 1, "event": "reading", "value": 1}}']
)
def test_what_is_no_reading_is_left_out(payload: bytes) -> None:
    assert reading_of({"time": 1.0, "payload": pack(payload)}) is None


def test_a_reading_is_what_was_measured_before_it_was_calibrated() -> None:
    assert reading_of(ITEMS[6]) == Reading(1.78e9 + 4.5, "soil", 0.215)


def test_it_ends_after_a_time(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: a\ndevices: {soil: {driver: MCP3008, channel: 0, every: 50ms}}\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "edge_runtime", "run", "--simulate"]
    with subprocess.Popen(run, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as host:
        try:
            assert host.stderr is not None
            assert any("accepts events" in line for line in host.stderr)
            next(ask(tmp_path / ".edge", "tail", filter="device/soil", within_s=30))  # it is read from here on
            done = edge(["record", "-o", tmp_path / "a.jsonl", "--for", "2s", "soil", "--state", tmp_path / ".edge"])
        finally:
            host.kill()
            host.communicate()
    assert done.exit_code == 0
    assert len(steps(tmp_path / "a.jsonl")) >= 2
