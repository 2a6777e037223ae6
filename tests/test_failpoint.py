"""A failpoint ends the process, and only the one that was asked for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime import failpoint

SOURCE = Path(failpoint.__file__).parent
SCRIPT = """
from edge_runtime import failpoint
for n in range(5):
    print(n, flush=True)
    failpoint.reach("commit.done")
"""


def run(setting: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "EDGE_FAILPOINT": setting, "PYTHONPATH": str(SOURCE.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize(
    ("setting", "reached"), [("commit.done", ["0"]), ("commit.done:1", ["0"]), ("commit.done:3", ["0", "1", "2"])]
)
def test_it_kills_at_the_nth_time(setting: str, reached: list[str]) -> None:
    assert run(setting) == (-signal.SIGKILL, reached)


@pytest.mark.parametrize("setting", ["", "commit.begin", "commit.done:6"])
def test_others_go_on(setting: str) -> None:
    assert run(setting) == (0, ["0", "1", "2", "3", "4"])


def test_every_failpoint_is_listed_and_every_listed_one_exists() -> None:
    used = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r'failpoint\.reach\("([a-z.]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert used == set(failpoint.NAMES)
