"""Delivering: how long a change takes until it runs on a device."""

from __future__ import annotations

import platform
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
from tests.runtimes import installed, python_folder, without_network

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
    """Weigh the bundle of the runtime for each architecture, beside the wheel of the runtime alone."""
    for architecture in TAGS:
        with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
            path = Path(folder) / "runtime.zip"
            carry_out(load("deploy", "runtime").plan(architecture, path))
            with zipfile.ZipFile(path) as bundle:
                own = next(
                    one.file_size for one in bundle.infolist() if one.filename.startswith("wheels/edge_runtime-")
                )
            weight = path.stat().st_size
        figure(
            f"bundle_size {architecture}",
            weight / 1e6,
            "MB",
            reference="the wheel of the runtime alone; the goal is 32 MB for three Pythons",
            reference_value=own / 1e6,
            goal=1.0,
            better="lower",
            ratio=weight / 32e6,
        )


def install_offline() -> None:
    """Time an install from the bundle without a network, beside a bare virtual environment."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        place = Path(folder)
        bundle = place / "runtime.zip"
        carry_out(load("deploy", "runtime").plan(platform.machine(), bundle))
        begun_s = time.monotonic()
        subprocess.run([f"{python_folder()}/python3", "-m", "venv", "--without-pip", place / "bare"], check=True)
        bare_s = time.monotonic() - begun_s
        begun_s = time.monotonic()
        done = installed(bundle, place / "d", before=without_network())
        took_s = time.monotonic() - begun_s
        if done.returncode:
            raise RuntimeError(done.stderr)
    figure(
        "install_offline",
        took_s,
        "s",
        reference="a bare virtual environment; the goal is 30 s",
        reference_value=bare_s,
        goal=1.0,
        better="lower",
        ratio=took_s / 30.0,
    )


def main() -> None:
    """Measure all."""
    bundle_size()
    install_offline()
    deploy_change()


if __name__ == "__main__":
    main()
