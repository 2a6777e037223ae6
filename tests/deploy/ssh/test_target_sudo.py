"""A device whose runtime came as a package, and whose sudo asks for a password."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime import plugin
from edge_runtime.building import runtimes
from edge_runtime.building.carry_out import carry_out
from tests.deploy.ssh.machine import PASSWORD, Machine, debian_root
from tests.deploy.ssh.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = debian_root()
    machine = Machine(Path(tmp_path_factory.mktemp("machine")), root)
    machine.let_use_sudo()
    machine.add_owner()
    _install_as_a_package_does(machine)
    machine.on()
    machine.run_as_root(
        "sh /usr/lib/edge-runtime/edge-install.sh install /usr/lib/edge-runtime/runtime.zip /usr/lib/edge-runtime "
        "&& install -d -o edge-runtime -g edge-runtime -m 750 /var/lib/edge-runtime /var/lib/edge-runtime/app"
    )
    machine.run("id -Gn | grep -qw sudo")
    site = Site(machine, Path(tmp_path_factory.mktemp("site")))
    site.write("edge.yaml", "thing: station\nfunctions: {say: {code: ./say, handler: app.handler}}\n")
    yield site
    machine.off()


def _install_as_a_package_does(machine: Machine) -> None:
    """Lay the files of the package where it lays them; its own test installs it under a real systemd."""
    deploy = next(place for place in plugin.folders("deploy"))
    machine.write("usr/bin/edge", (deploy / "deb" / "files" / "edge").read_text(), 0o755)
    installer = (deploy / "installer" / "edge-install.sh").read_text()
    machine.write("usr/lib/edge-runtime/edge-install.sh", installer, 0o755)
    bundle = runtimes.bundle(platform.machine(), carry_out)
    (machine.disk / "usr" / "lib" / "edge-runtime" / "runtime.zip").write_bytes(bundle.read_bytes())


def said(site: Site) -> str:
    """Return what the function says."""
    return site.machine.run_as_root("echo '{}' | /usr/bin/edge invoke say --event -").strip()


def test_without_a_terminal_it_is_said_what_to_do(site: Site) -> None:
    report = site.deploy(status=1)
    assert report["text"] == "sudo on device asks for a password"
    assert report["hint"] == "run this in a terminal, or install for that user alone: --user"


def test_a_wrong_password(site: Site) -> None:
    status, screen = site.on_terminal("not this one")
    assert status == 1
    assert "error: sudo on device does not take this password" in screen
    assert "not this one" not in screen


def test_one_password_for_all_and_it_is_seen_nowhere(site: Site) -> None:
    status, screen = site.on_terminal(PASSWORD)
    assert status == 0, screen
    assert "device: release 1.0.0: 3 of 3 files" in screen
    assert said(site) == '"first"'
    assert screen.count("password for sudo") == 1
    assert PASSWORD not in screen
    assert PASSWORD not in site.machine.run_as_root("cat /sshd.log /host.log")
    kept = site.machine.run_as_root("find /var/cache/edge-deploy /var/lib/edge-runtime -name '*.edge'")
    assert kept == ""


def test_only_the_change_is_sent_here_too(site: Site) -> None:
    site.say("second")
    site.write("edge.yaml", "thing: station\nfunctions: {say: {code: ./say, handler: app.handler}}\n")
    status, screen = site.on_terminal(PASSWORD)
    assert status == 0, screen
    assert "device: release 1.0.1 (was 1.0.0): 1 of 3 files" in screen
    assert said(site) == '"second"'


def test_who_may_not_use_sudo_is_told(site: Site) -> None:
    site.machine.run_as_root("gpasswd --delete pi sudo")
    report = site.deploy(status=1)
    assert report["text"] == "the runtime on device is the system's, and pi may not use sudo there"
    site.machine.run_as_root("gpasswd --add pi sudo")
