"""The main job, as `make demo` runs it, on this machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.long
def test_the_demo_loses_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_runtime", "demo", "--seconds", "12", "--json"],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    summary = json.loads(line)
    assert summary["lost"] == 0
    assert summary["balanced"] is True
    assert summary["restarts"] == 1
    assert summary["outage_s"] > 3
    assert summary["produced"] > 50
    assert summary["produced"] == summary["delivered"]
    assert (summary["queued"], summary["dropped"], summary["dead"], summary["expired"]) == (0, 0, 0, 0)


@pytest.mark.long
def test_the_demo_in_a_pipe_is_plain_text() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_runtime", "demo", "--seconds", "10"],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "by its own record 0 are lost" in done.stdout
    assert "the host was killed with SIGKILL" in done.stdout
    assert "\x1b" not in done.stdout
