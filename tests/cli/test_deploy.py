"""`edge deploy` as far as it needs no device; to a real one: tests/deploy/ssh."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime.bundles import open_bundle
from edge_runtime.cli import cli
from edge_runtime.pure.jobs import public_key


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "station"
    (folder / "f").mkdir(parents=True)
    (folder / "f" / "app.py").write_text("def handler(event, context): ...\n")
    (folder / "edge.yaml").write_text("thing: station\nfunctions: {f: {code: ./f, handler: app.handler}}\n")
    return folder


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name a host, as pi@raspberrypi.local, or --usb DIR"),
        (("./one", "./two"), "./one and ./two are two apps"),
        (("pi@x", "--usb", "."), "name a host, as pi@raspberrypi.local, or --usb DIR"),
        (("pi@x", "--arch", "aarch64"), "--arch is for --usb"),
        (("pi@x", "--runtime", "no/such.zip"), "there is no such file; known: auto, always, never"),
        (("pi@x", "--release", "v1"), "write one to four numbers"),
        (("pi@x", "no/such/app"), "there is no app file no/such/app"),
    ],
)
def test_what_is_no_wish(words: tuple[str, ...], told: str) -> None:
    status, text = run("deploy", *words)
    assert status != 0
    assert told in text


def test_a_folder_that_looks_like_a_host(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(app.parent)
    status, text = run("deploy", "pi@x", app.name)
    assert status == 1
    assert text == (
        "error: there is no app file edge.yaml\n"
        f"hint: {app.name} was taken for a host; for what lies here, write ./{app.name}\n"
    )


def test_an_odd_host_is_no_option_of_ssh(app: Path) -> None:
    status, text = run("deploy", f"{app}/", "--", "-oProxyCommand=reboot")
    assert status == 1
    assert "error: '-oProxyCommand=reboot' is no host" in text


def test_a_device_is_asked_before_anything_large_is_imported() -> None:
    """What reads and checks an app is imported while the device answers; the host never is."""
    told = "import sys, edge_runtime.cli.deploy, edge_runtime.cli._delivery\nprint(*sys.modules)"
    late = "import sys, edge_runtime.building.parcel\nprint(*sys.modules)"
    for code, absent in ((told, {"edge_runtime.app", "edge_runtime.bundles", "yaml", "rich"}), (late, set[str]())):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())
        assert not loaded & {*absent, "edge_runtime.host", "edge_runtime.store", "asyncio", "pydantic"}


def test_a_stick_gets_a_whole_signed_bundle_and_a_note(app: Path, stick: Path, tmp_path: Path) -> None:
    key, public = tmp_path / "release.key", tmp_path / "release.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)  # noqa: S607 - by PATH, as signing does
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)  # noqa: S607 - same
    status, text = run("deploy", "--usb", stick, f"{app}/", "--release", "1.4.0", "--key", key, "--json")
    assert status == 0, text
    assert [Path(one["file"]).name for one in json.loads(text)] == ["README.txt", "station-1.4.0.edge"]
    bundle = open_bundle(stick / "station-1.4.0.edge", [public_key(public.read_text())], tmp_path)
    assert bundle.is_proved
    assert [file.path for file in bundle.manifest.files] == ["edge.yaml", "f/app.py"]
    assert "edge install /media/stick" in (stick / "README.txt").read_text()
    status, text = run("install", stick, "--state", tmp_path / "state", "--app", tmp_path / "releases")
    assert (status, "is in place, and is tried out at the next start" in text) == (0, True)


def test_an_unsigned_one_is_told(app: Path, stick: Path) -> None:
    status, text = run("deploy", "--usb", stick, f"{app}/", "--release", "1")
    assert status == 0
    assert "note: it is not signed; a device that knows keys does not take it" in text


def test_a_stick_needs_a_number(app: Path, stick: Path) -> None:
    status, text = run("deploy", "--usb", stick, f"{app}/")
    assert status == 1
    assert "say its number: --release 1.4.0" in text


def test_what_would_be_written_is_shown_and_not_written(app: Path, stick: Path) -> None:
    status, text = run("deploy", "--usb", stick, f"{app}/", "--release", "1", "--dry-run")
    assert status == 0
    assert text.startswith(f"target usb\nwrite {stick}/README.txt 644 ")
    assert not list(stick.iterdir())


@pytest.mark.long
def test_the_runtime_comes_along_when_it_is_asked_for(app: Path, stick: Path) -> None:
    """Slow where it has to be built."""
    machine = platform.machine()
    status, text = run("deploy", "--usb", stick, f"{app}/", "--release", "1", "--arch", machine)
    assert status == 0, text
    assert {path.name for path in stick.iterdir()} == {
        f"edge-runtime-{machine}.zip", "edge-install.sh", "README.txt", "station-1.edge",
    }  # fmt: skip
    assert "sh edge-install.sh install edge-runtime-$(uname -m).zip" in (stick / "README.txt").read_text()
