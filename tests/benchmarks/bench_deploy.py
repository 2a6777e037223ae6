"""Delivering: how long a change takes until it runs on a device."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

from edge_runtime.building.carry_out import carry_out
from edge_runtime.building.wheels import TAGS
from edge_runtime.plugin import load
from tests.benchmarks._figure import figure
from tests.deploy.ssh.machine import Machine, debian_root
from tests.deploy.ssh.site import Site

ROUNDS = 5


def deploy_change() -> None:
    """Time `edge deploy` of one changed line to a device that is there already; beside a bare login over SSH."""
    root = debian_root()
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        (place := Path(folder) / "machine").mkdir()
        machine = Machine(place, root)
        machine.on()
        try:
            site = Site(machine, Path(folder))
            site.deploy()
            machine.start_host()
            site.await_host()
            seconds, sent, login = [], 0, []
            for number in range(ROUNDS):
                site.say(f"change {number}")
                begun_s = time.monotonic()
                report = site.deploy()
                seconds.append(time.monotonic() - begun_s)
                sent = report["bytes_sent"]
                begun_s = time.monotonic()
                subprocess.run(["ssh", "-F", machine.config, "device", "true"], check=True)  # noqa: S607 - as deploy finds it
                login.append(time.monotonic() - begun_s)
        finally:
            machine.off()
    found = statistics.median(seconds)
    figure(
        "deploy_change",
        found,
        "s",
        reference=f"a login over SSH; {sent} bytes were sent, and it was watched for 2 s; the goal is 5 s",
        reference_value=statistics.median(login),
        goal=1.0,
        better="lower",
        ratio=found / 5.0,
    )


def bundle_size() -> None:
    """Weigh the bundle of the runtime for each architecture, beside its wheels as an index has them."""
    for architecture in TAGS:
        with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
            path = Path(folder) / "runtime.zip"
            carry_out(load("deploy", "runtime").plan(architecture, path))
            with zipfile.ZipFile(path) as bundle:
                wheels = sum(one.file_size for one in bundle.infolist() if one.filename.startswith("wheels/"))
            weight = path.stat().st_size
        figure(
            f"bundle_size {architecture}",
            weight / 1e6,
            "MB",
            reference="its wheels, as pip downloads them; the goal is 32 MB for three Pythons",
            reference_value=wheels / 1e6,
            goal=1.0,
            better="lower",
            ratio=weight / 32e6,
        )


def main() -> None:
    """Measure all."""
    bundle_size()
    deploy_change()


if __name__ == "__main__":
    main()
