"""How long an install takes without a network: from a bundle, and as a Debian package until its service is ready.

Both stand beside what nobody can leave out: an environment made by hand, by `venv` and pip, from the same wheels.
"""

from __future__ import annotations

import platform
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from edge_runtime.building.carry_out import carry_out
from edge_runtime.plugin import load
from tests.benchmarks._figure import figure
from tests.debian import Machine, debian
from tests.deploy.deb.packages import NEEDED, Packages
from tests.runtimes import environment, installed, without_network

_BY_HAND = """set -e
python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' "$1" "$2/parts"
python3 -m venv --system-site-packages "$2/by-hand"
exec "$2/by-hand/bin/python" -m pip install --quiet --no-index --no-deps --disable-pip-version-check \\
  --require-hashes --root-user-action ignore --find-links "$2/parts/wheels" --requirement "$2/parts/requirements.lock"
"""
_REFERENCE = "venv and pip by hand, from the same wheels"


def main() -> None:
    """Measure both; what this machine cannot do is said."""
    for name, measure, goal in (("install_offline", install_offline, 1.0), ("install_deb", install_deb, 1.5)):
        try:
            took_s, by_hand_s = measure()
        except pytest.skip.Exception as reason:
            print(f"{name} was not measured: {reason}")
            continue
        figure(name, took_s, "s", reference=_REFERENCE, reference_value=by_hand_s, goal=goal, better="lower")


def install_offline() -> tuple[float, float]:
    """Return the seconds of `edge-install.sh`, and those of doing it by hand."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        bundle = folder / "runtime.zip"
        carry_out(load("deploy", "runtime").plan(platform.machine(), bundle))
        begun_s = time.perf_counter()
        by_hand = [*without_network(), "sh", "-c", _BY_HAND, "by-hand", str(bundle), str(folder)]
        subprocess.run(by_hand, env=environment(), check=True)
        by_hand_s = time.perf_counter() - begun_s
        begun_s = time.perf_counter()
        done = installed(bundle, folder / "d", before=without_network())
        took_s = time.perf_counter() - begun_s
        if done.returncode:
            raise RuntimeError(done.stderr)
    return took_s, by_hand_s


def install_deb() -> tuple[float, float]:
    """Return the seconds from `dpkg -i` until the service is ready, and those of doing it by hand."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        shared = folder / "shared"
        shared.mkdir()
        packages = Packages(shared)
        package = packages.good()
        with Machine(folder / "machine", debian(*NEEDED), shared=shared) as machine:
            bundle = f"/mnt/edge-runtime-{packages.machine}.zip"
            begun_s = time.perf_counter()
            machine.run("sh", "-c", _BY_HAND, "by-hand", bundle, "/opt")
            by_hand_s = time.perf_counter() - begun_s
            begun_s = time.perf_counter()
            machine.run("dpkg", "-i", f"/mnt/{package}")
            took_s = time.perf_counter() - begun_s
            machine.run("systemctl", "is-active", "--quiet", "edge-runtime")
    return took_s, by_hand_s


if __name__ == "__main__":
    main()
