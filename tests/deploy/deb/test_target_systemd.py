"""The package on a real systemd: installed without a network, started, watched, upgraded, removed, purged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_runtime.bundles import describe, write
from edge_runtime.pure.bundle import Manifest
from tests.debian import Machine, debian
from tests.deploy.deb.packages import NEEDED, Packages

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

UNIT = "edge-runtime.service"
HOME, STATE = "/usr/lib/edge-runtime", "/var/lib/edge-runtime"
APP = """thing: pi-7
functions:
  f: {code: ./f, handler: app.handler, events: [{topic: "in/#"}], on_success: out/f}
link: {driver: paho, endpoint: 127.0.0.1, port: 1, up: ["out/#"]}
"""
CODE = """import os

def handler(event, context):
    return {"user": os.getuid(), "root": sorted(os.listdir("/")), "devices": sorted(os.listdir("/dev"))}
"""
COUNT = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM message').fetchone())"
QUICK = "[Service]\nWatchdogSec=4\nRestartSec=0\n"
"""So that a test need not wait half a minute for what is the same in a few seconds."""


@dataclass
class Site:
    """A machine on which the package has been installed, switched off; and the packages."""

    packages: Packages
    roots: tuple[Path, ...]
    shared: Path
    said: str
    """What dpkg wrote."""

    def boot(self, folder: Path) -> Machine:
        """Return a machine in the state after the installation, to be entered."""
        return Machine(folder, *self.roots, shared=self.shared)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = debian(*NEEDED)
    folder = tmp_path_factory.mktemp("deb")
    shared = folder / "shared"
    shared.mkdir()
    packages = Packages(shared)
    name = packages.good()
    release(shared / "one.edge", "1.0.0")
    with Machine(folder / "first", root, shared=shared) as machine:
        assert machine.says("cat", "/proc/net/route").count("\n") == 0  # not even a way out
        said = machine.run("dpkg", "-i", f"/mnt/{name}")
        assert machine.says("systemctl", "is-active", UNIT) == "active"
        changes = machine.changes
    return Site(packages, (changes, root), shared, said.stdout + said.stderr)


@pytest.fixture
def machine(site: Site, tmp_path: Path) -> Iterator[Machine]:
    with site.boot(tmp_path / "machine") as it:
        yield it


def release(path: Path, number: str) -> None:
    """Write a bundle of an app."""
    source = path.with_suffix("")
    (source / "f").mkdir(parents=True)
    (source / "edge.yaml").write_text(APP)
    (source / "f" / "app.py").write_text(CODE)
    files = {one.relative_to(source).as_posix(): one for one in source.rglob("*") if one.is_file()}
    write(path, Manifest("pi-7", number, describe(files)), files)


def shown(machine: Machine, name: str) -> str:
    """Return a property of the service."""
    return machine.says("systemctl", "show", UNIT, f"--property={name}", "--value")


def with_app(machine: Machine) -> None:
    """Have the service run an app, as somebody does who has copied a bundle to his home folder."""
    machine.run("cp", "/mnt/one.edge", "/root/one.edge")
    said = machine.says("edge", "install", "--health", "0", "/root/one.edge")
    assert said.startswith("release 1.0.0-"), said


def hurry(machine: Machine) -> None:
    """Make the watchdog and restarts quick."""
    place = f"/etc/systemd/system/{UNIT}.d"
    machine.run("mkdir", "-p", place)
    machine.run("tee", f"{place}/test.conf", stdin=QUICK)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)


def waiting(machine: Machine) -> int:
    """Return how many messages wait for the link."""
    books = json.loads(machine.says("edge", "status", "--json"))
    return next(int(row["queued"]) for row in books["queues"] if row["target"] == "uplink")


def test_it_is_installed_and_started(site: Site) -> None:
    assert "Creating user 'edge-runtime' (Edge runtime)" in site.said
    assert "edge-install: installing into /usr/lib/edge-runtime/env-" in site.said


def test_it_starts_at_boot_takes_a_release_and_an_event_goes_through(machine: Machine) -> None:
    assert machine.says("systemctl", "is-active", UNIT) == "active"
    assert shown(machine, "NRestarts") == "0"
    name = json.loads(machine.says("edge", "status", "--json"))["thing"]
    assert shown(machine, "StatusText") == f"thing {name} accepts events"
    findings = {row["what"]: row for row in json.loads(machine.says("edge", "doctor", "--json"))}
    assert (findings["app"]["level"], findings["state"]["level"]) == ("skip", "ok")
    assert findings["app"]["text"] == f"there is no app to check: {STATE}/app waits for its first release"
    with_app(machine)
    assert shown(machine, "StatusText") == "thing pi-7 accepts events"
    assert machine.run("edge", "publish", "in/a", "{}").returncode == 0
    reply = json.loads(machine.says("edge", "invoke", "f", "--quiet"))
    assert reply["user"] == int(machine.says("id", "-u", "edge-runtime"))
    # Functions have their small root under this unit too.
    assert "home" not in reply["root"]
    assert "var" in reply["root"]
    assert reply["devices"] == sorted(
        ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"]
    )
    layers = json.loads(machine.says("edge", "status", "--json"))["isolation"]
    assert layers["level"] in {"partly", "full"}, layers
    active = {layer["name"] for layer in layers["layers"] if layer["active"]}
    assert {"limits", "files", "system calls"} <= active
    log = machine.says("journalctl", "--unit", UNIT, "--output=cat")
    assert "reception only permitted" not in log
    assert "no output has a guard" in log  # what runs before the start


def test_its_exposure_is_low(machine: Machine) -> None:
    rows = machine.says("systemd-analyze", "security", "--offline=yes", f"/lib/systemd/system/{UNIT}")
    level = next(line for line in rows.splitlines() if "Overall exposure level" in line)
    assert float(level.split(": ")[1].split()[0]) <= 2.5
    said = machine.run("systemd-analyze", "verify", f"/lib/systemd/system/{UNIT}")
    assert (said.stdout, said.stderr) == ("", "")


def test_it_sees_no_device_that_it_has_no_use_for(machine: Machine) -> None:
    machine.run("chmod", "666", "/dev/net/tun")
    tries = "import os\nfor name in ('zero', 'net/tun'):\n    try:\n        os.open(f'/dev/{name}', os.O_RDWR)\n"
    tries += "        print(name, 'opens')\n    except OSError as error:\n        print(name, error.strerror)\n"
    machine.run("tee", "/usr/local/bin/tries", stdin=tries)
    machine.run("mkdir", "-p", f"/etc/systemd/system/{UNIT}.d")
    drop_in = "[Service]\nExecStartPost=/usr/bin/python3 /usr/local/bin/tries\n"
    machine.run("tee", f"/etc/systemd/system/{UNIT}.d/test.conf", stdin=drop_in)
    machine.run("systemctl", "daemon-reload")
    journal = machine.journal()
    machine.run("systemctl", "restart", UNIT)
    lines = journal.until("net/tun")
    assert "zero opens" in lines
    assert lines[-1] == "net/tun Operation not permitted"


def test_a_host_that_hangs_or_is_killed_is_restarted(machine: Machine) -> None:
    with_app(machine)
    hurry(machine)
    first = shown(machine, "MainPID")
    journal = machine.journal()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", UNIT)
    lines = journal.until("Watchdog timeout", "Fatal Python error: Aborted", "no output has a guard", "accepts events")
    assert [line for line in lines if line.lstrip().startswith("File ")], lines  # where it hung
    second = shown(machine, "MainPID")
    journal = machine.journal()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    journal.until("code=killed, status=9/KILL", "no output has a guard", "accepts events")
    assert len({first, second, shown(machine, "MainPID")}) == 3
    assert json.loads(machine.says("edge", "status", "--json"))["thing"] == "pi-7"


def test_a_stop_is_in_order_and_a_reboot_without_power_too(machine: Machine) -> None:
    with_app(machine)
    machine.run("edge", "publish", "in/a", "{}")
    journal = machine.journal()
    machine.run("systemctl", "stop", UNIT)
    journal.until("stopped; nothing that was accepted is lost", "Deactivated successfully")
    machine.run("systemctl", "start", UNIT)
    before = waiting(machine)
    machine.cut_power()
    assert machine.says("systemctl", "is-active", UNIT) == "active"
    assert waiting(machine) == before


def test_an_upgrade_restarts_it_and_keeps_what_waits_and_what_was_set(site: Site, machine: Machine) -> None:
    newer = site.packages.newer()
    with_app(machine)
    for _ in range(3):
        machine.run("edge", "invoke", "f", "--quiet")
    machine.run("edge", "publish", "out/x", "{}")
    machine.run("sed", "-i", "s/EDGE_LOG=INFO/EDGE_LOG=WARNING/", "/etc/edge-runtime/edge.env")
    before, count = machine.says("readlink", f"{HOME}/venv"), waiting(machine)
    assert count >= 1
    pid = shown(machine, "MainPID")
    machine.run("dpkg", "-i", f"/mnt/{newer}")
    assert machine.says("readlink", f"{HOME}/venv") != before
    assert shown(machine, "MainPID") != pid
    assert waiting(machine) == count
    assert "EDGE_LOG=WARNING" in machine.says("cat", "/etc/edge-runtime/edge.env")
    assert machine.says("readlink", f"/proc/{shown(machine, 'MainPID')}/exe").startswith("/usr/bin/python3")
    assert machine.says("readlink", f"{HOME}/venv") in machine.says("cat", f"/proc/{shown(machine, 'MainPID')}/cmdline")


def test_an_upgrade_that_fails_leaves_the_version_before_at_work(site: Site, machine: Machine) -> None:
    damaged, ill = site.packages.damaged(), site.packages.ill()
    before, pid = machine.says("readlink", f"{HOME}/venv"), shown(machine, "MainPID")
    failed = machine.run("dpkg", "-i", f"/mnt/{damaged}", check=False)
    assert failed.returncode != 0
    assert re.search("the file 'wheels/.*' in it is (damaged|no wheel that can be trusted: Bad CRC-32)", failed.stderr)
    assert shown(machine, "MainPID") == pid  # it was not even restarted
    assert machine.says("readlink", f"{HOME}/venv") == before
    failed = machine.run("dpkg", "-i", f"/mnt/{ill}", check=False)
    assert failed.returncode != 0
    assert "it does not start with this version; the one before goes on" in failed.stderr
    assert machine.says("readlink", f"{HOME}/venv") == before
    assert machine.says("systemctl", "is-active", UNIT) == "active"
    machine.cut_power()
    assert machine.says("systemctl", "is-active", UNIT) == "active"
    machine.run("dpkg", "-i", f"/mnt/{site.packages.good()}")
    assert machine.says("dpkg-query", "--show", "--showformat=${Status}", "edge-runtime") == "install ok installed"


def test_a_new_python_brings_a_new_environment_and_the_same_one_does_not(machine: Machine) -> None:
    pid = shown(machine, "MainPID")
    machine.run("dpkg-trigger", "--no-await", "/usr/bin/python3")
    machine.run("dpkg", "--configure", "--pending")
    assert shown(machine, "MainPID") == pid


def test_a_removal_keeps_state_and_settings_and_a_purge_takes_them(machine: Machine) -> None:
    with_app(machine)
    machine.run("edge", "publish", "out/x", "{}")
    count = waiting(machine)
    machine.run("dpkg", "--remove", "edge-runtime")
    assert machine.run("systemctl", "is-active", UNIT, check=False).stdout == "inactive\n"
    assert machine.run("test", "-e", HOME, check=False).returncode == 1
    assert machine.says("cat", "/etc/edge-runtime/edge.env")
    assert int(machine.says("python3", "-c", COUNT, f"{STATE}/queue.db")) >= count
    machine.run("dpkg", "--purge", "edge-runtime")
    left = "test ! -e /etc/edge-runtime && test ! -e /var/lib/edge-runtime && test ! -e /usr/lib/edge-runtime"
    machine.run("sh", "-c", f"{left} && test ! -e /etc/systemd/system/multi-user.target.wants/{UNIT}")
    assert machine.says("id", "-un", "edge-runtime") == "edge-runtime"
    assert machine.says("systemctl", "is-system-running") == "running"
