"""Handlers that try to get out: at each level of isolation, what they can reach is known and no more than promised.

The levels: the host is root; it is an ordinary user; such a user where namespaces are forbidden (Landlock alone); and
where the kernel has nothing at all. SECURITY.md says the same in words.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.workers.inside import landlock
from edge_runtime.workers.inside.mounts import _libc
from tests.workers.inside.driving import NOBODY, Driver, number

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root tests all levels, others theirs in every other test")

ATTEMPTS = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def read(path):
    with open(path, "rb") as file:
        return file.read(100)

def write(path):
    with open(path, "ab") as file:
        file.write(b"x")

def connect(name):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(name)

def handler(event, context):
    victim, neighbour, state = event["victim"], event["neighbour"], event["state"]
    attempts = {
        "read /etc/shadow": lambda: read("/etc/shadow"),
        "look around the device": lambda: os.listdir("/var/lib"),
        "read the host's environment": lambda: read(f"/proc/{victim}/environ"),
        "follow the host's descriptors": lambda: os.readlink(f"/proc/{victim}/fd/0"),
        "read the host's memory": lambda: read(f"/proc/{victim}/mem"),
        "trace the host": lambda: call("ptrace", 0x4206, victim, None, None),
        "signal the host": lambda: os.kill(victim, 0),
        "signal its zygote": lambda: os.kill(os.getppid(), 0),
        "signal its zygote's group": lambda: os.kill(-os.getpgid(os.getppid()), 0),
        "open its zygote": lambda: os.pidfd_open(os.getppid()),
        "signal everything": lambda: os.kill(-1, 0),
        "signal a neighbour": lambda: os.kill(neighbour, 0),
        "read a neighbour's token": lambda: read(f"/proc/{neighbour}/environ"),
        "read a neighbour's files": lambda: read(event["neighbours file"]),
        "read a neighbour's root": lambda: os.listdir(f"/proc/{neighbour}/root{state}"),
        "list the state folder": lambda: os.listdir(state),
        "read the queue": lambda: read(state + "/queue.db"),
        "write to the queue": lambda: write(state + "/queue.db"),
        "read the app": lambda: read(state + "/../edge.yaml"),
        "change its code": lambda: write(__file__),
        "add to its code": lambda: write(os.path.dirname(__file__) + "/new.py"),
        "write to /usr": lambda: write("/usr/new"),
        "write to /etc": lambda: write("/etc/new"),
        "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None),
        "unmount": lambda: call("umount2", b"/tmp", 2),
        "make namespaces": lambda: call("unshare", 0x10000000),
        "change the root": lambda: os.chroot("/tmp"),
        "change the clock": lambda: __import__("time").clock_settime(0, 1),
        "become root": lambda: os.setuid(0),
        "make a device": lambda: os.mknod(os.environ["TMPDIR"] + "/disk", 0o60600, os.makedev(8, 0)),
        "load into the kernel": lambda: call("syscall", 321, 0, None, 0),
        "reach the host's abstract socket": lambda: connect("\\0" + event["abstract"]),
    }
    if os.uname().machine != "x86_64":
        del attempts["load into the kernel"]
    done = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError:
            continue
        done.append(name)
    return done
"""
NEIGHBOUR = """
import os
open(os.environ["TMPDIR"] + "/file", "w").close()
def handler(event, context): return 1
"""


class Scene:
    """A device with a host, its state and a function, and a zygote for another function."""

    def __init__(self, folder: Path, *, nobody: bool, without: tuple[str, ...]) -> None:
        owner = NOBODY if nobody else 0
        self.state = folder / "app" / ".edge"
        self.state.mkdir(parents=True, mode=0o700)
        (self.state / "queue.db").write_bytes(b"secret")
        (folder / "app" / "edge.yaml").write_bytes(b"secret")
        for path in (self.state, self.state / "queue.db", folder / "app" / "edge.yaml"):
            os.chown(path, owner, owner)
        self.victim = subprocess.Popen(["/bin/sleep", "1000"], user=owner, env={"SECRET": "of the host"})
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0edge-{self.victim.pid}")
        self.abstract.listen()
        self.driver = Driver(folder, nobody=nobody, without=without)

    def attempt(self) -> set[str]:
        """Return what a handler could do."""
        sock, output = self.driver.fork(99, NEIGHBOUR)
        pid = self.driver.report()["pid"]
        assert sock.recv(1000)
        event: dict[str, Any] = {
            "victim": self.victim.pid,
            "neighbour": pid,
            "neighbours file": str(self.driver.folder / "tmp99" / "file"),
            "state": str(self.state),
            "abstract": f"edge-{self.victim.pid}",
        }
        done = set(self.driver.run(ATTEMPTS, event))
        assert self.victim.poll() is None
        sock.close()
        os.close(output)
        self.driver.report()
        return done

    def close(self) -> None:
        """End what was started."""
        self.victim.kill()
        self.victim.wait()
        self.abstract.close()
        assert self.driver.close() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp())  # pytest's own are closed to the user that nobody is
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def attempt(folder: Path, *, nobody: bool, without: tuple[str, ...] = ()) -> tuple[dict[str, bool], set[str]]:
    """Return the layers that are active, and what a handler could do."""
    scene = Scene(folder, nobody=nobody, without=without)
    try:
        return scene.driver.isolation, scene.attempt()
    finally:
        scene.close()


def test_of_a_root_host_nothing_is_reached(folder: Path) -> None:
    layers, done = attempt(folder, nobody=False)
    if not layers["files"]:
        pytest.skip("no mount namespaces here")
    if landlock.version(_libc) < landlock.SCOPES_VERSION:
        done -= {"reach the host's abstract socket"}
    assert done == set()


def test_of_a_users_host_nothing_is_reached_where_namespaces_are_allowed(folder: Path) -> None:
    layers, done = attempt(folder, nobody=True)
    if not (layers["files"] and layers["signals"]):
        pytest.skip("no user namespaces or no Landlock here")
    assert done == set()


def test_landlock_alone_keeps_all_of_it_out(folder: Path) -> None:
    layers, done = attempt(folder, nobody=True, without=("unshare",))
    if not layers["landlock"]:
        pytest.skip("no Landlock here")
    assert not layers["files"]
    if layers["signals"]:
        assert done == set()
    else:
        assert done <= {"signal the host", "signal a neighbour", "reach the host's abstract socket"}


def test_without_landlock_signals_go_to_other_processes_of_the_same_user(folder: Path) -> None:
    layers, done = attempt(folder, nobody=True, without=("landlock",))
    if not layers["files"]:
        pytest.skip("no user namespaces here")
    assert not layers["signals"]
    assert done == {
        "signal the host",
        "signal a neighbour",
        "reach the host's abstract socket",
        "read a neighbour's token",
    }


def test_where_the_kernel_has_nothing_only_the_users_own_rights_hold(folder: Path) -> None:
    layers, done = attempt(folder, nobody=True, without=("unshare", "landlock", "seccomp"))
    assert not any(layers.values())
    assert {"read the queue", "read the app", "read a neighbour's files", "change its code"} <= done
    assert not done & {"read /etc/shadow", "write to /usr", "write to /etc", "mount", "become root"}


def test_system_calls_of_the_list_are_refused_even_to_root(folder: Path) -> None:
    driver = Driver(folder)
    try:
        source = "def handler(e, c):\n    return open('/proc/self/status').read()\n"
        status = driver.run(source)
    finally:
        assert driver.close() == 0
    assert "\nSeccomp:\t2\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    assert number("landlock") == 444
