"""run --simulate --script: a world with outages and power cuts, at any speed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from edge_runtime.cli._play import Outcome
from edge_runtime.store.inspect import LedgerRow
from tests.cli.fakehost import edge

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "edge_runtime", "run", "--simulate"]
APP = """
thing: station
devices:
  soil: {driver: MCP3008, channel: 0, every: 1m}
  pump: {driver: OutputDevice, pin: 27}
link: {driver: awscrt, endpoint: nobody.example, up: [device/soil, device/pump], down: [device/pump/set]}
"""
SCRIPT = """
{"start": "2026-06-01T06:00:00Z"}
{"t": 0, "device": "soil", "wave": {"from": 0.2, "to": 0.6, "period": "1d"}, "every": "10m", "for": "6h"}
{"t": "1h", "outage": "4h"}
{"t": "2h", "power_cut": "1h", "unknown": "10m"}
{"t": "150m", "publish": "device/pump/set", "payload": "on"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "edge.yaml").write_text(APP, encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(SCRIPT, encoding="utf-8")
    return tmp_path


def play(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*COMMAND, *args], cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def test_a_power_cut_in_an_outage_loses_nothing(folder: Path) -> None:
    done = play(folder, "--script", "a.jsonl", "--state", "kept")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("2026-")] == [
        "2026-06-01 06:00:00  the world begins; it ends after 6 h",
        "2026-06-01 06:00:00  the device starts",
        "2026-06-01 07:00:00  the link is cut",
        "2026-06-01 08:00:00  the power is cut for 1 h",
        "2026-06-01 09:00:00  the power is back",
        "2026-06-01 11:00:00  the link is back",
    ]
    assert "2 start(s) of the host." in done.stdout
    assert " 0 are lost, " in done.stdout
    entries = [json.loads(line) for line in (folder / "kept" / "cloud.jsonl").read_text(encoding="utf-8").splitlines()]
    topics = Counter(entry["topic"] for entry in entries if "topic" in entry)
    assert abs(topics["device/soil"] - 5 * 60) <= 2
    assert topics["device/pump"] == 1  # what the cloud wanted while the device had no power
    ledger = edge(["ledger", "--state", folder / "kept"])
    assert (ledger.exit_code, "everything is accounted for" in ledger.stdout) == (0, True)
    again = play(folder, "--script", "a.jsonl", "--state", "kept")
    assert (again.returncode, "kept holds messages already" in again.stderr) == (1, True)


def test_at_a_speed_it_takes_its_time_and_ends_in_order(folder: Path) -> None:
    began = time.monotonic()
    done = play(folder, "--speed", "600", "--until", "10m")
    assert time.monotonic() - began >= 1
    assert done.returncode == 0, done.stderr
    assert re.search(r"^device/soil +1[01]$", done.stdout, re.MULTILINE), done.stdout
    assert "10 min passed in " in done.stdout


def test_it_ends_when_it_is_told_to(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*COMMAND, "--speed", "60"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "the world begins" in process.stdout.readline()
        assert "the device starts" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert " 0 are lost, " in said


def test_the_host_ends_with_who_started_it(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    args = [*COMMAND, "--speed", "60", "--state", "kept"]
    with subprocess.Popen(args, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "the world begins" in process.stdout.readline()
        assert "the device starts" in process.stdout.readline()
        process.kill()
        assert process.stdout.read() == ""  # which ends when the host, who has it too, has ended
    assert "everything is accounted for" in edge(["ledger", "--state", folder / "kept"]).stdout


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["--speed", "5"], "--script and --speed need --simulate"),
        (["--simulate", "--watch", "--speed", "5"], "go without --watch"),
        (["--simulate", "--until", "5"], "--until is for --script or --speed"),
        (["--simulate", "--speed", "0"], "0.0 is not in the range x>0"),
        (["--simulate", "--speed", "5", "--until", "soon"], "'soon' is no duration"),
        (["--simulate", "--script", "gone.jsonl"], "'gone.jsonl' does not exist"),
    ],
)
def test_a_wrong_wish_is_said(folder: Path, args: list[str], what: str) -> None:
    result = edge(["run", folder, *args])
    assert (result.exit_code, what in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ('{"t": 0, "device": "sail", "value": 1}', "a.jsonl:1: there is no device 'sail'"),
        ('{"t": 0, "device": "soil"}', "a.jsonl:1: a device has one of: value, wave, cycle"),
        ('{"t": 0, "device": "soil", "cycle": [1], "every": 1}', "has a series without `for`, so it never ends"),
        ('{"t": 0, "device": "soil", "value": 7}\n{"t": 5, "outage": 1}', "device 'soil' (MCP3008) cannot measure 7"),
        ('{"t": 5, "fault": "pump", "how": "nan"}\n{"t": 9, "outage": 1}', "is not read, so it cannot fail"),
    ],
)
def test_a_wrong_script_is_said(folder: Path, script: str, what: str) -> None:
    (folder / "a.jsonl").write_text(script, encoding="utf-8")
    result = edge(["run", folder, "--simulate", "--script", folder / "a.jsonl"])
    assert (result.exit_code, what in result.stderr) == (1, True), result.stderr


def test_what_counts_as_lost() -> None:
    def outcome(*, queued: int, seqs: set[int]) -> Outcome:
        row = LedgerRow("uplink", 5, 5 - queued, queued, 0, 0, 0, {}, 0)
        return Outcome(ledger=[row], seqs=seqs)

    assert outcome(queued=0, seqs={1, 2, 3, 4, 5}).is_well
    assert outcome(queued=2, seqs={1, 2, 3}).is_well
    assert outcome(queued=2, seqs={1, 2, 3, 4}).is_well  # it came, and the device does not know yet
    lost = outcome(queued=0, seqs={1, 2, 3, 5})
    assert (lost.lost, lost.is_well) == (1, False)
    assert Outcome().lost == 0
