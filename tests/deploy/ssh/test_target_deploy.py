"""`edge deploy` to a Debian with a real sshd, and without any network."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.deploy.ssh.site import BASE, EDGE, WHERE, Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_the_first_deployment_installs_runtime_and_app(site: Site) -> None:
    report = site.deploy()
    assert (report["release"], report["was"], report["verdict"]) == ("1.0.0", "", "staged")
    assert report["runtime"] == "0.1.0"
    assert report["runtime_bytes"] > 1_000_000
    assert any("no service manager of pi's runs there, so start it yourself" in note for note in report["notes"])
    site.machine.start_host()
    assert site.await_host()["highest"] == "1.0.0"
    assert site.said() == '"first"'


def test_a_change_is_sent_alone_and_soon(site: Site) -> None:
    site.say("second")
    report = site.deploy("--health", "0")
    assert (report["release"], report["was"], report["verdict"]) == ("1.0.1", "1.0.0", "runs")
    assert (report["files"], report["files_sent"], report["runtime"]) == (4, 1, "")
    assert report["bytes_sent"] < 2000
    assert site.said() == '"second"'


def test_what_is_there_already_is_not_sent(site: Site) -> None:
    report = site.deploy()
    assert (report["release"], report["verdict"], report["bytes_sent"]) == ("1.0.1", "unchanged", 0)
    assert report["text"] == "release 1.0.1 is this already"


def test_code_that_does_not_start_is_taken_back(site: Site) -> None:
    site.say("third", "import no_such_module")
    report = site.deploy(status=1)
    assert (report["release"], report["verdict"]) == ("1.0.2", "rolled back")
    assert "function 'say' does not start: Runtime.ImportModuleError" in report["text"]
    assert site.said() == '"second"'
    site.say("third")
    again = site.deploy("--health", "0")
    assert (again["release"], again["verdict"]) == ("1.0.3", "runs")
    assert site.said() == '"third"'


def test_an_app_that_is_wrong_is_not_sent(site: Site) -> None:
    before = site.releases()
    site.write("edge.yaml", "thing: station\nfoo: 1\n")
    done = subprocess.run(site.command("device", f"{site.app}/"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "edge.yaml:2: foo: unknown key" in done.stderr
    site.say("third")
    assert site.releases() == before


def test_a_file_that_somebody_changed_there_is_sent_again(site: Site) -> None:
    name = site.releases()["current"]
    site.machine.run(f"echo '# by hand' >> {BASE}/app/releases/{name}/say/app.py")
    report = site.deploy("--health", "0")
    assert (report["verdict"], report["files_sent"]) == ("runs", 1)
    assert site.said() == '"third"'


def test_what_would_be_done_is_shown_and_not_done(site: Site) -> None:
    before = site.releases()
    site.say("never")
    words = site.command("device", f"{site.app}/", "--dry-run")
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("target ssh\non device with /")
    assert "installing the release\n  | set -eu\n" in done.stdout
    site.say("third")
    assert site.releases() == before


def test_one_deployment_at_a_time(site: Site) -> None:
    site.say("fourth")
    with subprocess.Popen(
        ["ssh", "-F", site.machine.config, "device", f"exec 9>{BASE}/spool/lock; flock 9; echo held; cat"],  # noqa: S607 - as deploy finds it
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        report = site.deploy(status=1)
        other.communicate(b"")
    assert report["text"] == "another deployment to device is under way"
    assert site.deploy("--health", "0")["verdict"] == "runs"


def test_three_releases_are_kept_and_numbers_go_up(site: Site) -> None:
    site.say("fifth")
    assert site.deploy("--health", "0", "--release", "1.2")["release"] == "1.2"
    site.say("sixth")
    assert site.deploy("--health", "0")["release"] == "1.3"
    kept = site.machine.run(f"ls {BASE}/app/releases").split()
    assert len(kept) == 3
    site.say("seventh")
    report = site.deploy("--release", "1.1", status=1)
    assert report["text"] == "device: release 1.1 is older than 1.3, which was installed before"
    assert report["hint"].startswith("build it with a higher release number")


def test_several_hosts_the_first_failure_ends_it(site: Site) -> None:
    site.say("eighth")
    config = site.machine.config.read_text()
    site.machine.config.write_text(f"Host nobody\n  HostName 127.0.0.1\n  Port 1\n{config}")
    words = site.command("nobody", "device", f"{site.app}/", "--json", "--health", "0")
    stopped = subprocess.run(words, capture_output=True, text=True, check=False)
    assert [one["verdict"] for one in json.loads(stopped.stdout)] == ["failed"]
    assert "error: nobody cannot be reached: no SSH server answers there" in stopped.stderr
    assert "error: not tried: device\nhint: --keep-going goes on after one that fails" in stopped.stderr
    went_on = subprocess.run([*words, "--keep-going"], capture_output=True, text=True, check=False)
    assert (went_on.returncode, [one["verdict"] for one in json.loads(went_on.stdout)]) == (1, ["failed", "runs"])


def test_a_host_that_runs_a_file_of_its_own_is_left_alone(site: Site) -> None:
    """Somebody has started it by hand, with the state folder of the runtime."""
    site.machine.run_as_root("rm /run/on/pi")
    site.machine.run(f"{EDGE} releases {WHERE} >/dev/null")
    before = site.releases()["current"]
    site.machine.kill("edge run")
    site.machine.run(
        f"mkdir -p own && cp -r {BASE}/app/current/. own/ && "
        f"(EDGE_ISOLATION=off setsid {EDGE} run own {WHERE} >own.log 2>&1 </dev/null &)"
    )
    site.machine.run(f"until {EDGE} status {WHERE} >/dev/null 2>&1; do sleep 0.1; done")
    site.say("ninth")
    report = site.deploy(status=1)
    assert report["text"] == "device: this host runs an app file of its own and takes no releases"
    assert report["hint"] == "give `edge run` a folder for releases in place of an app file"
    site.machine.kill("edge run")
    site.machine.start_host()
    assert site.await_host()["current"] == before
