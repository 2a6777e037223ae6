"""`edge run` as a process: how it starts, ends and fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from edge_runtime import control
from edge_runtime.host.main import _serve
from edge_runtime.loaders import read_app

APP = """
thing: pi-7
functions:
  f: {code: ./code, handler: app.handler, events: [{topic: "in/#"}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "edge.yaml").write_text(APP, encoding="utf-8")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("def handler(event, context):\n    return event\n", encoding="utf-8")
    return tmp_path


@contextlib.contextmanager
def running(folder: Path, *args: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command: Sequence[object] = [sys.executable, "-m", "edge_runtime", "run", folder, *args]
    process = subprocess.Popen(
        [str(part) for part in command], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], words: str) -> str:
    """Return the line of the log that holds these words."""
    assert process.stderr
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"{words!r} was not logged")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(folder: Path, number: signal.Signals) -> None:
    with running(folder) as process:
        line = until(process, "accepts events")
        assert line.endswith(f"thing pi-7 accepts events; state in {folder / '.edge'}\n")
        control.call(folder / ".edge", "publish", topic="in/a", payload=control.pack(b"1"))
        process.send_signal(number)
        until(process, "stopped; nothing that was accepted is lost")
        assert process.wait(10) == 0
        assert not control.is_running(folder / ".edge")


async def test_a_signal_at_any_moment_of_the_start_ends_it_in_order(folder: Path) -> None:
    app = read_app(folder / "edge.yaml")
    for turns in range(1, 30, 4):
        serving = asyncio.create_task(_serve(app, folder / ".edge", simulate=True))
        for _ in range(turns):
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await serving == 0
        assert not control.is_running(folder / ".edge")


def test_the_verb_stop_ends_it(folder: Path) -> None:
    with running(folder) as process:
        until(process, "accepts events")
        assert control.call(folder / ".edge", "stop") == {}
        assert process.wait(10) == 0


def test_a_second_one_is_refused_and_the_first_goes_on(folder: Path) -> None:
    with running(folder) as first:
        until(first, "accepts events")
        with running(folder) as second:
            assert second.wait(10) == 1
            assert second.stderr
            assert "error: another process has the state folder" in second.stderr.read()
        assert control.call(folder / ".edge", "status")["thing"] == "pi-7"


def test_a_log_level_that_does_not_exist_is_refused(folder: Path) -> None:
    with running(folder, EDGE_LOG="loud") as process:
        assert process.wait(10) == 1
        assert process.stderr
        assert process.stderr.read() == (
            "error: EDGE_LOG is 'LOUD', which is no level\nhint: known: DEBUG, INFO, WARNING, ERROR\n"
        )


def test_the_log_can_be_quiet(folder: Path) -> None:
    with running(folder, EDGE_LOG="error") as process:
        with contextlib.suppress(ConnectionError):
            while not control.is_running(folder / ".edge"):
                if process.poll() is not None:
                    break
        process.terminate()
        assert process.communicate(timeout=10)[1] == ""
        assert process.returncode == 0


def test_a_socket_left_behind_by_a_crash_is_replaced(folder: Path) -> None:
    (folder / ".edge").mkdir()
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(folder / ".edge" / "control.sock"))
    with running(folder) as process:
        until(process, "accepts events")
        assert control.is_running(folder / ".edge")
