"""The bundles for ARM install in Debian roots of that architecture and run the demo, under QEMU: `make test-arm`.

Emulated, all takes many times as long as on a Raspberry Pi; so it runs only where it is asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
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
sh /bundle/edge-install.sh install BUNDLE /root/runtime
/root/runtime/venv/bin/python -I -c "
import platform, struct
from importlib.metadata import version
print('on', platform.machine(), struct.calcsize('P') * 8, version('edge-runtime'))"
/root/runtime/venv/bin/edge demo --seconds 10 --json | tail -n 1
"""

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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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
    assert lines[-2].startswith(f"on {seen} ")
    summary = json.loads(lines[-1])
    print(architecture, summary)  # noqa: T201 - shown by make test-arm
    assert summary["lost"] == 0
    assert summary["balanced"] is True
    assert summary["delivered"] > 0
