"""The host's side of the zygote: starts it, asks it for workers, notices when it dies and sees that nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from edge_runtime.workers.inside.cgroup import Groups

SCRIPT = Path(__file__).parent / "inside" / "zygote.py"
_ANSWER_S = 1.0
"""A kill that is not confirmed within this time means that the zygote itself is stuck."""
PROGRAM_MB = 128
"""What a program is given at least, as by AWS: other interpreters need about half of it for themselves."""
_STEADY_S = 1.0
"""A zygote that lived shorter than this is not replaced until a worker is asked for."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker ended."""

    status: int
    """As from `os.wait`."""
    peak_kb: int = 0
    fault: str = ""
    """Why it was not the worker's own doing: it could not be forked, or the zygote died."""


@dataclass(slots=True, eq=False)
class Process:
    """A worker process."""

    number: int
    exited: asyncio.Future[Exit] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done when the process and all its descendants are gone. Never raises."""
    pid: int = 0
    """0 until the zygote has reported it."""
    memory_mb: int = 0
    """What it may really use, where that can be bounded."""


class Zygote:
    """One zygote process at a time; one that died is replaced. `log` gets lines for the operator."""

    def __init__(self, log: Callable[[str], None], isolation: str = "default", packages: str = "") -> None:
        """`packages` is a folder from which boto3 is imported beforehand; empty: not at all."""
        self._log = log
        self._isolation = isolation
        self._groups: Groups | None = None
        self._movers = ThreadPoolExecutor(1, "workers-cgroup")
        self._packages = packages
        self.found: list[tuple[str, bool, str]] | None = None
        """What keeps the workers apart: layer, whether it is active, why not. None until the zygote has said so."""
        self.token = secrets.token_hex(10)
        """In the environment of every process below the zygote: the host finds them by it when the zygote was killed.

        A child that was forked and not exec'd keeps showing the zygote's own environment in /proc; an exec'd one shows
        what the worker gave it, so callers put the token in there too.
        """
        self._popen: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._born = 0.0
        self._processes: dict[int, Process] = {}
        self._count = 0
        self._gone: asyncio.Future[None] | None = None
        self._burial: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int:
        """The zygote's process id, 0 while there is none."""
        return self._popen.pid if self._popen else 0

    def with_packages(self, packages: str) -> Zygote:
        """Return another one, not started, that differs only in what it has imported."""
        return Zygote(self._log, self._isolation, packages)

    async def start(self) -> None:
        """Start the zygote if there is none; does not wait until it is ready, as requests wait for it in its socket.

        Raises: OSError when it cannot be started or the pool is closed.
        """
        if self._burial is not None:
            await asyncio.shield(self._burial)
        if self._popen is None:
            self._spawn()

    def _spawn(self) -> None:
        if self._closed:
            raise ConnectionError("the worker pool is closed")
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(SCRIPT), *filter(None, (self._packages,))],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={"EDGE_ZYGOTE": self.token, "EDGE_ISOLATION": self._isolation},
                start_new_session=True,  # Ctrl-C in a terminal is for the host, which closes in order
            )
        except BaseException:
            mine.close()
            raise
        finally:
            its.close()
        loop = asyncio.get_running_loop()
        self._control, self._born, self._gone = mine, time.monotonic(), loop.create_future()
        loop.add_reader(mine.fileno(), self._on_report)

    def fork(self, spec: Mapping[str, object], channel: int, output: int) -> Process:
        """Ask for a worker that gets the two descriptors; the caller closes its own copies. First await `start`.

        Raises: OSError when the zygote cannot be asked; a ConnectionError when it was found dead: `start` it again.
        """
        if self._control is None:
            raise ConnectionError("the zygote is gone")
        self._count += 1
        memory_mb = cast("int", spec["memory_mb"])
        process = Process(self._count, memory_mb=max(memory_mb, PROGRAM_MB) if "exec" in spec else memory_mb)
        message = json.dumps({"id": process.number, "fork": dict(spec)}).encode()
        try:
            socket.send_fds(self._control, [message], [channel, output])
        except ConnectionError:
            self._on_death()  # it has died, and the loop has not come to see it yet
            raise
        self._processes[process.number] = process
        return process

    def kill(self, process: Process) -> None:
        """Kill a worker with all its descendants; `process.exited` says when they are gone. Safe to call twice."""
        if process.exited.done() or self._control is None:
            return
        try:
            self._control.send(json.dumps({"id": process.number, "kill": True}).encode())
        except OSError:  # full, since the zygote does not read, or gone
            self._replace()
            return
        asyncio.get_running_loop().call_later(_ANSWER_S, self._check_killed, process)

    def terminate(self, process: Process) -> None:
        """Send a worker SIGTERM: it may end in order. It alone, and not its descendants."""
        if process.pid and not process.exited.done():
            _signal_if_marked(process.pid, self.token.encode(), signal.SIGTERM)

    def _check_killed(self, process: Process) -> None:
        if not process.exited.done():
            self._replace()

    def _replace(self) -> None:
        if self._popen is not None and self._burial is None:
            self._log("the zygote does not answer and is replaced")
            self._popen.kill()  # its end closes the control socket, and _on_report takes it from there

    def _on_report(self) -> None:
        while self._control is not None:
            try:
                message = self._control.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if message:
                self._take(json.loads(message))
            else:
                self._on_death()

    def _take(self, report: Mapping[str, Any]) -> None:
        if "isolation" in report:
            self.found = [(name, active, why) for name, active, why in report["isolation"]]
            try:
                self._groups = Groups(report["groups"]) if report["groups"] else None
            except OSError as error:
                self._log(f"the workers' memory is not bounded by control groups: {error}")
            return
        number = int(report["id"])
        if "pid" in report:
            self._processes[number].pid = int(report["pid"])
            if self._groups is not None:
                self._movers.submit(_bound, self._groups, self._processes[number], self._log)
            return
        exited = self._processes.pop(number).exited
        if self._groups is not None:
            self._movers.submit(self._groups.remove, number)
        if "failed" in report:
            exited.set_result(Exit(0, fault=f"it could not be forked: {report['failed']}"))
        else:
            exited.set_result(Exit(int(report["status"]), int(report["peak_kb"])))

    def _on_death(self) -> None:
        control, popen, self._control = self._control, self._popen, None
        loop = asyncio.get_running_loop()
        if control is not None and popen is not None:
            loop.remove_reader(control.fileno())
            control.close()
            self._burial = loop.create_task(self._bury(popen), name="workers.zygote.burial")

    async def _bury(self, popen: subprocess.Popen[bytes]) -> None:
        def end() -> int:
            popen.kill()
            status = popen.wait()
            _sweep(self.token.encode())
            return status

        status = await asyncio.to_thread(end)
        lost, self._processes = self._processes, {}
        if self._groups is not None:
            self._movers.submit(self._groups.release)
            self._groups = None
        for process in lost.values():
            process.exited.set_result(Exit(int(signal.SIGKILL), fault="the zygote died and took it along"))
        self._popen = self._burial = None
        if not self._closed:
            self._log(f"the zygote ended with status {status}; no worker is left")
            if time.monotonic() - self._born > _STEADY_S:
                self._spawn()
        elif self._gone is not None:
            self._gone.set_result(None)

    async def close(self) -> None:
        """End the zygote and with it every worker; return when all are gone. Safe to call twice."""
        self._closed = True
        if self._popen is None or self._gone is None:
            return
        timer = asyncio.get_running_loop().call_later(_ANSWER_S, self._popen.kill)
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)  # it ends all workers and itself; _on_report sees its end
        await asyncio.shield(self._gone)
        timer.cancel()
        await asyncio.to_thread(self._movers.shutdown)


def _bound(groups: Groups, process: Process, log: Callable[[str], None]) -> None:
    """Bound what a worker really uses. Runs in a thread: it may wait for the kernel."""
    try:
        groups.make(process.number, process.memory_mb)
        groups.put(process.pid, process.number)
    except ProcessLookupError:  # it has ended meanwhile
        return
    except OSError as error:
        log(f"the memory of worker {process.pid} is not bounded by a control group: {error}")


def _sweep(mark: bytes) -> None:
    """Kill every process whose environment holds the mark, until there is none."""
    for _ in range(100):
        stopped: set[int] = set()  # first, as what is stopped does not fork
        while found := {pid for pid in _pids() - stopped if _signal_if_marked(pid, mark, signal.SIGSTOP)}:
            stopped |= found
        killed = [_signal_if_marked(pid, mark) for pid in stopped]  # all, and not until the first
        if not any(killed):
            return
        time.sleep(0.002)


def _pids() -> set[int]:
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}


def _signal_if_marked(pid: int, mark: bytes, number: int = signal.SIGKILL) -> bool:
    try:
        handle = os.pidfd_open(pid)  # so that the number cannot come to mean another process in between
    except OSError:
        return False
    try:
        if mark not in Path(f"/proc/{pid}/environ").read_bytes():
            return False
        signal.pidfd_send_signal(handle, number)
    except OSError:  # ended meanwhile, or another user's
        return False
    finally:
        os.close(handle)
    return True
