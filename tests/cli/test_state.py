"""status, against a host that answers as told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli._common import when
from tests.cli.fakehost import edge, running

STATUS: dict[str, Any] = {
    "thing": "station",
    "uptime_s": 93_784.5,
    "clock": {"wall": 1_700_000_000.0, "boot": "b"},
    "link": {"driver": "awscrt", "state": "down", "since_s": 61, "inflight": 3, "last_error": "no route\nat all"},
    "store": {"bytes": 1_500_000, "limit": 256_000_000, "wal_bytes": 900, "notes": ["salvaged\x1b"]},
    "isolation": {
        "level": "partly",
        "layers": [
            {"name": "limits", "active": True, "note": "memory", "fix": ""},
            {"name": "users", "active": False, "note": "Operation not permitted", "fix": "sudo edge run"},
        ],
    },
    "functions": [{"function": "f", "state": "idle", "errors": 0}],
    "queues": [{"target": "uplink", "queued": 12, "bytes": 2048, "reasons": {"overflow": 2}}],
    "devices": [],
}


def test_status_is_for_people(tmp_path: Path) -> None:
    with running(tmp_path, {"status": STATUS}):
        result = edge(["status", "--state", tmp_path])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0:2] == ["thing   station", "up      1 d 2 h"]
    assert lines[2].startswith("clock   2023-11-1")
    assert lines[3:] == [
        r"link    awscrt down for 1 min 1 s, 3 not yet acknowledged; last error: no route\nat all",
        "store   1.5 MB of 256.0 MB, log 900 B",
        r"        salvaged\x1b",
        "kept    functions apart: partly; missing: users, see edge doctor",
        "",
        "functions",
        "FUNCTION  STATE  ERRORS",
        "f         idle   0",
        "",
        "queues",
        "TARGET  QUEUED  BYTES   REASONS",
        "uplink  12      2.0 KB  overflow 2",
    ]


def test_status_says_what_mends_a_link_that_is_not_up(tmp_path: Path) -> None:
    link = {"driver": "paho", "since_s": 1, "inflight": 0, "last_error": "no", "hint": "check\nit"}
    for state, shown in (("waiting", True), ("up", False)):
        with running(tmp_path, {"status": {**STATUS, "link": {**link, "state": state}}}):
            lines = edge(["status", "--state", tmp_path]).stdout.splitlines()
        assert (r"        try: check\nit" in lines) is shown


def test_status_says_why_a_link_that_is_up_does_not_send(tmp_path: Path) -> None:
    budget = {"limit": 20_000_000, "used": 20_001_000, "left": 0, "per": "day", "least": 2}
    link = {"driver": "awscrt", "state": "up", "since_s": 61, "inflight": 0, "agents": {"jobs": "off: not\nallowed"}}
    until = {"until": 1_700_000_000.0}
    for more, first, second in (
        (
            {"state": "used up", **until},
            f"link    awscrt up for 1 min 1 s, budget used up until {when(1_700_000_000.0)}, 0 not yet acknowledged",
            "        budget 20.0 MB of 20.0 MB used this day; only priorities 0 to 2 go",
        ),
        (
            {"state": "waits for the night", "until": None},
            "link    awscrt up for 1 min 1 s, what is not urgent waits for the night, 0 not yet acknowledged",
            "        budget 20.0 MB of 20.0 MB used this day; only priorities 0 to 2 go",
        ),
        (
            {"state": "night", "until": None},
            "link    awscrt up for 1 min 1 s, 0 not yet acknowledged",
            "        budget 20.0 MB of 20.0 MB used this day; at night all goes and nothing counts",
        ),
        (
            {"state": "ok", "until": None},
            "link    awscrt up for 1 min 1 s, 0 not yet acknowledged",
            "        budget 20.0 MB of 20.0 MB used this day",
        ),
    ):
        told = {**STATUS, "link": {**link, "budget": {**budget, **more}}}
        with running(tmp_path, {"status": told}):
            lines = edge(["status", "--state", tmp_path]).stdout.splitlines()
        assert lines[3:6] == [first, second, r"        agent jobs: off: not\nallowed"]


def test_status_shows_the_certificate(tmp_path: Path) -> None:
    state = {"id": "c0ffee" * 10, "until": "2027-01-01", "renewals": 1, "note": ""}
    for note, line in (
        ("", "        certificate c0ffeec0ffee, holds until 2027-01-01"),
        ("it ends\x1b soon", r"        certificate c0ffeec0ffee, holds until 2027-01-01; it ends\x1b soon"),
    ):
        with running(tmp_path, {"status": {**STATUS, "certificate": {**state, "note": note}}}):
            result = edge(["status", "--state", tmp_path])
        assert result.stdout.splitlines()[4] == line
    with running(tmp_path, {"status": {**STATUS, "certificate": {**state, "id": "", "note": "it is not there"}}}):
        result = edge(["status", "--state", tmp_path])
    assert result.stdout.splitlines()[4] == "        it is not there"


def test_status_shows_the_parts_that_fail_and_no_others(tmp_path: Path) -> None:
    parts = [
        {"name": "gpio", "state": "running", "restarts": 3, "last_error": "it was"},
        {"name": "broker/house", "state": "waiting", "restarts": 7, "last_error": "no such\nhost"},
    ]
    with running(tmp_path, {"status": {**STATUS, "parts": parts}}):
        result = edge(["status", "--state", tmp_path])
    assert result.stdout.splitlines()[-3:] == [
        "failing",
        "NAME          STATE    RESTARTS  LAST ERROR",
        r"broker/house  waiting  7         no such\nhost",
    ]


def test_status_shows_the_job_in_hand(tmp_path: Path) -> None:
    job = {"id": "app-1-4-0", "operation": "edge.deploy", "step": "downloading", "status": "IN_PROGRESS"}
    with running(tmp_path, {"status": {**STATUS, "job": job}}):
        lines = edge(["status", "--state", tmp_path]).stdout.splitlines()
    assert "job     app-1-4-0: edge.deploy downloading, IN_PROGRESS" in lines


def test_status_shows_the_shadows_that_have_a_twin(tmp_path: Path) -> None:
    rows = [
        {"shadow": "classic", "state": "in sync", "since_s": None, "last_error": "", "next": ""},
        {
            "shadow": "door",
            "state": "refused",
            "since_s": 61,
            "last_error": "refused: 413 x",
            "next": "cut it",
        },
    ]
    with running(tmp_path, {"status": {**STATUS, "shadows": rows}}):
        result = edge(["status", "--state", tmp_path])
    assert result.stdout.splitlines()[-4:] == [
        "shadows",
        "SHADOW   STATE    SINCE S  LAST ERROR      NEXT",
        "classic  in sync  -        -               -",
        "door     refused  61       refused: 413 x  cut it",
    ]


def test_status_without_a_link(tmp_path: Path) -> None:
    with running(tmp_path, {"status": {**STATUS, "link": None, "functions": [], "queues": []}}):
        result = edge(["status", "--state", tmp_path])
    assert "link    none declared" in result.stdout.splitlines()
    assert "queues" not in result.stdout


def test_status_as_json_is_what_the_host_said(tmp_path: Path) -> None:
    with running(tmp_path, {"status": STATUS}):
        result = edge(["status", "--state", tmp_path, "--json"])
    assert json.loads(result.stdout) == STATUS


def test_without_a_host(tmp_path: Path) -> None:
    result = edge(["status", "--state", tmp_path])
    assert result.exit_code == 1
    assert "hint: start it: edge run\n" in result.stderr


def test_the_ledger_of_nothing(tmp_path: Path) -> None:
    result = edge(["ledger", "--state", tmp_path])
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: there is no database {tmp_path}/queue.db\nhint: edge run makes it; or name another with --state DIR\n",
    )


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ({"synced": True, "fault": ""}, ""),
        ({"synced": False, "fault": ""}, ", not synchronized"),
        ({"synced": False, "fault": "the clock says 1970-01-01, which is wrong"}, "which is wrong: edge doctor"),
    ],
)
def test_status_tells_of_a_wrong_clock(tmp_path: Path, known: dict[str, object], shown: str) -> None:
    with running(tmp_path, {"status": {**STATUS, "clock": {"wall": 1_700_000_000.0, "boot": "b", **known}}}):
        lines = edge(["status", "--state", tmp_path]).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("clock")]
    assert line.endswith(shown)
    assert ("not synchronized" in line) == ("not" in shown)
