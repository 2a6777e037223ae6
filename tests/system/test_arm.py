"""The bundles for ARM install in Debian roots of that architecture and run the demo, under QEMU: `make test-arm`.

Emulated, all takes many times as long as on a Raspberry Pi; so it runs only where it is asked for. Two things are for
QEMU:

- The processor is that of a Raspberry Pi 4. The one that QEMU takes by itself for arm64 signs return addresses, which
  is emulated too, and makes an install many times as long.
- prctl(2) of QEMU 7.2, that of Debian 12, refuses PR_SET_CHILD_SUBREAPER, which every kernel since 3.4 has, and
  without it no worker is forked. So that one call is taken out of what was installed, before the demo. What it is for,
  that nothing outlives its worker, is tested on the machine that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from edge_runtime.building.carry_out import carry_out
from edge_runtime.plugin import load
from tests.runtimes import INSTALLER

ROOTS = Path(os.environ.get("EDGE_ROOTS") or "/nonexistent")
SCRIPT = """\
set -eu
export HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8
cd /root
lap() { echo "lap $1 $(date +%s.%N)"; }
lap begin
sh /bundle/edge-install.sh install BUNDLE /root/runtime
lap install
sh /bundle/edge-install.sh install BUNDLE /root/runtime
lap again
/root/runtime/venv/bin/python -I -c "
import platform, struct
from importlib.metadata import version
print('on', platform.machine(), struct.calcsize('P') * 8, version('edge-runtime'))"
confine=$(echo /root/runtime/venv/lib/python3.*/site-packages/edge_runtime/workers/inside/confine.py)
sed -i 's/^    prctl(_CHILD_SUBREAPER, 1)$/    pass  # QEMU/' "$confine"
echo "for QEMU: $(sed -n '/pass  # QEMU/=' "$confine" | wc -l) line"
lap about
/root/runtime/venv/bin/edge demo --seconds 20
lap demo
"""
ROW = re.compile(r"(uplink|shadow|function/\w+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\w+)")

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not ROOTS.is_dir(), reason="no roots for ARM; make them and run this: make test-arm"),
]


def run_in(root: Path, script: str) -> str:
    """Run a script in a root, without a network; return what it writes."""
    (root / "bundle" / "go.sh").write_text(script)
    inside = (
        f'mount -t proc proc "{root}/proc" && mount --rbind /dev "{root}/dev" && exec chroot "{root}" sh /bundle/go.sh'
    )
    command = [
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        f"ip link set lo up; {inside}",
    ]
    cpu = {"QEMU_CPU": "cortex-a72"} if root.name == "arm64" else {}
    done = subprocess.run(command, env=os.environ | cpu, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("root", "architecture", "seen"),
    [("arm64", "aarch64", "aarch64 64"), ("armhf", "armv7l", "armv7l 32"), ("armhf", "armv6l", "armv7l 32")],
)
def test_the_bundle_installs_and_the_demo_loses_nothing(
    root: str, architecture: str, seen: str, tmp_path: Path
) -> None:
    place = ROOTS / root
    for name in ("proc", "dev", "root", "tmp", "bundle"):
        (place / name).mkdir(exist_ok=True)
    shutil.rmtree(place / "root" / "runtime", ignore_errors=True)
    bundle = tmp_path / f"edge-runtime-{architecture}.zip"
    carry_out(load("deploy", "runtime").plan(architecture, bundle))
    shutil.copy(bundle, place / "bundle")
    shutil.copy(INSTALLER, place / "bundle")
    lines = run_in(place, SCRIPT.replace("BUNDLE", f"/bundle/{bundle.name}")).splitlines()
    times = [(words[1], float(words[2])) for words in map(str.split, lines) if words[:1] == ["lap"]]
    seconds = {name: round(end_s - begin_s) for (_, begin_s), (name, end_s) in pairwise(times)}
    rows = {match[1]: match.groups()[1:] for match in map(ROW.fullmatch, map(str.rstrip, lines)) if match}
    print(json.dumps({"architecture": architecture, "seconds": seconds, "ledger": rows, "demo": lines[-2]}))  # noqa: T201 - shown by make test-arm
    assert any(line.startswith(f"on {seen} ") for line in lines)
    assert "for QEMU: 1 line" in lines
    assert re.search(
        r"\. \d+ messages were accepted for the cloud; by its own record 0 are lost and \d+ came twice", lines[-2]
    )
    assert rows.keys() == {"function/digest", "function/irrigate", "shadow", "uplink"}
    for name in rows.keys() - {"shadow"}:
        produced, delivered, *others, balanced = rows[name]
        assert int(produced) > 0, name
        assert (delivered, others, balanced) == (produced, ["0", "0", "0", "0"], "yes"), name
