"""The command line as a whole: quick, quiet, safe in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edge_runtime import __version__
from edge_runtime.cli import VERBS, cli
from edge_runtime.control import pack
from tests.cli.fakehost import edge, running

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
HEAVY = ("asyncio", "gpiozero", "pydantic", "rich", "sqlite3", "subprocess", "yaml", "awscrt", "paho", "sqlite_utils")


def imported_by(*args: str) -> str:
    """Return which heavy modules a run of the command line imports."""
    code = (
        "import sys\nfrom edge_runtime.cli import cli\n"
        f"try:\n    cli({list(args)!r})\nexcept SystemExit:\n    pass\n"
        f"print('imported:', *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return ran.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("init", "--help"),
        ("event", "s3", "put"),
        ("invoke", "f", "--state", "/nowhere"),
        ("queue", "--help"),
        ("queue", "ls", "--help"),
        ("publish", "--help"),
        ("publish", "a", "b", "--state", "/nowhere"),
        ("tail", "--state", "/nowhere"),
        ("status", "--state", "/nowhere"),
    ],
)
def test_what_needs_nothing_heavy_imports_nothing_heavy(args: tuple[str, ...]) -> None:
    assert imported_by(*args) == "imported:"


def test_help_lists_every_verb_with_its_help() -> None:
    result = edge(["--help"])
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    for name, (_, text) in VERBS.items():
        assert any(line.startswith(name) and line.endswith(text) for line in lines)


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_can_be_imported_and_explains_itself(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    result = edge([name, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {name} ")
    assert len(result.stdout.splitlines()) > 4


def test_the_version() -> None:
    assert edge(["--version"]).stdout == f"edge {__version__}\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["statu"], "no command 'statu'; did you mean 'status'?"),
        (["frobnicate"], "no command 'frobnicate'"),
        (["status", "extra"], "unexpected extra argument"),
        (["publish"], "Missing argument 'TOPIC'"),
        (["queue", "replay"], "Missing argument 'TARGET'"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_status_2(args: list[str], words: str) -> None:
    result = edge(args)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_an_error_of_several_lines_gets_a_mark_on_each(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: a b\nfoo: 1\n")
    ran = subprocess.run([sys.executable, "-m", "edge_runtime", "run"], cwd=tmp_path, env=ENVIRONMENT,
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert (ran.returncode, ran.stdout) == (1, "")
    first, second = ran.stderr.splitlines()
    assert first.startswith("error: edge.yaml:1: thing: 'a b' is no name of a thing")
    assert second.startswith("error: edge.yaml:2: foo: unknown key")


def test_a_closed_pipe_ends_it_without_a_word(tmp_path: Path) -> None:
    item = {"topic": "t", "source": "s", "time": 0.0, "id": "i", "targets": [], "payload": pack(b"x" * 100)}
    with running(tmp_path, {"tail": [item] * 20_000}):
        command = f"'{sys.executable}' -m edge_runtime tail --state '{tmp_path}' | head -n 1"
        ran = subprocess.run(["/bin/sh", "-c", command], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert len(ran.stdout.splitlines()) == 1
    assert ran.stderr == ""


def test_a_terminal_gets_a_table_without_markup_being_obeyed(tmp_path: Path) -> None:
    rows = [{"name": "[red]soil[/red]", "driver": "x\x1b[31m", "value": 12.5}]
    master, slave = os.openpty()
    try:
        with running(tmp_path, {"devices": {"devices": rows}}):
            subprocess.run(
                [sys.executable, "-m", "edge_runtime", "devices", "--state", str(tmp_path)],
                env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"},
                stdout=slave,
                check=True,
            )
        text = os.read(master, 65_536).decode()
    finally:
        os.close(master)
        os.close(slave)
    assert "[red]soil[/red]" in text
    assert r"x\x1b[31m" in text
    assert "─" in text
