"""`edge deploy` to a Debian that a real systemd has booted: as a package through sudo, and as a service of the user."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian import Machine as Booted
from tests.debian import whole_form
from tests.deploy.deb.packages import Packages
from tests.deploy.ssh.machine import PASSWORD, Machine, debian_root
from tests.deploy.ssh.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

UNIT = "edge-runtime.service"
APP = "thing: station\nfunctions: {say: {code: ./say, handler: app.handler}}\n"


class Device(Site):
    """A site whose device has booted."""

    def __init__(self, machine: Machine, folder: Path, booted: Booted) -> None:
        self.booted = booted
        super().__init__(machine, folder)
        self.text = APP
        self.say("first")

    def cut_power(self) -> None:
        """Cut it, and switch on again; nobody has logged in yet."""
        self.booted.cut_power()

    def shown(self, name: str) -> str:
        """Return a property of the user's service."""
        return self.machine.run(f"systemctl --user show {UNIT} --property={name} --value").strip()


@contextlib.contextmanager
def booted(folder: Path) -> Iterator[Device]:
    machine = Machine(folder, root := debian_root())
    machine.let_use_sudo()
    with Booted(folder / "booted", machine.disk, root) as it:
        machine.reach(it.leader)
        (folder / "site").mkdir()
        yield Device(machine, folder / "site", it)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


# -- the package -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A device that gets the package, as it has systemd, dpkg, and a user who may use sudo."""
    with booted(tmp_path_factory.mktemp("packaged")) as it:
        yield it


def version_of_package(site: Device) -> str:
    return site.booted.says("dpkg-query", "--show", "--showformat=${Status} ${Version}", "edge-runtime")


def said_by_service(site: Device) -> str:
    return site.booted.run("edge", "invoke", "say", "--event", "-", stdin="{}").stdout.strip()


def test_a_device_with_systemd_gets_the_package_through_sudo(packaged: Device, packages: Packages) -> None:
    older = packages.folder / packages.older()
    status, screen = packaged.on_terminal(PASSWORD, "--runtime", older)
    assert status == 0, screen
    assert screen.count("password for sudo on device") == 1
    assert version_of_package(packaged) == "install ok installed 0.0.9"
    assert packaged.booted.says("systemctl", "is-active", UNIT) == "active"
    assert "device: release 1.0.0: 3 of 3 files" in screen
    assert "is well" in screen
    assert said_by_service(packaged) == '"first"'


def test_an_older_package_is_upgraded_and_the_app_goes_on(packaged: Device) -> None:
    pid = packaged.booted.says("systemctl", "show", UNIT, "--property=MainPID", "--value")
    packaged.say("second")
    status, screen = packaged.on_terminal(PASSWORD)
    assert status == 0, screen
    assert "device: runtime 0.1.0 installed, " in screen
    assert "device: release 1.0.1 (was 1.0.0): 1 of 3 files" in screen
    assert version_of_package(packaged) == "install ok installed 0.1.0"
    assert packaged.booted.says("systemctl", "show", UNIT, "--property=MainPID", "--value") != pid
    assert said_by_service(packaged) == '"second"'


@whole_form
def test_the_same_version_is_sent_again_only_when_that_is_asked_for(packaged: Device) -> None:
    packaged.say("third")
    status, screen = packaged.on_terminal(PASSWORD)
    assert (status, "installed" in screen) == (0, False), screen
    log = packaged.booted.journal()
    status, screen = packaged.on_terminal(PASSWORD, "--runtime", "always", "--runtime-only")
    assert (status, "device: runtime 0.1.0 installed, " in screen) == (0, True), screen
    log.until("accepts events")  # the package was set up anew, which starts the service again
    assert said_by_service(packaged) == '"third"'


@whole_form
def test_a_package_that_does_not_start_leaves_the_one_before_at_work(packaged: Device, packages: Packages) -> None:
    ill = packages.folder / packages.ill()
    status, screen = packaged.on_terminal(PASSWORD, "--runtime", ill, "--runtime-only")
    assert status == 1
    assert "the one before goes on" in screen, screen
    assert packaged.booted.says("systemctl", "is-active", UNIT) == "active"
    assert said_by_service(packaged) == '"third"'
    assert version_of_package(packaged) == "install ok half-configured 0.4.0"
    packaged.say("fourth")
    status, screen = packaged.on_terminal(PASSWORD)  # the next one mends it, though that version runs already
    assert (status, "device: runtime 0.1.0 installed, " in screen) == (0, True), screen
    assert version_of_package(packaged) == "install ok installed 0.1.0"
    assert said_by_service(packaged) == '"fourth"'


def test_doctor_finds_the_service_in_order(packaged: Device) -> None:
    """What is left to say is the container's: it has no clock that is kept right, and no memory controller."""
    rows = json.loads(packaged.booted.run("edge", "doctor", "--json", check=False).stdout)
    bad = {(row["what"], row["text"].split(":")[0]) for row in rows if row["level"] in {"fail", "warn"}}
    assert bad <= {
        ("clock", "not synchronized"),
        ("isolation", "memory is missing"),
        ("isolation", "signals is missing"),
    }
    texts = [row["text"] for row in rows]
    assert f"{UNIT} runs the host as edge-runtime, and so each function" in texts
    assert "/var/lib/edge-runtime can be written" in texts


# -- a service of the user ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A device on which the user has a runtime of his own."""
    with booted(tmp_path_factory.mktemp("mine")) as it:
        yield it


def test_without_root_it_is_a_service_of_the_user(mine: Device) -> None:
    report = mine.deploy("--user", "--health", "0")
    assert (report["runtime"], report["verdict"]) == ("0.1.0", "runs")
    assert not [note for note in report["notes"] if "logs out" in note or "start it" in note]
    assert mine.said() == '"first"'
    assert mine.machine.run(f"systemctl --user is-enabled {UNIT}; systemctl --user is-active {UNIT}").split() == [
        "enabled", "active",
    ]  # fmt: skip
    assert mine.shown("StatusText") == "thing station accepts events"
    assert (mine.shown("NRestarts"), mine.shown("Type"), mine.shown("WatchdogUSec")) == ("0", "notify", "30s")
    done = mine.machine.ssh(f"systemd-analyze --user verify ~/.config/systemd/user/{UNIT}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mine.machine.run("stat -c %a ~/.local/share/edge-runtime/state").strip() == "700"


def test_a_change_goes_to_it_too(mine: Device) -> None:
    mine.say("second")
    report = mine.deploy("--health", "0")
    assert (report["verdict"], report["runtime"], report["files_sent"]) == ("runs", "", 1)
    assert mine.said() == '"second"'


def test_it_is_restarted_when_it_is_killed_or_hangs(mine: Device) -> None:
    drop_in = "[Service]\\nWatchdogSec=4\\nRestartSec=0\\n"
    mine.machine.run(
        f"mkdir -p ~/.config/systemd/user/{UNIT}.d && printf '{drop_in}' >~/.config/systemd/user/{UNIT}.d/test.conf && "
        f"systemctl --user daemon-reload && systemctl --user restart {UNIT}"
    )
    pids = [mine.shown("MainPID")]
    for number, words in (("KILL", "code=killed, status=9/KILL"), ("STOP", "Watchdog timeout")):
        log = mine.booted.journal()
        mine.machine.run(f"systemctl --user kill --kill-whom=main --signal={number} {UNIT}")
        log.until(words, "accepts events")
        pids.append(mine.shown("MainPID"))
    assert len(set(pids)) == 3
    assert mine.said() == '"second"'


def test_it_starts_at_boot_before_anybody_logs_in(mine: Device) -> None:
    mine.cut_power()
    wait = "for _ in $(seq 600); do pgrep -u pi -f 'edge run' && exit; sleep 0.1; done; loginctl; exit 1"
    assert mine.booted.run("sh", "-c", wait).stdout.strip().isdecimal()
    mine.machine.reach(mine.booted.leader)
    mine.await_host()
    assert mine.said() == '"second"'


@whole_form
def test_an_older_runtime_is_upgraded_and_an_ill_one_makes_way(mine: Device, packages: Packages) -> None:
    mine.deploy("--runtime", packages.older_bundle(), "--runtime-only")
    version = "ls ~/.local/share/edge-runtime/venv/lib/python3*/site-packages | grep '^edge_runtime-'"
    assert mine.machine.run(version).strip() == "edge_runtime-0.0.9.dist-info"
    mine.say("third")
    report = mine.deploy("--health", "0")
    assert (report["runtime"], report["verdict"], report["was"]) == ("0.1.0", "runs", "1.0.1")
    assert mine.machine.run(version).strip() == "edge_runtime-0.1.0.dist-info"
    before = mine.machine.run("readlink ~/.local/share/edge-runtime/venv")
    report = mine.deploy("--runtime", packages.ill_bundle(), "--runtime-only", status=1)
    assert "the one before runs again" in report["text"]
    assert mine.machine.run("readlink ~/.local/share/edge-runtime/venv") == before
    assert mine.said() == '"third"'


def test_doctor_knows_the_service_of_the_user(mine: Device) -> None:
    rows = json.loads(mine.machine.ssh(f"{mine.edge} doctor {mine.base}/app --state {mine.base}/state --json").stdout)
    texts = [row["text"] for row in rows]
    assert f"{UNIT} runs the host as pi, and so each function" in texts
    assert not [row for row in rows if row["level"] == "fail"]
