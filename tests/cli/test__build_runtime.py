"""`edge build runtime` on the command line."""

from __future__ import annotations

import platform
from pathlib import Path

from click.testing import CliRunner

from edge_runtime.cli import cli


def test_this_machine_and_this_folder_are_meant_when_nothing_is_said() -> None:
    done = CliRunner().invoke(cli, ["build", "runtime", "--dry-run"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, f"result edge-runtime-{platform.machine()}.zip")


def test_a_key_is_named_in_the_plan(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["build", "runtime", "--arch", "aarch64", "--key", str(tmp_path / "k"), "--dry-run"])
    assert f"signed by {tmp_path / 'k'}" in done.output


def test_a_machine_that_is_not_known() -> None:
    done = CliRunner().invoke(cli, ["build", "runtime", "--arch", "mips"])
    assert (done.exit_code, "'mips' is not one of" in done.output) == (2, True)
