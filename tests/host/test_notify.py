"""What the service manager hears: a real socket, as systemd has it, and a real event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime import control
from edge_runtime.errors import ConfigError
from edge_runtime.host.notify import Notifier


class Manager:
    """Hears what is sent to its socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """Return all messages that have come by now, each as its lines."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(4096).decode().split("\n"))
        return found

    async def hears(self) -> list[str]:
        """Return the next message."""
        data = await asyncio.get_running_loop().sock_recv(self.socket, 4096)
        return data.decode().split("\n")


@pytest.fixture(params=["path", "abstract"])
def named(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@edge-test-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def manager(named: str) -> Iterator[Manager]:
    it = Manager(named.replace("@", "\0"))
    yield it
    it.socket.close()


async def test_it_is_ready_once_and_says_how_things_are(named: str, manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": named})
    notifier.ready("thing pi-7\naccepts  events")
    notifier.ready("thing pi-8 accepts events")
    notifier.status("x" * 500)
    notifier.stopping()
    assert manager.heard() == [
        ["READY=1", "STATUS=thing pi-7 accepts events"],
        ["STATUS=thing pi-8 accepts events"],
        ["STATUS=" + "x" * 200],
        ["STOPPING=1", "STATUS=stopping"],
    ]


async def test_signs_of_life_come_at_half_of_the_time_and_ask_for_more_until_it_is_ready(
    named: str, manager: Manager
) -> None:
    environment = {"NOTIFY_SOCKET": named, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    notifier = Notifier(environment)
    assert notifier.every_s == 0.01
    assert environment == {"HOME": "/"}  # children do not speak for their parent
    began = time.monotonic()
    notifier.begin()
    notifier.begin()
    assert [await manager.hears() for _ in range(3)] == [["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000"]] * 3
    assert time.monotonic() - began >= 0.019
    notifier.ready("well")
    assert ["READY=1", "STATUS=well"] in [await manager.hears() for _ in range(2)]
    assert await manager.hears() == ["WATCHDOG=1"]
    notifier.stopping()
    assert [(await manager.hears())[0] for _ in range(2)] == ["STOPPING=1", "WATCHDOG=1"]
    notifier.close()
    notifier.close()


async def test_a_loop_that_hangs_gives_no_sign_of_life(named: str, manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": named, "WATCHDOG_USEC": "10000"})
    notifier.begin()
    notifier.ready("well")
    assert len(manager.heard()) == 2
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        assert manager.heard() == []  # this is what hangs
    assert await manager.hears() == ["WATCHDOG=1"]
    notifier.close()


async def test_without_a_watchdog_it_is_quiet_once_it_is_ready(named: str, manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": named, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
    assert notifier.every_s == 0
    notifier.begin()
    notifier.ready("well")
    assert manager.heard() == [["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000"], ["READY=1", "STATUS=well"]]
    assert notifier._timer is not None
    assert notifier._timer.cancelled()
    notifier.close()


async def test_without_a_manager_nothing_is_told_and_no_timer_runs() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "20000"})
    notifier.begin()
    notifier.ready("well")
    notifier.stopping()
    assert notifier._timer is None
    notifier.close()


async def test_a_manager_that_is_gone_or_deaf_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(path)})
    notifier.ready("well")
    notifier.status("well")
    assert caplog.messages == ["the service manager cannot be told READY=1: No such file or directory"]
    deaf = Manager(str(path))
    for _ in range(2000):  # until its buffer is full, and beyond: none of this waits
        notifier.status("x")
    assert 1 <= len(deaf.heard()) < 2000
    deaf.socket.close()
    assert caplog.messages[1:] == [
        "the service manager cannot be told STATUS=x: Resource temporarily unavailable",
    ]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"NOTIFY_SOCKET": "notify"}, "NOTIFY_SOCKET is 'notify', which is no path and no @name"),
        ({"NOTIFY_SOCKET": "@"}, "NOTIFY_SOCKET is '@', which is no path and no @name"),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC is 'soon', which is no number"),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "-1"}, "WATCHDOG_USEC is '-1', which is no number"),
    ],
)
def test_what_makes_no_sense_is_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Notifier(environment)


def test_a_host_is_ready_when_it_accepts_events_and_says_that_it_ends(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: pi-7\n")
    manager = Manager(str(tmp_path / "notify"))
    manager.socket.settimeout(30)
    variables = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    command = [sys.executable, "-m", "edge_runtime", "run", str(tmp_path)]

    def until(word: str) -> list[list[str]]:
        found: list[list[str]] = []
        while not found or found[-1][0] != word:
            found.append(manager.socket.recv(4096).decode().split("\n"))
        return found

    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=variables) as process:
        try:
            assert until("READY=1")[-1] == ["READY=1", "STATUS=thing pi-7 accepts events"]
            assert control.call(tmp_path / ".edge", "status")["thing"] == "pi-7"
            assert until("WATCHDOG=1")[-1] == ["WATCHDOG=1"]
            process.terminate()
            assert until("STOPPING=1")[-1] == ["STOPPING=1", "STATUS=stopping"]
            assert process.wait(30) == 0
        finally:
            process.kill()
            manager.socket.close()
