"""One connection to another machine by OpenSSH's own `ssh`: it honours what the user has configured.

All commands share one connection (ControlMaster), which ends with `close`. Scripts are POSIX sh. Where they have to
run as somebody else, `sudo` or a login as root does it; a password for sudo goes over standard input, is kept in
memory only, and stands in no command line.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from edge_runtime.errors import ConfigError, DeniedError, EdgeError, HostError

_CHUNK = 1 << 16
_GONE = 255
"""What ssh ends with when it is ssh that failed."""
_ALIVE = ("-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
_REASONS = (
    ("Could not resolve hostname", "there is no host of that name", "look at the name, or at Host in ~/.ssh/config"),
    ("Connection refused", "no SSH server answers there", "switch it on there: sudo systemctl enable --now ssh"),
    ("No route to host", "there is no way to it", "is it on, and in this network?"),
    ("timed out", "it does not answer", "is it on, and in this network?"),
    ("Host key verification failed", "its host key is not known, or another one than before", "log in once: ssh HOST"),
    ("Too many authentication failures", "it refuses the keys", "name one: IdentityFile in ~/.ssh/config"),
    ("Permission denied", "it refuses this user, key or password", "give it your key: ssh-copy-id HOST"),
    ("Bad configuration option", "ssh cannot read its configuration", "see ssh -G HOST"),
)
_BROKEN = ("closed by remote host", "Broken pipe", "not responding", "Connection reset", "closed by")

Progress = Callable[[float], object]


class Answer(NamedTuple):
    """What a script has answered."""

    status: int
    out: str
    err: str
    sent: int
    """Bytes of its input that were taken."""


@dataclass(slots=True)
class Sudo:
    """How scripts are run as somebody else there."""

    is_root: bool = False
    """Whoever logs in is root."""
    password: str = ""
    """Empty: sudo asks for none."""

    def command(self, script: str, user: str) -> str:
        """Return the command line that runs a script as this user; empty: as whoever logs in."""
        plain = f"sh -c {shlex.quote(script)}"
        if not user:
            return plain
        inner = plain if user == "root" else f"runuser -u {shlex.quote(user)} -- {plain}"
        if self.is_root:
            return inner
        how = "-k -S -p ''" if self.password else "-n"
        return f"LC_ALL=C sudo {how} {inner}"


def check_host(host: str) -> None:
    """Return if it can be one, and is no option of ssh. Raises: ConfigError."""
    if not host or host.startswith("-") or any(sign.isspace() or not sign.isprintable() for sign in host):
        raise ConfigError(f"{host!r} is no host", hint="write it as for ssh: pi@raspberrypi.local")


class Connection:
    """A connection to one host; made with the first script."""

    def __init__(self, host: str, config: Path | None = None) -> None:
        """`host` is what ssh takes: a name of its configuration, user@host, or ssh://user@host:port."""
        check_host(host)
        if shutil.which("ssh") is None:
            raise ConfigError("the ssh command is missing", hint="install it: apt-get install openssh-client")
        self.host = host
        self.sudo = Sudo()
        self._was_up = False
        # A socket's address has room for some hundred signs; TMPDIR may be long.
        self._folder = Path(tempfile.mkdtemp(prefix="edge-ssh-", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108 - made anew, for this user only
        shared = ("-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={self._folder}/m")
        batch = () if sys.stdin.isatty() else ("-o", "BatchMode=yes")
        self._ssh = ("ssh", *(("-F", str(config)) if config is not None else ()), *_ALIVE, *shared, *batch)

    def close(self) -> None:
        """End the connection. Safe to call twice."""
        if (self._folder / "m").exists():
            subprocess.run(
                [*self._ssh, "-O", "exit", "--", self.host],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self, script: str, *, user: str = "", source: Path | None = None, progress: Progress = lambda _: None
    ) -> Answer:
        """Run a script there, with a file as its input, and return what it answered, whatever its status.

        Raises: HostError when the host cannot be reached or the connection breaks; DeniedError when sudo refuses.
        """
        command = [*self._ssh, "-T", "--", self.host, self.sudo.command(script, user)]
        first = f"{self.sudo.password}\n".encode() if user and self.sudo.password else b""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err)
            try:
                sent = _feed(process, first, source, progress)
                status = process.wait()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            answer = Answer(status, _text(out), _text(err), sent)
        if status == _GONE:
            raise self._lost(answer.err)
        self._was_up = True
        if user and status and (error := self._refusal(answer.err)) is not None:
            raise error
        return answer

    def _lost(self, said: str) -> EdgeError:
        """Return the error for what ssh said when it failed."""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        for sign, words, hint in _REASONS:
            if sign in said and not self._was_up:
                return HostError(f"{self.host} cannot be reached: {words}", hint=hint.replace("HOST", self.host))
        last = lines[-1] if lines else "ssh has not said why"
        if self._was_up or any(sign in said for sign in _BROKEN):
            return HostError(
                f"the connection to {self.host} broke: {last}",
                hint="nothing is half done there: run the same command again",
            )
        return HostError(f"{self.host} cannot be reached: {last}", hint=f"try by hand: ssh {self.host}")

    def _refusal(self, said: str) -> EdgeError | None:
        if "incorrect password" in said or "Sorry, try again" in said or "no password was provided" in said:
            return DeniedError(f"sudo on {self.host} does not take this password", hint="run the command again")
        if "not in the sudoers file" in said or "is not allowed to" in said or "may not run sudo" in said:
            return DeniedError(
                f"whoever logs in to {self.host} may not use sudo there", hint="install for that user alone: --user"
            )
        if "a password is required" in said:
            return DeniedError(f"sudo on {self.host} asks for a password", hint="run this in a terminal, or add --user")
        return None


def _feed(process: subprocess.Popen[bytes], first: bytes, source: Path | None, progress: Progress) -> int:
    """Write all input; return how many bytes of the file were taken, which may be fewer: the script may have ended."""
    pipe, sent = process.stdin, 0
    if pipe is None:  # pragma: no cover - it is asked for
        return 0
    try:
        pipe.write(first)
        pipe.flush()
        if source is not None:
            size = max(source.stat().st_size, 1)
            with source.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    pipe.write(chunk)
                    pipe.flush()
                    sent += len(chunk)
                    progress(sent / size)
        pipe.close()
    except BrokenPipeError:
        with contextlib.suppress(BrokenPipeError):  # what it has not taken is still in the pipe's buffer
            pipe.close()
    return sent


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
