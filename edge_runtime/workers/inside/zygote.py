"""The process that workers are forked from. Started by path; its standard input is the socket to the host.

It has one thread, has imported what handlers commonly use, and does nothing until it is told to: fork a worker, kill
one. It adopts every orphan below it, so when a worker has ended it ends all that the worker left, and only then
reports it. When the host is gone it ends every worker with all descendants, and itself.

Requests, JSON on a sequenced packet socket: `{"id", "fork": {...}}` with the worker's socket and its output pipe as
descriptors, `{"id", "kill": true}`. Reports: `{"isolation": rows, "groups": path}` first (see `jail` and `cgroup`),
`{"id", "pid"}`, `{"id", "failed": text}` when the fork itself failed, `{"id", "status", "peak_kb"}` when the worker and
all its descendants are gone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_runtime.workers.inside.cgroup import Groups

_REQUEST_BYTES = 1 << 18
_SWEEP_MS = 20
_PATIENCE = 3  # sweeps, before something stronger is done
_LEAD = 10
_LAST_SWEEPS = 2500  # of 2 ms, when the host is gone: then whatever cannot be killed is left to init

_PRELOAD = (
    "base64 collections contextlib copy ctypes dataclasses datetime decimal enum functools importlib io itertools json "
    "logging math operator random re resource string struct threading time traceback typing urllib.parse uuid"
)


class Zygote:
    """Forks workers and ends them."""

    def __init__(
        self, control: socket.socket, confine: ModuleType, *, own_users: bool, groups: Groups | None = None
    ) -> None:
        """`own_users`: each function has one. `groups` are filled by the host, and removed here at the end."""
        self._own_users = own_users
        self._groups = groups
        self._control = control
        self._confine = confine
        self._host = os.getppid()
        self._pid = os.getpid()
        self._workers: dict[int, int] = {}  # pid -> id
        self._users: dict[int, int] = {}  # id -> its own user, 0 when it has none
        self._sweeps = 0  # since something ended that left something
        self._ended: list[dict[str, int]] = []  # reports that wait until nothing is left of the worker
        self._host_gone = False
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lead = _take_lead()
        confine.adopt_orphans()
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        # SIGTERM, and not SIGKILL, so that the workers' descendants can be ended first. Sent by anyone else it is void.
        confine.signal_on_parent_death(signal.SIGTERM)

    def say_isolation(self, rows: list[Any], groups: str) -> None:
        """Report what keeps the workers apart; see `jail.Jail.rows`."""
        self._tell({"isolation": rows, "groups": groups})

    def serve(self) -> dict[str, Any]:
        """Work until the host is gone. Returns only in a forked worker, with what it is to be."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll(_SWEEP_MS if self._ended else None)}
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            if self._control.fileno() in ready and (spec := self._request()) is not None:
                return spec
            self._reap()
            if self._host_gone or os.getppid() != self._host:
                self._end_all()

    def _request(self) -> dict[str, Any] | None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, _REQUEST_BYTES, 2)
        except OSError:
            message, descriptors = b"", []
        if not message:
            self._host_gone = True
            return None
        request = json.loads(message)
        if "fork" in request:
            return self._fork(request["id"], request["fork"], *descriptors)
        for pid, number in self._workers.items():
            if number == request["id"]:
                _kill(pid)
        return None

    def _fork(self, number: int, spec: dict[str, Any], channel: int, output: int) -> dict[str, Any] | None:
        try:
            pid = os.fork()
        except OSError as error:
            os.close(channel)
            os.close(output)
            self._tell({"id": number, "failed": str(error)})
            return None
        if pid == 0:
            os.nice(self._lead)
            self._control.detach()  # its number is about to become the worker's standard input
            self._confine.enter(self._pid, channel, output, spec["memory_mb"])
            gc.enable()
            return spec
        os.close(channel)
        os.close(output)
        self._workers[pid] = number
        self._users[number] = spec["jail"]["uid"] if self._own_users else 0
        self._tell({"id": number, "pid": pid})
        return None

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            number = self._workers.pop(pid, None)
            if number is not None:
                self._ended.append({"id": number, "status": status, "peak_kb": usage.ru_maxrss})
        if not self._ended:
            return
        # A worker's orphans stay under it while it lives, so a child that is no worker was left by one that ended.
        if self._strays():
            self._sweeps += 1
            self._end_strays()
            return
        for report in self._ended:
            self._users.pop(report["id"], None)
            self._tell(report)
        self._ended.clear()
        self._sweeps = 0

    def _strays(self) -> set[int]:
        return _children(self._pid) - self._workers.keys()

    def _end_strays(self) -> None:
        users = {self._users[report["id"]] for report in self._ended} - {0}
        if self._sweeps <= _PATIENCE:
            users -= {self._users[number] for number in self._workers.values()}  # their other workers have done nothing
        for user in users:
            _kill_all_of(user)
        # What is stopped does not fork: so what multiplies faster than it can be killed comes to an end too.
        stopped: set[int] = set()
        while found := _descendants(self._strays()) - stopped:
            for pid in found:
                _signal(pid, signal.SIGSTOP)
            stopped |= found
        for pid in stopped:
            _signal(pid, signal.SIGKILL)

    def _end_all(self) -> None:
        self._workers.clear()
        for _ in range(_LAST_SWEEPS):
            self._end_strays()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not _children(self._pid):
                break
            time.sleep(0.002)
        if self._groups is not None:
            self._groups.close()
        os._exit(0)

    def _tell(self, report: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(report).encode())
        except OSError:
            self._host_gone = True


def _take_lead() -> int:
    """Get ahead of the workers, so that a herd of them cannot hold up their end; return by how much."""
    try:
        os.nice(-_LEAD)
    except PermissionError:
        return 0
    with contextlib.suppress(OSError):  # a kernel without groups by session, see sched(7)
        handle = os.open("/proc/self/autogroup", os.O_WRONLY | os.O_CLOEXEC)
        os.write(handle, f"-{_LEAD}".encode())
        os.close(handle)
    return _LEAD


def _kill(pid: int) -> None:
    # The group first, while its leader still holds the number. A worker that has no group yet is killed by its own.
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _kill_all_of(user: int) -> None:
    """Kill all processes of a user at one stroke: none of them can fork meanwhile."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            os.setresuid(user, user, user)
            os.kill(-1, signal.SIGKILL)  # all but this one
        os._exit(0)
    os.waitpid(pid, 0)


def _descendants(pids: set[int]) -> set[int]:
    found: set[int] = set()
    while pids:
        found |= pids
        pids = {child for pid in pids for child in _children(pid)} - found
    return found


def _children(pid: int) -> set[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123 - pathlib would cost every worker memory
            return {int(child) for child in file.read().split()}
    except ProcessLookupError:
        return set()
    except FileNotFoundError:  # it is gone, or a kernel without CONFIG_PROC_CHILDREN
        if not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110 - as above
            return set()
        return {int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == pid}  # noqa: PTH208


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - as above
            # The name in parentheses may itself hold spaces and parentheses.
            return int(file.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def main() -> None:
    """Serve the host at standard input; in a forked worker, run the handler."""
    # The files beside this one become a package of a name that no handler has.
    package = ModuleType("_edge_worker")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120 - as above
    sys.modules[package.__name__] = package
    bootstrap = importlib.import_module("_edge_worker.bootstrap")
    confine = importlib.import_module("_edge_worker.confine")
    jail = importlib.import_module("_edge_worker.jail")
    launch = importlib.import_module("_edge_worker.launch")
    sys.path.append(os.path.join(package.__path__[0], os.pardir, os.pardir, "sdk"))  # noqa: PTH118 - as above
    for name in (*_PRELOAD.split(), "greengrasssdk"):  # ours: the one in many bundles only works on a Greengrass core
        importlib.import_module(name)
    if len(sys.argv) > 1:
        importlib.import_module("_edge_worker.preload").boto3(sys.argv[1])
    off = os.environ.get("EDGE_ISOLATION") == "off"
    groups, why = None, ""
    if not off:
        cgroup = importlib.import_module("_edge_worker.cgroup")
        try:
            groups = cgroup.find(os.getppid())
        except OSError as error:
            why = error.strerror or str(error)
    walls = jail.Jail(os.getppid(), off=off)
    if not off:
        walls.rows.append(("memory", groups is not None, why))
    os.environ.clear()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a TextIOWrapper at the start
    bootstrap.rehearse()
    gc.disable()
    zygote = Zygote(socket.socket(fileno=0), confine, own_users=walls.own_user, groups=groups)
    gc.collect()
    gc.freeze()
    zygote.say_isolation(walls.rows, groups.path if groups is not None else "")
    spec = zygote.serve()
    try:
        spec = walls.enter(spec)
    except OSError as error:
        print(f"the worker cannot be isolated: {error}", file=sys.stderr, flush=True)  # noqa: T201 - its log
        os._exit(1)
    if "exec" in spec:
        launch.run(spec)
    bootstrap.run(spec)


if __name__ == "__main__":
    main()
