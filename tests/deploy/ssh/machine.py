"""A device for the tests: a Debian root of its own with a real sshd, cut off from every network.

It runs in namespaces of its own: its processes all end at once (a power cut), its disk stays, and no packet leaves it.
ssh reaches its sshd through a command that is let into its network (ProxyCommand). Two loops in it are what systemd
would be: one keeps sshd running, the other one the host.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.debian import debian

PATIENCE_S = 60.0
USER = "pi"
PASSWORD = "raspberry"  # noqa: S105 - of the test's own machine
NEEDED = (
    "openssh-server", "sudo", "procps", "python3", "python3-venv", "openssl",
    "systemd-sysv", "libpam-systemd", "dbus-user-session", "polkitd",
)  # fmt: skip
"""What a device has that one logs in to; systemd runs on it only where it is booted, as `tests.debian` does."""
_RELAY = """
import os, socket, sys, threading
link = socket.create_connection(("127.0.0.1", 22))
def up():
    while data := os.read(0, 65536):
        link.sendall(data)
    link.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := link.recv(65536):
    os.write(1, data)
"""
_BOOT = """
set -eu
mount -t overlay overlay -o lowerdir="$1",upperdir="$2"/upper,workdir="$2"/work "$2"/root
mount --rbind /dev "$2"/root/dev
mount -t proc proc "$2"/root/proc
ip link set lo up 2>/dev/null || python3 -c "$LO"
exec chroot "$2"/root /bin/sh /boot.sh
"""
_LO = """
import fcntl, socket, struct
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))
"""
_INIT = """
home={home}
mkdir -p /run/sshd /run/on
(while :; do /usr/sbin/sshd -D -e -o PidFile=none >>/sshd.log 2>&1; sleep 0.05; done) &
while :; do
  base=$home/.local/share/edge-runtime
  if [ -e /run/on/{user} ] && [ -x "$base/venv/bin/edge" ]; then
    runuser -u {user} -- env HOME="$home" EDGE_ISOLATION=off \
      "$base/venv/bin/edge" run "$base/app" --state "$base/state" >>/host.log 2>&1
  elif [ -x /usr/lib/edge-runtime/venv/bin/edge ]; then
    runuser -u edge-runtime -- env EDGE_ISOLATION=off EDGE_STATE=/var/lib/edge-runtime \
      EDGE_APP=/var/lib/edge-runtime/app /usr/lib/edge-runtime/venv/bin/edge run >>/host.log 2>&1
  fi
  sleep 0.1
done
"""


def debian_root() -> Path:
    """Return a Debian root that is only read, as `debian`. Skips the test where there can be none."""
    for name in ("setpriv", "unshare", "nsenter", "ssh", "ssh-keygen", "openssl"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    return debian(*NEEDED, allowed_by="EDGE_SSH_ROOT_S")


def _program(name: str) -> str:
    """Return where a program is; `debian_root` has seen that it is there."""
    return shutil.which(name) or name


class Machine:
    """A device that can be reached as `device` with `config`, and whose power can be cut."""

    def __init__(self, folder: Path, root: Path, home: str = f"/home/{USER}") -> None:
        """`home` is the home folder of who logs in."""
        self._folder, self._root, self.home = folder, root, home
        self.disk = folder / "upper"
        """What lies on its disk beside the Debian root: to be read while it is off, and added to."""
        self.config = folder / "ssh_config"
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        self._keys()
        self.write("boot.sh", _INIT.format(user=USER, home=shlex.quote(home)))
        self._add_user()

    # -- making it -------------------------------------------------------------------------------------------------

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file on its disk."""
        file = self.disk / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def _keys(self) -> None:
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]
        subprocess.run([*made, self._folder / "key"], check=True)
        ssh = self.disk / "etc" / "ssh"
        ssh.mkdir(parents=True)
        subprocess.run([*made, ssh / "ssh_host_ed25519_key"], check=True)
        public = (ssh / "ssh_host_ed25519_key.pub").read_text()
        (self._folder / "known_hosts").write_text(f"device {public}")

    def _add_user(self) -> None:
        etc = self.disk / "etc"
        for name, line in (
            ("passwd", f"{USER}:x:1000:1000::{self.home}:/bin/sh\n"),
            ("group", f"{USER}:x:1000:\ngpio:x:991:\n"),
        ):
            (etc / name).write_text((self._root / "etc" / name).read_text() + line)
        hashed = subprocess.run(
            [_program("openssl"), "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
        ).stdout.strip()
        shadow = (self._root / "etc" / "shadow").read_text()
        self.write("etc/shadow", f"{shadow}{USER}:{hashed}:19000:0:99999:7:::\n", 0o640)
        home = self.disk / self.home.lstrip("/")
        self.write(f"{self.home.lstrip('/')}/.ssh/authorized_keys", (self._folder / "key.pub").read_text(), 0o600)
        for path in (home, home / ".ssh", home / ".ssh" / "authorized_keys"):
            os.chown(path, 1000, 1000)
        home.chmod(0o755)
        (home / ".ssh").chmod(0o700)

    def let_use_sudo(self) -> None:
        """Put the user into the group that may use sudo with a password."""
        path = self.disk / "etc" / "group"
        path.write_text(path.read_text().replace("sudo:x:27:", f"sudo:x:27:{USER}"))

    def add_owner(self) -> None:
        """Add the user whose process a package's runtime is, as the package does where systemd is."""
        for name, line in (
            ("passwd", "edge-runtime:x:990:990::/var/lib/edge-runtime:/bin/sh\n"),
            ("group", "edge-runtime:x:990:\n"),
        ):
            with (self.disk / "etc" / name).open("a") as file:
                file.write(line)

    # -- its power -------------------------------------------------------------------------------------------------

    def on(self) -> None:
        """Switch it on, and wait for its sshd."""
        spaces = ["--mount", "--pid", "--net", "--fork", "--kill-child"]
        command = [
            _program("setpriv"),
            "--pdeathsig",
            "KILL",
            _program("unshare"),
            *spaces,
            "sh",
            "-c",
            _BOOT,
            "sh",
            str(self._root),
            str(self._folder),
        ]
        with (self._folder / "boot.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "LO": _LO}
            )
        self.reach(self._wait_for_init(self._process))

    def _wait_for_init(self, process: subprocess.Popen[bytes]) -> int:
        """Return the process id of its first process."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end_s = time.monotonic() + PATIENCE_S
        while not (found := children.read_text().split()):
            assert time.monotonic() < end_s
            time.sleep(0.005)
        return int(found[0])

    def reach(self, pid: int) -> None:
        """Write `config` for an sshd in the network of this process, and wait for it."""
        relay = self._folder / "relay.py"
        relay.write_text(_RELAY)
        self.config.write_text(
            f"Host device\n  User {USER}\n  IdentityFile {self._folder}/key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self._folder}/known_hosts\n  StrictHostKeyChecking yes\n"
            f"  ProxyCommand nsenter --net=/proc/{pid}/ns/net {sys.executable} -I -S {relay}\n"
        )
        end_s = time.monotonic() + PATIENCE_S
        while (done := self.ssh("true")).returncode:
            assert time.monotonic() < end_s, done.stderr
            time.sleep(0.05)

    def off(self) -> None:
        """Cut its power: all of its processes end at once. Safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    # -- on it -----------------------------------------------------------------------------------------------------

    def ssh(self, command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return subprocess.run(
            [_program("ssh"), "-F", str(self.config), "-o", "BatchMode=yes", "device", command],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            input=more.get("input", ""),
        )

    def run(self, command: str) -> str:
        """Run a command there that has to work, and return what it prints."""
        done = self.ssh(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def kill(self, pattern: str) -> None:
        """Kill processes there, by their command line, as root of it."""
        assert self._process is not None
        for pid in self._pids():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if pattern in line:
                    os.kill(pid, signal.SIGKILL)

    def _pids(self) -> list[int]:
        """Return the processes of this machine alone, by their network."""
        assert self._process is not None
        init = self._wait_for_init(self._process)
        home = Path(f"/proc/{init}/ns/pid").readlink()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "ns" / "pid").readlink() == home and int(path.name) != init:
                    found.append(int(path.name))
        return found

    def start_host(self) -> None:
        """Let the host of the user run from now on, over every kill."""
        self.run_as_root("mkdir -p /run/on && touch /run/on/pi")

    def run_as_root(self, command: str) -> str:
        """Run a command there as root."""
        assert self._process is not None
        init = self._wait_for_init(self._process)
        done = subprocess.run(
            [_program("nsenter"), "-t", str(init), "-m", "-p", "-n", "-r", "-w", "/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout
