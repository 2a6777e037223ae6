"""A zygote by itself, driven over its socket: as this user, or as one without any privilege."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge_runtime.workers.inside import frames, zygote

WAIT_S = 10
NOBODY = 65534
_AS_NOBODY = f"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
# Under names that everyone can reach: an interpreter or a checkout may lie in root's home.
assert libc.unshare(0x20000) == 0 and libc.mount(b"none", b"/", None, ctypes.c_ulong(0x44000), None) == 0
for source, place in ((sys.base_prefix, "/mnt"), (sys.argv[1], "/media")):
    assert libc.mount(source.encode(), place.encode(), None, ctypes.c_ulong(0x5000), None) == 0
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
numbers = [int(number) for number in sys.argv[2:]]
if numbers:  # a kernel that lacks these
    lines = [(0x20, 0, 0, 0)] + [(0x15, len(numbers) - n, 0, one) for n, one in enumerate(numbers)]
    lines += [(6, 0, 0, 0x7FFF0000), (6, 0, 0, 0x00050001)]
    body = b"".join(struct.pack("=HBBI", *line) for line in lines)
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))
    zero = ctypes.c_ulong(0)
    assert libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0
    assert libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(Program(len(lines), body)), zero, zero) == 0
program = "/mnt/bin/" + os.path.basename(os.path.realpath(sys.executable))
os.execve(program, [program, "-I", "-S", "/media/workers/inside/zygote.py"], dict(os.environ))
"""
_NUMBERS = {"x86_64": {"unshare": 272, "seccomp": 317}, "aarch64": {"unshare": 97, "seccomp": 277}}


def number(name: str) -> int:
    """Return the number of a system call that a test takes away."""
    return 444 if name == "landlock" else _NUMBERS[os.uname().machine][name]


class Driver:
    """A host that speaks to a zygote. `folder` is where its workers' code and files are.

    `without` are system calls that the kernel is to lack; for a zygote of a user without privileges, `nobody`.
    """

    def __init__(self, folder: Path, *, nobody: bool = False, without: tuple[str, ...] = (), **more: str) -> None:
        self.folder, self.nobody = folder, nobody
        self.control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(WAIT_S)
        package = Path(zygote.__file__).parents[2]
        program = (
            ["-c", _AS_NOBODY, str(package), *(str(number(name)) for name in without)] if nobody else [zygote.__file__]
        )
        self.popen = subprocess.Popen(
            [sys.executable, "-I", "-S", *program],
            stdin=its.fileno(),
            env={"HOST": "secret", **more},
            start_new_session=True,
        )
        its.close()
        self._count = 0
        self.isolation = {name: active for name, active, _ in self.report()["isolation"]}

    def fork(self, number: int, source: str, **more: object) -> tuple[socket.socket, int]:
        """Ask for a worker; return its socket and the read end of its output. `more` goes to its spec."""
        code, tmp = self.folder / f"code{number}", self.folder / f"tmp{number}"
        code.mkdir()
        tmp.mkdir()
        (code / "app.py").write_text(source, encoding="utf-8")
        if self.nobody:
            for path in (tmp, code, code / "app.py"):
                os.chown(path, NOBODY, NOBODY)
        spec: dict[str, Any] = {
            "handler": "app.handler",
            "root": str(code),
            "memory_mb": 128,
            "environment": {"A": "b", "TMPDIR": str(tmp)},
            "jail": {"uid": 70_000 + number, "processes": 20, "hide": [], "read": []},
            **more,
        }
        mine, its = socket.socketpair()
        mine.settimeout(WAIT_S)
        read_end, write_end = os.pipe()
        message = json.dumps({"id": number, "fork": spec}).encode()
        socket.send_fds(self.control, [message], [its.fileno(), write_end])
        its.close()
        os.close(write_end)
        return mine, read_end

    def tell(self, **request: object) -> None:
        """Send a request."""
        self.control.send(json.dumps(request).encode())

    def report(self) -> dict[str, Any]:
        """Return the next report."""
        told: dict[str, Any] = json.loads(self.control.recv(65536))
        return told

    def run(self, source: str, event: object = None, **more: object) -> Any:  # noqa: ANN401 - what the handler returns
        """Return what a handler returns in a worker of its own."""
        self._count += 1
        sock, output = self.fork(self._count, source, **more)
        try:
            self.report()
            ready = sock.recv(65536)
            if not ready:
                raise AssertionError(os.read(output, 10_000).decode())
            if size := frames.REPLY.unpack_from(ready)[1]:
                raise AssertionError(ready[-size:].decode())
            body = json.dumps(event).encode()
            sock.send(frames.REQUEST.pack(1, len(body), 0, 1, frames.NO_CONTEXT, 1 << 62) + b"r" + body)
            reply = sock.recv(1 << 20)
            if not reply:
                raise AssertionError(os.read(output, 10_000).decode())
            _, size, _, kind, _ = frames.REPLY.unpack_from(reply)
            answer = json.loads(reply[len(reply) - size :])
            assert not kind, answer
            return answer
        finally:
            sock.close()
            os.close(output)
            self.report()

    def close(self) -> int:
        """Return how the zygote has ended."""
        self.control.close()
        return self.popen.wait(WAIT_S)
