"""`edge install` and `edge releases` against a real host in a process of its own, and without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime.bundles import write
from edge_runtime.cli import cli
from edge_runtime.control import call
from edge_runtime.errors import HostError
from edge_runtime.host.installer import place_for_good, stage_offline
from edge_runtime.pure.bundle import Manifest
from edge_runtime.releases import Releases

APP = "thing: station\nfunctions: {f: {code: ./f, handler: app.handler, on_success: out/f}}\n"
PATIENCE_S = 30.0


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli, [str(word) for word in words])
    return done.exit_code, done.output


class Site:
    """A folder with an app, and a place for its releases."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.app, self.state = folder, folder / "app", folder / "state"
        self.app.mkdir()
        self.process: subprocess.Popen[bytes] | None = None

    def bundle(self, release: str, code: str = "") -> Path:
        """Build a bundle whose function says its release."""
        source = self.folder / "source"
        (source / "f").mkdir(parents=True, exist_ok=True)
        (source / "edge.yaml").write_text(APP)
        (source / "f" / "app.py").write_text(f"{code}\ndef handler(event, context):\n    return {release!r}\n")
        path = self.folder / f"{release}.edge"
        assert run("build", "bundle", source, "--release", release, "-o", path)[0] == 0
        return path

    def start(self) -> None:
        """Start a host for releases, and wait until it answers."""
        command = [sys.executable, "-m", "edge_runtime", "run", str(self.app), "--state", str(self.state), "--simulate"]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "EDGE_ISOLATION": "off"})
        log.close()
        end_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                call(self.state, "releases", within_s=5)
            except HostError:
                assert time.monotonic() < end_s, (self.folder / "log").read_text()
                time.sleep(0.01)
            else:
                return

    def kill(self) -> None:
        """Cut its power."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)

    def install(self, bundle: Path, health: float = 0) -> tuple[int, str]:
        """Install a bundle through it."""
        return run("install", bundle, "--state", self.state, "--health", health)

    def answer(self) -> object:
        """Return what function `f` says."""
        status, text = run("invoke", "f", "--state", self.state, "--event", self.folder / "event.json", "--json")
        assert status == 0, text
        return json.loads(text)["payload"] if "payload" in text else text

    def releases(self, *words: str) -> dict[str, object]:
        """Return what `edge releases` says."""
        status, text = run("releases", *words, "--state", self.state, "--app", self.app, "--json")
        assert status == 0, text
        found: dict[str, object] = json.loads(text)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "event.json").write_text("{}")
    site = Site(tmp_path)
    yield site
    site.stop()


def test_from_nothing_to_one_to_two_and_back(site: Site) -> None:
    site.start()
    status, text = site.install(site.bundle("1"))
    assert (status, text[:10], text[-9:]) == (0, "release 1-", " is well\n")
    assert "1" in str(site.answer())
    assert site.install(site.bundle("2"))[0] == 0
    assert "2" in str(site.answer())
    found = site.releases()
    assert str(found["current"]).startswith("2-")
    assert [name.partition("-")[0] for name in found["order"]] == ["2", "1"]  # type: ignore[attr-defined]  # JSON
    assert str(site.releases("rollback")["current"]).startswith("1-")


def test_one_that_is_not_well_is_rolled_back_and_says_why(site: Site) -> None:
    site.start()
    assert site.install(site.bundle("1"))[0] == 0
    status, text = site.install(site.bundle("2", "import no_such_thing"), 5)
    assert status == 1
    assert "was rolled back: function 'f' does not start: Runtime.ImportModuleError" in text
    assert "1" in str(site.answer())


def test_a_first_one_that_is_not_well_goes_on_and_is_not_said_to_be_well(site: Site) -> None:
    site.start()
    status, text = site.install(site.bundle("1", "import no_such_thing"), 5)
    assert status == 1
    assert "is not well: function 'f' does not start" in text
    assert "there is no release before it" in text


def test_a_host_that_is_killed_on_trial_again_and_again_comes_back_with_the_one_before(site: Site) -> None:
    """SIGKILL while release 2 is watched, three times: the fourth start runs release 1."""
    site.start()
    assert site.install(site.bundle("1"))[0] == 0
    old = site.releases()["current"]
    site.stop()
    status, text = run("install", site.bundle("2"), "--state", site.state, "--app", site.app, "--health", 3000)
    assert (status, "is tried out at the next start" in text) == (0, True)
    for _ in range(2):
        site.start()
        assert str(site.releases()["current"]).startswith("2-")
        site.kill()
    site.start()
    assert site.releases()["current"] == old
    assert "it was started 2 times and never found well" in str(site.releases()["reason"])


def test_without_a_host_it_must_be_said_where(site: Site) -> None:
    status, text = run("install", site.bundle("1"), "--state", site.state)
    assert status == 1
    assert "no host runs here" in text


def test_what_is_no_bundle_is_refused(site: Site) -> None:
    (site.folder / "x.edge").write_text("x")
    status, text = run("install", site.folder / "x.edge", "--state", site.state, "--app", site.app)
    assert status == 1
    assert "is no bundle, or damaged" in text


def test_a_script_reads_what_became_of_it(site: Site) -> None:
    site.start()
    status, text = run("install", site.bundle("1"), "--state", site.state, "--health", 0, "--json")
    assert (status, json.loads(text)["verdict"]) == (0, "runs")
    assert json.loads(text)["release"].startswith("1-")
    status, text = run("releases", "--state", site.state, "--json", "--files")
    found = json.loads(text)
    assert (status, found["name"], len(found["here"])) == (0, "station", 2)


def test_of_a_folder_the_highest_release_for_this_device_is_taken(site: Site, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    for release in ("1.9", "1.10"):
        site.bundle(release).rename(stick / f"station-{release}.edge")
    (stick / "._station-1.10.edge").write_text("what another system lays beside a file")
    (stick / "README.txt").write_text("x")
    write_for(stick / "far.edge", Manifest("station", "3", (), "no_such_machine"))
    status, text = run("install", stick, "--state", site.state, "--app", site.app, "--json")
    assert (status, json.loads(text)["verdict"]) == (0, "staged")
    assert json.loads(text)["release"].startswith("1.10-")
    site.start()
    write_for(stick / "other.edge", Manifest("another-app", "9", ()))
    status, text = site.install(stick)
    assert (status, text[:13]) == (0, "release 1.10-")


def write_for(path: Path, manifest: Manifest) -> None:
    write(path, manifest, {})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "is for this device"),
        ({"a": ("one", "1", ""), "b": ("two", "1", "")}, "has bundles for one, two"),
        ({"a": ("one", "1", "no_such_machine")}, "is for this device: a.edge is for no_such_machine"),
        ({"a": ("one", "1.0", ""), "b": ("one", "1", "")}, "are the same release with different content"),
    ],
)
def test_a_folder_that_does_not_say_which(
    site: Site, tmp_path: Path, files: dict[str, tuple[str, str, str]], words: str
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    for name, (app, release, machine) in files.items():
        write_for(stick / f"{name}.edge", Manifest(app, release, (), machine))
    status, text = run("install", stick, "--state", site.state, "--app", site.app)
    assert status == 1
    assert words in text.replace("\n", " ")


def test_for_good_is_for_one_without_a_host(site: Site) -> None:
    bundle = site.bundle("1")
    options = ("--for-good", "--state", site.state, "--app", site.app)
    status, text = run("install", bundle, *options)
    assert (status, text[:10], text[-13:]) == (0, "release 1-", " is in place\n")
    site.start()
    status, text = run("install", site.bundle("2"), *options)
    assert status == 1
    assert "error: a host runs here" in text
    assert str(site.releases()["current"]).startswith("1-")


def test_a_process_that_has_the_releases_is_not_gone_behind(site: Site) -> None:
    """It is between two hosts, or starts: nothing is put in place under its feet."""
    releases, bundle = Releases(site.app), site.bundle("1")
    with releases.held(), pytest.raises(HostError, match="another process has the releases"):
        stage_offline(releases, site.state, bundle, 0)
    assert releases.current == ""


def test_going_back_to_one_that_is_wrong_now_changes_nothing(site: Site) -> None:
    releases = Releases(site.app)
    for release in ("1", "2"):
        site.state.mkdir(exist_ok=True)
        place_for_good(releases, site.state, site.bundle(release))
    next(site.app.glob("releases/1-*/edge.yaml")).write_text("thing: [")
    status, text = run("releases", "rollback", "--state", site.state, "--app", site.app)
    assert (status, "error: " in text) == (1, True)
    assert releases.current.startswith("2-")


def test_going_back_is_done_once(site: Site) -> None:
    site.start()
    for release in ("1", "2", "3"):
        assert site.install(site.bundle(release))[0] == 0
    assert str(site.releases("rollback")["current"]).startswith("2-")
    site.stop()
    assert str(site.releases()["current"]).startswith("2-")
    assert str(site.releases("rollback")["current"]).startswith("1-")
