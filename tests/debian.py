"""Roots of Debian 12, made once by mmdebstrap and kept, and machines that boot them: a real systemd in a container.

    root = debian("systemd-sysv", "python3")
    with Machine(tmp_path, root) as machine:
        machine.run("systemctl", "is-system-running")

A machine has its own file system over the root, which stays as it is, and no network but its loopback. What is missing
on the host (root, mmdebstrap, systemd-nspawn, a mirror) skips the test with the reason.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

RELEASE = "bookworm"
_LEAN = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc")]
_STILL_S = 600.0
_WITHIN_S = 300.0  # a machine that is busy with other things boots and installs slowly
_CALLS = ("bpf", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
"""What a container may not call by default, and a device may."""
_CALM = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", "LANG": "C"}


def call(
    *words: object, environment: Mapping[str, str] | None = None, stdin: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command on the host; `environment` goes beside its own."""
    command = [str(word) for word in words]
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(command, env=variables, input=stdin, capture_output=True, text=True, check=check)


WHOLE = "EDGE_ROOT_S"
"""How many seconds the making of a root may take; who sets it wants the whole of the tests that need one."""
whole_form = pytest.mark.skipif(WHOLE not in os.environ, reason="takes minutes: make test-deb")


def debian(*packages: str, allowed_by: str = WHOLE) -> Path:
    """Return a root folder with these packages; nobody may change anything in it.

    It is made when it is not there and a variable says how many seconds that may take: a minute or two.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can make and boot a root folder")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-runtime" / "test-roots"
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:8]
    root = cache / f"{RELEASE}-{digest}"
    if root.is_dir():
        return root
    within_s = float(os.environ.get(WHOLE) or os.environ.get(allowed_by) or 0)
    if not within_s:
        pytest.skip("there is no root of Debian yet: make test-deb makes it, and keeps it")
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of several processes may want the same one
        if not root.is_dir():
            _make(root, packages, within_s)
    return root


def _make(root: Path, packages: tuple[str, ...], within_s: float) -> None:
    """Make it. What did not work a moment ago, for another test, is not tried again."""
    failed, part = root.with_name(f".{root.name}.failed"), root.with_name(f".{root.name}.part")
    if failed.exists() and time.time() - failed.stat().st_mtime < _STILL_S:
        pytest.skip(failed.read_text())
    shutil.rmtree(part, ignore_errors=True)
    about = ["--quiet", "--variant=minbase", '--aptopt=Acquire::Languages "none"', f"--include={','.join(packages)}"]
    command = ["mmdebstrap", *about, *_LEAN, RELEASE, str(part)]
    try:
        subprocess.run(command, timeout=within_s, capture_output=True, check=True)
    except subprocess.SubprocessError as error:
        shutil.rmtree(part, ignore_errors=True)
        said = (error.stderr or b"").decode(errors="replace").strip()[-300:] if hasattr(error, "stderr") else ""
        failed.write_text(f"no root of Debian can be made here within {within_s:g} s: {said}")
        pytest.skip(failed.read_text())
    failed.unlink(missing_ok=True)
    part.rename(root)


class Machine:
    """A container that boots. Its changes are in `folder / "changes"`, and stay when it is stopped."""

    def __init__(self, folder: Path, *roots: Path, shared: Path | None = None) -> None:
        """The first of `roots` lies on top. `shared` is to be seen at /mnt, read-only."""
        if not shutil.which("systemd-nspawn"):
            pytest.skip("systemd-nspawn is not installed")
        self._folder = folder
        self._shared = shared
        self.changes = folder / "changes"
        self._root = folder / "root"
        self._lower = ":".join(map(str, roots))
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        """Boot it, and return when systemd says that it is up."""
        for place in (self.changes, self._folder / "work", self._root):
            place.mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={self._lower},upperdir={self.changes},workdir={self._folder / 'work'}"
        call("mount", "-t", "overlay", "overlay", "-o", layers, self._root)
        try:
            self._boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _boot(self) -> None:
        name = self._folder / "notify"
        name.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(name))
            told.settimeout(_WITHIN_S)
            # As on a device: control groups of version 2 alone, and device policies by BPF.
            environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "NOTIFY_SOCKET": str(name)}
            command = ["systemd-nspawn", "--quiet", f"--directory={self._root}", "--boot", "--private-network"]
            command += ["--notify-ready=yes", "--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=off"]
            command += ["--timezone=off", "--link-journal=no", "--capability=CAP_BPF,CAP_PERFMON"]
            command += [f"--system-call-filter={' '.join(_CALLS)}"]
            command += [f"--machine=edge-{os.getpid()}-{id(self) % 10_000}"]
            command += [f"--bind-ro={self._shared}:/mnt"] if self._shared else []
            log = (self._folder / "console.log").open("wb")
            with log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
                )
            while True:
                try:
                    lines = told.recv(4096).decode().splitlines()
                except TimeoutError:
                    said = (self._folder / "console.log").read_text(errors="replace")[-1000:]
                    pytest.fail(f"systemd does not boot in a container here: {said}")
                for line in lines:
                    if line.startswith("X_NSPAWN_LEADER_PID="):
                        self._leader = int(line.partition("=")[2])
                if "READY=1" in lines:
                    return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut it down in order."""
        if self._leader:
            self._end(signal.SIGRTMIN + 4)  # what systemd as the first process understands as poweroff
        elif self._process is not None:
            self._process.kill()
            self._process.wait()
        call("umount", self._root)

    @property
    def leader(self) -> int:
        """The process id of its systemd, as the host sees it; another one after each boot."""
        return self._leader

    def cut_power(self) -> None:
        """End it at once, and boot it again."""
        self._end(signal.SIGKILL)
        self._boot()

    def _end(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._leader, number)
        self._leader = 0
        try:
            self._process.wait(_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def command(self, *words: str) -> list[str]:
        """Return what runs a command in it."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C"]
        return [*enter, "env", "-i", *(f"{name}={value}" for name, value in _CALM.items()), *words]

    def run(self, *words: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root."""
        command = self.command(*words)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
        if check and done.returncode:
            pytest.fail(f"{' '.join(words)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def says(self, *words: str) -> str:
        """Return what a command in it writes, without the last line's end."""
        return self.run(*words).stdout.rstrip("\n")

    def journal(self) -> Journal:
        """Return the log from here on."""
        return Journal(self)


class Journal:
    """The log of a machine, from a moment on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        machine.run("journalctl", "--sync")
        shown = machine.says("journalctl", "--lines=0", "--show-cursor", "--quiet")
        self._cursor = shown.rpartition("cursor: ")[2]

    def until(self, *words: str) -> list[str]:
        """Return the lines up to the one that has the last of these words, which come in this order."""
        after = [f"--after-cursor={self._cursor}"] if self._cursor else []
        follow = ("journalctl", "--follow", "--lines=all", "--output=cat", "--quiet", *after)
        command = self._machine.command(*follow)
        lines: list[str] = []
        left = list(words)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            timer = threading.Timer(_WITHIN_S, _end_child, (process.pid,))
            timer.start()
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if left[0] in line:
                    del left[0]
                    if not left:
                        break
            timer.cancel()
            _end_child(process.pid)
        if left:
            pytest.fail(f"{left[0]!r} was not logged:\n" + "\n".join(lines[-30:]))
        return lines


def _end_child(pid: int) -> None:
    """End what nsenter has started: then it ends too. When it goes first, nobody is left who buries its child."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        os.kill(int(child), signal.SIGKILL)
