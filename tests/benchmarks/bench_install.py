"""`install_offline`: the Debian package on a machine without a network, from `dpkg -i` to a service that is ready."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from tests.benchmarks._figure import figure
from tests.debian import Machine, debian
from tests.deploy.deb.packages import NEEDED, Packages

_BY_HAND = """set -e
python3 -m venv --without-pip --system-site-packages /opt/by-hand
python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall("/opt/parts")' "$1"
exec /opt/by-hand/bin/python "$(echo /opt/parts/wheels/pip-*.whl)/pip" install --quiet --no-index --no-deps \\
  --require-hashes --root-user-action ignore --find-links /opt/parts/wheels --requirement /opt/parts/requirements.lock
"""


def main() -> None:
    """Measure it beside what nobody can leave out: an environment made by hand from the same wheels."""
    try:
        took_s, by_hand_s = _measure()
    except pytest.skip.Exception as reason:
        print(f"install_offline was not measured: {reason}")
        return
    figure(
        "install_offline",
        took_s,
        "s",
        reference="venv and pip by hand, from the same wheels",
        reference_value=by_hand_s,
        goal=1.5,
        better="lower",
    )


def _measure() -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        shared = folder / "shared"
        shared.mkdir()
        packages = Packages(shared)
        package = packages.good()
        with Machine(folder / "machine", debian(*NEEDED), shared=shared) as machine:
            bundle = f"/mnt/edge-runtime-{packages.machine}.zip"
            began_s = time.perf_counter()
            machine.run("sh", "-c", _BY_HAND, "by-hand", bundle)
            by_hand_s = time.perf_counter() - began_s
            began_s = time.perf_counter()
            machine.run("dpkg", "-i", f"/mnt/{package}")
            took_s = time.perf_counter() - began_s
            machine.run("systemctl", "is-active", "--quiet", "edge-runtime")
    return took_s, by_hand_s


if __name__ == "__main__":
    main()
