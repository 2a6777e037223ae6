"""`edge build greengrass` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from edge_runtime.cli import cli

APP = "thing: a\nfunctions: {f: {code: ./f, handler: app.handler, events: [{topic: x}]}}\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "station" / "f").mkdir(parents=True)
    (tmp_path / "station" / "f" / "app.py").write_text("def handler(event, context): ...\n")
    (tmp_path / "station" / "edge.yaml").write_text(APP)
    return tmp_path / "station"


def test_an_app_becomes_a_component_of_its_folders_name(app: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["build", "greengrass", str(app), "--bucket", "b", "--release", "1.0.0", "-o", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    about = yaml.safe_load((tmp_path / "greengrass-build" / "recipes" / "recipe.yaml").read_text())
    assert (about["ComponentName"], about["ComponentVersion"]) == ("com.example.station", "1.0.0")
    assert list(about["ComponentDependencies"]) == ["com.example.EdgeRuntime"]
    assert "ComponentConfiguration" not in about  # no link, no rights


def test_a_dry_run_writes_nothing(app: Path, tmp_path: Path) -> None:
    more = ["--bucket", "b", "--release", "1.0.0", "--name", "my.App", "-o", str(tmp_path), "--dry-run"]
    done = CliRunner().invoke(cli, ["build", "greengrass", str(app), *more])
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "target greengrass")
    assert not (tmp_path / "greengrass-build").exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--release", "1.0.0"], "--release is for an app"),
        (["APP"], "an app needs --release"),
        (["APP", "--release", "1.0.0", "--arch", "aarch64"], "--arch is for the runtime"),
    ],
)
def test_options_that_do_not_go_together(more: list[str], why: str, app: Path) -> None:
    more = [str(app) if one == "APP" else one for one in more]
    done = CliRunner().invoke(cli, ["build", "greengrass", "--bucket", "b", *more])
    assert (done.exit_code, why in done.output) == (2, True), done.output
