"""init writes an app that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from edge_runtime.app import Destination, Rule
from edge_runtime.loaders import read_app
from tests.cli.fakehost import edge


def test_it_writes_an_app_that_is_right(tmp_path: Path) -> None:
    folder = tmp_path / "my station"
    result = edge(["init", folder])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"now: cd {folder} && edge run"
    app = read_app(folder / "edge.yaml")
    assert app.thing == "my-station"
    assert app.rules == (Rule("device/load", ("function/watch",)), Rule("cmd/watch/#", ("function/watch",)))
    assert [f.on_success for f in app.functions] == [Destination("dt/my-station/watch")]
    assert (folder / "README.md").read_text().startswith("# my-station\n")


def test_its_handler_works(tmp_path: Path) -> None:
    edge(["init", tmp_path])
    event = json.loads((tmp_path / "watch" / "event.json").read_text())
    code = f"import app; print(app.handler({event!r}, None)); print(app.handler({{'detail': {{'value': 0.1}}}}, None))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "watch", capture_output=True, text=True, check=True
    )
    assert ran.stdout == "load is 0.90\n{'busy': True, 'load': 0.9}\nload is 0.10\nNone\n"


def test_it_touches_nothing_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    result = edge(["init", tmp_path])
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {tmp_path}/README.md is there already; nothing was written\nhint: name another folder: edge init DIR\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = edge(["init", tmp_path / "file" / "app"])
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {tmp_path}/file/app cannot be written: Not a directory\n",
    )
