"""run is a host in the foreground; the other commands speak to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.cli._common import app_file, state_of
from tests.cli.fakehost import edge

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
COMMAND = [sys.executable, "-m", "edge_runtime", "run"]


@contextlib.contextmanager
def host(folder: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Run the app in a folder until the block ends; it accepts events when the block begins."""
    with subprocess.Popen([*COMMAND, *args], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("accepts events" in line for line in process.stderr)
            yield process
        finally:
            process.kill()
            process.communicate()


def test_the_app_that_init_writes_runs(tmp_path: Path) -> None:
    edge(["init", tmp_path])
    state = tmp_path / ".edge"
    with host(tmp_path, "--simulate") as process:
        assert edge(["publish", "dt/x", "1", "--state", state]).exit_code == 0
        called = edge(["invoke", "watch", "--event", tmp_path / "watch" / "event.json", "--state", state])
        assert (called.exit_code, json.loads(called.stdout)) == (0, {"busy": True, "load": 0.9})
        assert "load is 0.90" in called.stderr
        status = json.loads(edge(["status", "--state", state, "--json"]).stdout)
        assert [f["function"] for f in status["functions"]] == ["watch"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert edge(["ledger", "--state", state]).exit_code == 0
    assert edge(["status", "--state", state]).exit_code == 1


def test_a_second_host_is_refused(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: a\n")
    with host(tmp_path):
        second = subprocess.run(COMMAND, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "error: another process has the state folder .edge\n" in second.stderr
        assert "hint: " in second.stderr


def test_the_environment_names_app_and_state(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("thing: b\nfoo: 1\n")
    ran = subprocess.run(
        COMMAND,
        cwd=tmp_path,
        env={**ENVIRONMENT, "EDGE_APP": "app.yaml", "EDGE_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: app.yaml:2: foo: unknown key")


def test_without_an_app_it_says_how_to_make_one(tmp_path: Path) -> None:
    ran = subprocess.run(COMMAND, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == (
        "error: the app file edge.yaml cannot be read: No such file or directory\n"
        "hint: make a new one with edge init, or name yours\n"
    )


@pytest.mark.parametrize(
    ("given", "path"),
    [(None, "edge.yaml"), ("other.yaml", "other.yaml"), (".", "edge.yaml"), ("/nowhere/x", "/nowhere/x")],
)
def test_which_file_is_the_app(given: str | None, path: str) -> None:
    assert app_file(None if given is None else Path(given)) == Path(path)


def test_state_lies_beside_the_app() -> None:
    assert state_of(Path("/srv/app/edge.yaml"), None) == Path("/srv/app/.edge")
    assert state_of(Path("edge.yaml"), None) == Path(".edge")
    assert state_of(Path("/srv/app/edge.yaml"), Path("/var/lib/edge")) == Path("/var/lib/edge")
