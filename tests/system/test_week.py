"""A week at a field station, with four days without a link, in about a minute: nothing is lost.

`EDGE_WEEK_DAYS=1` makes it shorter: the week then ends in the middle of the outage, and what waits is accounted for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.guide import is_shown, steps

ROOT = Path(__file__).parents[2]
APP = ROOT / "components" / "field_station"
SCRIPT = ROOT / "hardware" / "traces" / "field-week.jsonl"
GUIDE = ROOT / "docs" / "guides" / "simulation.md"
DAYS = int(os.environ.get("EDGE_WEEK_DAYS", "7"))
MOST_S = 120.0
_CUT_MIN, _SOIL_MIN, _FAULT_MIN = 90, 5, 30


def row(said: str, name: str) -> list[str]:
    """Return the cells of the line that begins with a name."""
    found = re.search(rf"^{re.escape(name)} +(.*)$", said, re.MULTILINE)
    assert found is not None, said
    return found[1].split()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_week_at_a_field_station_loses_nothing() -> None:
    began = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "edge_runtime", "run", str(APP), "--simulate", "--script", str(SCRIPT)),
            *("--until", f"{DAYS}d"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    took_s = time.monotonic() - began
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    if DAYS == 7:
        (shown,) = [step.shown for step in steps(GUIDE.read_text(encoding="utf-8")) if SCRIPT.name in step.command]
        assert is_shown(said, shown), said
    assert took_s < MOST_S, said
    queues = ("uplink", "function/irrigate", "function/daily", "device/pump")
    books = {name: row(said, name) for name in queues}
    assert all(cells[-1] == "yes" for cells in books.values()), said
    assert " 0 are lost, " in said
    if DAYS < 7:
        return
    # Each minute, but for those without power and, for one of them, those in which it failed; and one at each start.
    minutes = 7 * 24 * 60 - _CUT_MIN
    readings = {name: int(row(said, f"device/{name}")[0]) for name in ("light", "battery", "air")}
    assert readings["light"] == readings["battery"]
    assert abs(readings["light"] - minutes) <= 2
    assert abs(readings["air"] - (minutes - _FAULT_MIN)) <= 3
    produced, delivered, *rest = (int(cell) for cell in books["uplink"][:-1])
    assert (produced, rest) == (delivered, [0, 0, 0, 0])
    assert int(row(said, "device/air/fault")[0]) == 1
    assert int(row(said, "dt/field-station-1/daily")[0]) == 7
    assert abs(int(row(said, "dt/field-station-1/irrigate")[0]) - minutes // _SOIL_MIN) <= 2
    # Of four commands each is told, and when it is made safe: at both starts, when its time is over, and at the end.
    assert re.findall(r"^device/pump +(\d+)", said, re.MULTILINE) == ["4", "8"], said
    for what in ("the link is cut", "the power is cut for 1 h 30 min", "the clock is set by -2700 s"):
        assert what in said
