"""`edge build bundle`: one file of an app, always the same, signed or not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime.bundles import open_bundle
from edge_runtime.cli import cli
from tests.host.bundles import Signer

APP = "thing: station:1\nfunctions: {f: {code: ./f, handler: app.handler, on_success: out/f}}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    (folder / "f").mkdir(parents=True)
    (folder / "f" / "app.py").write_text("def handler(event, context):\n    return event\n")
    (folder / "edge.yaml").write_text(APP)
    monkeypatch.chdir(folder)
    return folder


def build(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["build", "bundle", *words])
    return done.exit_code, done.output


def test_a_bundle_is_built_and_signed(site: Path, tmp_path: Path) -> None:
    signer = Signer(tmp_path / "signer")
    status, text = build("--release", "1.4.0", "--key", str(tmp_path / "signer" / "key.pem"))
    assert (status, text.split(",")[0]) == (0, "station_1-1.4.0.edge: release 1.4.0")
    bundle = open_bundle(site / "station_1-1.4.0.edge", [signer.key], tmp_path)
    assert bundle.is_proved
    assert [file.path for file in bundle.manifest.files] == ["edge.yaml", "f/app.py"]
    assert bundle.manifest.name == "station:1"


def test_the_same_app_is_the_same_file_whatever_it_is_called(site: Path) -> None:
    assert build("--release", "1", "-o", "a.edge")[0] == 0
    os.utime(site / "f" / "app.py", (0, 0))
    assert build("edge.yaml", "--release", "1", "-o", "b.edge")[0] == 0
    assert (site / "a.edge").read_bytes() == (site / "b.edge").read_bytes()


def test_json(site: Path) -> None:
    status, text = build("--release", "1", "-o", "a.edge", "--json")
    assert status == 0
    size = (site / "a.edge").stat().st_size
    assert json.loads(text) == {"file": "a.edge", "release": "1", "files": 2, "bytes": size, "signed": False}


@pytest.mark.parametrize(
    ("words", "change", "told"),
    [
        (["--release", "1.4-beta"], APP, "the release is '1.4-beta'; write one to four numbers"),
        (["--release", "1"], APP + "foo: 1\n", "edge.yaml:3: foo: unknown key"),
        (["--release", "1", "--key", "f/app.py"], APP, "f/app.py cannot sign"),
        (["other.yaml", "--release", "1"], APP, "other.yaml cannot be read"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(site: Path, words: list[str], change: str, told: str) -> None:
    (site / "edge.yaml").write_text(change)
    status, text = build(*words)
    assert status == 1
    assert told in text
    assert not list(site.glob("*.edge*"))
