"""`edge run` as a process: how it starts, ends and fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from edge_runtime import control
from edge_runtime.app import App, Rule
from edge_runtime.clock import Clock
from edge_runtime.host import Host
from edge_runtime.host.configuration import Configuration, dial
from edge_runtime.host.main import serve
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
        serving = asyncio.create_task(serve(app, partial(Host, state=folder / ".edge", simulate=True)))
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


class Hosts:
    """The hosts that `serve` makes, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / ".edge"
        self._made: asyncio.Queue[Host] = asyncio.Queue()

    def make(self, app: App) -> Host:
        """Make one."""
        host = Host(app, self._state, simulate=True)
        self._made.put_nowait(host)
        return host

    async def accepting(self) -> Host:
        """Return the next, once it accepts events."""
        async with asyncio.timeout(20):
            host = await self._made.get()
            while not control.is_running(self._state):  # noqa: ASYNC110 - what begins to listen tells nobody
                await asyncio.sleep(0.01)
            return host


async def test_a_successor_goes_on_with_the_same_queues(folder: Path) -> None:
    app = read_app(folder / "edge.yaml")
    hosts = Hosts(folder)
    serving = asyncio.create_task(serve(app, hosts.make))
    first = await hosts.accepting()
    first.end(successor=replace(app, thing="pi-8"))
    second = await hosts.accepting()
    assert second.app.thing == "pi-8"
    second.end(75)
    assert await serving == 75


@pytest.mark.parametrize("again", [False, True])
async def test_an_end_that_was_asked_for_is_not_taken_for_a_change_of_the_app(folder: Path, *, again: bool) -> None:
    """A configuration that changes in the moment of a restart is what the process begins with then."""
    app = read_app(folder / "edge.yaml")

    class Changing(Configuration):
        """Two things happen at once."""

        async def run(self, clock: Clock, changed: Callable[[App], None], void: Callable[[], None]) -> None:
            if again:
                changed(replace(app, thing="pi-8"))
            else:
                void()
            changed(replace(app, thing="pi-9"))
            await clock.sleep(60)

    configuration = Changing(folder / "edge.yaml", folder / ".edge", dial)
    host = Host(app, folder / ".edge", simulate=True, configuration=configuration)
    await host.start()
    async with asyncio.timeout(20):
        await host.stopping.wait()
    await host.stop()
    if again:
        assert host.successor is not None
        assert (host.status, host.successor.thing) == (0, "pi-9")  # the last one that was right
    else:
        assert (host.status, host.successor) == (75, None)


async def test_a_successor_that_cannot_start_is_not_the_end(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = read_app(folder / "edge.yaml")
    hosts = Hosts(folder)
    serving = asyncio.create_task(serve(app, hosts.make))
    first = await hosts.accepting()
    many = tuple(Rule(f"t/{n}", (f"function/f{n}",)) for n in range(5000))  # more queues than the store can hold
    first.end(successor=replace(app, rules=many))
    refused = await hosts.accepting()
    assert refused.app.rules == many
    third = await hosts.accepting()
    assert third.app == app
    third.end()
    assert await serving == 0
    assert "the host cannot start with the new app, the one before goes on: " in caplog.text


def test_an_app_file_that_is_saved_takes_effect_at_once(folder: Path) -> None:
    with running(folder, "--watch") as process:
        until(process, "watching the code of f")
        (folder / "edge.yaml").write_text(APP.replace("pi-7", "pi-8"), encoding="utf-8")
        assert until(process, "accepts events").endswith(f"thing pi-8 accepts events; state in {folder / '.edge'}\n")
        assert control.call(folder / ".edge", "status")["thing"] == "pi-8"
